"""Deciding: what the pages keep of what people fill in, what they refuse, and what it costs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.crm_link.conftest import Visitor, text
from tests.factories import CustomerFactory
from tests.products.models import Deal
from xkit_crm import mappings
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventAction,
    MappingDraft,
    MappingVersion,
    ObjectMapping,
    RecordLink,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.sandbox.models import Field, Flow, Misbehaviour, Object, Org, Record
from xkit_crm.providers.sandbox.standard import add_field, add_object

pytestmark = pytest.mark.django_db

#: Some bound models of the tests live in another database.
BOTH = pytest.mark.django_db(databases=["default", "other"])
EVENT = "objects/opportunity/events/deal_created/"


def draft() -> dict[str, Any]:
    found: dict[str, Any] = MappingDraft.objects.get().document
    return found


def action(event: str = "deal_created") -> dict[str, Any]:
    found: dict[str, Any] = draft()["opportunity"]["events"][event]
    return found


def rows(*given: dict[str, Any], act: str = "create", **more: Any) -> dict[str, Any]:
    """The fields of an event's form."""
    return {
        "action": act,
        **{f"row-{n}-{name}": value for n, row in enumerate(given) for name, value in row.items()},
        **more,
    }


NAME = {"key": "name", "field": "Name", "kind": "direct"}
STAGE = {"field": "StageName", "kind": "static", "value": "Negotiation"}


def everything_decided(visitor: Visitor) -> None:
    """Decide whatever the proposal left open."""
    visitor.part("steps")
    document = draft()
    for slug, crm_object in mappings.definitions().items():
        fields, events = crm_object
        given = document.setdefault(slug, {"remote_object": ""})
        if not given["remote_object"]:
            continue
        given["fields"] = {key: given.get("fields", {}).get(key, "") for key in fields}
        for event, schema in events.items():
            used = {row.get("key") for row in given["events"][event]["transformations"]}
            given["events"][event]["ignored"] = [key for key in schema if key not in used]
    mappings.write_draft(Connection.objects.get(), document)


# -- drafts ---------------------------------------------------------------------------------------


def test_the_draft_begins_with_what_is_proposed(inside: Visitor) -> None:
    inside.part("steps")
    assert draft()["opportunity"]["remote_object"] == "Opportunity"
    assert not ObjectMapping.objects.exists()


def test_what_is_filled_in_is_kept_as_a_draft_and_changes_nothing(inside: Visitor) -> None:
    inside.post(EVENT, rows(NAME, STAGE, {"key": "amount", "field": "-"}))
    assert action() == {
        "action": "create",
        "workflow": "",
        "transformations": [
            {"field": "Name", "kind": "direct", "key": "name"},
            {"field": "StageName", "kind": "static", "value": "Negotiation"},
        ],
        "ignored": ["amount"],
    }
    assert not EventAction.objects.exists()


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (
            {"key": "name", "field": "Description", "kind": "default", "value": "none"},
            {"field": "Description", "kind": "default", "key": "name", "value": "none"},
        ),
        (
            {"field": "Description", "kind": "template", "template": "Deal {name}"},
            {"field": "Description", "kind": "template", "template": "Deal {name}"},
        ),
        (
            {
                "key": "name",
                "field": "Description",
                "kind": "value_map",
                "from-0": "a",
                "to-0": "b",
                "from-1": "",
                "to-1": "c",
                "otherwise": "fixed",
                "fallback": "d",
            },
            {
                "field": "Description",
                "kind": "value_map",
                "key": "name",
                "values": {"a": "b"},
                "fallback": "d",
            },
        ),
        ({"field": "Description", "kind": "empty"}, {"field": "Description", "kind": "empty"}),
        (
            {"field": "Tags", "kind": "static", "value": ["New", "Upsell"], "many": "1"},
            {"field": "Tags", "kind": "static", "value": ["New", "Upsell"]},
        ),
        (
            {"key": "name", "field": "Description", "kind": "direct", "mode": "protect"},
            {"field": "Description", "kind": "direct", "key": "name", "mode": "protect"},
        ),
    ],
)
def test_every_transformation_can_be_chosen(
    inside: Visitor, row: dict[str, Any], kept: dict[str, Any]
) -> None:
    inside.post(EVENT, rows(row))
    assert action()["transformations"] == [kept]
    again = text(inside.get(EVENT))
    assert f'value="{kept["field"]}"' in again


