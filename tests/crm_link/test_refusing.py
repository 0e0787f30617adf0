"""What the pages refuse, and what they offer instead."""

from __future__ import annotations

import re
from typing import Any

import pytest

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
from xkit_crm.models import (
    EventAction,
)
from xkit_crm.providers.sandbox.models import Object, Org
from xkit_crm.providers.sandbox.standard import add_field

pytestmark = pytest.mark.django_db


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
