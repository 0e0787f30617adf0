"""Whom a change of the definitions concerns, and how, before it is made."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.factories import ConnectionFactory
from tests.products.crm import DealSync
from tests.products.models import Customer
from tests.sync.test_capture import rebound
from xkit_crm import impact, states
from xkit_crm.impact import Effect, Severity
from xkit_crm.impact.asking import TRIED
from xkit_crm.impact.effects import EXAMPLES
from xkit_crm.models import (
    Connection,
    CRMObject,
    EventAction,
    EventDefinition,
    Invocation,
    ModelBinding,
    ObjectMapping,
)
from xkit_crm.models.definition_version import Versioned
from xkit_crm.states import Edit, State

pytestmark = pytest.mark.django_db

DIRECT = {"field": "Amount", "kind": "direct", "key": "amount"}
DATE = {"field": "CloseDate", "kind": "date", "key": "amount"}
TEMPLATE = {"field": "Name", "kind": "template", "template": "Worth {amount}"}
DEFAULT = {"field": "Amount", "kind": "default", "key": "amount", "value": 1}
MAP = {"field": "Stage", "kind": "value_map", "key": "name", "values": {"new": "Open"}}


def event(slug: str = "deal_created") -> EventDefinition:
    return EventDefinition.objects.select_related("crm_object").get(slug=slug)


def decide(*rows: dict[str, Any], slug: str = "deal_created", **more: Any) -> EventAction:
    """Let the event do something in one more connection."""
    connection = more.pop("connection", None) or ConnectionFactory.create()
    mapping, _ = ObjectMapping.objects.get_or_create(
        connection=connection,
        crm_object=event(slug).crm_object,
        defaults={"remote_object": more.pop("remote_object", "Deal")},
    )
    said = {"action": "create", "transformations": list(rows), **more}
    return EventAction.objects.create(mapping=mapping, event=event(slug), **said)


def effects(row: Versioned, change: Callable[[Any], object]) -> list[Effect]:
    """What changing the row does; nothing is saved."""
    before = State.of(row)
    after = copy.deepcopy(row)
    change(after)
    return impact.of([Edit(before, State.of(after))])


def schema_change(**keys: Any) -> list[Effect]:
    """What happens where these keys of `deal_created` become something else; None: they go."""

    def change(row: EventDefinition) -> None:
        for key, description in keys.items():
            if description is None:
                del row.payload_schema[key]
            else:
                row.payload_schema[key] = description

    return effects(event(), change)


def told(found: list[Effect], whom: str) -> list[tuple[Severity, str, int]]:
    return [(e.severity, e.what, e.count) for e in found if e.whom == whom]


# -- customers' mappings --------------------------------------------------------------------------


@pytest.mark.usefixtures("connection")
def test_a_key_that_goes_breaks_the_mappings_that_read_it() -> None:
    for row in (DIRECT, TEMPLATE, DEFAULT):
        decide(row)
    decide(MAP)  # reads another key
    (effect,) = [e for e in schema_change(amount=None) if e.whom == "connection"]
    assert (effect.severity, effect.count) == (Severity.BREAKS, 3)
    assert effect.path == "opportunity.deal_created.amount"
    assert effect.what == "is gone — what it feeds is no longer written"
    assert len(effect.examples) == 3


@pytest.mark.usefixtures("connection")
def test_a_new_key_can_be_mapped_by_whoever_lets_the_event_write() -> None:
    decide(DIRECT)
    decide(action="noop")
    decide(DIRECT, remote_object="")  # opted out
    decide(action="workflow", workflow="Flow", remote_object="")
    found = schema_change(stage={"type": "string"})
    assert told(found, "connection") == [(Severity.SAFE, "is new — customers can map it", 2)]


@pytest.mark.usefixtures("connection")
def test_another_type_needs_mapping_again() -> None:
    decide(DIRECT)
    decide(MAP)
    found = schema_change(amount={"type": "string", "format": "date"})
    assert told(found, "connection") == [
        (
            Severity.REMAP,
            "number → string — it may no longer fit the field that it feeds",
            1,
        )
    ]


@pytest.mark.usefixtures("connection")
def test_what_may_be_null_may_clear_a_field_unless_there_is_a_default() -> None:
    row = event()
    row.payload_schema["amount"] = {"type": "number", "nullable": False}
    row.save()
    decide(DIRECT)
    decide(DATE)
    decide(DEFAULT)
    decide(TEMPLATE)
    found = schema_change(amount={"type": "number"})
    assert [(s, count) for s, _, count in told(found, "connection")] == [(Severity.REMAP, 2)]


@pytest.mark.usefixtures("connection")
def test_new_choices_concern_the_lists_that_do_not_have_them() -> None:
    row = event()
    row.payload_schema["name"] = {"type": "string", "enum": ["new"]}
    row.save()
    decide(MAP)
    decide({**MAP, "values": {"new": "Open", "won": "Closed"}})
    decide({**MAP, "fallback": "Other"})
    found = schema_change(name={"type": "string", "enum": ["new", "won"]})
    assert told(found, "connection") == [
        (Severity.REMAP, "may be won — the list that translates it lacks this", 1)
    ]


@pytest.mark.usefixtures("connection")
def test_narrower_values_and_labels_concern_no_mapping() -> None:
    decide(DIRECT)
    found = schema_change(amount={"type": "number", "minimum": 0, "label": "Worth"})
    assert told(found, "connection") == []


@pytest.mark.usefixtures("connection")
def test_a_part_of_an_object_concerns_who_reads_the_part() -> None:
    row = event()
    city, street = {"type": "string"}, {"type": "string"}
    row.payload_schema["address"] = {
        "type": "object",
        "properties": {"city": city, "street": street},
    }
    row.save()
    decide({"field": "City", "kind": "direct", "key": "address.city"})
    decide({"field": "Street", "kind": "direct", "key": "address.street"})
    decide({"field": "Address", "kind": "direct", "key": "address"})
    found = schema_change(address={"type": "object", "properties": {"street": street}})
    assert [(e.path, e.count) for e in found if e.whom == "connection"] == [
        ("opportunity.deal_created.address.city", 1)
    ]
    gone = schema_change(address=None)
    assert [e.count for e in gone if e.whom == "connection"] == [3]


@pytest.mark.usefixtures("connection")
def test_what_was_written_past_every_check_stops_nothing() -> None:
    decide({"kind": "nonsense"})
    decide(DIRECT)
    found = schema_change(amount=None)
    assert [e.count for e in found if e.whom == "connection"] == [1]


@pytest.mark.usefixtures("connection")
def test_what_the_product_reads_back_concerns_who_feeds_it() -> None:
    crm_object = CRMObject.objects.get(slug="opportunity")
    for feeds in ({"document_name": "Name"}, {"document_name": ""}, {}):
        ObjectMapping.objects.create(
            connection=ConnectionFactory.create(),
            crm_object=crm_object,
            remote_object="Deal",
            fields=feeds,
        )

    def drop(row: CRMObject) -> None:
        del row.fields["document_name"]

    (effect,) = effects(crm_object, drop)
    assert (effect.severity, effect.count) == (Severity.BREAKS, 1)
    assert effect.path == "opportunity.fields.document_name"

    def retype(row: CRMObject) -> None:
        row.fields["document_name"] = {"type": "object"}

    assert [(e.severity, e.count) for e in effects(crm_object, retype)] == [(Severity.REMAP, 1)]

    def add(row: CRMObject) -> None:
        row.fields["owner"] = {"type": "string"}

    assert [(e.severity, e.count) for e in effects(crm_object, add)] == [(Severity.SAFE, 3)]


# -- bindings -------------------------------------------------------------------------------------

DEALS = "tests.products.crm.DealSync"
ADDRESSED = (
    "tests.test_impact.test_a_binding_that_fills_a_part_of_an_object_is_asked_of_that_part"
    ".<locals>.Addressed"
)


def on_bindings(found: list[Effect]) -> dict[Severity, set[str]]:
    """Which bindings are concerned, by how bad it is."""
    by: dict[Severity, set[str]] = {}
    for effect in found:
        if effect.whom == "binding":
            by.setdefault(effect.severity, set()).update(effect.examples)
    return by


@pytest.mark.usefixtures("connection")
def test_what_a_binding_fills_is_no_longer_sent_once_its_key_is_gone() -> None:
    found = schema_change(views=None)
    assert on_bindings(found) == {Severity.BREAKS: {DEALS}}


@pytest.mark.usefixtures("connection")
def test_a_key_that_is_required_breaks_the_bindings_that_do_not_fill_it() -> None:
    views = {"type": "integer", "required": True}
    broken = on_bindings(schema_change(views=views))[Severity.BREAKS]
    assert DEALS not in broken
    assert "tests.products.crm.TwinSync" in broken


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("parts", "severity"),
    [
        ({"city": {"type": "string", "maxLength": 100}}, None),
        ({"city": {"type": "string", "maxLength": 50}}, Severity.BREAKS),
        ({"city": {"type": "integer"}}, Severity.BREAKS),
        ({"zip": {"type": "string"}}, Severity.BREAKS),  # the city goes
        ({"city": {"type": "string"}, "zip": {"type": "string"}}, None),
        (
            {"city": {"type": "string"}, "zip": {"type": "string", "required": True}},
            Severity.BREAKS,
        ),
    ],
)
def test_a_binding_that_fills_a_part_of_an_object_is_asked_of_that_part(
    parts: dict[str, Any], severity: Severity | None
) -> None:
    class Addressed(DealSync):
        payload = {"address.city": "title"}

    row = event()
    row.payload_schema["address"] = {"type": "object", "properties": {"city": {"type": "string"}}}
    row.save()
    with rebound(Addressed):
        found = on_bindings(schema_change(address={"type": "object", "properties": parts}))
        gone = on_bindings(schema_change(address=None))
    assert {s for s, names in found.items() if ADDRESSED in names} == ({severity} - {None})
    assert ADDRESSED in gone[Severity.BREAKS]


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("key", "description", "severity"),
    [
        # `title` is a text of at most a hundred characters.
        ("name", {"type": "string", "maxLength": 100}, None),
        ("name", {"type": "string", "maxLength": 50}, Severity.BREAKS),
        ("name", {"type": "integer"}, Severity.BREAKS),
        ("name", {"type": "string", "enum": ["a"]}, Severity.BREAKS),
        ("name", {"type": "string", "maxLength": 80, "nullable": False}, Severity.BREAKS),
        # `views` is a number of its own, never null.
        ("views", {"type": "number"}, None),
        ("views", {"type": "integer", "nullable": False}, None),
        ("views", {"type": "string"}, Severity.BREAKS),
        ("views", {"type": "integer", "minimum": 0}, Severity.BREAKS),
        # `tags` is JSON: nobody knows what it holds.
        ("tags", {"type": "string"}, Severity.REMAP),
    ],
)
def test_a_binding_is_asked_whether_its_column_still_fits(
    key: str, description: dict[str, Any], severity: Severity | None
) -> None:
    found = on_bindings(schema_change(**{key: description}))
    assert {s for s, names in found.items() if DEALS in names} == ({severity} - {None})


@pytest.mark.usefixtures("connection")
def test_a_binding_of_the_admin_is_asked_as_well() -> None:
    binding = ModelBinding.objects.create(
        model=ContentType.objects.get_for_model(Customer),
        crm_object=event().crm_object,
        on_create=event(),
        payload={"name": "name"},
        connection_path="connection_id",
    )
    try:
        broken = on_bindings(schema_change(name=None))[Severity.BREAKS]
        assert f"admin: {binding}" in broken
    finally:
        binding.delete()


# -- switching off --------------------------------------------------------------------------------


def switch_off(row: Any) -> None:
    row.active = False


@pytest.mark.usefixtures("connection")
def test_an_event_that_is_switched_off_stops_bindings_and_customers() -> None:
    decide(DIRECT)
    decide(action="noop")
    found = effects(event(), switch_off)
    assert {e.severity for e in found} == {Severity.BREAKS}
    assert [e.count for e in found if e.whom == "connection"] == [1]
    assert DEALS in on_bindings(found)[Severity.BREAKS]


@pytest.mark.usefixtures("connection")
def test_an_object_that_is_switched_off_stops_all_its_events() -> None:
    decide(DIRECT)
    found = effects(CRMObject.objects.get(slug="opportunity"), switch_off)
    assert {e.path for e in found if e.whom == "connection"} == {"opportunity.deal_created"}
    assert {e.path for e in found if e.whom == "binding"} == {
        "opportunity.deal_created",
        "opportunity.deal_updated",
        "opportunity.deal_deleted",
    }


@pytest.mark.usefixtures("connection")
def test_what_nobody_uses_is_switched_off_safely() -> None:
    assert effects(event("find_deals"), switch_off) == []


def test_what_is_new_concerns_nobody(definitions: None) -> None:
    made = EventDefinition(crm_object=event().crm_object, slug="new", type="create")
    assert impact.of([Edit(None, State.of(made))]) == []


# -- what waits -----------------------------------------------------------------------------------


def waits(connection: Connection, payload: dict[str, Any], **more: Any) -> None:
    Invocation.objects.create(
        connection=connection,
        event=more.pop("event", None) or event(),
        payload=payload,
        record_key=str(payload),
        **more,
    )


def test_what_waits_with_a_payload_that_no_longer_fits_is_counted(connection: Connection) -> None:
    waits(connection, {"amount": 1})
    waits(connection, {"amount": 2})
    waits(connection, {"name": "fits"})
    waits(connection, {"amount": 3}, status="succeeded")
    waits(connection, {"amount": 4}, event=event("deal_updated"))
    found = schema_change(amount=None)
    assert [(s, count) for s, _, count in told(found, "waiting")] == [(Severity.REMAP, 2)]
    assert told(schema_change(stage={"type": "string"}), "waiting") == []


def test_only_so_many_that_wait_are_looked_at(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkit_crm.impact.asking.TRIED", 2)
    assert TRIED > 2
    for amount in range(3):
        waits(connection, {"amount": amount})
    (found,) = told(schema_change(amount=None), "waiting")
    assert found[2] == 2
    assert "only the first" in found[1]


# -- many -----------------------------------------------------------------------------------------


def decide_in(count: int) -> None:
    made = Connection.objects.bulk_create(
        ConnectionFactory.build(id=f"c-{n:05}") for n in range(count)
    )
    crm_object = event().crm_object
    mappings = ObjectMapping.objects.bulk_create(
        ObjectMapping(connection=one, crm_object=crm_object, remote_object="Deal") for one in made
    )
    EventAction.objects.bulk_create(
        EventAction(mapping=one, event=event(), action="create", transformations=[DIRECT])
        for one in mappings
    )


def test_many_connections_cost_no_more_queries_and_are_counted_not_listed(
    definitions: None,
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(database) as queries:
            schema_change(amount=None)
        return len(queries)

    decide_in(1)
    few = cost()
    Connection.objects.all().delete()
    decide_in(300)
    assert cost() == few <= 6
    (effect,) = [e for e in schema_change(amount=None) if e.whom == "connection"]
    assert (effect.count, len(effect.examples)) == (300, EXAMPLES)
    assert effect.examples[0] == "c-00000"
    assert effect.left_out == 300 - EXAMPLES
    assert effect.who == "300 connections"


def test_many_changes_cost_no_more_queries(definitions: None) -> None:
    before = states.now()

    def changed(*slugs: str) -> list[Edit]:
        for row in EventDefinition.objects.filter(slug__in=slugs):
            row.payload_schema.pop("name", None)
            row.save()
        return states.edits(before, states.now())

    def cost(edits: list[Edit]) -> int:
        with CaptureQueriesContext(database) as queries:
            impact.of(edits)
        return len(queries)

    one = changed("deal_created")
    assert len(one) == 1
    several = changed("deal_updated", "deal_deleted", "find_deals")
    assert len(several) == 4
    assert cost(several) == cost(one)


@pytest.mark.usefixtures("connection")
def test_the_worst_is_told_first() -> None:
    decide(DIRECT)
    found = schema_change(amount=None, stage={"type": "string"}, views={"type": "string"})
    severities = [effect.severity for effect in found]
    assert severities == sorted(severities, reverse=True)
    assert {Severity.SAFE, Severity.BREAKS} <= set(severities)
