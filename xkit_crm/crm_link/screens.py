"""What the pages show, as plain data for the templates: the steps, the rows of an event, a preview.

Decides nothing: what is missing, what fits and what would be sent is asked of the layers below.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from django.utils.translation import gettext as _

from xkit_crm import catalogue, mappings, schema
from xkit_crm.crm_link.answers import IGNORED
from xkit_crm.exceptions import CRMError, Problem
from xkit_crm.mapping import completeness, documents, picking
from xkit_crm.mapping.completeness import payload_keys
from xkit_crm.mapping.fitting import described
from xkit_crm.mapping.transformations import KEYED, ActionType, Kind, WriteMode
from xkit_crm.models.event_definition import EventType
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RemoteField, RemoteType
from xkit_crm.schema.language import enum_values

#: Fields that a picker shows at once; more are found by typing.
SHOWN = 50

_INPUTS = {
    RemoteType.DATE: "date",
    RemoteType.DATETIME: "datetime-local",
    RemoteType.EMAIL: "email",
    RemoteType.URL: "url",
    RemoteType.PHONE: "tel",
    RemoteType.INTEGER: "number",
    RemoteType.NUMBER: "number",
}


def type_name(found: RemoteType | str) -> str:
    """What a customer calls a type."""
    return {
        "string": _("text"),
        "text": _("long text"),
        "integer": _("whole number"),
        "number": _("number"),
        "boolean": _("yes or no"),
        "date": _("date"),
        "datetime": _("date and time"),
        "email": _("email"),
        "url": _("web address"),
        "uri": _("web address"),
        "phone": _("phone"),
        "picklist": _("choice"),
        "multipicklist": _("several choices"),
        "reference": _("link to a record"),
        "array": _("list"),
        "object": _("group of values"),
        "uuid": _("id"),
    }.get(str(found), str(found))


@dataclass(frozen=True, slots=True)
class Step:
    """One CRM object or event on the overview."""

    slug: str
    label: str
    description: str
    #: done, todo (the customer has to decide), broken (it no longer fits their CRM), off.
    state: str
    summary: str = ""
    problems: tuple[str, ...] = ()
    events: tuple[Step, ...] = ()


@dataclass(slots=True)
class Row:
    """One remote field and what feeds it, as the form shows it."""

    number: int
    #: The payload key that this row is of; empty where the row is the field's.
    own_key: str = ""
    key: str = ""
    label: str = ""
    help: str = ""
    type: str = ""
    field: RemoteField | None = None
    field_name: str = ""
    kind: str = ""
    value: Any = ""
    template: str = ""
    pairs: list[tuple[str, str]] = attribute(default_factory=list)
    fallback: Any = None
    mode: str = str(WriteMode.ALWAYS)
    operator: str = "equals"
    required: bool = False
    #: Whether the field stays, since it is an input or one that the CRM requires.
    fixed: bool = False
    problems: list[str] = attribute(default_factory=list)
    #: The field that the same key goes to elsewhere, to be taken over with one click.
    offer: RemoteField | None = None

    @property
    def ignored(self) -> bool:
        return self.field_name == IGNORED

    @property
    def chosen(self) -> bool:
        return bool(self.field_name) and not self.ignored

    @property
    def is_keyed(self) -> bool:
        return self.kind in KEYED

    @property
    def choices(self) -> list[tuple[str, str]]:
        """What a fixed value can be, where the CRM names them."""
        if self.field is None:
            return []
        if self.field.type is RemoteType.BOOLEAN:
            return [("true", _("Yes")), ("false", _("No"))]
        return [(choice.value, choice.label) for choice in self.field.choices]

    @property
    def many(self) -> bool:
        return self.field is not None and self.field.type is RemoteType.MULTIPICKLIST

    @property
    def values(self) -> list[str]:
        """The fixed value as the form has it."""
        if isinstance(self.value, list):
            return [str(item) for item in self.value]
        if isinstance(self.value, bool):
            return [str(self.value).lower()]
        return [] if self.value in (None, "") else [str(self.value)]

    @property
    def input_type(self) -> str:
        return _INPUTS.get(self.field.type, "text") if self.field else "text"

    @property
    def fallback_is_fixed(self) -> bool:
        return self.fallback is not None


# -- the overview ---------------------------------------------------------------------------------


def overview(
    provider: Provider, document: Mapping[str, Any], slugs: Iterable[str] | None
) -> list[Step]:
    """Every CRM object with its events, and how far the customer is. Raises `CRMError`."""
    wanted = mappings.definitions(slugs)
    return [
        _object_step(provider, document, crm_object)
        for slug, crm_object in catalogue.objects().items()
        if slug in wanted
    ]


def _object_step(
    provider: Provider, document: Mapping[str, Any], crm_object: catalogue.Object
) -> Step:
    given = document.get(crm_object.slug, {})
    chosen = given.get("remote_object")
    state = mappings.state_of(provider, document, crm_object)
    own = [p for p in (*state.missing, *state.undecided) if _is_of_object(p)]
    remote = {found.name: found for found in descriptions.objects(provider)}.get(chosen or "")
    summary = remote.label if remote else ""
    events = tuple(
        _event_step(provider, document, event) for event in crm_object.events.values() if chosen
    )
    return Step(
        crm_object.slug,
        crm_object.label,
        "",
        _state(state, off=chosen == ""),
        summary,
        tuple(_object_problem(problem, crm_object) for problem in own),
        events,
    )


def left(steps: Iterable[Step]) -> list[Step]:
    """What has to be decided or mended before the mapping can be confirmed."""
    return [
        found
        for step in steps
        for found in (step, *step.events)
        if found.problems and found.state in ("todo", "broken")
    ]


def _object_problem(problem: Problem, crm_object: catalogue.Object) -> str:
    key = problem.path.removeprefix("fields.")
    if key == problem.path:
        return _("Choose which of your objects it is, or that you don't use it.")
    label = schema.label_for(key, crm_object.fields.get(key))
    if problem.error == completeness.NOT_MAPPED:
        return _("%(name)s: choose a field, or don't read it") % {"name": label}
    return f"{label}: {problem.error}"


def _is_of_object(problem: Problem) -> bool:
    return problem.path == "remote_object" or problem.path.startswith("fields.")


def _event_step(provider: Provider, document: Mapping[str, Any], event: catalogue.Event) -> Step:
    state = mappings.event_state(provider, document, event)
    action = mappings.action_of(document, event.crm_object, event.slug)
    definition = event.definition
    off = action is not None and action.action == ActionType.NOOP
    return Step(
        event.slug,
        definition.label,
        definition.description,
        _state(state, off=off),
        action_name(action.action, event.type) if action else "",
        tuple(problem_text(p, event) for p in (*state.missing, *state.undecided)),
    )


def _state(state: mappings.State, *, off: bool) -> str:
    if off:
        return "off"
    if state.missing:
        return "broken"
    return "todo" if state.undecided else "done"


def problem_text(problem: Problem, event: catalogue.Event | None = None) -> str:
    """A problem in a customer's words: the label of what it is about, and what is wrong."""
    head, _dot, name = problem.path.partition(".")
    if head == "payload" and event is not None:
        return _("%(name)s: choose a field, or don't send it") % {"name": key_label(event, name)}
    if head == "transformations" and name and name not in problem.error:
        return problem.error
    return f"{name}: {problem.error}" if name else problem.error