def test_only_values_that_the_product_does_not_name_are_typed(inside: Visitor) -> None:
    status = {"type": "string", "enum": ["draft", "sent"]}
    made = {"type": "create", "payloadSchema": {"status": status, "name": {"type": "string"}}}
    xkit_crm.define({"opportunity": {"events": {"deal_created": made}}})
    mapped = {"field": "Description", "kind": "value_map", "from-0": "draft", "to-0": "x"}
    other = {"key": "name", "field": "NextStep", "kind": "value_map", "from-0": "a", "to-0": "b"}
    add_field(Org.objects.get(), "Opportunity", "NextStep")
    page = text(inside.post(EVENT, rows({"key": "status", **mapped}, other)))
    assert '<input type="hidden" name="row-0-from-0" value="draft">' in page
    assert '<input name="row-1-from-0" id="row-1-from-0" value="a"' in page


def test_a_choice_is_offered_where_the_same_key_comes_again(inside: Visitor) -> None:
    mapped = {"key": "name", "field": "Description", "kind": "default", "value": "none"}
    inside.post(EVENT, rows(mapped))
    inside.post("objects/opportunity/events/deal_updated/", rows(act="update"))
    page = text(inside.get("objects/opportunity/events/deal_updated/"))
    assert 'data-take-over="name"' in page
    assert "Use Description, as elsewhere" in page
    taken = rows(act="update", **{"take-over": "name"})
    inside.post("objects/opportunity/events/deal_updated/", taken)
    row = {"field": "Description", "kind": "default", "key": "name", "value": "none"}
    assert action("deal_updated")["transformations"] == [row]


def test_what_does_not_fit_is_not_offered(inside: Visitor) -> None:
    inside.post(EVENT, rows({"key": "name", "field": "Description", "kind": "direct"}))
    taken = rows({"key": "amount", "field": "Description", "kind": "direct"}, act="update")
    inside.post("objects/opportunity/events/deal_updated/", {**taken, "take-over": "name"})
    assert [row["key"] for row in action("deal_updated")["transformations"]] == ["amount"]


def test_an_event_may_do_something_else_or_nothing(inside: Visitor) -> None:
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "update"})
    assert action("deal_deleted")["action"] == "update"
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "noop"})
    assert action("deal_deleted")["action"] == "noop"


def test_a_row_that_was_only_begun_is_not_kept(inside: Visitor) -> None:
    inside.post(EVENT, rows(NAME, {"field": "", "kind": "static"}, {"field": "Amount", "kind": ""}))
    assert [row["field"] for row in action()["transformations"]] == ["Name"]


def test_an_object_can_be_another_one_or_none(inside: Visitor) -> None:
    add_object(
        Org.objects.get(),
        "Agreement",
        fields=[{"name": "Title", "type": "string", "required": True}],
    )
    inside.post("objects/opportunity/choose/", {"remote_object": "Agreement"})
    assert draft()["opportunity"]["remote_object"] == "Agreement"
    inside.post("objects/opportunity/choose/", {"remote_object": "-"})
    assert draft()["opportunity"]["remote_object"] == ""
    assert inside.post("objects/opportunity/choose/", {"remote_object": "Nope"}).status_code == 404


def test_what_was_decided_for_an_object_is_there_again_when_it_is_chosen_again(
    inside: Visitor,
) -> None:
    add_object(Org.objects.get(), "Agreement", fields=[{"name": "Title", "type": "string"}])
    mapped = {"key": "name", "field": "Name", "kind": "direct", "mode": "protect"}
    inside.post(EVENT, rows(mapped, STAGE))
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "update"})
    inside.post("objects/opportunity/events/deal_updated/", {"action": "noop"})
    before = draft()
    for other in ("Agreement", "-", "Agreement"):
        inside.post("objects/opportunity/choose/", {"remote_object": other})
        assert draft() != before
    inside.post("objects/opportunity/choose/", {"remote_object": "Opportunity"})
    assert draft() == before


def test_another_object_turns_no_deletion_on_and_sends_nothing_again(inside: Visitor) -> None:
    add_object(Org.objects.get(), "Agreement", fields=[{"name": "Name", "type": "string"}])
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "update"})
    inside.post("objects/opportunity/events/deal_updated/", {"action": "noop"})
    inside.post(EVENT, rows({"key": "name", "field": "-"}, STAGE))
    inside.post("objects/opportunity/choose/", {"remote_object": "Agreement"})
    assert action("deal_deleted")["action"] == "update"
    assert action("deal_updated")["action"] == "noop"
    assert action()["transformations"] == []
    assert action()["ignored"] == ["name"]


