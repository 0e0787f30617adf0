"""Transformations and actions: the customer's decisions, read from their stored JSON.

Models store the JSON and check it with `check_action`; `resolving.py` applies what `parse_action`
makes of it. Knows no model and no HTTP.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext_noop as _

from xkit_crm.exceptions import Problem
from xkit_crm.mapping.phrases import Phrase
from xkit_crm.providers.base import Operator


class ActionType(enum.StrEnum):
    """What an event does in the CRM."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    WORKFLOW = "workflow"
    SEARCH = "search"
    NOOP = "noop"


class Kind(enum.StrEnum):
    """How a remote field gets its value."""

    DIRECT = "direct"
    DATE = "date"
    STATIC = "static"
    DEFAULT = "default"
    VALUE_MAP = "value_map"
    TEMPLATE = "template"
    EMPTY = "empty"


class WriteMode(enum.StrEnum):
    """When a remote field is written."""

    ALWAYS = "always"
    WHEN_EMPTY = "when_empty"
    ON_CREATE = "on_create"
    #: Only while the CRM has what we last wrote.
    PROTECT = "protect"


class _Missing(enum.Enum):
    MISSING = "missing"


#: The payload has no such key; null is a value.
MISSING: Final = _Missing.MISSING

#: Kinds that take a payload key. A tuple, for `check_action` asks it about any JSON.
KEYED = (Kind.DIRECT, Kind.DATE, Kind.DEFAULT, Kind.VALUE_MAP)
_KEYWORDS = frozenset(
    {"field", "kind", "key", "value", "values", "fallback", "template", "mode", "operator"}
)
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")

