"""Rows go in and out by statements of our own, and are what Django would have made of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.factories import ConnectionFactory, InvocationFactory
from xkit_crm.delivery import rows, statements
from xkit_crm.delivery.rows import update_each
from xkit_crm.models import Connection, Invocation

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("definitions")]

FEW, MANY = rows.MANY - 1, rows.MANY + 1


@pytest.fixture
def acme() -> Connection:
    return ConnectionFactory.create(id="acme")


def waiting(connection: Connection, count: int) -> list[Invocation]:
    made = InvocationFactory.create_batch(count, connection=connection)
    return list(Invocation.objects.filter(pk__in=[one.pk for one in made]).order_by("pk"))


@pytest.mark.parametrize("count", [FEW, MANY])
def test_what_is_read_is_what_django_reads(acme: Connection, count: int) -> None:
    known = waiting(acme, count)
    found, _ = statements.next_due("acme", timezone.now(), size=count)
    fields = [field.attname for field in Invocation._meta.concrete_fields]
    for one, other in zip(known, sorted(found, key=lambda row: row.pk), strict=True):
        assert {name: getattr(other, name) for name in fields} == {
            name: getattr(one, name) for name in fields
        }
        assert other.due_at.utcoffset() == timedelta()
        assert not other._state.adding
        assert other._state.db == one._state.db
        assert other.connection == acme
        assert not other.get_deferred_fields()


def test_what_is_read_can_be_saved(acme: Connection) -> None:
    waiting(acme, MANY)
    found, _ = statements.next_due("acme", timezone.now(), size=MANY)
    found[0].tries = 3
    found[0].save()
    assert Invocation.objects.get(pk=found[0].pk).tries == 3
    assert Invocation.objects.count() == MANY


@pytest.mark.parametrize("count", [FEW, MANY])
def test_each_row_gets_what_is_its_own_and_what_all_get(acme: Connection, count: int) -> None:
    known = waiting(acme, count)
    now = timezone.now()
    given = [
        {
            "tries": 2,
            "doubtful": True,
            "finished_at": now,
            "error_detail": None,
            "record_id": f"record {number}",
            # Python takes the two for the same, JSON doesn't.
            "result": {"records": 1 if number % 2 else True},
        }
        for number in range(count)
    ]
    changes = [
        ({"id": one.pk, "tries": 0}, values) for one, values in zip(known, given, strict=True)
    ]
    assert update_each(Invocation, changes) == count
    for one, values in zip(known, given, strict=True):
        one.refresh_from_db()
        assert {name: getattr(one, name) for name in values} == values
        assert type(one.result["records"]) is type(values["result"]["records"])  # type: ignore[index]


def test_only_rows_that_meet_what_all_are_found_by_are_changed(acme: Connection) -> None:
    known = waiting(acme, MANY)
    Invocation.objects.filter(pk=known[0].pk).update(tries=1)
    changes = [({"id": one.pk, "tries": 0}, {"tries": 5}) for one in known]
    assert update_each(Invocation, changes) == MANY - 1
    assert Invocation.objects.filter(tries=5).count() == MANY - 1


def test_a_row_that_is_named_many_times_is_changed_once(acme: Connection) -> None:
    (one,) = waiting(acme, 1)
    assert update_each(Invocation, [({"id": one.pk, "tries": 0}, {"tries": 5})] * MANY) == 1
