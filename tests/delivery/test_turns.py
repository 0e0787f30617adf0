"""What a turn in a lane costs, and what is kept from one turn to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.delivery.conftest import act, states
from tests.delivery.test_batching import save, titles
from tests.objects import OBJECTS
from tests.products.models import Customer
from xkit_crm.delivery import lanes
from xkit_crm.delivery.drain import take_turn
from xkit_crm.delivery.rows import Fewer, inserting, together, updating
from xkit_crm.models import Attempt, Connection, EventAction, Invocation, Lane, ObjectMapping

NAME = {"field": "Name", "kind": "direct", "key": "name"}


def asked(work: Callable[[], object]) -> list[str]:
    """The statements that it takes; savepoints, which are the tests' own, are left out."""
    with CaptureQueriesContext(database) as captured:
        work()
    return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("loopback")
def test_a_turn_of_one_record_takes_six_statements(customer: Customer) -> None:
    save(customer, 1)
    take_turn("acme")
    save(customer, 1)
    statements = asked(lambda: take_turn("acme"))
    assert states() == ["succeeded", "succeeded"]
    # Take the lane; read what is next and its links; begin; store; give the lane back.
    assert len(statements) == 6, statements


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.usefixtures("loopback")
def test_a_turn_of_many_takes_as_many_statements_as_one(customer: Customer) -> None:
    save(customer, 1)
    take_turn("acme")
    save(customer, 40)
    assert len(asked(lambda: take_turn("acme"))) == 6
    assert Attempt.objects.filter(outcome="succeeded").count() == 41


@pytest.mark.django_db
@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize(
    "change",
    [
        lambda: act("deal_created", transformations=[]),
        lambda: EventAction.objects.filter(event__slug="deal_created").delete(),
        lambda: ObjectMapping.objects.update(remote_object=""),
        lambda: ObjectMapping.objects.all().delete(),
    ],
    ids=["an action", "no action", "opted out", "no mapping"],
)
def test_what_was_decided_since_the_last_turn_holds_in_the_next(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
    change: Callable[[], object],
) -> None:
    act("deal_created", transformations=[NAME])
    save(customer, 1)
    take_turn("acme")
    assert titles(crm) == ["Deal 0"]
    change()
    save(customer, 1)
    take_turn("acme")
    assert [title for title in titles(crm) if title] == ["Deal 0"]


@pytest.mark.django_db
@pytest.mark.usefixtures("loopback")
def test_an_object_that_was_defined_anew_since_the_last_turn_is_read_anew(
    customer: Customer,
) -> None:
    save(customer, 1)
    take_turn("acme")
    first = Invocation.objects.get().record
    assert first is not None
    assert "document_name" in first.data
    fields = dict(OBJECTS["opportunity"]["fields"])
    del fields["document_name"]
    xkit_crm.define({"opportunity": {**OBJECTS["opportunity"], "fields": fields}}, prune=False)
    save(customer, 1)
    take_turn("acme")
    second = Invocation.objects.order_by("-id")[0].record
    assert second is not None
    assert "document_name" not in second.data


@pytest.mark.django_db
def test_only_one_takes_a_lane(connection: Connection) -> None:
    with lanes.held(connection.pk) as mine, lanes.held(connection.pk) as theirs:
        assert mine
        assert not theirs
    lane = Lane.objects.get()
    assert (lane.holder, lane.leased_until) == ("", None)


@pytest.mark.django_db
def test_the_connection_that_comes_with_the_lane_is_asked_for_once_only(
    connection: Connection,
) -> None:
    with lanes.held(connection.pk) as hold:
        assert hold.connection() is not None
        Connection.objects.filter(pk=connection.pk).update(status="disabled")
        assert hold.connection() is None


# -- many rows at once ----------------------------------------------------------------------------


def states_of(changes: dict[int, str], **named: Any) -> Any:
    every = [({"id": pk}, {"error_code": code}) for pk, code in changes.items()]
    return updating(Invocation, every, **named)


@pytest.mark.django_db
@pytest.mark.parametrize("around", [False, True], ids=["by itself", "in a transaction"])
def test_where_one_write_meets_fewer_rows_than_it_has_to_nothing_is_written(
    connection: Connection, definitions: None, around: bool
) -> None:
    from tests.delivery.test_claiming import row, store

    one, other = store(row("one"), row("other"))
    attempt = {
        "invocation_id": one.pk,
        "number": 1,
        "operation": "create",
        "target": "",
        "outcome": "succeeded",
        "started_at": one.created_at,
        "duration": one.created_at - one.created_at,
    }

    def write(gone: int) -> list[int]:
        return together(
            [
                states_of({one.pk: "a", other.pk: "b"}),
                inserting(Attempt, [attempt]),
                states_of({}),
                states_of({gone: "c"}, every=True),
            ]
        )

    with pytest.raises(Fewer):
        if around:
            with transaction.atomic():
                write(-1)
        else:
            write(-1)
    # The transaction around it goes on.
    assert set(Invocation.objects.values_list("error_code", flat=True)) == {""}
    assert not Attempt.objects.exists()
    third = store(row("third"))[0]
    assert write(third.pk) == [2, 1, 0, 1]
    codes = Invocation.objects.order_by("id").values_list("error_code", flat=True)
    assert list(codes) == ["a", "b", "c"]
    assert Attempt.objects.count() == 1
