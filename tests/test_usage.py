"""Slugs and types that others rely on stay as they are; what nobody uses may go."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.db import transaction

import xkit_crm
from tests.objects import OBJECTS
from tests.products.models import Customer
from xkit_crm import usage
from xkit_crm.definitions import remove
from xkit_crm.exceptions import DefinitionInUse
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventAction,
    EventDefinition,
    Invocation,
    ModelBinding,
    ObjectMapping,
)

pytestmark = pytest.mark.django_db


def event(slug: str) -> EventDefinition:
    return EventDefinition.objects.select_related("crm_object").get(slug=slug)


@pytest.fixture
def free(definitions: None) -> EventDefinition:
    """An event that nobody has used yet."""
    return event("find_deals")


@pytest.fixture
def unbound(definitions: None) -> CRMObject:
    """An object with an event that no code knows."""
    xkit_crm.define({"ticket": {"events": {"ticket_closed": {"type": "delete"}}}})
    return CRMObject.objects.get(slug="ticket")


def renamed(row: Any) -> Any:
    row.slug = "renamed"
    return row


def test_what_nobody_uses_is_renamed_and_made_another_type(free: EventDefinition) -> None:
    free.slug, free.type = "look_for_deals", "create"
    free.full_clean()
    free.save()
    assert event("look_for_deals").type == "create"


def test_an_event_that_a_customer_decided_keeps_its_slug_and_type(
    free: EventDefinition, connection: Connection
) -> None:
    mapping = ObjectMapping.objects.create(connection=connection, crm_object=free.crm_object)
    EventAction.objects.create(mapping=mapping, event=free, action="noop")
    free.slug, free.type = "renamed", "create"
    with pytest.raises(ValidationError) as raised:
        free.full_clean()
    assert set(raised.value.message_dict) == {"slug", "type"}
    assert "customers have decided" in raised.value.messages[0]
    with pytest.raises(DefinitionInUse, match="find_deals is in use"):
        free.save()
    assert event("find_deals").type == "search"


def test_an_event_that_code_fires_keeps_its_slug_and_type(definitions: None) -> None:
    with pytest.raises(DefinitionInUse, match=r"tests\.products\.crm\.DealSync fires it"):
        renamed(event("deal_created")).save()
    wrong = event("deal_created")
    wrong.type = "search"
    with pytest.raises(DefinitionInUse, match="type: can't change"):
        wrong.save()


def test_an_event_that_a_binding_of_the_admin_fires_keeps_its_slug_even_when_it_is_off(
    free: EventDefinition,
) -> None:
    binding = ModelBinding.objects.create(
        model=ContentType.objects.get_for_model(Customer),
        crm_object=free.crm_object,
        on_create=free,
        connection_path="connection_id",
        active=False,
    )
    with pytest.raises(DefinitionInUse, match=r"products\.customer → opportunity fires it"):
        renamed(event("find_deals")).save()
    # It needs an event to create by, and this one searches: a mistake that may be mended.
    free.type = "create"
    free.save()
    binding.delete()


def test_an_event_of_the_log_keeps_its_slug_and_type(
    free: EventDefinition, connection: Connection
) -> None:
    Invocation.objects.create(connection=connection, event=free, record_key="x")
    assert usage.of_events([free])[free.pk] == []  # the log is looked at only where it matters
    with pytest.raises(DefinitionInUse, match="the log has invocations"):
        renamed(event("find_deals")).save()
    free.type = "create"
    with pytest.raises(DefinitionInUse, match="type"):
        free.save()


def test_everything_else_of_what_is_used_may_change(definitions: None) -> None:
    used = event("deal_created")
    used.label, used.payload_schema, used.active = "Made", {}, False
    used.full_clean()
    used.save()
    assert event("deal_created").label == "Made"


def test_an_object_that_is_used_keeps_its_slug(unbound: CRMObject, connection: Connection) -> None:
    with pytest.raises(DefinitionInUse, match="is bound to it"):
        renamed(CRMObject.objects.get(slug="opportunity")).save()
    ObjectMapping.objects.create(connection=connection, crm_object=unbound)
    with pytest.raises(DefinitionInUse, match="customers have decided what it is"):
        renamed(unbound).save()


def test_an_object_keeps_its_slug_while_the_log_has_events_of_it(
    unbound: CRMObject, connection: Connection
) -> None:
    closed = event("ticket_closed")
    Invocation.objects.create(connection=connection, event=closed, record_key="x")
    with pytest.raises(DefinitionInUse, match="the log has invocations"):
        renamed(unbound).save()


def test_an_object_that_nobody_uses_is_renamed(unbound: CRMObject) -> None:
    renamed(unbound).save()
    assert event("ticket_closed").path == "renamed.ticket_closed"


def test_an_event_stays_with_its_object_once_it_is_used(definitions: None) -> None:
    moved = event("deal_created")
    moved.crm_object = CRMObject.objects.get(slug="contact")
    with pytest.raises(DefinitionInUse, match="crm_object: can't change"):
        moved.save()


# -- documents ------------------------------------------------------------------------------------


def test_a_document_can_not_make_a_used_event_another_type(definitions: None) -> None:
    document = copy.deepcopy(OBJECTS)
    document["opportunity"]["label"] = "Deal"
    document["opportunity"]["events"]["deal_created"]["type"] = "search"
    document["opportunity"]["events"]["deal_updated"]["type"] = "search"
    with pytest.raises(DefinitionInUse) as raised:
        xkit_crm.define(document)
    assert {problem.path for problem in raised.value.errors} == {
        "objects.opportunity.events.deal_created.type",
        "objects.opportunity.events.deal_updated.type",
    }
    assert CRMObject.objects.get(slug="opportunity").label == "Opportunity"


def test_a_document_mends_a_type_that_no_binding_can_use(definitions: None) -> None:
    EventDefinition.objects.filter(slug="deal_created").update(type="search")
    changes = xkit_crm.define(OBJECTS)
    assert [str(change) for change in changes] == [
        '~ opportunity.deal_created.type: "search" -> "create"'
    ]


# -- deleting -------------------------------------------------------------------------------------


def test_what_nobody_uses_is_deleted(free: EventDefinition) -> None:
    remove(free)
    assert not EventDefinition.objects.filter(slug="find_deals").exists()


def test_an_object_goes_with_its_events(unbound: CRMObject) -> None:
    remove(unbound)
    assert not CRMObject.objects.filter(slug="ticket").exists()
    assert not EventDefinition.objects.filter(slug="ticket_closed").exists()


def test_what_is_used_is_not_deleted_and_says_what_to_do(
    unbound: CRMObject, connection: Connection
) -> None:
    closed = event("ticket_closed")
    Invocation.objects.create(connection=connection, event=closed, record_key="x")
    for row in (closed, unbound):
        with pytest.raises(DefinitionInUse, match="Switch it off instead"):
            remove(row)
    assert CRMObject.objects.filter(slug="ticket").exists()


def test_who_begins_to_use_it_while_it_is_removed_keeps_it(
    connection: Connection, free: EventDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_unused = usage.require_unused

    def and_then_it_is_used(row: EventDefinition) -> None:
        require_unused(row)
        Invocation.objects.get_or_create(connection=connection, event=row, record_key="x")

    monkeypatch.setattr(usage, "require_unused", and_then_it_is_used)
    with pytest.raises(DefinitionInUse, match="is in use"), transaction.atomic():
        remove(free)
    assert EventDefinition.objects.filter(slug="find_deals").exists()
