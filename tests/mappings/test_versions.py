"""A mapping is put in force, kept as a version, and lets go what waited for it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.factories import DealFactory
from tests.mappings.conftest import NAME, decide
from tests.products.models import Customer
from tests.threads import together
from xkit_crm import mappings
from xkit_crm.connections import propose_mapping
from xkit_crm.exceptions import MappingInvalid
from xkit_crm.models import (
    Connection,
    EventAction,
    Invocation,
    MappingDraft,
    MappingVersion,
    ObjectMapping,
)
from xkit_crm.models.invocation import NEVER
from xkit_crm.providers.sandbox.models import Field
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


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

    def put(key: str) -> None:
        connection = Connection.objects.get()
        mappings.put_in_force(connection, decide(document, "deal_created", ignored=[key]))

    together(partial(put, "views"), partial(put, "tags"))
    assert list(MappingVersion.objects.values_list("number", flat=True)) == [3, 2, 1]
    assert MappingVersion.objects.all()[0].document == mappings.in_force(sandbox)


# -- letting go ------------------------------------------------------------------------------------


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
