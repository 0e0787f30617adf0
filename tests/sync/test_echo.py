"""A CRM's changes are applied to the product's models, and nothing bounces."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection as database
from django.db import transaction

import xkit_crm
from tests.delivery.conftest import Misbehave, act, held, misbehave
from tests.factories import ConnectionFactory, DealFactory, InvocationFactory
from tests.products.models import Customer, Deal
from tests.sync.test_capture import rebound
from xkit_crm.delivery.drain import take_turn
from xkit_crm.exceptions import InProgress, UnknownConnection, UnknownRecord
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.invocation import NEVER
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.providers.sandbox.records import update_record
from xkit_crm.sync import echo
from xkit_crm.sync.digests import fingerprints
from xkit_crm.sync.echo import ours, written_to
from xkit_crm.sync.reconcile import reconcile
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db
__all__ = ["misbehave"]

RECORD = "Opportunity:00001"


@pytest.fixture
def synced(sandbox: Connection, customer: Customer) -> Deal:
    """A row whose record is in the CRM as we wrote it."""
    made = DealFactory.create(customer=customer, title="Ours", amount="1200.50")
    deliver()
    Invocation.objects.all().delete()
    return Deal.objects.get(pk=made.pk)


@pytest.fixture
def everywhere(sandbox: Connection) -> Any:
    """Deals go to three connections."""
    for name in ("second", "third"):
        ConnectionFactory.create(id=name)

    class Everywhere(xkit_crm.ModelSync):
        crm_object = "opportunity"
        on_create = "deal_created"
        on_update = "deal_updated"
        on_delete = "deal_deleted"
        payload = {"name": "title"}

        def get_connections(self, deal: Deal) -> list[str]:
            return ["acme", "second", "third"]

    with rebound(Everywhere):
        yield


def told() -> list[str]:
    """The connections that something was fired to, and forget it."""
    found = sorted(Invocation.objects.values_list("connection_id", flat=True))
    Invocation.objects.all().delete()
    return found


def edit(**values: Any) -> None:
    """Somebody edits the record in the CRM."""
    update_record(Org.objects.get(slug="acme"), RecordRef.parse(RECORD), values)


# -- the origin of a change ------------------------------------------------------------------------


def test_what_comes_from_a_crm_is_fired_to_every_other(everywhere: Any, deal: Deal) -> None:
    with xkit_crm.applying("acme"):
        deal.title = "From acme"
        deal.save()
    assert told() == ["second", "third"]
    deal.title = "From us"
    deal.save()
    assert told() == ["acme", "second", "third"]


def test_creates_and_deletes_do_not_bounce_either(everywhere: Any, customer: Customer) -> None:
    with xkit_crm.applying(Connection.objects.get(pk="acme")):
        deal = DealFactory.create(customer=customer)
        assert told() == ["second", "third"]
        deal.delete()
    assert told() == ["second", "third"]


def test_a_delete_that_comes_from_a_crm_ends_the_link_to_it(everywhere: Any, deal: Deal) -> None:
    kept = DealFactory.create(customer=deal.customer)
    for name in ("acme", "second"):
        for row in (deal, kept):
            xkit_crm.link(row, name, f"Opportunity:{row.pk}")
    deal_pk = str(deal.pk)
    with xkit_crm.applying("acme"):
        deal.delete()
    left = RecordLink.objects.filter(object_pk=deal_pk)
    assert [link.connection_id for link in left] == ["second"]
    assert RecordLink.objects.filter(object_pk=str(kept.pk)).count() == 2


def test_and_reconcile_does_not_send_it_back(synced: Deal) -> None:
    with xkit_crm.applying("acme"):
        synced.delete()
    reconcile([Deal])
    assert told() == []


def test_a_link_stays_where_the_delete_is_rolled_back(everywhere: Any, deal: Deal) -> None:
    xkit_crm.link(deal, "acme", RECORD)
    with xkit_crm.applying("acme"), transaction.atomic():
        deal.delete()
        transaction.set_rollback(True)
    assert RecordLink.objects.count() == 1


def test_origins_nest(everywhere: Any, deal: Deal) -> None:
    with xkit_crm.applying("acme"):
        with xkit_crm.applying("second"):
            deal.title = "From both"
            deal.save()
            assert told() == ["third"]
        deal.title = "From acme"
        deal.save()
    assert told() == ["second", "third"]


def test_an_error_ends_the_block(everywhere: Any, deal: Deal) -> None:
    with pytest.raises(ZeroDivisionError), xkit_crm.applying("acme"):
        raise ZeroDivisionError
    deal.title = "From us"
    deal.save()
    assert told() == ["acme", "second", "third"]


def test_a_thread_that_is_started_in_the_block_is_outside_of_it() -> None:
    from xkit_crm.sync.echo import without_origin

    seen: list[list[str]] = []
    with xkit_crm.applying("acme"):
        assert without_origin(["acme", "second"]) == ["second"]
        thread = threading.Thread(target=lambda: seen.append(without_origin(["acme"])))
        thread.start()
        thread.join()
    assert seen == [["acme"]]


def test_tasks_have_their_own_origin_and_hand_it_to_what_they_await() -> None:
    from xkit_crm.sync.echo import without_origin

    async def one(name: str, started: asyncio.Barrier) -> list[str]:
        with xkit_crm.applying(name):
            await started.wait()
            return await sync_to_async(without_origin)(["acme", "second", "third"])

    async def both() -> list[list[str]]:
        started = asyncio.Barrier(2)
        return await asyncio.gather(one("acme", started), one("second", started))

    assert asyncio.run(both()) == [["second", "third"], ["acme", "third"]]


# -- what is news ----------------------------------------------------------------------------------


def test_an_echo_of_our_own_write_is_no_news(synced: Deal) -> None:
    (record,) = held()
    written = {name: record.get(name) for name in written_to("acme", RECORD)}
    assert "Name" in written
    assert xkit_crm.changes_from_crm("acme", RECORD, written) == {}


def test_the_crms_spelling_of_what_we_wrote_is_no_news(synced: Deal) -> None:
    spelled = {"Name": "Ours ", "Amount": "1200.5000"}
    assert written_to("acme", RECORD).keys() >= spelled.keys()
    assert xkit_crm.changes_from_crm("acme", RECORD, spelled) == {}


def test_what_somebody_edited_there_is_news_as_the_crm_says_it(synced: Deal) -> None:
    values = {"Name": "Theirs", "Amount": 1200.5, "Amount2": None}
    news = xkit_crm.changes_from_crm(Connection.objects.get(pk="acme"), RECORD, values)
    assert news == {"Name": "Theirs", "Amount2": None}


def test_what_we_wrote_and_somebody_cleared_is_news(synced: Deal) -> None:
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": ""}) == {"Name": ""}


def test_of_a_record_that_no_row_is_linked_to_everything_is_news(synced: Deal) -> None:
    assert xkit_crm.changes_from_crm("acme", "Opportunity:7", {"Name": "Ours"}) == {"Name": "Ours"}


def test_two_rows_of_one_record_share_what_was_written(synced: Deal, customer: Customer) -> None:
    with xkit_crm.muted():
        other = DealFactory.create(customer=customer)
    link = xkit_crm.link(other, "acme", RECORD)
    link.written = fingerprints({"Name": "Other"})
    link.save()
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Other", "Amount": 1200.5}) == {}
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Ours"}) == {"Name": "Ours"}


def test_who_is_unknown_has_no_news(synced: Deal) -> None:
    with pytest.raises(UnknownConnection):
        xkit_crm.changes_from_crm("nobody", RECORD, {})
    with pytest.raises(UnknownRecord):
        xkit_crm.changes_from_crm("acme", "00001", {})


def test_while_a_write_is_under_way_nobody_can_tell(synced: Deal) -> None:
    synced.title = "On its way"
    synced.save()
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Ours"}) == {}
    Invocation.objects.update(status="running")
    with pytest.raises(InProgress) as caught:
        xkit_crm.changes_from_crm("acme", RECORD, {"Name": "On its way"})
    assert caught.value.retry_after == 1
    assert xkit_crm.changes_from_crm("acme", "Opportunity:7", {"Name": "x"}) == {"Name": "x"}


def test_a_record_that_nobody_knows_may_be_the_one_that_is_being_made(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    Invocation.objects.update(status="running")
    with pytest.raises(InProgress):
        xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Sales contract"})


def test_so_may_the_change_of_a_row_that_has_no_record_yet(
    sandbox: Connection, deal: Deal, synced: Deal
) -> None:
    for row in (deal, synced):
        row.title = "On its way"
        row.save()
    Invocation.objects.filter(object_pk=str(synced.pk)).update(status="running")
    assert xkit_crm.changes_from_crm("acme", "Opportunity:7", {"Name": "x"}) == {"Name": "x"}
    Invocation.objects.update(status="running")
    with pytest.raises(InProgress):
        xkit_crm.changes_from_crm("acme", "Opportunity:7", {"Name": "On its way"})


def test_where_the_answer_to_a_write_was_lost_nobody_can_tell_either(
    synced: Deal, misbehave: Misbehave
) -> None:
    misbehave("timeout_after", operation="update")
    synced.title = "Written perhaps"
    synced.save()
    take_turn("acme")
    assert held()[0]["Name"] == "Written perhaps"
    with pytest.raises(InProgress):
        xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Written perhaps"})
    deliver()
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Written perhaps"}) == {}


def test_nor_whose_a_record_is_that_may_have_been_made(
    sandbox: Connection, customer: Customer, misbehave: Misbehave
) -> None:
    misbehave("timeout_after", operation="create")
    DealFactory.create(customer=customer, title="Made perhaps")
    take_turn("acme")
    with pytest.raises(InProgress):
        xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Made perhaps"})
    # Nothing is settled until the connection goes live; its CRM is heard nevertheless.
    Invocation.objects.update(due_at=NEVER)
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "x"}) == {"Name": "x"}


def test_a_write_that_ends_while_it_is_looked_for_is_no_news(
    synced: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = echo._require_settled

    def ends_before(*args: Any) -> None:
        synced.title = "Just written"
        synced.save()
        deliver()
        looked(*args)

    monkeypatch.setattr(echo, "_require_settled", ends_before)
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Just written"}) == {}


def test_a_create_that_ends_while_it_is_looked_for_is_no_news(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = echo._require_settled

    def ends_before(*args: Any) -> None:
        DealFactory.create(customer=customer, title="Just made")
        deliver()
        looked(*args)

    monkeypatch.setattr(echo, "_require_settled", ends_before)
    assert xkit_crm.changes_from_crm("acme", RECORD, {"Name": "Just made"}) == {}


@pytest.mark.skipif(database.vendor == "sqlite", reason="it takes no partial index for parameters")
def test_what_is_under_way_is_found_at_once_however_much_waits(connection: Connection) -> None:
    """Every webhook looks for it, and every page of a backfill."""
    one = InvocationFactory.create(connection=connection)
    Invocation.objects.bulk_create(
        Invocation(connection=connection, event=one.event, record_key=f"record {n}")
        for n in range(5000)
    )
    if database.vendor == "postgresql":  # MariaDB sees by itself, and would commit
        with database.cursor() as cursor:
            cursor.execute("ANALYZE xkit_crm_invocation")
    plan = echo.under_way(connection.pk).explain()
    assert "xkit_invocation_status_idx" in plan
    assert "xkit_invocation_doubt_idx" in plan


def test_ours_is_what_we_last_wrote_and_what_nobody_filled() -> None:
    written = fingerprints({"Kept": 10, "Edited": "a", "Cleared": "b"})
    current = {"Kept": "10.0", "Edited": "z", "Cleared": None, "Empty": "", "Theirs": "x"}
    assert ours(written, current) == {"Kept", "Empty"}


# -- fields that are protected ---------------------------------------------------------------------

ROWS = [
    {"field": "Name", "kind": "direct", "key": "name", "mode": "protect"},
    {"field": "Amount", "kind": "direct", "key": "amount"},
]


def change(deal: Deal, **values: Any) -> dict[str, Any]:
    """Change the row, deliver it, and give the record as it then is."""
    for name, value in values.items():
        setattr(deal, name, value)
    deal.save()
    deliver()
    assert set(Invocation.objects.values_list("status", flat=True)) == {"succeeded"}
    (record,) = held()
    return {name: record[name] for name in ("Name", "Amount")}


def test_a_protected_field_follows_the_row_until_somebody_edits_it(synced: Deal) -> None:
    act("deal_updated", transformations=ROWS)
    assert change(synced, title="Second") == {"Name": "Second", "Amount": 1200.5}
    assert change(synced, title="Third", amount=7) == {"Name": "Third", "Amount": 7}
    edit(Name="Theirs", Amount=8)
    assert change(synced, title="Fourth", amount=9) == {"Name": "Theirs", "Amount": 9}
    assert change(synced, title="Fifth", amount=10) == {"Name": "Theirs", "Amount": 10}


def test_a_protected_field_of_a_record_that_we_did_not_make_is_theirs(
    sandbox: Connection, deal: Deal
) -> None:
    theirs = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Theirs"})
    assert theirs.record is not None
    xkit_crm.link(deal, "acme", theirs.record.id)
    act("deal_updated", transformations=ROWS)
    assert change(deal, title="Ours", amount=9) == {"Name": "Theirs", "Amount": 9}


# -- as the guide does it --------------------------------------------------------------------------


def test_the_guides_webhook_is_applied_without_bouncing(synced: Deal, everywhere: Any) -> None:
    guide = (Path(__file__).parent.parent.parent / "docs" / "echo.md").read_text(encoding="utf-8")
    example = guide.split("```python\n")[1].split("```")[0]
    named: dict[str, Any] = {"xkit_crm": xkit_crm, "RecordLink": RecordLink}
    exec(example, named)  # noqa: S102 - our own guide
    webhook = named["opportunity_changed"]

    webhook("acme", RECORD, held()[0])
    assert told() == []
    edit(Name="Theirs")
    webhook("acme", RECORD, held()[0])
    assert told() == ["second", "third"]
    assert Deal.objects.get(pk=synced.pk).title == "Theirs"
    webhook("acme", "Opportunity:7", {"Name": "Nobody's"})
    assert told() == []
