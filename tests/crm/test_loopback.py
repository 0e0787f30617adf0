"""The loopback CRM and its adapter, over real HTTP: what the proofs of delivery stand on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.crm.provider import (
    BlindLoopbackProvider,
    LimitedLoopbackProvider,
    LoopbackProvider,
    SingleLoopbackProvider,
)
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.models import Connection, EventAction
from xkit_crm.providers.base import Access, Criterion, Draft, Edit, Operator, RecordRef

OBJECT = "Opportunity"


@pytest.fixture
def provider(crm: CRMControl) -> LoopbackProvider:  # noqa: F811
    return LoopbackProvider(Access("acme", crm.credentials("acme", timeout=0.3)))


def drafts(*names: str) -> list[Draft]:
    return [Draft({"Name": name}, f"key of {name}") for name in names]


def held(crm: CRMControl) -> list[str]:  # noqa: F811
    return [record["values"]["Name"] for record in crm.records()]


def test_a_record_is_made_read_changed_searched_and_deleted(provider: LoopbackProvider) -> None:
    ref = provider.create(OBJECT, {"Name": "Sales", "Amount": 3}, key="k")
    provider.update(ref, {"Amount": 4})
    assert provider.get(ref, ["Name", "Amount", "Views"]).values == {
        "Name": "Sales",
        "Amount": 4,
        "Views": None,
    }
    criteria = [
        Criterion("Name", Operator.CONTAINS, "sal"),
        Criterion("Amount", Operator.EQUALS, 4),
    ]
    assert [r.ref for r in provider.search(OBJECT, criteria, ["Name"], limit=5)] == [ref]
    provider.delete(ref)
    for call in (lambda: provider.get(ref, []), lambda: provider.delete(ref)):
        with pytest.raises(RemoteRecordNotFound):
            call()


def test_the_same_create_twice_makes_two_records_and_the_marker_finds_the_first(
    provider: LoopbackProvider,
) -> None:
    assert provider.find_created(OBJECT, key="k/1 ä") is None
    first = provider.create(OBJECT, {"Name": "Sales"}, key="k/1 ä")
    assert provider.create(OBJECT, {"Name": "Sales"}, key="k/1 ä") != first
    assert provider.find_created(OBJECT, key="k/1 ä") == first


def test_many_are_written_in_one_call_each_with_its_own_answer(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    good, bad, also_good = provider.create_many(OBJECT, drafts("a", "poison", "b"))
    assert isinstance(good, RecordRef)
    assert isinstance(also_good, RecordRef)
    assert isinstance(bad, RejectedByCRM)
    assert [(p.path, p.error) for p in bad.errors] == [("Name", "This name is not allowed.")]
    gone = RecordRef(OBJECT, "none")
    edits = [Edit(good, {"Views": 1}), Edit(gone, {"Views": 1})]
    assert [type(answer) for answer in provider.update_many(edits)] == [
        type(None),
        RemoteRecordNotFound,
    ]
    read = provider.get_many([good, gone, also_good], ["Name"])
    assert [getattr(r, "values", type(r)) for r in read] == [
        {"Name": "a"},
        RemoteRecordNotFound,
        {"Name": "b"},
    ]
    assert [type(a) for a in provider.delete_many([also_good, gone])] == [
        type(None),
        RemoteRecordNotFound,
    ]
    assert held(crm) == ["a"]
    assert provider.usage.requests == 4
    assert crm.counts()["items"] == {"create": 3, "update": 2, "get": 3, "delete": 2}


def test_a_vendor_of_all_or_none_refuses_the_whole_batch(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    crm.faults(all_or_none=True)
    with pytest.raises(RejectedByCRM):
        provider.create_many(OBJECT, drafts("a", "poison"))
    assert held(crm) == []


def test_more_than_a_batch_takes_is_refused(provider: LoopbackProvider) -> None:
    with pytest.raises(CRMError, match="400"):
        provider.create_many(OBJECT, drafts(*map(str, range(201))))


def test_a_batch_that_names_a_record_twice_writes_it_once(provider: LoopbackProvider) -> None:
    ref = provider.create(OBJECT, {"Name": "Sales"}, key="k")
    first, second = provider.update_many([Edit(ref, {"Views": 1}), Edit(ref, {"Views": 2})])
    assert first is None
    assert type(second) is CRMError
    assert provider.get(ref, ["Views"]).values == {"Views": 1}


@pytest.mark.parametrize(
    ("fault", "error", "unknown", "written"),
    [
        ("rate_limited", RateLimited, False, 0),
        ("unavailable", CRMUnavailable, False, 0),
        ("expired", CRMUnauthorized, False, 0),
        ("drop_before", CRMUnavailable, True, 0),
        ("drop_midway", CRMUnavailable, True, 1),
        ("drop_after", CRMUnavailable, True, 2),
        ("timeout_before", CRMUnavailable, True, 0),
        ("timeout_after", CRMUnavailable, True, 2),
    ],
)
def test_each_fault_is_told_apart_by_its_error_and_by_what_was_written(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
    fault: str,
    error: type[CRMError],
    unknown: bool,
    written: int,
) -> None:
    crm.faults(rates={fault: 1.0}, hang=0.6, retry_after=1.5)
    with pytest.raises(error) as caught:
        provider.create_many(OBJECT, drafts("a", "b"))
    assert caught.value.outcome_unknown is unknown
    assert caught.value.retry_after == (1.5 if fault == "rate_limited" else None)
    assert len(held(crm)) == written
    assert crm.calls()[-1]["outcome"] in (fault, "401", "429", "503")


def test_a_lost_answer_to_a_read_leaves_nothing_unknown(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    crm.faults(rates={"drop_after": 1.0})
    with pytest.raises(CRMUnavailable) as caught:
        provider.find_created(OBJECT, key="k")
    assert not caught.value.outcome_unknown


def test_a_crm_that_is_not_there_has_written_nothing() -> None:
    nobody = {"url": "http://127.0.0.1:9", "org": "acme", "token": "t"}
    with pytest.raises(CRMUnavailable) as caught:
        LoopbackProvider(Access("acme", nobody)).create(OBJECT, {}, key="k")
    assert not caught.value.outcome_unknown


def test_an_expired_token_is_refused_until_the_tenant_is_authorised_again(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    provider.create(OBJECT, {"Name": "a"}, key="a")
    crm.expire("acme")
    with pytest.raises(CRMUnauthorized):
        provider.create(OBJECT, {"Name": "b"}, key="b")
    crm.authorise("acme", "another")
    with pytest.raises(CRMUnauthorized):
        provider.create(OBJECT, {"Name": "b"}, key="b")
    again = LoopbackProvider(Access("acme", crm.credentials("acme", "another")))
    again.create(OBJECT, {"Name": "b"}, key="b")
    assert held(crm) == ["a", "b"]


def test_beyond_the_limit_of_a_window_the_crm_says_when_to_come_back(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    crm.faults("acme", calls=2, per=60, quota=100)
    for name in "ab":
        provider.create(OBJECT, {"Name": name}, key=name)
    assert (provider.usage.left, provider.usage.quota, provider.usage.quota_left) == (0, 100, 98)
    with pytest.raises(RateLimited) as caught:
        provider.create(OBJECT, {"Name": "c"}, key="c")
    assert 50 < (caught.value.retry_after or 0) <= 60
    assert crm.counts()["outcomes"] == {"201": 2, "429": 1}


def test_tenants_see_neither_each_others_records_nor_each_others_faults(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    crm.faults("other", rates={"unavailable": 1.0})
    other = LoopbackProvider(Access("other", crm.credentials("other")))
    ref = provider.create(OBJECT, {"Name": "a"}, key="a")
    with pytest.raises(CRMUnavailable):
        other.get(ref, ["Name"])
    crm.faults("other")
    with pytest.raises(RemoteRecordNotFound):
        other.get(ref, ["Name"])


def test_the_same_seed_and_the_same_calls_meet_the_same_faults(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    def outcomes() -> list[str]:
        crm.forget()
        crm.faults(rates={"unavailable": 0.3, "drop_after": 0.3})
        for number in range(20):
            try:
                provider.create(OBJECT, {"Name": str(number)}, key=str(number))
            except CRMUnavailable:
                continue
        return [call["outcome"] for call in crm.calls()]

    first = outcomes()
    assert outcomes() == first
    assert set(first) == {"201", "503", "drop_after"}


def test_the_journal_has_every_write_in_order(
    provider: LoopbackProvider,
    crm: CRMControl,  # noqa: F811
) -> None:
    ref = provider.create(OBJECT, {"Name": "a"}, key="k")
    provider.update(ref, {"Name": "b"})
    provider.delete(ref)
    journal = crm.journal("acme")
    assert [(w["number"], w["operation"], w["values"]) for w in journal] == [
        (1, "create", {"Name": "a"}),
        (2, "update", {"Name": "b"}),
        (3, "delete", {}),
    ]
    assert {w["record"] for w in journal} == {ref.crm_id}
    assert crm.journal("other") == []


def test_a_connection_to_it_is_mapped_by_default(loopback: Connection) -> None:  # noqa: F811
    action = EventAction.objects.get(event__slug="deal_created", mapping__connection=loopback)
    assert {(row["field"], row["key"]) for row in action.transformations} == {
        ("Name", "name"),
        ("Amount", "amount"),
        ("Views", "views"),
        ("OwnerEmail", "owner_email"),
    }


def test_variants_differ_in_what_their_vendor_can_do(crm: CRMControl) -> None:  # noqa: F811
    access = Access("acme", crm.credentials("acme"))
    create: Callable[..., object] = SingleLoopbackProvider(access).create_many
    create(OBJECT, drafts("a", "b"))
    assert crm.counts()["operations"] == {"create": 2}
    assert not BlindLoopbackProvider.can_find_created
    assert LimitedLoopbackProvider.limits.calls == 20
