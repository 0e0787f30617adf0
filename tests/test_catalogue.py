"""Definitions in memory: fresh after every change, whoever made it, and free of queries."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import xkit_crm
from tests.objects import OBJECTS
from tests.threads import together
from xkit_crm import catalogue
from xkit_crm.exceptions import UnknownEvent, UnknownObject
from xkit_crm.models import CRMObject, EventDefinition

pytestmark = pytest.mark.django_db


def test_a_look_up_costs_no_query(definitions: None, django_assert_num_queries: Any) -> None:
    catalogue.event("opportunity", "deal_created")
    with django_assert_num_queries(0):
        event = catalogue.event("opportunity", "deal_created")
    assert event.type == "create"
    assert event.validator.validate({"name": 1})


def test_a_change_in_this_process_is_seen_at_once(definitions: None) -> None:
    catalogue.event("opportunity", "deal_created")
    row = EventDefinition.objects.get(slug="deal_created")
    row.payload_schema = {"other": {"type": "string"}}
    row.save()
    event = catalogue.event("opportunity", "deal_created")
    assert event.validator.validate({"name": "x"})


def test_what_another_process_defined_is_found_when_it_is_asked_for(definitions: None) -> None:
    catalogue.objects()
    contact = CRMObject.objects.get(slug="contact")
    EventDefinition.objects.bulk_create(
        [EventDefinition(crm_object=contact, slug="contact_made", type="create", label="x")]
    )
    assert catalogue.event("contact", "contact_made").type == "create"


def test_what_another_process_changed_is_found_after_a_while(
    definitions: None, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "REFRESH_INTERVAL": 0}
    row = EventDefinition.objects.get(slug="deal_created")
    catalogue.event("opportunity", "deal_created")
    schema = {"other": {"type": "string"}}
    EventDefinition.objects.filter(pk=row.pk).update(
        payload_schema=schema, updated_at=row.updated_at.replace(year=2100)
    )
    assert catalogue.event("opportunity", "deal_created").payload_schema != schema
    catalogue.refresh_if_stale()
    assert catalogue.event("opportunity", "deal_created").payload_schema == schema


def test_an_inactive_event_or_object_is_not_there(definitions: None) -> None:
    xkit_crm.define({"contact": OBJECTS["contact"]}, prune=True)
    with pytest.raises(UnknownObject):
        catalogue.event("opportunity", "deal_created")
    assert catalogue.is_switched_off("opportunity", "deal_created")
    assert not catalogue.is_switched_off("opportunity", "never_defined")
    assert not catalogue.is_switched_off("contact", "contact_deleted")


def test_a_near_miss_is_suggested(definitions: None) -> None:
    with pytest.raises(UnknownEvent) as unknown:
        catalogue.event("opportunity", "deal_crated")
    assert "deal_created" in unknown.value.hint
    with pytest.raises(UnknownObject) as missing:
        catalogue.event("oportunity", "deal_created")
    assert "opportunity" in missing.value.hint


def test_a_schema_that_went_past_every_check_leaves_the_others_usable(
    definitions: None, caplog: pytest.LogCaptureFixture
) -> None:
    EventDefinition.objects.filter(slug="deal_deleted").update(payload_schema={"a": {"type": "?"}})
    catalogue.forget()
    assert catalogue.event("opportunity", "deal_created")
    with pytest.raises(UnknownEvent):
        catalogue.event("opportunity", "deal_deleted")
    assert "deal_deleted" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_threads_that_begin_together_read_the_definitions_once(
    definitions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    stamp = catalogue._current_stamp

    def slowly() -> object:
        reads.append(threading.get_ident())
        time.sleep(0.1)  # the others come meanwhile
        return stamp()

    monkeypatch.setattr(catalogue, "_current_stamp", slowly)
    catalogue.forget()
    together(*[catalogue.objects] * 4)
    assert len(reads) == 1
