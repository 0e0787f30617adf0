"""What its caller tries again by itself, and whose caller goes away during the try."""

from __future__ import annotations

from typing import Any

import pytest

import xkit_crm
from tests.delivery.conftest import Misbehave, create, names, only, states
from xkit_crm.delivery import lanes, outcomes
from xkit_crm.delivery.drain import take_turn
from xkit_crm.exceptions import RejectedByCRM
from xkit_crm.models import Attempt, Connection, Invocation
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def left_to_callers(*titles: str) -> list[Invocation]:
    """Creates that wait, and that their callers try again by themselves."""
    made = [create(title, wait=False) for title in titles]
    Invocation.objects.update(retry=False)
    return made


def left_to_the_engine(invocation: Invocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait of its caller ends just before what came of the try is stored."""
    store = outcomes._store

    def storing(*args: Any, **named: Any) -> int:
        monkeypatch.setattr(outcomes, "_store", store)
        Invocation.objects.filter(pk=invocation.pk).update(retry=True)
        return store(*args, **named)

    monkeypatch.setattr(outcomes, "_store", storing)


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "timeout_after", "expired_token"])
def test_what_passes_is_tried_again_although_its_caller_went_away_during_the_try(
    sandbox: Connection, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (invocation,) = left_to_callers("Sales")
    misbehave(kind, operation="create")
    left_to_the_engine(invocation, monkeypatch)
    take_turn("acme")
    assert (only().status, only().tries, Attempt.objects.count()) == ("pending", 1, 1)
    xkit_crm.connect("acme", provider="sandbox")
    lanes.resume("acme")
    deliver()
    assert only().status == "succeeded"
    assert names() == ["Sales"]


def test_what_the_customer_has_not_decided_waits_although_its_caller_went_away_during_the_try(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (invocation,) = left_to_callers("Sales")
    sandbox.mappings.all().delete()
    left_to_the_engine(invocation, monkeypatch)
    take_turn("acme")
    assert (only().status, only().error_code) == ("pending", "mapping_incomplete")
    assert (only().tries, only().forgiven) == (1, 1)


def test_what_is_refused_has_failed_although_its_caller_went_away_during_the_try(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(self: Any, *args: Any, **named: Any) -> Any:
        raise RejectedByCRM("No!")

    (invocation,) = left_to_callers("Sales")
    monkeypatch.setattr(SandboxProvider, "create", refusing)
    left_to_the_engine(invocation, monkeypatch)
    take_turn("acme")
    assert (only().status, only().tries, Attempt.objects.count()) == ("failed", 1, 1)


def test_of_several_only_those_are_tried_again_whose_callers_went_away_during_the_try(
    sandbox: Connection,
    misbehave: Misbehave,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, second, _ = left_to_callers("First", "Second", "Third")
    misbehave("unavailable", operation="create")
    left_to_the_engine(second, monkeypatch)
    take_turn("acme")
    assert states() == ["failed", "pending", "failed"]
    assert "lease ran out" not in caplog.text