@pytest.mark.parametrize("other", ["noop", "workflow"])
def test_an_event_that_does_again_what_it_did_does_it_as_it_did(
    inside: Visitor, other: str
) -> None:
    flow = Flow.objects.create(org=Org.objects.get(), name="intake", inputs=[{"name": "who"}])
    Flow.objects.create(org=flow.org, name="another")
    decided = rows({**NAME, "mode": "protect"}, STAGE, {"key": "amount", "field": "-"})
    inside.post(EVENT, decided)
    before = action()
    inside.post(EVENT, {**decided, "action": other})
    inside.post(EVENT, {"action": "create"})
    assert action() == before


def test_a_workflow_that_is_run_again_is_told_what_it_was_told(inside: Visitor) -> None:
    org = Org.objects.get()
    for name in ("another", "intake"):
        Flow.objects.create(org=org, name=name, inputs=[{"name": "who"}])
    who = {"key": "name", "field": "who", "kind": "direct"}
    inside.post(EVENT, rows(act="workflow", workflow="intake"))
    inside.post(EVENT, rows(who, act="workflow", workflow="intake"))
    before = action()
    assert before["transformations"] == [who]
    for others in (["create", "noop"], ["noop"]):
        for other in others:
            inside.post(EVENT, {"action": other})
        inside.post(EVENT, {"action": "workflow"})
        assert action() == before


def test_what_the_crm_dropped_meanwhile_hinders_nobody_from_going_back(inside: Visitor) -> None:
    inside.post(EVENT, rows({"key": "name", "field": "Description", "kind": "direct"}))
    before = action()
    inside.post(EVENT, {"action": "noop"})
    Field.objects.get(object__name="Opportunity", name="Description").delete()
    descriptions.forget(provider_for(Connection.objects.get()))
    inside.post(EVENT, {"action": "create"})
    assert action() == before


def test_what_is_read_is_decided_field_by_field(inside: Visitor) -> None:
    inside.post(
        "objects/opportunity/",
        {
            "read-document_name": "-",
            "entry-document_tags-name": ["stage", ""],
            "entry-document_tags-field": ["StageName", ""],
        },
    )
    assert draft()["opportunity"]["fields"] == {
        "document_name": "",
        "document_tags": {"stage": "StageName"},
    }


@pytest.mark.parametrize(("name", "field"), [("stage", ""), ("", "StageName")])
def test_an_entry_that_was_only_begun_is_shown_again(
    inside: Visitor, name: str, field: str
) -> None:
    sent = {"entry-document_tags-name": [name], "entry-document_tags-field": [field]}
    page = text(inside.post("objects/opportunity/", sent, HTTP_HX_REQUEST="true"))
    assert "document_tags" not in draft()["opportunity"]["fields"]
    assert f'value="{name or field}"' in page


def seen(visitor: Visitor, path: str) -> str:
    """What the form of a page says it was made of."""
    (found,) = re.findall(r'name="seen" value="(\w+)"', text(visitor.get(path)))
    return str(found)


def test_what_another_tab_changed_meanwhile_is_not_overwritten(inside: Visitor) -> None:
    first, second = seen(inside, EVENT), seen(inside, EVENT)
    inside.post(EVENT, rows({**NAME, "mode": "protect"}, STAGE, seen=first))
    before = draft()
    late = inside.part_post(EVENT, rows(NAME, seen=second))
    assert draft() == before
    assert "changed meanwhile" in text(late)
    assert late.headers["HX-Retarget"] == late.headers["HX-Reselect"] == "#event-form"
    inside.post(EVENT, rows(NAME, seen=seen(inside, EVENT)))
    assert draft() != before


def test_what_another_tab_changed_elsewhere_is_no_matter(inside: Visitor) -> None:
    one = seen(inside, EVENT)
    inside.post("objects/opportunity/events/deal_deleted/", {"action": "noop"})
    inside.post("objects/opportunity/", {"read-document_name": "-"})
    assert "changed meanwhile" not in text(inside.post(EVENT, rows(NAME, seen=one)))
    assert len(action()["transformations"]) == 1