def action_name(action: str, event_type: str = "") -> str:
    """What the customer lets an event do."""
    return {
        "create": _("Create a record"),
        "update": _("Update the record"),
        "delete": _("Delete the record"),
        "workflow": _("Run a workflow of yours"),
        "search": _("Search for records"),
        "noop": _("Do nothing"),
    }[str(action)]


#: What a customer may let an event of each type do.
_ACTIONS = {
    EventType.CREATE: ("create", "workflow", "noop"),
    EventType.UPDATE: ("update", "workflow", "noop"),
    EventType.DELETE: ("delete", "update", "workflow", "noop"),
    EventType.SEARCH: ("search", "noop"),
}


def actions(event: catalogue.Event, *, has_workflows: bool) -> list[tuple[str, str]]:
    """What the customer can choose for an event."""
    return [
        (action, action_name(action))
        for action in _ACTIONS[event.type]
        if action != "workflow" or has_workflows
    ]


# -- the rows of an event -------------------------------------------------------------------------


def key_label(event: catalogue.Event, key: str) -> str:
    """`Address: City` for a nested key."""
    steps = key.split(".")
    paths = [".".join(steps[: n + 1]) for n in range(len(steps))]
    return ": ".join(
        schema.label_for(p.split(".")[-1], described(event.payload_schema, p)) for p in paths
    )


def keys(event: catalogue.Event) -> list[tuple[str, str]]:
    """Every payload key with its label."""
    return [(key, key_label(event, key)) for key in payload_keys(event.payload_schema)]