Read = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Transformation:
    """How one remote field (or workflow input) gets its value."""

    field: str
    kind: Kind
    key: str = ""
    value: Any = None
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fallback: Any = MISSING
    template: tuple[tuple[str, Read | None], ...] = ()
    #: The payload keys that it reads.
    keys: tuple[str, ...] = ()
    mode: WriteMode = WriteMode.ALWAYS
    operator: Operator = Operator.EQUALS
    #: Reads the payload key; `MISSING` where it isn't there.
    read: Read = dataclasses.field(default=lambda payload: MISSING, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Action:
    """One event's action, ready to be applied again and again."""

    action: ActionType
    remote_object: str = ""
    workflow: str = ""
    transformations: tuple[Transformation, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """Which remote object a CRM object is, and which remote field feeds each of its fields."""

    remote_object: str
    #: Product field -> remote field, or for an object field: entry name -> remote field.
    fields: Mapping[str, str | Mapping[str, str]]


def reader(path: str) -> Read:
    """A function that reads a dotted payload path; `MISSING` where it leads nowhere."""
    head, *rest = path.split(".")
    if not rest:
        return lambda payload: payload.get(head, MISSING)

    def read(payload: Mapping[str, Any]) -> Any:
        value = payload.get(head, MISSING)
        for step in rest:
            if not isinstance(value, Mapping):
                return MISSING
            value = value.get(step, MISSING)
        return value

    return read


def parse_action(data: Mapping[str, Any]) -> Action:
    """The action in its stored JSON, which `check_action` has found good."""
    return Action(
        action=ActionType(data["action"]),
        remote_object=data.get("remote_object") or "",
        workflow=data.get("workflow") or "",
        transformations=tuple(map(_parse, data.get("transformations") or ())),
    )


def _parse(data: Mapping[str, Any]) -> Transformation:
    kind = Kind(data["kind"])
    # What the kind has no use for was not checked, so it isn't read either.
    key = data["key"] if kind in KEYED else ""
    return Transformation(
        field=data["field"],
        kind=kind,
        key=key,
        value=data.get("value"),
        values=data["values"] if kind is Kind.VALUE_MAP else {},
        fallback=data.get("fallback", MISSING),
        template=parse_template(data["template"]) if kind is Kind.TEMPLATE else (),
        keys=tuple(_keys_of(data)),
        mode=WriteMode(data.get("mode") or WriteMode.ALWAYS),
        operator=Operator(data.get("operator") or Operator.EQUALS),
        read=reader(key),
    )


def keys_of(action: Action) -> list[str]:
    """The payload keys that an action reads, each once."""
    return list(dict.fromkeys(key for t in action.transformations for key in t.keys))


def parse_object_map(data: Mapping[str, Any]) -> ObjectMap:
    """An object mapping in its stored JSON; what is not mapped is left out."""
    fields = data.get("fields") or {}
    return ObjectMap(
        remote_object=data.get("remote_object") or "",
        fields={
            key: {name: remote for name, remote in feed.items() if remote}
            if isinstance(feed, Mapping)
            else str(feed)
            for key, feed in fields.items()
            if feed
        },
    )


def parse_template(text: str) -> tuple[tuple[str, Read | None], ...]:
    """The parts of a template: literal text, each followed by what is filled in behind it.

    `{key}` and `{nested.key}` are placeholders, `{{` and `}}` stand for braces. Nothing is
    evaluated: a placeholder only names a payload key.
    """
    parts: list[tuple[str, Read | None]] = []
    literal, end = "", 0
    for found in _PLACEHOLDER.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        if found[1] is None:
            literal += found[0][0]
        else:
            parts.append((literal, reader(found[1].strip())))
            literal = ""
    literal += text[end:]
    return (*parts, (literal, None)) if literal or not parts else tuple(parts)


# -- checking -------------------------------------------------------------------------------------


def check_action(data: Any, *, path: str = "", begun: bool = False) -> list[Problem]:
    """Every problem in an action's stored JSON, with paths such as `transformations[2].kind`. In a
    draft that was only `begun` a template may be anything, and a key empty: see `unfinished`."""
    if not isinstance(data, Mapping):
        return [Problem(path, "is not an object")]
    problems: list[Problem] = []
    if data.get("action") not in list(ActionType):
        problems.append(Problem("action", f"must be one of {', '.join(ActionType)}"))
    problems += [
        Problem(name, "is not a string")
        for name in ("remote_object", "workflow")
        if not isinstance(data.get(name) or "", str)
    ]
    if data.get("action") == ActionType.WORKFLOW and not data.get("workflow"):
        problems.append(Problem("workflow", "is needed to run one"))
    rows = data.get("transformations") or []
    if not isinstance(rows, list):
        return [*problems, Problem("transformations", "is not a list")]
    seen: set[Any] = set()
    for index, row in enumerate(rows):
        at = f"transformations[{index}]"
        if not isinstance(row, Mapping):
            problems.append(Problem(at, "is not an object"))
            continue
        problems += _check(row, at, begun=begun)
        name = row.get("field")
        if isinstance(name, str) and name in seen and data.get("action") != ActionType.SEARCH:
            problems.append(Problem(f"{at}.field", f"{name} is written twice"))
        seen.add(name if isinstance(name, str) else None)
    return problems


def unknown_keys(
    data: Mapping[str, Any], payload_schema: Mapping[str, Any], *, begun: bool = False
) -> list[Problem]:
    """Payload keys in an action (which `check_action` found good) that the event doesn't have.

    A slip of the pen would write nothing, and nobody would be told.
    """
    return [
        Problem(f"transformations[{index}]", _no_key(key))
        for index, row in enumerate(data.get("transformations") or ())
        if not (begun and (row["kind"] == Kind.TEMPLATE or row.get("key") == ""))
        for key in _keys_of(row)
        if not _is_in(payload_schema, key.split("."))
    ]


def unfinished(row: Mapping[str, Any], payload_schema: Mapping[str, Any]) -> str:
    """What is left to do at a drafted row: choose its key, or mend its template; empty where
    nothing is."""
    if row["kind"] in KEYED and not row["key"]:
        return Phrase(_("choose a value of the product"))
    if row["kind"] != Kind.TEMPLATE:
        return ""
    if error := _template_error(row["template"]):
        return error
    unknown = [key for key in _keys_of(row) if not _is_in(payload_schema, key.split("."))]
    return _no_key(unknown[0]) if unknown else ""


def _no_key(key: str) -> Phrase:
    return Phrase(_("the event has no payload key %(key)s"), key=key)


def _keys_of(row: Mapping[str, Any]) -> list[str]:
    if row["kind"] in KEYED:
        return [row["key"]]
    if row["kind"] == Kind.TEMPLATE:
        found = _PLACEHOLDER.finditer(row["template"])
        return [match[1].strip() for match in found if match[1] is not None]
    return []


def keys_read(row: Any) -> list[str]:
    """The payload keys that a stored transformation reads; none where it is no transformation."""
    try:
        return _keys_of(row)
    except (AttributeError, KeyError, TypeError):
        return []


def _is_in(schema: Mapping[str, Any], steps: list[str]) -> bool:
    description = schema.get(steps[0])
    if description is None:
        return False
    below = description.get("properties")
    return len(steps) == 1 or not below or _is_in(below, steps[1:])


def check_object_map(fields: Any, *, path: str = "fields") -> list[Problem]:
    """Every problem in what feeds the fields that are read back: a remote field's name each, or
    for an object field an object of entry names and remote fields."""
    if not isinstance(fields, Mapping):
        return [Problem(path, "is not an object")]
    problems: list[Problem] = []
    for key, feed in fields.items():
        feeds = feed.items() if isinstance(feed, Mapping) else [("", feed)]
        for name, remote in feeds:
            if remote is not None and not isinstance(remote, str):
                at = f"{path}.{key}.{name}" if name else f"{path}.{key}"
                problems.append(Problem(at, "names no remote field"))
    return problems


def _check(row: Mapping[str, Any], at: str, *, begun: bool) -> list[Problem]:
    problems = [
        Problem(f"{at}.{name}", f"unknown; known are {', '.join(sorted(_KEYWORDS))}")
        for name in row
        if name not in _KEYWORDS
    ]

    def need(condition: Any, name: str, error: str) -> None:
        if not condition:
            problems.append(Problem(f"{at}.{name}", error))

    need(isinstance(row.get("field"), str) and row["field"], "field", "names no remote field")
    kind = row.get("kind")
    need(kind in list(Kind), "kind", f"must be one of {', '.join(Kind)}")
    for name, known in (("mode", WriteMode), ("operator", Operator)):
        need(
            not row.get(name) or row[name] in list(known),
            name,
            f"must be one of {', '.join(known)}",
        )
    if kind in KEYED:
        key = row.get("key")
        is_key = isinstance(key, str) and _PATH.fullmatch(key)
        need(is_key or (begun and key == ""), "key", "names no payload key")
    if kind in (Kind.STATIC, Kind.DEFAULT):
        need("value" in row, "value", "is needed")
    if kind == Kind.VALUE_MAP:
        need(isinstance(row.get("values"), Mapping), "values", "is not an object")
    if kind == Kind.TEMPLATE:
        template = row.get("template")
        error = "" if begun and isinstance(template, str) else _template_error(template)
        need(not error, "template", error)
    return problems


def _template_error(template: Any) -> str:
    if not isinstance(template, str):
        return "is no text"
    if not template:
        return Phrase(_("the text is empty"))
    for found in _PLACEHOLDER.finditer(template):
        if found[0] in ("{", "}"):
            text = _("has a single %(brace)s; write %(braces)s for a brace")
            return Phrase(text, brace=found[0], braces=found[0] * 2)
        if found[1] is not None and not _PATH.fullmatch(found[1].strip()):
            return Phrase(_("%(placeholder)s names no payload key"), placeholder=found[0])
    return ""