def test_what_is_read_is_not_overwritten_either(inside: Visitor) -> None:
    late = seen(inside, "objects/opportunity/")
    inside.post("objects/opportunity/", {"read-document_name": "-", "seen": late})
    answer = inside.part_post("objects/opportunity/", {"read-document_name": "Name", "seen": late})
    assert "changed meanwhile" in text(answer)
    assert draft()["opportunity"]["fields"]["document_name"] == ""


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"key": "name", "field": "Nonesuch", "kind": "direct"},
        {"key": "name", "field": "CreatedAt", "kind": "direct"},
        {"key": "nonesuch", "field": "Name", "kind": "direct"},
        {"key": "name", "field": "Name", "kind": "bogus"},
        {"key": "name", "field": "Name", "kind": "direct", "mode": "bogus"},
    ],
)
def test_what_is_posted_by_hand_is_checked(inside: Visitor, row: dict[str, Any]) -> None:
    inside.part("steps")
    before = draft()
    answer = inside.post(EVENT, rows(row))
    assert 'class="note bad"' in text(answer)
    assert draft() == before


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"kind": "template", "template": "{nmae}"}, "the event has no payload key nmae"),
        ({"kind": "template", "template": "Deal {"}, "has a single {; write {{ for a brace"),
        ({"kind": "template", "template": ""}, "the text is empty"),
        ({"kind": "static", "value": ""}, "the value is not filled in yet"),
        ({"key": "name", "kind": "default", "value": ""}, "the value is not filled in yet"),
        ({"key": "name", "kind": "value_map"}, "say what the values become"),
        (
            {
                "key": "name",
                "kind": "value_map",
                "from-0": "a",
                "to-0": "b",
                "otherwise": "fixed",
                "fallback": "",
            },
            "say what the values become",
        ),
    ],
)
def test_a_mistake_is_told_at_its_row_and_the_others_are_kept(
    inside: Visitor, row: dict[str, Any], told: str
) -> None:
    everything_decided(inside)
    inside.post(EVENT, rows(NAME, {"field": "Description", **row}))
    page = text(inside.get(EVENT))
    assert [one["field"] for one in action()["transformations"]] == ["Name", "Description"]
    assert re.search(f'<p class="problem">[^<]*{re.escape(told)}</p>', page)
    assert "Everything is decided here." not in page
    if "template" in row:
        assert f'value="{row["template"]}"' in page
    answer = inside.post("review/", {"revision": revision(inside)})
    assert answer.status_code == 200
    assert not EventAction.objects.exists()


def required(name: str) -> None:
    """Let the CRM require a field of its opportunities."""
    field = Object.objects.get(org__slug="acme", name="Opportunity").fields.get(name=name)
    field.required = True
    field.save()


def test_a_value_of_the_product_is_chosen_by_nobody_else_and_fits(inside: Visitor) -> None:
    required("CloseDate")
    inside.post(EVENT, rows(NAME, STAGE, {"field": "CloseDate", "kind": "direct", "key": ""}))
    page = text(inside.get(EVENT))
    line = page.split('value="CloseDate"')[1].split("</fieldset>")[0]
    offered = line.split('-key">')[1].split("</select>")[0]
    assert "selected" not in offered
    assert re.findall('value="([^"]*)"', offered) == [""]  # the event has no dates
    assert '<p class="problem">choose a value of the product</p>' in line
    mapped = {"field": "Description", "kind": "direct", "key": ""}
    inside.post(EVENT, rows(NAME, STAGE, mapped))
    assert '<option value="name">' in text(inside.get(EVENT)).split('value="Description"')[1]


def test_a_required_field_that_gets_nothing_is_shown_once(inside: Visitor) -> None:
    required("Probability")
    inside.post(EVENT, rows(NAME, STAGE, {"field": "Probability", "kind": "empty"}))
    page = text(inside.get(EVENT))
    assert page.count('value="Probability"') == 1
    assert page.count("Probability (%) is required by the CRM") == 1


def test_an_update_is_never_of_a_new_record(inside: Visitor) -> None:
    mapped = {"key": "name", "field": "Description", "kind": "direct"}
    for mode, offered in (("protect", False), ("on_create", True)):
        updated = "objects/opportunity/events/deal_updated/"
        inside.post(updated, rows({**mapped, "mode": mode}, act="update"))
        page = text(inside.get(updated))
        assert ("never on changes" in page) is offered


@pytest.mark.parametrize("act", ["", "bogus", "update", "delete", "search"])
def test_an_action_that_does_not_fit_is_refused(inside: Visitor, act: str) -> None:
    inside.part("steps")
    before = draft()
    inside.post(EVENT, rows(NAME, act=act))
    assert draft() == before


