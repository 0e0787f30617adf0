"""Rounds: calls about one record each, begun and written down together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.crm.control import CRMControl
from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
from tests.crm.provider import LoopbackProvider
from tests.delivery.conftest import states
from tests.delivery.test_batching import calls, connect_to, edit, save, titles
from tests.products.models import Customer
from xkit_crm.delivery.drain import drain
from xkit_crm.exceptions import CRMUnauthorized, RateLimited, RejectedByCRM
from xkit_crm.models import Attempt, Connection, Invocation
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.base import RecordRef
from xkit_crm.testing import deliver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("loopback")]


class OneByOne(LoopbackProvider):
    """A vendor that takes one record a call, and says something else at the call named."""

    slug = "loopback-one"
    batch_size = 1
    answers: dict[int, BaseException] = {}
    made = 0
    #: What the database said of all of them at each call.
    seen: list[list[str]] = []

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        type(self).made += 1
        self.seen.append(states())
        if said := self.answers.get(self.made):
            raise said
        return super().create(remote_object, values, key=key)


class Blind(OneByOne):
    """And can't be asked for what was made."""

    slug = "loopback-one-blind"
    can_find_created = False


class Killed(BaseException):
    """What a worker dies of."""


@pytest.fixture
def one(
    loopback: Connection,  # noqa: F811
    crm: CRMControl,  # noqa: F811
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Connection:
    monkeypatch.setattr(OneByOne, "answers", {})
    monkeypatch.setattr(OneByOne, "made", 0)
    monkeypatch.setattr(OneByOne, "seen", [])
    monkeypatch.setattr(Blind, "made", 0)
    return connect_to(OneByOne, crm, settings)


def say(number: int, what: BaseException) -> None:
    """What comes of the create of this number."""
    OneByOne.answers[number] = what


def untouched() -> list[int]:
    """Invocations that are as if nobody had looked at them."""
    rows = Invocation.objects.filter(status="pending", tries=0, doubtful=False, forgiven=0)
    return list(rows.filter(attempts=None).order_by("id").values_list("id", flat=True))


@pytest.mark.usefixtures("one")
def test_calls_of_a_fast_crm_are_written_down_together(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 40)
    with CaptureQueriesContext(database) as queries:
        deliver()
    assert states() == ["succeeded"] * 40
    assert calls(crm) == [("create", 1)] * 40
    assert titles(crm) == [f"Deal {n}" for n in range(40)]
    assert Attempt.objects.filter(number=1, outcome="succeeded").count() == 40
    attempts = [q for q in queries if 'INSERT INTO "xkit_crm_attempt"' in q["sql"]]
    assert len(attempts) <= 40 if database.vendor != "postgresql" else len(attempts) < 10
    begun = [q for q in queries if "SAVEPOINT" in q["sql"]]
    assert len(begun) < 40


@pytest.mark.usefixtures("one")
def test_calls_of_a_slow_crm_are_written_down_as_they_come(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    crm.faults(latency=0.3)
    save(customer, 3)
    deliver()
    assert OneByOne.seen == [
        ["running", "pending", "pending"],
        ["succeeded", "running", "pending"],
        ["succeeded", "succeeded", "running"],
    ]


@pytest.mark.usefixtures("one")
def test_how_fast_the_crm_was_is_known_in_the_next_turn(customer: Customer) -> None:
    save(customer, 1)
    deliver()
    save(customer, 3)
    deliver()
    assert OneByOne.seen[1:] == [
        ["succeeded", "running", "running", "running"],
        ["succeeded", "running", "running", "running"],
        ["succeeded", "running", "running", "running"],
    ]


@pytest.mark.usefixtures("one")
def test_after_a_429_the_rest_of_a_round_waits_as_if_nobody_had_looked(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 10)
    say(4, RateLimited("Slow down.", retry_after=30))
    drain("acme")
    ids = list(Invocation.objects.order_by("id").values_list("id", flat=True))
    assert states() == ["succeeded"] * 3 + ["pending"] * 7
    assert untouched() == ids[4:]
    assert OneByOne.made == 4
    assert len(titles(crm)) == 3


@pytest.mark.usefixtures("one")
def test_after_a_refusal_of_the_credentials_the_rest_of_a_round_waits(
    customer: Customer,
) -> None:
    save(customer, 10)
    say(4, CRMUnauthorized("The token is no longer good."))
    drain("acme")
    assert Connection.objects.get().status == ConnectionStatus.ERRORED
    assert states() == ["succeeded"] * 3 + ["pending"] * 7
    assert len(untouched()) == 6
    assert OneByOne.made == 4


@pytest.mark.usefixtures("one")
def test_a_worker_that_is_stopped_hands_back_the_rest_of_a_round(customer: Customer) -> None:
    save(customer, 10)
    drain("acme", go_on=lambda: OneByOne.made < 4)
    assert states() == ["succeeded"] * 4 + ["pending"] * 6
    assert len(untouched()) == 6


@pytest.mark.usefixtures("one")
def test_a_refused_record_fails_alone_in_its_round(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 10)
    say(4, RejectedByCRM("The name is taken."))
    drain("acme")
    assert states() == ["succeeded"] * 3 + ["failed"] + ["succeeded"] * 6
    assert titles(crm) == [f"Deal {n}" for n in range(10) if n != 3]


@pytest.mark.usefixtures("one")
def test_what_a_dead_worker_had_begun_is_asked_for_before_it_is_made(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    save(customer, 10)
    say(4, Killed())
    with pytest.raises(Killed):
        drain("acme")
    assert Invocation.objects.filter(doubtful=True).count() == 9
    deliver()
    assert states() == ["succeeded"] * 10
    assert titles(crm) == [f"Deal {n}" for n in range(10)]
    assert len(calls(crm, "find")) == 9


def test_creates_of_a_crm_that_can_not_be_asked_go_one_by_one(
    customer: Customer,
    one: Connection,
    crm: CRMControl,  # noqa: F811
    settings: Any,
) -> None:
    connect_to(Blind, crm, settings)
    save(customer, 10)
    say(4, Killed())
    with pytest.raises(Killed):
        drain("acme")
    deliver()
    assert states() == ["succeeded"] * 3 + ["unknown"] + ["succeeded"] * 6
    assert len(titles(crm)) == 9


@pytest.mark.usefixtures("one")
def test_changes_of_one_record_keep_their_order(
    customer: Customer,
    crm: CRMControl,  # noqa: F811
) -> None:
    deals = save(customer, 5)
    deliver()
    for title in ("First", "Second", "Third"):
        edit(deals, title)
        drain("acme", limit=2)
    deliver()
    assert titles(crm) == [f"Third {deal.pk}" for deal in deals]
    seen: dict[str, list[str]] = {}
    for write in crm.journal("acme"):
        seen.setdefault(write["record"], []).append(write["values"]["Name"].split()[0])
    order = ["Deal", "First", "Second", "Third"]
    for came in seen.values():
        assert came == sorted(came, key=order.index)
