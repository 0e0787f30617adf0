"""Who may come in: tokens and the sessions that they open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.utils import timezone
from django.utils.translation import gettext_lazy

import xkit_crm
from tests.factories import ConnectionFactory
from xkit_crm.crm_link.tokens import Session, open_session, seal, unseal
from xkit_crm.exceptions import ConfigurationError, LinkTokenInvalid, UnknownConnection

pytestmark = pytest.mark.django_db

ORIGIN = "https://app.example.com"


def test_a_token_opens_the_connections_of_its_context() -> None:
    session = open_session(
        xkit_crm.link_token("workspace-1", author="Ada"), origin=ORIGIN, connection_id="acme"
    )
    assert session == Session("workspace-1", "acme", ORIGIN, "Ada")
    assert session.connection() is None


def test_without_an_id_each_opening_makes_a_connection_of_its_own() -> None:
    token = xkit_crm.link_token("workspace-1")
    first, second = (open_session(token, origin=ORIGIN).connection_id for _ in range(2))
    assert first != second
    assert len(first) == 36


def test_a_token_for_one_connection_opens_no_other() -> None:
    token = xkit_crm.link_token("workspace-1", "acme")
    assert open_session(token, origin=ORIGIN).connection_id == "acme"
    with pytest.raises(LinkTokenInvalid, match="another connection"):
        open_session(token, origin=ORIGIN, connection_id="other")


def test_a_connection_of_another_context_is_as_unknown_as_can_be() -> None:
    ConnectionFactory.create(id="acme", context="workspace-2")
    with pytest.raises(LinkTokenInvalid, match="not good for this connection"):
        open_session(xkit_crm.link_token("workspace-1"), origin=ORIGIN, connection_id="acme")
    with pytest.raises(UnknownConnection):
        xkit_crm.link_token("workspace-1", "acme")


def test_a_session_is_refused_once_its_connection_is_another_contexts() -> None:
    session = Session("workspace-1", "acme", ORIGIN)
    ConnectionFactory.create(id="acme", context="workspace-2")
    with pytest.raises(LinkTokenInvalid):
        unseal(seal(session)).connection()


def test_a_token_needs_a_context() -> None:
    for nothing in ("", None):
        with pytest.raises(ConfigurationError, match="context"):
            xkit_crm.link_token(nothing)


def test_ids_and_names_may_be_whatever_says_them() -> None:
    ConnectionFactory.create(id="7", context="6")
    token = xkit_crm.link_token(6, 7, author=gettext_lazy("Yes"))  # type: ignore[arg-type]
    session = open_session(token, origin=ORIGIN)
    assert (session.context, session.connection_id, session.author) == ("6", "7", "Yes")
    assert session.connection() is not None


def test_a_token_expires_after_a_timedelta() -> None:
    with pytest.raises(ConfigurationError, match="60"):
        xkit_crm.link_token("workspace-1", expires=60)  # type: ignore[arg-type]


def test_a_token_is_good_for_a_quarter_of_an_hour(time_machine: Any) -> None:
    token = xkit_crm.link_token("workspace-1")
    longer = xkit_crm.link_token("workspace-1", expires=timedelta(hours=1))
    time_machine.move_to(timezone.now() + timedelta(minutes=16))
    assert open_session(longer, origin=ORIGIN)
    with pytest.raises(LinkTokenInvalid, match="too old"):
        open_session(token, origin=ORIGIN)


@pytest.mark.parametrize(
    "token",
    [
        lambda: "",
        lambda: "x",
        lambda: "a:b:c",
        lambda: signing.dumps({"c": "workspace-1", "i": None, "a": "", "s": 900}, salt="other"),
        lambda: signing.dumps(["c"], salt="xkit_crm.link.token"),
        lambda: signing.dumps({"c": "workspace-1"}, salt="xkit_crm.link.token"),
    ],
    ids=["empty", "short", "of three parts", "of another salt", "of a list", "of half a token"],
)
def test_a_forged_token_opens_nothing(token: Callable[[], str]) -> None:
    with pytest.raises(LinkTokenInvalid):
        open_session(token(), origin=ORIGIN)


def test_a_token_is_no_session_and_a_session_no_token() -> None:
    with pytest.raises(LinkTokenInvalid):
        unseal(xkit_crm.link_token("workspace-1"))
    with pytest.raises(LinkTokenInvalid):
        open_session(seal(Session("workspace-1", "acme", ORIGIN)), origin=ORIGIN)


def test_a_session_ends_after_some_hours(time_machine: Any) -> None:
    session = Session("workspace-1", "acme", ORIGIN, objects=("opportunity",))
    sealed = seal(session)
    assert unseal(sealed) == session
    time_machine.move_to(timezone.now() + timedelta(hours=5))
    with pytest.raises(LinkTokenInvalid, match="too long"):
        unseal(sealed)
