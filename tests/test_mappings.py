"""A customer's mapping as one document: drafted, put in force, kept as versions, gone stale."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
from django.db import connection as database
from django.db import connections
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.factories import DealFactory
from tests.objects import OBJECTS
from tests.products.models import Customer
from xkit_crm import catalogue, mappings
from xkit_crm.connections import authorise, propose_mapping
from xkit_crm.exceptions import ConfigurationError, CRMError, MappingInvalid
from xkit_crm.models import (
    Connection,
    EventAction,
    EventDefinition,
    Invocation,
    MappingDraft,
    MappingVersion,
    ObjectMapping,
)
from xkit_crm.models.invocation import NEVER
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.sandbox.models import Field, Misbehaviour, Object, Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db
NAME = {"field": "Name", "kind": "direct", "key": "name"}


def decide(document: mappings.Document, event: str, **changes: Any) -> mappings.Document:
    """The document, with another decision for an event of opportunities."""
    changed = copy.deepcopy(document)
    changed["opportunity"]["events"].setdefault(event, {}).update(changes)
    return changed


def silence() -> Misbehaviour:
    """Make the CRM answer nothing any more."""
    return Misbehaviour.objects.create(org=Org.objects.get(slug="acme"), kind="unavailable")


# -- what is in force -----------------------------------------------------------------------------


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


# -- proposals ------------------------------------------------------------------------------------


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


# -- what an event does by a document -------------------------------------------------------------


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


# -- drafts ---------------------------------------------------------------------------------------


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


# -- putting in force -----------------------------------------------------------------------------


def test_a_document_that_is_put_in_force_is_carried_out_and_kept_as_a_version(
    sandbox: Connection, customer: Customer
) -> None:
    static = {"field": "Name", "kind": "static", "value": "Ours"}
    document = decide(mappings.in_force(sandbox), "deal_created", transformations=[static])
    mappings.write_draft(sandbox, document)

    version = mappings.put_in_force(sandbox, document, author="ada")

    assert version is not None
    assert (version.number, version.author, version.document) == (2, "ada", document)
    assert sandbox.mapping_version == Connection.objects.get().mapping_version == 2
    assert not MappingDraft.objects.exists()
    DealFactory.create(customer=customer)
    deliver()
    assert Invocation.objects.get().result["records"][0]["data"]["document_name"] == "Ours"


def test_the_same_again_is_no_new_version(sandbox: Connection) -> None:
    assert mappings.put_in_force(sandbox, mappings.in_force(sandbox)) is None
    propose_mapping(sandbox)
    assert MappingVersion.objects.count() == 1


def test_what_a_document_does_not_name_stays(sandbox: Connection) -> None:
    before = mappings.in_force(sandbox)
    updated = before["opportunity"]["events"]["deal_updated"] | {"ignored": ["views"]}

    mappings.put_in_force(sandbox, {"opportunity": {"events": {"deal_updated": updated}}})

    assert mappings.in_force(sandbox) == decide(before, "deal_updated", ignored=["views"])


def test_fields_of_another_object_feed_nothing_any_more(sandbox: Connection) -> None:
    mappings.put_in_force(sandbox, {"opportunity": {"remote_object": "Lead"}})
    assert mappings.in_force(sandbox)["opportunity"]["fields"] == {}


def test_events_of_an_object_that_is_not_chosen_wait_for_it(connection: Connection) -> None:
    document = {"opportunity": {"events": {"deal_created": {"action": "noop"}}}}
    mappings.put_in_force(connection, document)
    assert not ObjectMapping.objects.exists()


def test_an_invalid_document_changes_nothing(sandbox: Connection) -> None:
    before = mappings.in_force(sandbox)
    with pytest.raises(MappingInvalid):
        mappings.put_in_force(sandbox, decide(before, "deal_created", action="insert"))
    assert mappings.in_force(sandbox) == before
    assert MappingVersion.objects.count() == 1


def test_an_earlier_version_is_put_in_force_again_as_a_new_one(sandbox: Connection) -> None:
    first = MappingVersion.objects.get()
    noop = decide(first.document, "deal_created", action="noop", transformations=[])
    mappings.put_in_force(sandbox, noop)

    third = mappings.put_in_force(sandbox, first.document)

    assert third is not None
    assert (third.number, third.document) == (3, first.document)
    assert mappings.in_force(sandbox) == first.document


def test_what_somebody_is_still_deciding_stays_where_something_else_is_put_in_force(
    sandbox: Connection,
) -> None:
    document = mappings.in_force(sandbox)
    theirs = decide(document, "deal_updated", ignored=["views"])
    mappings.write_draft(sandbox, theirs)
    assert mappings.is_unfinished(sandbox)

    mappings.put_in_force(sandbox, decide(document, "deal_created", ignored=["views"]))

    assert mappings.draft(sandbox).document == theirs


def test_a_draft_in_which_nothing_was_decided_goes_with_what_it_began_with(
    sandbox: Connection,
) -> None:
    document = mappings.in_force(sandbox)
    mappings.write_draft(sandbox, document)
    assert not mappings.is_unfinished(sandbox)
    mappings.put_in_force(sandbox, decide(document, "deal_created", ignored=["views"]))
    assert not MappingDraft.objects.exists()
    assert not mappings.is_unfinished(sandbox)


def test_rows_that_were_written_otherwise_become_a_version_too(sandbox: Connection) -> None:
    EventAction.objects.filter(event__slug="deal_created").update(ignored=["views"])

    version = mappings.record(sandbox, author="x" * 300)

    assert version is not None
    assert version.author == "x" * 255
    assert version.document["opportunity"]["events"]["deal_created"]["ignored"] == ["views"]
    assert mappings.record(sandbox) is None


def test_rows_that_were_written_otherwise_are_kept_before_others_are_put_in_force(
    sandbox: Connection,
) -> None:
    first = MappingVersion.objects.get()
    EventAction.objects.filter(event__slug="deal_created").update(ignored=["views"])
    written = mappings.in_force(sandbox)

    third = mappings.put_in_force(sandbox, first.document)

    assert third is not None
    assert mappings.in_force(sandbox) == first.document
    assert MappingVersion.objects.get(number=2).document == written
    assert (third.number, sandbox.mapping_version) == (3, 3)


def test_a_number_that_was_overwritten_is_right_again_with_the_next_decision(
    sandbox: Connection,
) -> None:
    Connection.objects.update(mapping_version=0)
    assert mappings.record(sandbox) is None
    assert Connection.objects.get().mapping_version == 1


@pytest.mark.django_db(transaction=True)
def test_versions_come_one_by_one(sandbox: Connection) -> None:
    """Two who decide at the same moment."""
    document = mappings.in_force(sandbox)
    ready = threading.Barrier(2)

    def put(keys: list[str]) -> None:
        try:
            ready.wait(10)
            connection = Connection.objects.get()
            mappings.put_in_force(connection, decide(document, "deal_created", ignored=keys))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=put, args=[[key]]) for key in ("views", "tags")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(MappingVersion.objects.values_list("number", flat=True)) == [3, 2, 1]
    assert MappingVersion.objects.all()[0].document == mappings.in_force(sandbox)


# -- letting go -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "waits"), [("mapping_incomplete", False), ("", False), ("crm_unavailable", True)]
)
def test_what_waits_for_the_customer_is_let_go_and_what_waits_for_the_crm_is_not(
    sandbox: Connection, customer: Customer, time_machine: Any, code: str, waits: bool
) -> None:
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    DealFactory.create(customer=customer)
    Invocation.objects.update(error_code=code, due_at="2026-01-01T01:00:00Z")

    assert mappings.release("acme") == (0 if waits else 1)

    assert deliver() == (0 if waits else 1)


def test_what_waits_for_its_connection_to_go_live_is_not_let_go(
    sandbox: Connection, customer: Customer
) -> None:
    DealFactory.create(customer=customer)
    Invocation.objects.update(due_at=NEVER)
    assert mappings.release("acme") == 0


@pytest.mark.django_db(transaction=True)
def test_who_delivers_is_told_that_something_was_let_go(
    sandbox: Connection, customer: Customer, settings: Any
) -> None:
    DealFactory.create(customer=customer)
    Field.objects.get(object__name="Opportunity", name="Amount").delete()
    deliver()
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "immediate"}

    document = mappings.in_force(sandbox)
    mappings.put_in_force(sandbox, decide(document, "deal_created", transformations=[NAME]))

    assert Invocation.objects.get().status == "succeeded"


# -- how far the customer is, and drift -----------------------------------------------------------


def told(found: mappings.State | CRMError) -> tuple[list[str], list[str]]:
    assert isinstance(found, mappings.State)
    return list(map(str, found.missing)), list(map(str, found.undecided))


@pytest.fixture
def decided(sandbox: Connection) -> mappings.Document:
    """A mapping in which nothing is left to be decided."""
    document = mappings.in_force(sandbox)
    for event, given in document["opportunity"]["events"].items():
        used = {row.get("key") for row in given["transformations"]}
        schema = OBJECTS["opportunity"]["events"][event]["payloadSchema"]
        given["ignored"] = [key for key in schema if key not in used]
    fields = document["opportunity"]["fields"]
    document["opportunity"]["fields"] = {"document_tags": "", **fields}
    mappings.put_in_force(sandbox, document)
    return document


def test_a_mapping_that_fits_has_not_drifted(
    sandbox: Connection, decided: mappings.Document
) -> None:
    assert mappings.drift(sandbox) == {}


def test_what_the_crm_dropped_and_changed_is_told(
    sandbox: Connection, decided: mappings.Document
) -> None:
    of = Field.objects.filter(object__name="Opportunity")
    of.get(name="Amount").delete()
    of.filter(name="Probability").update(required=True)
    Object.objects.get(name="Contact").delete()

    found = mappings.drift(sandbox)

    assert told(found["contact"]) == (
        ["remote_object: the CRM has no object 'Contact' (any more)"],
        [],
    )
    missing, undecided = told(found["opportunity"])
    gone = "transformations.Amount: the CRM has no such field any more"
    assert f"deal_created.{gone}" in missing
    assert f"deal_updated.{gone}" in missing
    assert "deal_created.transformations.Probability: Probability (%) is required by the CRM" in (
        missing
    )
    assert undecided == []


def test_a_field_that_is_read_back_and_gone_is_told(
    sandbox: Connection, decided: mappings.Document
) -> None:
    decided["opportunity"]["fields"] = {"document_name": "Gone", "document_tags": {"a": "Gone2"}}
    mappings.put_in_force(sandbox, decided)

    missing, _ = told(mappings.drift(sandbox)["opportunity"])

    assert missing == [
        "fields.document_name: the CRM has no field 'Gone' (any more)",
        "fields.document_tags: the CRM has no field 'Gone2' (any more)",
    ]


def test_what_the_product_has_defined_since_is_undecided(
    sandbox: Connection, decided: mappings.Document
) -> None:
    objects = copy.deepcopy(OBJECTS)
    events = objects["opportunity"]["events"]
    events["deal_created"]["payloadSchema"]["stage"] = {"type": "string"}
    events["deal_won"] = {"type": "update", "payloadSchema": {}}
    objects["opportunity"]["fields"]["stage"] = {"type": "string"}
    objects["account"] = {"fields": {}, "events": {}}
    xkit_crm.define(objects)

    found = mappings.drift(sandbox)

    assert told(found["account"]) == ([], ["remote_object: is not chosen yet"])
    assert told(found["opportunity"]) == (
        [],
        [
            "fields.stage: is not mapped to a field yet",
            "deal_created.payload.stage: is not mapped to a field yet",
            "deal_won.action: is not chosen yet",
        ],
    )


def test_a_payload_key_that_is_gone_is_told_and_holds_nothing_up(
    sandbox: Connection, decided: mappings.Document
) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    del event.payload_schema["amount"]
    event.save()

    assert told(mappings.drift(sandbox)["opportunity"]) == (
        [],
        ["deal_created.transformations.Amount: the event has no payload key amount"],
    )


def test_an_object_that_the_customer_opted_out_of_misses_nothing(sandbox: Connection) -> None:
    document = {"opportunity": {"remote_object": ""}}
    crm_object = catalogue.crm_object("opportunity")
    assert mappings.state_of(provider_for(sandbox), document, crm_object).is_complete


def test_a_workflow_that_is_gone_is_missing(
    sandbox: Connection, decided: mappings.Document
) -> None:
    run = {"action": "workflow", "workflow": "gone", "transformations": []}
    event = catalogue.event("opportunity", "deal_created")
    state = mappings.event_state(
        provider_for(sandbox), decide(decided, "deal_created", **run), event
    )
    assert told(state) == (["workflow: the CRM has no workflow 'gone' any more"], [])


def test_a_crm_that_can_not_be_asked_is_said_to_be_so_and_asked_once(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence()
    asked: list[None] = []
    describe = SandboxProvider.describe_objects

    def counting(self: Any) -> Any:
        asked.append(None)
        return describe(self)

    monkeypatch.setattr(SandboxProvider, "describe_objects", counting)

    found = mappings.drift(sandbox)

    assert list(found) == ["opportunity", "contact"]
    assert all(isinstance(error, CRMError) for error in found.values())
    assert len(asked) == 1


def test_a_provider_that_is_not_there_is_no_silent_crm(sandbox: Connection) -> None:
    sandbox.provider = "uninstalled"
    with pytest.raises(ConfigurationError):
        mappings.drift(sandbox)
