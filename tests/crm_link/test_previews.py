"""Previews, and trying an event."""

from __future__ import annotations

import json

import pytest
from django.contrib.contenttypes.models import ContentType

import xkit_crm
from tests.crm_link.conftest import Visitor, text
from tests.crm_link.deciding import EVENT
from tests.factories import CustomerFactory
from tests.products.models import Deal
from xkit_crm.models import (
    CRMObject,
    RecordLink,
)
from xkit_crm.providers.sandbox.models import Record
from xkit_crm.providers.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.django_db

#: Some bound models of the tests live in another database.
BOTH = pytest.mark.django_db(databases=["default", "other"])


def linked_deal(record_id: str) -> Deal:
    """A row of the product that is in the CRM already."""
    customer = CustomerFactory.create(connection_id="acme")
    with xkit_crm.muted():
        deal = Deal.objects.create(customer=customer, title="Lease", amount="12.50")
    RecordLink.objects.create(
        connection_id="acme",
        crm_object=CRMObject.objects.get(slug="opportunity"),
        content_type=ContentType.objects.get_for_model(Deal),
        object_pk=str(deal.pk),
        record_id=record_id,
    )
    return deal


@BOTH
def test_a_preview_is_of_the_newest_row_and_writes_nothing(inside: Visitor) -> None:
    customer = CustomerFactory.create(connection_id="acme")
    with xkit_crm.muted():
        Deal.objects.create(customer=customer, title="Lease", amount="12.50")
    answer = text(inside.get(f"{EVENT}preview/"))
    assert "Lease" in answer
    assert not Record.objects.exists()


@BOTH
def test_values_of_nobody_are_said_to_be_made_up(inside: Visitor) -> None:
    page = text(inside.get(f"{EVENT}preview/"))
    assert "made up" in page
    assert '<th scope="row">Owner&#x27;s Email</th>' in page
    typed = text(inside.post(f"{EVENT}preview/", {"payload": json.dumps({"name": "Lease"})}))
    assert "made up" not in typed


@BOTH
def test_a_preview_asks_for_a_record_only_where_there_is_one(inside: Visitor) -> None:
    assert "Record in your CRM" not in text(inside.get(f"{EVENT}preview/"))
    page = text(inside.get("objects/opportunity/events/deal_updated/preview/"))
    assert 'placeholder="Opportunity:00001"' in page


@BOTH
def test_moments_are_shown_as_people_write_them(inside: Visitor) -> None:
    typed = {"payload": json.dumps({"updated_at": "2026-11-25T20:46:40.809389Z"})}
    page = text(inside.post("objects/opportunity/events/deal_updated/preview/", typed))
    assert "Nov. 25, 2026, 8:46 p.m." in page


@BOTH
def test_trying_it_writes_once_and_links_to_the_record(inside: Visitor) -> None:
    sample = {"payload": json.dumps({"name": "Lease"}), "really": "yes"}
    answer = text(inside.post(f"{EVENT}preview/", sample))
    assert Record.objects.get().values["Name"] == "Lease"
    assert "Opportunity:00001" in answer


@BOTH
def test_what_was_tried_leads_into_the_crm_and_to_nothing_else(
    inside: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxProvider, "record_url", lambda self, ref: "javascript:alert(1)")
    sample = {"payload": json.dumps({"name": "Lease"}), "really": "yes"}
    answer = text(inside.post(f"{EVENT}preview/", sample))
    assert "It is done in your CRM. Opportunity:00001" in answer
    assert "javascript:" not in answer


@BOTH
def test_a_row_that_is_in_the_crm_already_is_not_made_a_second_time(inside: Visitor) -> None:
    deal = linked_deal("Opportunity:00007")
    answer = text(inside.get(f"{EVENT}preview/"))
    assert "as Opportunity:00007" in answer
    assert "A new record:</p>" not in answer
    tried = {"payload": json.dumps({"name": deal.title}), "record": "Opportunity:00007"}
    inside.post(f"{EVENT}preview/", {**tried, "really": "yes"})
    assert not Record.objects.exists()


@BOTH
@pytest.mark.parametrize("record", ["nonsense", "Contact:00001", "Opportunity:00404"])
def test_a_record_that_is_not_there_is_told_and_keeps_what_was_typed(
    inside: Visitor, record: str
) -> None:
    typed = {"payload": json.dumps({"name": "Lease Two"}), "record": record}
    answer = text(inside.post("objects/opportunity/events/deal_updated/preview/", typed))
    assert f"has no record {record}" in answer
    assert "Lease Two" in answer


@BOTH
def test_a_payload_that_is_typed_wrong_is_told_and_not_tried(inside: Visitor) -> None:
    for typed in ("{", "[]", '{"name": 1}'):
        answer = text(inside.post(f"{EVENT}preview/", {"payload": typed, "really": "yes"}))
        assert 'class="note warn"' in answer
    assert not Record.objects.exists()
