"""The history of definitions: every change, who made it and how, and going back."""

from __future__ import annotations

import copy
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

import xkit_crm
from tests.objects import OBJECTS
from tests.products.models import Customer
from xkit_crm import versions
from xkit_crm.definitions import add, remove
from xkit_crm.exceptions import DefinitionInvalid
from xkit_crm.models import (
    CRMObject,
    DefinitionVersion,
    EventDefinition,
    ModelBinding,
)
from xkit_crm.models.definition_version import Versioned, changed_by

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("definitions")]


def event(slug: str = "find_deals") -> EventDefinition:
    return EventDefinition.objects.select_related("crm_object").get(slug=slug)


def of(row: Versioned) -> list[DefinitionVersion]:
    """The versions of a row, oldest first."""
    return list(DefinitionVersion.objects.of(row))[::-1]


def relabelled(label: str, slug: str = "find_deals") -> EventDefinition:
    row = event(slug)
    row.label = label
    row.save()
    return row


# -- what is kept ---------------------------------------------------------------------------------


def test_what_is_made_is_the_first_version() -> None:
    (first,) = of(event())
    assert (first.number, first.name) == (1, "opportunity.find_deals")
    assert first.document["payload_schema"] == event().payload_schema
    assert first.reason == "xkit_crm.define()"


def test_every_change_is_a_version_and_saving_without_one_is_none() -> None:
    relabelled("Look")
    relabelled("Look")
    assert [version.document["label"] for version in of(event())] == ["Find Deals", "Look"]


def test_a_change_of_the_order_of_keys_is_a_version() -> None:
    row = event("deal_created")
    row.payload_schema = dict(reversed(row.payload_schema.items()))
    row.save()
    assert len(of(row)) == 2


def test_only_what_was_written_is_kept() -> None:
    row = event()
    row.label, row.description = "Look", "not written"
    row.save(update_fields=["label"])
    last = of(row)[-1].document
    assert (last["label"], last["description"]) == ("Look", "")


def test_whoever_changes_something_is_kept_with_how() -> None:
    with changed_by("ada", "by hand"):
        relabelled("Look")
    last = of(event())[-1]
    assert (last.author, last.reason) == ("ada", "by hand")


def test_who_stands_further_out_counts() -> None:
    with changed_by("ada", "imported"), changed_by(reason="xkit_crm.define()"):
        relabelled("Look")
    last = of(event())[-1]
    assert (last.author, last.reason) == ("ada", "imported")


def test_a_file_that_was_loaded_is_named(tmp_path: Path) -> None:
    document = copy.deepcopy(OBJECTS)
    document["contact"]["label"] = "Person"
    (tmp_path / "objects.json").write_text(json.dumps(document))
    call_command("xkit_load", tmp_path / "objects.json", stdout=StringIO())
    last = of(CRMObject.objects.get(slug="contact"))[-1]
    assert last.reason == f"xkit_load {tmp_path / 'objects.json'}"


def test_a_document_that_changes_nothing_is_no_version() -> None:
    before = DefinitionVersion.objects.count()
    xkit_crm.define(OBJECTS)
    xkit_crm.define({"contact": {"label": "Other", "events": {}}}, dry_run=True)
    add({"contact": {"label": "Contact"}})
    assert DefinitionVersion.objects.count() == before


def test_what_was_written_past_the_versions_is_one_with_the_next_change() -> None:
    EventDefinition.objects.filter(slug="find_deals").update(label="Past")
    with changed_by("ada"):
        relabelled("Look")
    assert [(v.document["label"], v.author) for v in of(event())] == [
        ("Find Deals", ""),
        ("Past", ""),
        ("Look", "ada"),
    ]


def test_what_is_deleted_stays_in_the_history() -> None:
    row = event()
    pk = row.pk
    with changed_by("ada"):
        remove(row)
    last = DefinitionVersion.objects.filter(kind="event", row_id=pk).first()
    assert last is not None
    assert (last.document, last.author, last.name) == (None, "ada", "opportunity.find_deals")


def test_what_is_gone_already_is_deleted_once() -> None:
    row, same_row = event(), event()
    pk = row.pk
    row.delete()
    assert same_row.delete() == (0, {})
    versions_of_it = DefinitionVersion.objects.filter(kind="event", row_id=pk)
    assert [version.document is None for version in versions_of_it] == [True, False]
    with pytest.raises(ValueError, match="can't be deleted"):
        row.delete()  # as Django says it of any row


def bind() -> ModelBinding:
    return ModelBinding.objects.create(
        model=ContentType.objects.get_for_model(Customer),
        crm_object=event().crm_object,
        on_create=event("deal_created"),
        payload={"name": "name"},
        connection_path="connection_id",
    )


