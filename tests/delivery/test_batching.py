"""Batching: what is alike goes to the CRM in one call, and each item has its own fate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

import xkit_crm
from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.crm.provider import LoopbackProvider
from tests.delivery.conftest import act, states
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.drain import drain
from xkit_crm.exceptions import XkitError
from xkit_crm.models import Attempt, Connection, Invocation, RecordLink
from xkit_crm.models.invocation import Priority
from xkit_crm.providers.base import Access, Draft, RecordRef
from xkit_crm.sync.digests import digest, fingerprint
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]

Patch = pytest.MonkeyPatch


def save(customer: Customer, count: int, title: str = "Deal") -> list[Deal]:
    """So many new rows, in one go."""
    return Deal.synced.bulk_create(
        [Deal(customer=customer, title=f"{title} {n}") for n in range(count)]
    )


def edit(deals: Sequence[Deal], title: str) -> None:
    for deal in deals:
        deal.title = f"{title} {deal.pk}"
        deal.save()


def titles(crm: CRMControl, org: str = "acme") -> list[str]:  # noqa: F811
    return [record["values"]["Name"] for record in crm.records(org)]


def calls(
    crm: CRMControl,  # noqa: F811
    *operations: str,
    outcome: str | None = None,
) -> list[tuple[str, int]]:
    """The calls that were made, with how many items each had."""
    return [
        (call["operation"], call["items"])
        for call in crm.calls("acme")
        if (not operations or call["operation"] in operations)
        and call["operation"] != "describe"
        and (outcome is None or call["outcome"] == outcome)
    ]


def by_hand(crm: CRMControl) -> LoopbackProvider:  # noqa: F811
    """What a person does in the CRM."""
    return LoopbackProvider(Access("acme", crm.credentials("acme")))


def keys(crm: CRMControl) -> list[str]:  # noqa: F811
    return [record["key"] for record in crm.records("acme")]


def connect_to(
    provider: type[LoopbackProvider],
    crm: CRMControl,  # noqa: F811
    settings: Any,
    connection_id: str = "acme",
) -> Connection:
    """Put this vendor behind the connection."""
    known = settings.XKIT_CRM["PROVIDERS"]
    path = f"{provider.__module__}.{provider.__qualname__}"
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDERS": {**known, provider.slug: path}}
    credentials = crm.credentials(connection_id, timeout=1)
    return xkit_crm.connect(connection_id, provider=provider.slug, credentials=credentials)


# -- how many calls -------------------------------------------------------------------------------


def test_a_thousand_new_records_are_five_calls_of_two_hundred(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 1000)
    assert deliver() == 1000
    assert calls(crm) == [("create", 200)] * 5
    assert titles(crm) == [f"Deal {n}" for n in range(1000)]
    assert RecordLink.objects.count() == 1000


def test_what_is_urgent_waits_for_no_call_of_others_that_are_not(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    (linked,) = save(customer, 1)
    deliver()
    save(customer, 600, "Old")
    Invocation.objects.filter(status="pending").update(priority=Priority.BACKGROUND)
    save(customer, 1, "New")
    edit([linked], "Renamed")
    deliver()
    sizes = [("create", 200), ("update", 1), ("create", 200), ("create", 200), ("create", 1)]
    assert calls(crm)[1:] == sizes
    assert titles(crm)[1] == "New 0"


def test_a_thousand_changed_and_deleted_records_are_five_calls_each(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 1000)
    deliver()
    Deal.synced.update(title="Renamed")
    deliver()
    assert calls(crm, "update") == [("update", 200)] * 5
    assert set(titles(crm)) == {"Renamed"}
    Deal.synced.all().delete()
    deliver()
    assert calls(crm, "delete") == [("delete", 200)] * 5
    assert titles(crm) == []
    assert not RecordLink.objects.exists()


def test_creates_changes_and_deletes_of_one_moment_are_one_call_each(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    deals = save(customer, 30)
    deliver()
    save(customer, 10, "New")
    edit(deals[:10], "Renamed")
    for deal in deals[10:20]:
        deal.delete()
    deliver()
    assert sorted(calls(crm)) == [("create", 10), ("create", 30), ("delete", 10), ("update", 10)]


def test_a_thousand_edits_of_one_record_while_the_crm_is_down_become_one_call(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    settings: Any,
    time_machine: Any,
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "RETRY_BASE": 2.0}
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    deal = DealFactory.create(customer=customer)
    deliver()
    crm.faults(rates={"unavailable": 1.0})
    for n in range(1000):
        deal.title = f"Title {n}"
        deal.save()
        if n % 200 == 0:
            time_machine.shift(timedelta(seconds=30))
            deliver()
    crm.faults()
    time_machine.shift(timedelta(hours=1))
    deliver()
    assert len(calls(crm, "update", outcome="200")) <= 2
    assert titles(crm) == ["Title 999"]
    assert set(states()) == {"succeeded", "superseded"}


def test_what_callers_made_is_read_back_in_one_call(crm: CRMControl) -> None:  # noqa: F811
    made = [
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": f"Deal {n}"}, wait=False)
        for n in range(50)
    ]
    deliver()
    assert calls(crm) == [("create", 50), ("get", 50)]
    for invocation in made:
        invocation.refresh_from_db()
        assert invocation.record is not None
        assert invocation.record.data["document_name"] == invocation.payload["name"]


def test_what_models_wrote_is_not_read_back(customer: Customer, crm: CRMControl) -> None:  # noqa: F811
    save(customer, 3)
    deliver()
    assert calls(crm) == [("create", 3)]


def test_one_by_itself_is_a_call_for_one(customer: Customer, crm: CRMControl) -> None:  # noqa: F811
    (deal,) = save(customer, 1)
    deliver()
    deal.title = "Renamed"
    deal.save()
    deliver()
    deal.delete()
    deliver()
    assert crm.counts()["outcomes"].get("201") == 1
    assert calls(crm) == [("create", 1), ("update", 1), ("delete", 1)]


# -- one that is refused --------------------------------------------------------------------------


def test_one_that_is_refused_fails_alone(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 3)
    save(customer, 1, "poison")
    save(customer, 3, "More")
    deliver()
    assert states() == ["succeeded"] * 3 + ["failed"] + ["succeeded"] * 3
    assert calls(crm) == [("create", 7)]
    failed = Invocation.objects.get(status="failed")
    assert [str(problem) for problem in failed.error.errors] == [  # type: ignore[union-attr]
        "payload.name: Name: This name is not allowed."
    ]
    assert Attempt.objects.get(invocation=failed).outcome == "failed"


@pytest.mark.parametrize("operation", ["create", "update"])
def test_one_that_spoils_the_whole_call_fails_alone(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    operation: str,
) -> None:
    deals = save(customer, 100)
    if operation == "update":
        deliver()
        edit(deals, "Renamed")
    crm.faults(all_or_none=True)
    bad = deals[37]
    bad.title = "poison"
    bad.save()
    before = len(crm.calls("acme"))
    deliver()
    assert [i.object_pk for i in Invocation.objects.filter(status="failed")] == [str(bad.pk)]
    assert len(titles(crm)) == 100 - (operation == "create")
    assert "poison" not in titles(crm)
    # Found by halving: two calls for each time that a hundred can be halved, and the first.
    assert len(crm.calls("acme")) - before <= 2 * 7 + 1


class LongWinded(LoopbackProvider):
    """A vendor who refuses all for one, and whose adapter breaks on it rather than says so."""

    slug = "loopback-broken"

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        if any("odd" in str(draft.values["Name"]) for draft in drafts):
            raise KeyError("odd")
        return super().create_many(remote_object, drafts)

    def create(self, remote_object: str, values: Any, *, key: str) -> RecordRef:
        if "odd" in str(values["Name"]):
            raise KeyError("odd")
        return super().create(remote_object, values, key=key)


def test_one_on_which_an_adapter_breaks_stops_alone_and_nothing_is_doubled(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    settings: Any,
) -> None:
    connect_to(LongWinded, crm, settings)
    save(customer, 20)
    save(customer, 1, "odd")
    save(customer, 20, "More")
    deliver()
    assert sorted(set(states())) == ["succeeded", "unknown"]
    assert states().count("unknown") == 1
    assert len(titles(crm)) == len(set(titles(crm))) == 40


def test_looking_for_the_one_that_spoils_it_stops_when_the_crm_asks_for_a_pause(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 1, "poison")
    save(customer, 99)
    # The call itself and some of its parts are let in; then the CRM has had enough.
    crm.faults("acme", all_or_none=True, calls=3, per=60)
    before = len(crm.calls("acme"))
    drain("acme")
    outcomes = [call["outcome"] for call in crm.calls("acme")[before:]]
    assert outcomes[:3] == ["422", "422", "422"]
    assert outcomes.count("429") <= 1


# -- two rows that stand for one record -----------------------------------------------------------


def test_two_rows_that_stand_for_one_record_are_not_in_one_call(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    """Vendors refuse a call that names a record twice."""
    first, second = save(customer, 2)
    with xkit_crm.muted():
        twin = DealFactory.create(customer=customer, title="Twin")
    deliver()
    xkit_crm.link(twin, "acme", xkit_crm.links(first).get().record_id)
    edit([first, second], "Renamed")
    twin.title = "By its twin"
    twin.save()
    deliver()
    assert set(states()) == {"succeeded"}
    assert titles(crm) == ["By its twin", f"Renamed {second.pk}"]


# -- what is remembered ---------------------------------------------------------------------------


def test_links_remember_what_was_delivered_and_what_was_written(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    deals = save(customer, 3)
    deliver()
    edit(deals, "Renamed")
    deals[0].views = 7
    deals[0].save()
    deliver()
    for deal in deals:
        link = xkit_crm.links(deal).get()
        assert link.delivered["name"] == digest(f"Renamed {deal.pk}")
        assert link.delivered["views"] == digest(deal.views)
        assert link.written["Name"] == fingerprint(f"Renamed {deal.pk}")
        assert link.written["Views"] == fingerprint(deal.views)
        (record,) = (r for r in crm.records("acme") if link.record_id.endswith(r["id"]))
        for field, mark in link.written.items():
            assert fingerprint(record["values"][field]) == mark, field


def test_an_update_that_failed_leaves_what_is_remembered(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    (deal,) = save(customer, 1)
    deliver()
    before = xkit_crm.links(deal).get()
    deal.title = "poison"
    deal.save()
    deliver()
    assert states() == ["succeeded", "failed"]
    after = xkit_crm.links(deal).get()
    assert (after.delivered, after.written) == (before.delivered, before.written)


def test_protected_fields_of_many_are_read_in_one_call(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    act(
        "deal_updated",
        transformations=[
            {"field": "Name", "kind": "direct", "key": "name", "mode": "protect"},
            {"field": "Views", "kind": "direct", "key": "views"},
        ],
    )
    deals = save(customer, 50)
    deliver()
    theirs = crm.records("acme")[0]["id"]
    by_hand(crm).update(RecordRef("Opportunity", theirs), {"Name": "Theirs"})
    before = len(crm.calls("acme"))
    edit(deals, "Renamed")
    deliver()
    made = [(call["operation"], call["items"]) for call in crm.calls("acme")[before:]]
    assert made == [("get", 50), ("update", 50), ("get", 50)]
    assert titles(crm) == ["Theirs", *(f"Renamed {deal.pk}" for deal in deals[1:])]


def test_a_record_that_is_gone_fails_its_own_change_only(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    deals = save(customer, 3)
    deliver()
    ref = RecordRef.parse(xkit_crm.links(deals[1]).get().record_id)
    by_hand(crm).delete(ref)
    edit(deals, "Renamed")
    deliver()
    assert states()[3:] == ["succeeded", "failed", "succeeded"]
