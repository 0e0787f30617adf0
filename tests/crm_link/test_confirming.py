"""Putting a draft in force, and going back to an earlier version."""

from __future__ import annotations

import html
import json
import re

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.crm_link.conftest import Visitor, text
from tests.crm_link.deciding import EVENT, NAME, action, draft, everything_decided, revision, rows
from xkit_crm.models import (
    Connection,
    EventAction,
    MappingDraft,
    MappingVersion,
)
from xkit_crm.providers.sandbox.models import Misbehaviour, Org
from xkit_crm.providers.sandbox.standard import add_field, add_object

pytestmark = pytest.mark.django_db


def test_nothing_is_in_force_before_everything_is_decided(inside: Visitor) -> None:
    inside.part("steps")
    answer = inside.post("review/", {"revision": revision(inside)})
    assert "decide about" in text(answer)
    assert not MappingVersion.objects.exists()
    assert Connection.objects.get().status == "pending"


def test_confirming_puts_it_in_force_and_enables_the_connection(inside: Visitor) -> None:
    everything_decided(inside)
    answer = inside.post("review/", {"revision": revision(inside)})
    assert answer.headers["Location"].endswith("/done/")
    assert "acme" in text(inside.get("done/"))
    version = MappingVersion.objects.get()
    assert (version.number, version.author) == (1, "Ada")
    assert Connection.objects.get().status == "enabled"
    assert EventAction.objects.filter(event__slug="deal_created", action="create").exists()
    assert not MappingDraft.objects.exists()


def test_the_review_says_what_things_are_called(inside: Visitor) -> None:
    org, title = Org.objects.get(), {"name": "Title__c", "label": "Title", "type": "string"}
    add_object(org, "Deal__c", label="Agreement", fields=[title])
    add_field(org, "Deal__c", "Tone__c", label="Tone", type="picklist", choices=["Blue"])
    given = {"remote_object": "Deal__c", "fields": {"document_name": "Title__c"}, "events": {}}
    made = {"action": "create", "transformations": [
        {"field": "Title__c", "kind": "direct", "key": "owner_email"},
        {"field": "Tone__c", "kind": "static", "value": "Blue"},
    ]}  # fmt: skip
    given["events"] = {"deal_created": made, "deal_updated": {**made, "action": "noop"}}
    inside.part("steps")
    file = SimpleUploadedFile("mapping.json", json.dumps({"opportunity": given}).encode())
    inside.post("import", {"file": file, "sure": "yes"})
    page = text(inside.get("review/"))
    for said in ("Agreement", "Deal Created › Title", "Owner&#x27;s Email", "“Blue”"):
        assert said in page
    for said in ("Deal__c", "Title__c", "Tone__c", "owner_email", "Deal Updated › Title"):
        assert said not in page
    assert f'href="{inside.at}objects/opportunity/' in page


def test_the_review_says_what_other_values_become(inside: Visitor) -> None:
    row = {"key": "name", "field": "Description", "kind": "value_map", "from-0": "a", "to-0": "b"}
    inside.post(EVENT, rows({**row, "otherwise": "fixed", "fallback": "c"}))
    assert "Opportunity Name: a → b, … → c" in text(inside.get("review/"))


def test_versions_are_read_while_the_crm_is_down(inside: Visitor) -> None:
    everything_decided(inside)
    inside.post("review/", {"revision": revision(inside)})
    cache.clear()
    Misbehaviour.objects.create(
        org=Org.objects.get(), kind=Misbehaviour.Kind.UNAVAILABLE, remaining=None
    )
    assert "Deal Created › Name" in text(inside.get("versions/"))


def test_a_mistake_in_an_object_that_is_not_shown_is_told_on_confirming(inside: Visitor) -> None:
    everything_decided(inside)
    inside.post(EVENT, rows(NAME, {"field": "Description", "kind": "template", "template": "{"}))
    inside.start(objects=json.dumps({"contact": {"events": {}}}))
    page = text(inside.post("review/", {"revision": revision(inside)}))
    assert "These decisions can’t be used" in page
    assert not EventAction.objects.exists()


def test_what_was_changed_in_another_tab_is_looked_at_again(inside: Visitor) -> None:
    everything_decided(inside)
    seen = revision(inside)
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "noop"})
    answer = inside.post("review/", {"revision": seen})
    assert "Look at it again" in text(answer)
    assert not MappingVersion.objects.exists()


def test_changes_can_be_discarded(inside: Visitor) -> None:
    everything_decided(inside)
    inside.post("review/", {"revision": revision(inside)})
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "noop"})
    inside.post("review/", {"discard": "yes"})
    assert not MappingDraft.objects.exists()
    assert EventAction.objects.get(event__slug="deal_deleted").action == "delete"


def test_an_earlier_version_can_be_restored(inside: Visitor) -> None:
    everything_decided(inside)
    inside.post("review/", {"revision": revision(inside)})
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "noop"})
    inside.post("review/", {"revision": revision(inside)})
    assert EventAction.objects.get(event__slug="deal_deleted").action == "noop"
    inside.post("versions/1/restore")
    assert EventAction.objects.get(event__slug="deal_deleted").action == "noop"
    inside.post("review/", {"revision": revision(inside)})
    assert EventAction.objects.get(event__slug="deal_deleted").action == "delete"
    assert MappingVersion.objects.count() == 3


def test_a_version_is_in_use_only_where_it_is_what_is_carried_out(inside: Visitor) -> None:
    everything_decided(inside)
    inside.post("review/", {"revision": revision(inside)})
    page = text(inside.get("versions/"))
    assert "in use" in page
    assert "Go back to this one" not in page
    EventAction.objects.filter(event__slug="deal_deleted").update(action="noop")
    page = text(inside.get("versions/"))
    assert "in use" not in page
    assert "Go back to this one" in page


def test_a_mapping_travels_as_a_file(inside: Visitor) -> None:
    everything_decided(inside)
    saved = inside.get("mapping.json").content
    changed = json.loads(saved)
    changed["opportunity"]["events"]["deal_deleted"] = {"action": "noop"}
    file = SimpleUploadedFile("mapping.json", json.dumps(changed).encode())
    before = draft()
    asked = text(inside.post("import", {"file": file}))
    assert "they are lost" in asked
    assert draft() == before
    carried = json.loads(html.unescape(re.findall(r'name="text" value="([^"]*)"', asked)[0]))
    assert carried == changed
    sure = {"text": json.dumps(carried), "sure": "yes"}
    assert inside.post("import", sure).status_code == 303
    assert action("deal_deleted") == {"action": "noop"}


def test_an_earlier_version_replaces_nothing_unconfirmed_without_asking(inside: Visitor) -> None:
    everything_decided(inside)
    inside.post("review/", {"revision": revision(inside)})
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "noop"})
    assert "they are lost" in text(inside.post("versions/1/restore"))
    assert action("deal_deleted")["action"] == "noop"
    inside.post("objects/contact/choose/", {"remote_object": "Lead"})
    assert MappingDraft.objects.get().aside
    inside.post("versions/1/restore", {"sure": "yes"})
    assert action("deal_deleted")["action"] == "delete"
    assert MappingDraft.objects.get().aside == {}


@pytest.mark.parametrize(
    "given", [b"", b"{", b"[]", b'{"nonesuch": {}}', b'{"opportunity": {"fields": {"x": "Name"}}}']
)
def test_a_file_that_is_no_mapping_changes_nothing(inside: Visitor, given: bytes) -> None:
    inside.part("steps")
    before = draft()
    file = SimpleUploadedFile("mapping.json", given)
    inside.post("import", {"file": file})
    assert draft() == before