def rows(
    event: catalogue.Event,
    action: Mapping[str, Any],
    fields: Mapping[str, RemoteField],
    problems: Iterable[Problem] = (),
) -> list[Row]:
    """The rows of an event's form: one for each payload key, then those of other fields, then what
    the CRM requires and nothing feeds. For a workflow: one for each of its inputs.

    `fields` are the remote object's, or the workflow's inputs.
    """
    written = [dict(row) for row in action.get("transformations") or ()]
    kind = action.get("action")
    found: list[Row] = []
    if kind == ActionType.WORKFLOW:
        by_field = {row["field"]: row for row in written}
        found += [
            _row(event, by_field.pop(name, {"field": name}), fields, fixed=True) for name in fields
        ]
        written = list(by_field.values())
    elif kind in (ActionType.CREATE, ActionType.UPDATE, ActionType.SEARCH):
        for key in payload_keys(event.payload_schema):
            mine = next((r for r in written if r.get("key") == key and r["kind"] in KEYED), None)
            if mine is not None:
                written.remove(mine)
                found.append(_row(event, mine, fields, own_key=key))
            else:
                ignored = key in (action.get("ignored") or ())
                chosen = {"field": IGNORED if ignored else "", "kind": "direct", "key": key}
                found.append(_row(event, chosen, fields, own_key=key))
    else:
        written = []
    found += [_row(event, row, fields) for row in written]
    if kind == ActionType.CREATE:
        fed = {row.field_name for row in found if row.kind != Kind.EMPTY}
        found += [
            _row(event, {"field": remote.name}, fields, fixed=True)
            for remote in fields.values()
            if remote.required and remote.createable and remote.name not in fed
        ]
    told: dict[str, list[str]] = {}
    for problem in problems:
        told.setdefault(problem.path.rpartition(".")[2], []).append(problem_text(problem, event))
    for number, row in enumerate(found):
        row.number = number
        row.problems = told.get(row.field_name, []) if row.chosen else told.get(row.own_key, [])
    return found


def offer(
    event: catalogue.Event,
    given: Mapping[str, Any],
    key: str,
    fields: Mapping[str, RemoteField],
) -> dict[str, Any] | None:
    """What was chosen for the same key elsewhere, where it can be chosen here too. `given` is the
    CRM object's part of the mapping."""
    found = documents.elsewhere(given, event.slug, key)
    remote = fields.get(found["field"]) if found else None
    if found is None or remote is None:
        return None
    action = given.get("events", {}).get(event.slug, {})
    taken = [row["field"] for row in action.get("transformations") or () if row.get("key")]
    description = described(event.payload_schema, key)
    if picking.obstacle(remote, action.get("action", ""), description, taken):
        return None
    return found


def _row(
    event: catalogue.Event,
    given: Mapping[str, Any],
    fields: Mapping[str, RemoteField],
    *,
    own_key: str = "",
    fixed: bool = False,
) -> Row:
    remote = fields.get(given["field"])
    description = described(event.payload_schema, own_key) if own_key else {}
    row = Row(
        number=0,
        own_key=own_key,
        key=given.get("key", own_key),
        label=key_label(event, own_key) if own_key else remote.label if remote else given["field"],
        help=str(description.get("description", "")),
        type=type_name(description.get("format") or description.get("type", "")),
        field=remote,
        field_name=given["field"],
        kind=str(given.get("kind", "")),
        value=given.get("value", ""),
        template=given.get("template", ""),
        fallback=given.get("fallback"),
        mode=given.get("mode") or str(WriteMode.ALWAYS),
        operator=given.get("operator") or "equals",
        required=bool(remote and remote.required),
        fixed=fixed,
    )
    if row.kind == Kind.DATE:
        row.kind = str(Kind.DIRECT)  # converted by what the field is; there is nothing to choose
    if row.kind == Kind.VALUE_MAP:
        row.pairs = _pairs(event, row.key, given.get("values", {}))
    return row