def test_markup_in_labels_is_shown_as_text(inside: Visitor) -> None:
    add_field(Org.objects.get(), "Opportunity", "Evil", label="<script>alert(1)</script>")
    found = text(inside.part(f"{EVENT}pick", key="name", q="script"))
    assert "<script>" not in found
    assert "&lt;script&gt;" in found


@pytest.mark.parametrize(
    "path", ["objects/nonesuch/", "objects/opportunity/events/nonesuch/", "versions/9/restore"]
)
def test_what_is_not_there_is_not_found(inside: Visitor, path: str) -> None:
    answer = inside.post(path) if "restore" in path else inside.get(path)
    assert answer.status_code == 404
    assert "X-Frame-Options" not in answer.headers
    assert f'href="{inside.at}"' in text(answer)


# -- pickers --------------------------------------------------------------------------------------


def test_a_picker_suggests_and_says_why_others_do_not_fit(inside: Visitor) -> None:
    found = text(inside.part(f"{EVENT}pick", key="amount"))
    first = found.split("</li>", 1)[0]
    assert 'data-value="Amount"' in first
    assert "suggested" in first
    close_date = next(li for li in found.split("</li>") if 'data-value="CloseDate"' in li)
    assert 'aria-disabled="true"' in close_date
    assert "another type" in close_date
    created = next(li for li in found.split("</li>") if 'data-value="CreatedAt"' in li)
    assert "set on new records" in created


def test_a_picker_finds_by_label_and_by_api_name(inside: Visitor) -> None:
    for typed in ("stage", "STAGENAME"):
        found = text(inside.part(f"{EVENT}pick", key="name", q=typed))
        assert found.count("<li") == 1


# -- confirming -----------------------------------------------------------------------------------


def revision(visitor: Visitor) -> str:
    return str(MappingDraft.objects.get().revision)


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


# -- previews -------------------------------------------------------------------------------------


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


# -- what it costs, and a CRM that is down --------------------------------------------------------


def own_queries(visit: Callable[[], Any]) -> int:
    """Queries, without those of the sandbox: another CRM would be asked over the network."""
    with CaptureQueriesContext(database) as queries:
        visit()
    kinds = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return sum(
        "xkit_sandbox" not in query["sql"] and not query["sql"].startswith(kinds)
        for query in queries
    )


@BOTH
def test_no_page_costs_more_than_twelve_queries(inside: Visitor) -> None:
    inside.part("steps")
    for path in (
        "",
        "steps",
        "objects/opportunity/",
        "objects/opportunity/choose/",
        EVENT,
        f"{EVENT}pick",
        f"{EVENT}preview/",
        "review/",
        "versions/",
        "mapping.json",
    ):
        assert own_queries(lambda path=path: inside.part(path)) <= 12, path
    assert own_queries(lambda: inside.post(EVENT, rows(NAME, STAGE))) <= 12


def test_what_was_never_decided_needs_no_mending(inside: Visitor) -> None:
    everything_decided(inside)
    add_field(Org.objects.get(), "Opportunity", "Due", label="Due", type="date", required=True)
    add_field(Org.objects.get(), "Opportunity", "Seen", label="Seen", type="date", required=True)
    descriptions.forget(provider_for(Connection.objects.get()))
    found = text(inside.part("steps"))
    assert "to decide" in found
    assert "needs mending" not in found
    assert "2 things are left to decide." in found
    Field.objects.get(object__name="Opportunity", name="Name").delete()
    descriptions.forget(provider_for(Connection.objects.get()))
    assert "needs mending" in text(inside.part("steps"))


def test_an_object_that_the_crm_dropped_is_said_to_be_gone(inside: Visitor) -> None:
    inside.part("steps")
    Object.objects.get(name="Opportunity").delete()
    steps = text(inside.part("steps"))
    assert "needs mending" in steps
    assert "objects/opportunity/choose/" in steps
    assert "objects/contact/events/contact_deleted/" in steps


def test_a_crm_that_is_down_is_said_to_be_and_can_be_tried_again(inside: Visitor) -> None:
    Misbehaviour.objects.create(
        org=Org.objects.get(), kind=Misbehaviour.Kind.UNAVAILABLE, remaining=None
    )
    answer = text(inside.get(EVENT))
    assert "gives no answer" in answer
    assert "Try again" in answer
    assert 'class="back"' in answer
    Misbehaviour.objects.all().delete()
    assert "Deal Created" in text(inside.get(EVENT))
