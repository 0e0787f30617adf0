"""How far the customer is, and what a mapping misses since their CRM was changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import xkit_crm
from tests.mappings.conftest import decide, silence
from tests.objects import OBJECTS
from xkit_crm import catalogue, mappings
from xkit_crm.exceptions import ConfigurationError, CRMError
from xkit_crm.models import (
    Connection,
    EventDefinition,
)
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.sandbox.models import Field, Object
from xkit_crm.providers.sandbox.provider import SandboxProvider

pytestmark = pytest.mark.django_db


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
