"""Doing again what failed, as the same invocation and with today's mapping."""

from __future__ import annotations

import pytest

import xkit_crm
from tests.delivery.conftest import Misbehave, act, names, only, states
from xkit_crm.delivery.replay import replay
from xkit_crm.models import Connection, Invocation
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db

NAME = [{"field": "Name", "kind": "direct", "key": "name"}]


def test_what_failed_is_done_again_with_todays_mapping(sandbox: Connection) -> None:
    no_stage = [{"field": "StageName", "kind": "direct", "key": "name"}, *NAME]
    created = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
    act("deal_created", transformations=no_stage)
    deliver()
    assert only().status == "failed"
    act("deal_created", transformations=NAME)
    assert replay([created]) == 1
    deliver()
    assert names() == ["x"]
    assert only().status == "succeeded"
    assert only().error is None
    assert [attempt.number for attempt in only().attempts.all()] == [1, 2]


def test_what_is_unknown_is_looked_up_before_it_is_done_again(
    sandbox: Connection, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "can_find_created", False)
    misbehave("timeout_after", operation="create")
    unknown = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
    assert unknown.status == "unknown"
    monkeypatch.setattr(SandboxProvider, "can_find_created", True)
    replay([unknown])
    deliver()
    assert names() == ["x"]
    assert only().status == "succeeded"


def test_what_was_done_is_left_alone(sandbox: Connection) -> None:
    done = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
    assert replay([done]) == 0
    assert states() == ["succeeded"]
    assert Invocation.objects.get().attempts.count() == 1


def test_a_replay_gets_all_its_tries_again(
    sandbox: Connection, misbehave: Misbehave, settings: object
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "MAX_ATTEMPTS": 2}  # type: ignore[attr-defined]
    down = misbehave("unavailable", operation="create", times=2)
    failed = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"})
    assert failed.status == "failed"
    type(down).objects.update(remaining=1)
    replay([failed])
    deliver()
    assert only().status == "succeeded"
