"""The rows of the forms: one remote field each, with what feeds it, and the pickers of fields.

Decides nothing: what fits and what is likely is asked of `mapping/picking.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from xkit_crm import catalogue, schema
from xkit_crm.crm_link.answers import IGNORED
from xkit_crm.crm_link.wording import key_label, keys, problem_text, shown, type_name
from xkit_crm.exceptions import Problem
from xkit_crm.mapping import documents, picking
from xkit_crm.mapping.completeness import payload_keys
from xkit_crm.mapping.fitting import described
from xkit_crm.mapping.transformations import KEYED, ActionType, Kind, WriteMode
from xkit_crm.providers.base import RemoteField, RemoteType
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
    #: The values that the product names: only these come, so only the other side is asked.
    listed: tuple[str, ...] = ()
    fallback: Any = None
    mode: str = str(WriteMode.ALWAYS)
    operator: str = "equals"
    required: bool = False
    #: Whether the field stays, since it is an input or one that the CRM requires.
    fixed: bool = False
    problems: list[str] = attribute(default_factory=list)
    #: The payload keys that can be chosen for the field, with their labels.
    keys: list[tuple[str, str]] = attribute(default_factory=list)
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
            return [("true", shown(True)), ("false", shown(False))]
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
        shown_already = {row.field_name for row in found}
        found += [
            _row(event, {"field": remote.name}, fields, fixed=True)
            for remote in fields.values()
            if remote.required and remote.createable and remote.name not in shown_already
        ]
    told: dict[str, list[str]] = {}
    for problem in problems:
        _head, _dot, name = problem.path.partition(".")
        told.setdefault(name, []).append(problem_text(problem, event, at_row=True))
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
    if not own_key:
        row.keys = [
            (key, label)
            for key, label in keys(event)
            if remote is None
            or row.kind == Kind.VALUE_MAP
            or picking.fits(described(event.payload_schema, key), remote.type, "create")
        ]
    if row.kind == Kind.VALUE_MAP:
        values = enum_values(described(event.payload_schema, row.key))
        row.listed = tuple(map(str, values))
        row.pairs = _pairs(row.listed, given.get("values", {}))
    return row


def _pairs(ours: Iterable[str], known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The product's values beside the customer's; those that the product names come first."""
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
    #: An entry that somebody has only begun: its name, and its remote field.
    new_name: str = ""
    new_field: RemoteField | None = None

    @property
    def ignored(self) -> bool:
        return self.name == IGNORED

    @property
    def undecided(self) -> bool:
        return not self.name and not self.entries


def reads(
    crm_object: catalogue.Object,
    feeds: Mapping[str, Any],
    fields: Mapping[str, RemoteField],
    begun: Mapping[str, tuple[str, str]],
) -> list[Read]:
    """Every field that the product reads of the object; `begun` are entries without a name or a
    field."""
    found = []
    for key, description in crm_object.fields.items():
        feed = feeds.get(key)
        new_name, new_field = begun.get(key, ("", ""))
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
                new_name,
                fields.get(new_field),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Picked:
    """What a picker shows for what was typed."""

    options: list[picking.Option]
    more: int


def pick(found: list[picking.Option], text: str) -> Picked:
    fitting = picking.matching(found, text)
    return Picked(fitting[:SHOWN], max(len(fitting) - SHOWN, 0))
