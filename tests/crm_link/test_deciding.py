"""Deciding: what the pages keep of what people fill in."""

from __future__ import annotations

import re
from typing import Any

import pytest

import xkit_crm
from tests.crm_link.conftest import Visitor, text
from tests.crm_link.deciding import (
    EVENT,
    NAME,
    STAGE,
    action,
    draft,
    everything_decided,
    revision,
    rows,
)
from xkit_crm import mappings
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventAction,
    EventDefinition,
    ObjectMapping,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.sandbox.models import Field, Flow, Org
from xkit_crm.providers.sandbox.standard import add_field, add_object

pytestmark = pytest.mark.django_db


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
    descriptions.forget(Connection.objects.get())
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


def lose_a_key() -> None:
    row = EventDefinition.objects.get(slug="deal_updated")
    del row.payload_schema["amount"]
    row.save()


def lose_an_event() -> None:
    EventDefinition.objects.get(slug="find_deals").delete()


def lose_an_object() -> None:
    contact = CRMObject.objects.get(slug="contact")
    contact.active = False
    contact.save()


def lose_a_field() -> None:
    opportunity = CRMObject.objects.get(slug="opportunity")
    opportunity.fields = {}
    opportunity.save()


@pytest.mark.parametrize("lose", [lose_a_key, lose_an_event, lose_an_object, lose_a_field])
def test_what_the_product_has_dropped_stops_nobody_from_deciding_the_rest(
    inside: Visitor, lose: Any
) -> None:
    inside.part("steps")
    begun = draft()
    row = {"field": "Description", "kind": "direct", "key": "amount"}
    begun["opportunity"]["events"]["deal_updated"]["transformations"].append(row)
    begun["opportunity"]["fields"] = {"document_name": "Name"}
    mappings.write_draft(Connection.objects.get(), begun)
    lose()
    assert inside.post(EVENT, rows(NAME, STAGE)).status_code == 200
    assert action()["transformations"][1]["value"] == "Negotiation"
    everything_decided(inside)
    assert inside.post("review/", {"revision": revision(inside)}).status_code == 303
    assert not mappings.is_unfinished(Connection.objects.get())