def test_a_binding_is_kept_by_the_names_of_what_it_points_at() -> None:
    binding = bind()
    (first,) = of(binding)
    assert first.name == "products.customer → opportunity"
    assert first.document["model"] == "products.customer"
    assert first.document["crm_object"] == "opportunity"
    assert (first.document["on_create"], first.document["on_update"]) == ("deal_created", None)
    binding.delete()


# -- what others changed --------------------------------------------------------------------------


def test_nothing_was_changed_since_where_it_says_the_same() -> None:
    assert versions.since(event(), event().as_document()) is None


def test_what_others_changed_since_is_told_with_who_they_were() -> None:
    seen = event().as_document()
    with changed_by("ada"):
        relabelled("Look")
    with changed_by("bob"):
        relabelled("Search")
    found = versions.since(event(), seen)
    assert found is not None
    assert set(found.authors) == {"ada", "bob"}
    assert [str(change) for change in found.changes] == ['~ .label: "Find Deals" -> "Search"']


# -- going back -----------------------------------------------------------------------------------


def test_a_version_is_restored_and_that_is_a_version_too() -> None:
    relabelled("Look")
    first = of(event())[0]
    with changed_by("ada"):
        versions.restore(first)
    assert event().label == "Find Deals"
    last = of(event())[-1]
    assert (last.number, last.author, last.reason) == (3, "ada", "version 1 restored")


def test_whether_a_version_is_in_force() -> None:
    relabelled("Look")
    assert [versions.is_in_force(version) for version in of(event())] == [False, True]


def test_what_was_deleted_is_made_anew_and_its_history_goes_on() -> None:
    row = event()
    pk, (first,) = row.pk, of(row)
    remove(row)
    versions.restore(first)
    assert event().pk == pk
    assert [version.number for version in of(event())] == [1, 2, 3]


def test_an_event_comes_back_after_its_object() -> None:
    xkit_crm.define({"ticket": {"events": {"ticket_closed": {"type": "delete"}}}})
    ticket = CRMObject.objects.get(slug="ticket")
    (of_object,), (of_event,) = of(ticket), of(event("ticket_closed"))
    remove(ticket)
    with pytest.raises(DefinitionInvalid, match="CRM object ticket is gone"):
        versions.restore(of_event)
    versions.restore(of_object)
    versions.restore(of_event)
    assert event("ticket_closed").crm_object.slug == "ticket"


def test_a_version_whose_slug_is_in_use_by_another_now_is_refused() -> None:
    row = event()
    row.slug = "look_for_deals"
    row.save()
    EventDefinition.objects.create(crm_object=row.crm_object, slug="find_deals", type="search")
    with pytest.raises(DefinitionInvalid, match="already exists"):
        versions.restore(of(row)[0])
    row.refresh_from_db()
    assert row.slug == "look_for_deals"


def test_a_version_that_others_rely_on_being_otherwise_is_refused() -> None:
    EventDefinition.objects.filter(slug="deal_created").update(type="search")
    relabelled("Made", "deal_created")  # keeps what was written past the versions
    EventDefinition.objects.filter(slug="deal_created").update(type="create")
    wrong = next(v for v in of(event("deal_created")) if v.document["type"] == "search")
    with pytest.raises(DefinitionInvalid, match=r"DealSync fires it"):
        versions.restore(wrong)


def test_a_version_that_says_it_was_deleted_can_not_be_restored() -> None:
    row = event()
    pk = row.pk
    remove(row)
    last = DefinitionVersion.objects.filter(kind="event", row_id=pk).first()
    assert last is not None
    with pytest.raises(DefinitionInvalid, match="it was deleted then"):
        versions.restore(last)


def test_a_binding_is_restored_with_what_it_points_at() -> None:
    binding = bind()
    (first,) = of(binding)
    binding.payload, binding.on_create = {}, None
    binding.save()
    versions.restore(first)
    binding.refresh_from_db()
    assert (binding.payload, binding.on_create) == ({"name": "name"}, event("deal_created"))
    binding.delete()


def test_a_binding_whose_payload_no_event_takes_any_more_is_refused() -> None:
    binding = bind()
    (first,) = of(binding)
    binding.payload = {}
    binding.save()
    row = event("deal_created")
    row.payload_schema = {}
    row.save()
    with pytest.raises(DefinitionInvalid, match="is in the schema of none"):
        versions.restore(first)
    binding.delete()


def test_a_version_that_speaks_of_a_field_there_is_no_more_is_restored_without_it() -> None:
    relabelled("Look")
    first = of(event())[0]
    document: dict[str, Any] = {**first.document, "colour": "red"}
    DefinitionVersion.objects.filter(pk=first.pk).update(document=document)
    first.refresh_from_db()
    versions.restore(first)
    assert event().label == "Find Deals"
