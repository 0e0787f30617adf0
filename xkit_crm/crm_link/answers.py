"""What people filled in, as parts of a mapping document. Knows no connection and no CRM.

Each row of the page is about one remote field: `row-<n>-field`, `-kind`, `-key` and so on. What is
left empty is not decided; a row without a field or kind is one that somebody has only begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import QueryDict

from xkit_crm.mapping.transformations import KEYED, ActionType, Kind, WriteMode

#: In place of a field: the customer decided that the key isn't sent (or the field not read).
IGNORED = "-"
#: Rows that one event may have.
MAX_ROWS = 1000
_ROW = re.compile(r"row-(\d{1,4})-field\Z")
_PAIR = re.compile(r"row-(\d{1,4})-from-(\d{1,4})\Z")


def fields(data: QueryDict, known: Mapping[str, Any]) -> dict[str, Any]:
    """What feeds each field that the product reads: a remote field, entries of a user-defined one,
    or an empty string where the customer doesn't want it read."""
    found: dict[str, Any] = {}
    for key, description in known.items():
        given = data.get(f"read-{key}", "")
        if given == IGNORED:
            found[key] = ""
        elif description.get("type") == "object":
            entries = dict(_entries(data, key))
            if entries or given:
                found[key] = entries or given
        elif given:
            found[key] = given
    return found


def _entries(data: QueryDict, key: str) -> Iterator[tuple[str, str]]:
    names, remotes = data.getlist(f"entry-{key}-name"), data.getlist(f"entry-{key}-field")
    for name, remote in zip(names, remotes, strict=False):
        if name.strip() and remote:
            yield name.strip(), remote


def begun(data: QueryDict, known: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The new entry of each user-defined field, where its name or its remote field is missing."""
    found = {}
    for key in known:
        names, remotes = data.getlist(f"entry-{key}-name"), data.getlist(f"entry-{key}-field")
        if names and remotes and bool(names[-1].strip()) != bool(remotes[-1]):
            found[key] = (names[-1].strip(), remotes[-1])
    return found


def action(data: QueryDict) -> dict[str, Any]:
    """One event's action, in its stored JSON, with the payload keys that aren't to be sent."""
    kind = data.get("action", "")
    numbers = sorted(int(found[1]) for name in data if (found := _ROW.match(name)))[:MAX_ROWS]
    rows: list[dict[str, Any]] = []
    ignored: list[str] = []
    for number in numbers:
        field = data.get(f"row-{number}-field", "")
        key = data.get(f"row-{number}-key", "")
        if field == IGNORED:
            ignored.append(key)
        elif field and (row := _row(data, number, field, key)):
            rows.append(row | _search(data, number, kind))
    if kind != ActionType.SEARCH:
        rows = list(_without_replaced(rows))
    return {
        "action": kind,
        "workflow": data.get("workflow", "") if kind == ActionType.WORKFLOW else "",
        "transformations": rows,
        "ignored": ignored,
    }


def has_rows(data: QueryDict) -> bool:
    """Whether the form had rows at all: that of an event which does nothing has none."""
    return any(_ROW.match(name) for name in data)


def _row(data: QueryDict, number: int, field: str, key: str) -> dict[str, Any] | None:
    def given(name: str) -> str:
        return data.get(f"row-{number}-{name}", "")

    kind = given("kind")
    if not kind:
        return None  # begun, and not finished
    row: dict[str, Any] = {"field": field, "kind": kind}
    if kind in KEYED:
        row["key"] = key
    if kind in (Kind.STATIC, Kind.DEFAULT):
        values = data.getlist(f"row-{number}-value")
        row["value"] = values if given("many") else (values or [""])[0]
    if kind == Kind.TEMPLATE:
        row["template"] = given("template")
    if kind == Kind.VALUE_MAP:
        row["values"] = dict(_pairs(data, number))
        if given("otherwise") == "fixed":
            row["fallback"] = given("fallback")
    if (mode := given("mode")) and mode != WriteMode.ALWAYS:
        row["mode"] = mode
    return row


def _without_replaced(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A field that a fixed value had, and a value of the product was given to, has the latter."""
    fed = {row["field"] for row in rows if row["kind"] in KEYED}
    for row in rows:
        if row["kind"] != Kind.STATIC or row["field"] not in fed:
            yield row


def _search(data: QueryDict, number: int, kind: str) -> dict[str, str]:
    if kind != ActionType.SEARCH:
        return {}
    return {"operator": data.get(f"row-{number}-operator") or "equals"}


def _pairs(data: QueryDict, number: int) -> Iterator[tuple[str, str]]:
    """The entries of a value map, without those that are empty on the product's side."""
    found = (_PAIR.match(name) for name in data)
    for index in sorted(int(m[2]) for m in found if m and int(m[1]) == number):
        theirs = data.get(f"row-{number}-from-{index}", "")
        if theirs and (ours := data.get(f"row-{number}-to-{index}", "")):
            yield theirs, ours
