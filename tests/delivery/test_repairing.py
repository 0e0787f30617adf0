"""Repair of all that match, in batches, and never of what was not asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.factories import InvocationFactory
from xkit_crm.delivery import failures, log, repairing
from xkit_crm.delivery.log import TROUBLE, Asked, Count
from xkit_crm.delivery.repairing import Done, Repair, Selection, carry_out
from xkit_crm.models import Connection, Invocation

pytestmark = pytest.mark.django_db


def make(connection: Connection, count: int = 1, **named: Any) -> list[Invocation]:
    named = {"status": "failed", "error_code": "crm_error"} | named
    return InvocationFactory.create_batch(count, connection=connection, **named)


def chosen(asked: Asked, repair: Repair = Repair.REPLAY, **named: Any) -> Selection:
    return Selection(repairing.sure(asked, repair), log.newest(), **named)


def states(rows: list[Invocation]) -> set[str]:
    found = Invocation.objects.filter(pk__in=[row.pk for row in rows])
    return set(found.values_list("status", flat=True))


def test_all_that_match_are_repaired_and_nothing_else(connection: Connection) -> None:
    other = Connection.objects.create(id="other", provider="sandbox")
    mine, theirs = make(connection, 5), make(other, 2)
    done = carry_out(chosen(Asked(connection_id="acme")), Repair.REPLAY)
    assert done == Done(5)
    assert (states(mine), states(theirs)) == ({"pending"}, {"failed"})
    assert carry_out(chosen(Asked(connection_id="other")), Repair.SKIP) == Done(2)
    assert states(theirs) == {"skipped"}


@pytest.mark.parametrize(
    ("statuses", "repair", "sure", "unsure"),
    [
        ((), Repair.REPLAY, ("failed",), ("unknown",)),
        (TROUBLE, Repair.SKIP, ("failed",), ("unknown",)),
        (("unknown",), Repair.REPLAY, (), ("unknown",)),
        (("unknown",), Repair.SKIP, (), ("unknown",)),
        (("failed",), Repair.REPLAY, ("failed",), ()),
        (("skipped",), Repair.REPLAY, ("skipped",), ()),
        (("skipped",), Repair.SKIP, (), ()),
        (("pending",), Repair.SKIP, ("pending",), ()),
        (("pending",), Repair.REPLAY, (), ()),
        (("succeeded",), Repair.REPLAY, (), ()),
    ],
)
def test_what_is_done_and_what_is_in_doubt_is_not_repaired_by_the_way(
    statuses: tuple[str, ...], repair: Repair, sure: tuple[str, ...], unsure: tuple[str, ...]
) -> None:
    asked = Asked(statuses=tuple(statuses))
    assert repairing.sure(asked, repair).statuses == sure
    assert repairing.unsure(asked, repair).statuses == unsure
    assert set(repairing.together(asked, repair).statuses) == {*sure, *unsure}


def test_nothing_is_done_where_no_state_is_left(connection: Connection) -> None:
    done = make(connection, 2, status="succeeded")
    selection = chosen(Asked(statuses=("succeeded",)))
    assert repairing.count(selection) == Count(0)
    assert carry_out(selection, Repair.REPLAY) == Done()
    assert states(done) == {"succeeded"}


def test_what_failed_after_it_was_counted_is_left(connection: Connection) -> None:
    before = make(connection, 3)
    selection = chosen(Asked())
    after = make(connection, 2)
    assert repairing.count(selection) == Count(3)
    assert carry_out(selection, Repair.REPLAY) == Done(3)
    assert (states(before), states(after)) == ({"pending"}, {"failed"})


def test_many_are_done_in_batches_and_gone_on_with(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairing, "BATCH", 10)
    rows = make(connection, 35)
    selection = chosen(Asked())
    batches = iter([True, False])
    first = carry_out(selection, Repair.REPLAY, go_on=lambda: next(batches))
    assert (first.count, first.reached) == (20, rows[19].pk)
    rest = carry_out(selection, Repair.REPLAY, after=first.reached or 0)
    assert rest == Done(15)
    assert states(rows) == {"pending"}


def test_it_ends_by_itself_when_the_time_is_over(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairing, "BATCH", 10)
    monkeypatch.setattr(repairing, "SECONDS", 0.0)
    make(connection, 15)
    assert carry_out(chosen(Asked()), Repair.REPLAY).count == 10


def test_a_batch_takes_a_few_statements(connection: Connection) -> None:
    make(connection, 40)
    with CaptureQueriesContext(database) as queries:
        carry_out(chosen(Asked()), Repair.REPLAY)
    assert len(queries) <= 10


def test_one_cause_is_repaired_and_no_other(connection: Connection) -> None:
    def words(text: str) -> dict[str, Any]:
        return {"error_detail": {"code": "crm_error", "message": text}}

    large = [*make(connection, **words("too large: 1")), *make(connection, **words("too large: 2"))]
    small = make(connection, **words("too small: 1"))
    key = failures.cause_of(large[0]).key
    selection = chosen(Asked(), cause=key)
    assert repairing.count(selection) == Count(2)
    assert carry_out(selection, Repair.SKIP) == Done(2)
    assert (states(large), states(small)) == ({"skipped"}, {"failed"})


def test_what_could_be_doubled_is_left_and_told(connection: Connection, customer: Any) -> None:
    from django.contrib.contenttypes.models import ContentType

    of_row = {
        "content_type": ContentType.objects.get_for_model(type(customer)),
        "object_pk": "1",
        "status": "unknown",
    }
    rows = make(connection, **of_row)
    delete = make(connection, slug="deal_deleted", **of_row)
    asked = repairing.together(Asked(statuses=("unknown",)), Repair.SKIP)
    done = carry_out(Selection(asked, log.newest()), Repair.SKIP)
    assert done == Done(1, left=1)
    assert (states(rows), states(delete)) == ({"unknown"}, {"skipped"})
