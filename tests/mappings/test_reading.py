"""What is in force, read as a document; and what any document lets an event do."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.mappings.conftest import NAME
from xkit_crm import catalogue, mappings
from xkit_crm.models import (
    Connection,
    EventAction,
    EventDefinition,
    ObjectMapping,
)

pytestmark = pytest.mark.django_db


def test_what_is_in_force_is_read_from_the_rows(sandbox: Connection) -> None:
    document = mappings.in_force(sandbox)

    assert list(document) == ["opportunity", "contact"]
    assert document["opportunity"]["remote_object"] == "Opportunity"
    assert document["opportunity"]["fields"]["document_name"] == "Name"
    created = document["opportunity"]["events"]["deal_created"]
    assert (created["action"], created["workflow"], created["ignored"]) == ("create", "", [])
    assert NAME in created["transformations"]


def test_reading_it_takes_few_queries_however_much_there_is(sandbox: Connection) -> None:
    catalogue.objects()
    with CaptureQueriesContext(database) as queries:
        mappings.in_force(sandbox)
    assert len(queries) == 3


def test_nothing_is_in_force_where_nothing_was_decided(connection: Connection) -> None:
    assert mappings.in_force(connection) == {}


def test_what_the_product_does_not_define_any_more_is_left_out(sandbox: Connection) -> None:
    event = EventDefinition.objects.get(slug="find_deals")
    event.active = False
    event.save()
    contact = ObjectMapping.objects.get(crm_object__slug="contact").crm_object
    contact.active = False
    contact.save()

    document = mappings.in_force(sandbox)

    assert list(document) == ["opportunity"]
    assert "find_deals" not in document["opportunity"]["events"]


def test_connecting_again_minds_nothing_that_is_not_defined_any_more(sandbox: Connection) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    del event.payload_schema["amount"]
    event.save()
    contact = ObjectMapping.objects.get(crm_object__slug="contact").crm_object
    contact.active = False
    contact.save()
    before = EventAction.objects.get(event=event).transformations

    xkit_crm.connect("acme", provider="sandbox")

    assert EventAction.objects.get(event=event).transformations == before


# -- what an event does by a document --------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "action"),
    [
        ({}, None),
        ({"remote_object": "Deal"}, None),
        ({"remote_object": ""}, "noop"),
        ({"remote_object": "", "events": {"made": {"action": "create"}}}, "noop"),
        ({"remote_object": "Deal", "events": {"made": {"action": "create"}}}, "create"),
        (
            {"remote_object": "", "events": {"made": {"action": "workflow", "workflow": "x"}}},
            "workflow",
        ),
    ],
)
def test_an_event_of_a_document_does_what_it_would_do_in_force(given: Any, action: Any) -> None:
    xkit_crm.define({"deal": {"events": {"made": {"type": "create", "payloadSchema": {}}}}})
    found = mappings.decision({"deal": given}, catalogue.event("deal", "made"))
    assert (found and found.action.action) == action
