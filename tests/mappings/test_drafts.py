"""What a customer is still deciding: proposed, left, found again, dropped."""

from __future__ import annotations

import pytest

from tests.mappings.conftest import decide, silence
from xkit_crm import mappings
from xkit_crm.connections import authorise
from xkit_crm.exceptions import MappingInvalid
from xkit_crm.models import (
    Connection,
    EventAction,
    MappingDraft,
    ObjectMapping,
)
from xkit_crm.providers.registry import provider_for

pytestmark = pytest.mark.django_db


def test_only_what_nobody_has_decided_is_proposed(sandbox: Connection) -> None:
    decided = decide(mappings.in_force(sandbox), "deal_updated", action="noop", transformations=[])
    decided["contact"] = {"remote_object": ""}
    del decided["opportunity"]["events"]["deal_created"]
    del decided["opportunity"]["fields"]["document_name"]

    filled = mappings.with_proposals(provider_for(sandbox), decided)

    assert filled["contact"] == {"remote_object": ""}
    assert filled["opportunity"]["events"]["deal_updated"]["action"] == "noop"
    assert filled["opportunity"]["events"]["deal_created"]["action"] == "create"
    assert filled["opportunity"]["fields"]["document_name"] == "Name"


def test_proposals_for_an_object_are_of_the_one_that_is_chosen(sandbox: Connection) -> None:
    filled = mappings.with_proposals(
        provider_for(sandbox), {"opportunity": {"remote_object": "Lead"}}
    )
    assert filled["opportunity"]["remote_object"] == "Lead"


def test_each_object_of_the_crm_is_described_once(
    sandbox: Connection, described: list[str]
) -> None:
    mappings.with_proposals(provider_for(sandbox), {})
    assert len(described) == len(set(described)) > 0


# -- drafts ----------------------------------------------------------------------------------------


def test_a_draft_begins_with_proposals_and_changes_nothing(definitions: None) -> None:
    connection = authorise("acme", provider="sandbox")
    assert connection.status == "pending"

    draft = mappings.draft(connection)

    assert draft.document["opportunity"]["events"]["deal_created"]["action"] == "create"
    assert not ObjectMapping.objects.exists()
    assert mappings.draft(connection).revision == draft.revision


def test_a_draft_is_found_where_it_was_left_even_while_the_crm_is_silent(
    sandbox: Connection,
) -> None:
    changed = decide(mappings.draft(sandbox).document, "deal_created", ignored=["views"])
    written = mappings.write_draft(sandbox, changed)
    silence()

    found = mappings.draft(sandbox)

    assert found.document == changed
    assert found.revision == written.revision
    assert EventAction.objects.get(event__slug="deal_created").ignored == []


def test_each_change_of_a_draft_is_another_revision(sandbox: Connection) -> None:
    first = mappings.draft(sandbox)
    second = mappings.write_draft(sandbox, first.document)
    assert first.revision != second.revision


def test_a_draft_that_can_not_be_is_refused_with_every_mistake(sandbox: Connection) -> None:
    document = {"opportunity": {"fields": {"nope": "Name"}}, "dael": {}}
    with pytest.raises(MappingInvalid) as raised:
        mappings.write_draft(sandbox, document)
    assert [p.path for p in raised.value.errors] == ["opportunity.fields.nope", "dael"]
    assert not MappingDraft.objects.exists()


def test_a_draft_that_is_dropped_begins_again_with_what_is_in_force(sandbox: Connection) -> None:
    mappings.write_draft(sandbox, {"contact": {"remote_object": ""}})
    mappings.drop_draft(sandbox)
    assert mappings.draft(sandbox).document["contact"]["remote_object"] == "Contact"


def test_another_crm_begins_with_proposals_but_for_what_each_event_does(
    sandbox: Connection,
) -> None:
    changed = decide(mappings.draft(sandbox).document, "deal_deleted", action="noop")
    changed["opportunity"]["fields"] = {"document_name": "Description"}
    mappings.write_draft(sandbox, changed, aside={"opportunity": {"Lead": {}}})

    mappings.begin_anew(sandbox)

    draft = mappings.draft(sandbox)
    assert draft.document["opportunity"]["events"]["deal_deleted"]["action"] == "noop"
    assert draft.document["opportunity"]["fields"]["document_name"] == "Name"
    assert draft.aside == {}