def _pairs(event: catalogue.Event, key: str, known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The product's values beside the customer's; those that the product names come first."""
    ours = [str(value) for value in enum_values(described(event.payload_schema, key))]
    mapped = {str(one): str(other) for one, other in known.items()}
    listed = [(value, mapped.pop(value, "")) for value in ours]
    more = list(mapped.items())
    # Where the product doesn't name its values there is room for another one.
    return listed + more + ([] if ours else [("", "")])


@dataclass(frozen=True, slots=True)
class Read:
    """A field that the product reads, and what feeds it."""

    key: str
    label: str
    help: str
    type: str
    name: str = ""
    field: RemoteField | None = None
    #: The entries of a user-defined field: name, remote field's name, and the field.
    entries: tuple[tuple[str, str, RemoteField | None], ...] = ()
    takes_entries: bool = False

    @property
    def ignored(self) -> bool:
        return self.name == IGNORED

    @property
    def undecided(self) -> bool:
        return not self.name and not self.entries


def reads(
    crm_object: catalogue.Object, feeds: Mapping[str, Any], fields: Mapping[str, RemoteField]
) -> list[Read]:
    """Every field that the product reads of the object."""
    found = []
    for key, description in crm_object.fields.items():
        feed = feeds.get(key)
        entries = feed.items() if isinstance(feed, Mapping) else ()
        name = IGNORED if feed == "" else feed if isinstance(feed, str) else ""
        found.append(
            Read(
                key,
                schema.label_for(key, description),
                str(description.get("description", "")),
                type_name(description.get("format") or description["type"]),
                name,
                fields.get(name),
                tuple((entry, remote, fields.get(remote)) for entry, remote in entries),
                description["type"] == "object",
            )
        )
    return found


# -- what changes ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """One decision that changes: where, and from what to what."""

    where: str
    before: str
    after: str


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Changed]:
    """What changes from one mapping to another, in a customer's words."""
    return [
        Changed(_place(found.path), _decision(found.before), _decision(found.after))
        for found in documents.differences(before, after)
    ]


def _place(path: str) -> str:
    slug, _dot, rest = path.partition(".")
    crm_object = catalogue.objects().get(slug)
    if crm_object is None:
        return path
    head, _dot, name = rest.partition(".")
    event = crm_object.events.get(head)
    if event is not None:
        key = name.removeprefix("payload.")
        what = key_label(event, key) if key != name else name
        return f"{crm_object.label} › {event.definition.label}" + (
            "" if name == "action" else f" › {what}"
        )
    if not name:
        return crm_object.label
    return f"{crm_object.label} › {schema.label_for(name, crm_object.fields.get(name))}"


def _decision(value: Any) -> str:
    if value is None:
        return "—"
    if value == "":
        return _("not used")
    if isinstance(value, Mapping) and "kind" in value:
        return _source(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {remote}" for name, remote in value.items())
    if value in [*_ACTIONS[EventType.CREATE], *_ACTIONS[EventType.DELETE], "search"]:
        return action_name(str(value))
    return str(value)


def _source(row: Mapping[str, Any]) -> str:
    """What feeds a field, in a few words."""
    key, kind = row.get("key", ""), row["kind"]
    text = {
        "static": f"“{shown(row.get('value'))}”",
        "template": f"“{row.get('template', '')}”",
        "empty": _("left alone"),
        "default": f"{key}, {_('or')} “{shown(row.get('value'))}”",
        "value_map": f"{key}: "
        + ", ".join(f"{one} → {other}" for one, other in row.get("values", {}).items()),
    }.get(kind, key)
    mode = row.get("mode")
    return f"{text} ({mode_name(mode)})" if mode and mode != WriteMode.ALWAYS else text


def mode_name(mode: str) -> str:
    """When a field is written."""
    return {
        "always": _("always"),
        "when_empty": _("only while it is empty"),
        "on_create": _("only when the record is new"),
        "protect": _("until somebody changes it in the CRM"),
    }[mode]


# -- pickers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picked:
    """What a picker shows for what was typed."""

    options: list[picking.Option]
    more: int


def pick(found: list[picking.Option], text: str) -> Picked:
    fitting = picking.matching(found, text)
    return Picked(fitting[:SHOWN], max(len(fitting) - SHOWN, 0))


# -- previews -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a preview: what the CRM has, and what it would get."""

    label: str
    name: str
    now: str
    then: str
    changed: bool


def lines(
    values: Mapping[str, Any], current: Mapping[str, Any] | None, fields: Mapping[str, RemoteField]
) -> Iterator[Line]:
    """What would be sent, beside what is there."""
    for name, value in values.items():
        remote = fields.get(name)
        there = None if current is None else current.get(name)
        yield Line(
            remote.label if remote else name,
            name,
            "" if there is None else shown(there),
            shown(value),
            current is not None and there != value,
        )


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return _("empty")
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def crm_trouble(error: CRMError) -> str:
    """What to tell a customer whose CRM gives no answer."""
    return {
        "crm_unavailable": _("Your CRM doesn't answer at the moment. Nothing is lost."),
        "rate_limited": _("Your CRM asks to wait a moment before it answers again."),
    }.get(error.code, error.message)
