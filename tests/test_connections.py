"""Connecting a customer's CRM, and what its status does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.core.exceptions import ValidationError

import xkit_crm
from tests.factories import ConnectionFactory
from tests.objects import OBJECTS
from tests.threads import together
from xkit_crm import signals
from xkit_crm.connections import authorise, propose_mapping, set_status
from xkit_crm.exceptions import ConfigurationError, CRMUnauthorized
from xkit_crm.models import Connection, EventAction, ObjectMapping
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Credentials, Provider, RemoteObject
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.standard import ensure_org

pytestmark = pytest.mark.django_db


def test_a_connection_is_made_enabled_and_mapped(definitions: None) -> None:
    connection = xkit_crm.connect("acme", provider="sandbox", context="workspace-1")
    assert connection.status == "enabled"
    assert connection.context == "workspace-1"
    mapping = ObjectMapping.objects.get(crm_object__slug="opportunity")
    assert mapping.remote_object == "Opportunity"
    assert mapping.fields["document_name"] == "Name"
    actions = EventAction.objects.filter(mapping=mapping)
    assert {action.event.slug: action.action for action in actions} == {
        "deal_created": "create",
        "deal_updated": "update",
        "deal_deleted": "delete",
        "find_deals": "search",
    }


def test_connecting_again_keeps_what_the_customer_decided(sandbox: Connection) -> None:
    EventAction.objects.filter(event__slug="deal_deleted").update(action="noop")
    EventAction.objects.filter(event__slug="deal_created").delete()
    set_status(sandbox, ConnectionStatus.ERRORED, "401")
    again = xkit_crm.connect("acme", provider="sandbox")
    assert (again.status, again.status_reason, again.context) == ("enabled", "", "workspace-1")
    assert EventAction.objects.get(event__slug="deal_deleted").action == "noop"
    assert EventAction.objects.get(event__slug="deal_created").action == "create"


def while_the_crm_is_asked(monkeypatch: pytest.MonkeyPatch, step: Callable[[], object]) -> None:
    """Have this happen once while the CRM says what objects it has."""

    def asking(adapter: Provider) -> Any:
        monkeypatch.undo()
        step()
        return descriptions.objects(adapter)

    monkeypatch.setattr("xkit_crm.connections.descriptions.objects", asking)


@pytest.mark.parametrize(
    "changes",
    [
        {"shadow": True},
        {"quota_reserve": 30},
        {"mapping_version": 7},
        {"credentials_cipher": "refreshed"},
    ],
    ids=lambda changes: "".join(changes),
)
def test_authorising_undoes_nothing_that_was_changed_while_the_crm_was_asked(
    sandbox: Connection,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    set_status(sandbox, ConnectionStatus.ERRORED, "401")
    rows = Connection.objects.filter(pk="acme")
    while_the_crm_is_asked(monkeypatch, lambda: rows.update(**changes))
    authorise("acme", provider="sandbox", context="workspace-1")
    assert rows.values(*changes).get() == changes
    assert rows.get().status == "enabled"


def test_new_credentials_hold_whatever_is_changed_while_the_crm_is_asked(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Connection.objects.filter(pk="acme")
    changes = {"credentials_cipher": "refreshed", "context": "workspace-2", "shadow": True}
    while_the_crm_is_asked(monkeypatch, lambda: rows.update(**changes))
    xkit_crm.connect("acme", provider="sandbox", credentials={"note": "new"})
    found = rows.get()
    assert found.credentials == {"note": "new"}
    assert (found.context, found.shadow) == ("workspace-2", True)


def test_a_connection_that_another_makes_while_the_crm_is_asked_is_authorised_as_it_is(
    definitions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def making() -> None:
        xkit_crm.connect("acme", provider="sandbox", context="workspace-1")
        Connection.objects.update(shadow=True)

    while_the_crm_is_asked(monkeypatch, making)
    xkit_crm.connect("acme", provider="sandbox")
    made = Connection.objects.get()
    assert (made.context, made.shadow, made.status) == ("workspace-1", True, "enabled")


def test_a_sign_in_that_can_be_renewed_once_is_not_lost_where_connecting_begins_again(
    definitions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another makes the same connection at that moment."""
    used_up: list[Credentials] = []

    def ask(used: Credentials) -> Credentials:
        if used in used_up:
            raise CRMUnauthorized("The refresh token was used before.")
        used_up.append(used)
        return {"refresh_token": "second"}

    def describe_objects(self: SandboxProvider) -> Sequence[RemoteObject]:
        if self.access.credentials["refresh_token"] == "first":
            self.access.renew(self.access.credentials, ask)
            ConnectionFactory.create(id="acme")
        return describe(self)

    describe = SandboxProvider.describe_objects
    monkeypatch.setattr(SandboxProvider, "describe_objects", describe_objects)
    xkit_crm.connect("acme", provider="sandbox", credentials={"refresh_token": "first"})
    assert Connection.objects.get().credentials == {"refresh_token": "second"}


def test_a_connection_that_is_deleted_while_the_crm_is_asked_is_made_anew(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_the_crm_is_asked(monkeypatch, lambda: Connection.objects.get().delete())
    xkit_crm.connect("acme", provider="sandbox", context="workspace-2")
    assert Connection.objects.get().context == "workspace-2"
    assert ObjectMapping.objects.exists()


def test_an_object_that_the_customer_opted_out_of_stays_so(sandbox: Connection) -> None:
    ObjectMapping.objects.filter(crm_object__slug="opportunity").update(remote_object="")
    EventAction.objects.all().delete()
    propose_mapping(sandbox)
    assert not EventAction.objects.filter(event__crm_object__slug="opportunity").exists()


def test_what_is_defined_later_is_proposed_on_demand(sandbox: Connection) -> None:
    xkit_crm.define({"account": {"fields": {"name": {"type": "string"}}}})
    propose_mapping(sandbox)
    assert ObjectMapping.objects.get(crm_object__slug="account").remote_object == "Account"


def test_credentials_that_the_crm_refuses_store_nothing(definitions: None) -> None:
    org = ensure_org("acme")
    org.token = "right"
    org.save()
    with pytest.raises(CRMUnauthorized):
        xkit_crm.connect("acme", provider="sandbox", credentials={"token": "wrong"})
    assert not Connection.objects.exists()
    connection = xkit_crm.connect("acme", provider="sandbox", credentials={"token": "right"})
    assert connection.is_enabled


def test_credentials_are_encrypted_and_in_no_repr(definitions: None) -> None:
    connection = xkit_crm.connect(
        "acme", provider="sandbox", credentials={"token": "", "note": "very-secret"}
    )
    (stored,) = Connection.objects.values_list("credentials_cipher", flat=True)
    assert "very-secret" not in stored
    assert "very-secret" not in repr(connection)
    assert "very-secret" not in repr(connection.__dict__)
    assert Connection.objects.get().credentials["note"] == "very-secret"


def test_credentials_outlive_a_key_that_is_rotated(definitions: None, settings: Any) -> None:
    old, new = "old key of more than 32 characters", "new key of more than 32 characters"
    settings.XKIT_CRM = {**settings.XKIT_CRM, "ENCRYPTION_KEYS": [old]}
    xkit_crm.connect("acme", provider="sandbox", credentials={"note": "kept"})
    settings.XKIT_CRM = {**settings.XKIT_CRM, "ENCRYPTION_KEYS": [new, old]}
    assert Connection.objects.get().credentials == {"note": "kept"}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "ENCRYPTION_KEYS": [new]}
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
        _ = Connection.objects.get().credentials


@pytest.mark.parametrize("name", ["a b", "a/b", "ü€", "100%", "a?b#c", "Workspace:1", "x" * 255])
def test_an_id_may_hold_whatever_a_path_segment_can_carry(definitions: None, name: str) -> None:
    assert xkit_crm.connect(name, provider="sandbox").pk == name


@pytest.mark.parametrize("name", ["", "connections", "link-tokens", "..", " a", "a\nb", "x" * 256])
def test_an_id_that_no_path_can_carry_is_refused(definitions: None, name: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        xkit_crm.connect(name, provider="sandbox")
    assert raised.value.errors[0].path == "id"
    assert not Connection.objects.exists()


def test_a_provider_that_is_not_there_is_named(definitions: None) -> None:
    with pytest.raises(ConfigurationError, match="sandbocks") as raised:
        xkit_crm.connect("acme", provider="sandbocks")
    assert "sandbox" in raised.value.hint


def test_a_status_that_does_not_exist_is_refused_by_the_database(connection: Connection) -> None:
    connection.status = "broken"
    with pytest.raises(ValidationError):
        connection.full_clean()


@pytest.mark.django_db(transaction=True)
def test_a_change_of_status_is_told_once_it_is_committed(sandbox: Connection) -> None:
    told: list[tuple[str, str, str]] = []

    def on_changed(old_status: str, new_status: str, reason: str, **_: object) -> None:
        told.append((old_status, new_status, reason))

    signals.connection_status_changed.connect(on_changed)
    set_status(sandbox, ConnectionStatus.DISABLED, "The customer left.")
    set_status(sandbox, ConnectionStatus.DISABLED, "The customer left.")
    xkit_crm.connect("acme", provider="sandbox")
    assert told == [
        ("enabled", "disabled", "The customer left."),
        ("disabled", "enabled", ""),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_stops_nothing(sandbox: Connection) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError

    signals.connection_status_changed.connect(broken)
    set_status(sandbox, ConnectionStatus.DISABLED)
    assert Connection.objects.get().status == "disabled"


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_at_once_define_and_connect_the_same_in_peace() -> None:
    counts = together(*[lambda: len(xkit_crm.define(OBJECTS))] * 4)
    assert sorted(map(str, counts)) == ["0", "0", "0", "7"]
    made = together(*[lambda: xkit_crm.connect("acme", provider="sandbox")] * 4)
    assert made == [Connection.objects.get()] * 4
