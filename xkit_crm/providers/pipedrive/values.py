"""Values as Pipedrive has them, in v2 and in v1, and as CRMs have them here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from xkit_crm.mapping.conversion import as_text
from xkit_crm.mapping.sameness import same
from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType
from xkit_crm.providers.pipedrive.objects import CODE, Kind

#: What can be written of a price.
_PRICE = ("price", "currency", "cost", "direct_cost")


def source_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """A record's values by their names or codes, the custom ones too."""
    return {**(data.get("custom_fields") or {}), **data}


def read(kind: Kind, name: str, source: Mapping[str, Any], known: RemoteField | None) -> Any:
    """What a field holds, as CRMs have it here."""
    code, _, part = name.partition(".")
    held = source.get(code)
    if isinstance(held, list) and (not held or isinstance(held[0], dict)):
        held = next((one for one in held if one.get("primary")), held[0] if held else None)
    if isinstance(held, dict):
        held = held.get(part or kind.main.get(code, "value"))
    if held is None or held == [] or known is None:
        return None if held == [] else held
    match known.type:
        case RemoteType.REFERENCE | RemoteType.PICKLIST:
            return as_text(held)
        case RemoteType.MULTIPICKLIST:
            return _texts(held)
        case RemoteType.BOOLEAN:
            return bool(held)
        case RemoteType.DATETIME if isinstance(held, str) and " " in held:  # v1's, in UTC
            return f"{held.replace(' ', 'T')}Z"
    return held


def _texts(held: Any) -> list[str]:
    """Several values: v2 lists them, v1 puts commas between them."""
    several = held if isinstance(held, list) else as_text(held).split(",")
    return [as_text(one) for one in several]


def written(kind: Kind, name: str, value: Any, known: RemoteField | None) -> Any:
    """A value as Pipedrive takes it: ids are numbers, and each type is cleared in its own way."""
    found, custom = known.type if known else None, bool(CODE.match(name))
    if found is RemoteType.MULTIPICKLIST:
        several = value if isinstance(value, list) else [] if value is None else [value]
        if kind.is_old:
            return ",".join(map(as_text, several)) or None if custom else several
        return [_id(one) for one in several] or (None if custom else [])
    if value is None:
        return "" if _is_plain_text(kind, name) else None
    match found:
        case RemoteType.REFERENCE:
            return _id(value)
        case RemoteType.PICKLIST if not kind.is_old:
            return _id(value)
        case RemoteType.BOOLEAN if name.startswith("pinned_to_"):
            return int(value)
        case RemoteType.DATETIME:
            return re.sub(r"\.\d+", "", str(value))
    return value


def _is_plain_text(kind: Kind, name: str) -> bool:
    """Whether it is one of v2's standard texts, which an empty text clears, and not null."""
    standard = kind.standard.get(name)
    if standard is None or kind.is_old or name in kind.parts or name == "lost_reason":
        return False
    return standard.type in (RemoteType.STRING, RemoteType.TEXT)


def with_first(held: Sequence[Mapping[str, Any]], inner: str, value: Any) -> list[Any]:
    """The value as the primary one of its list; the others stay, but for the former primary."""
    if value is None:
        return []
    former = next((one for one in held if one.get("primary")), {})
    same_one = next((one for one in held if one.get(inner) == value), former)
    others = [one for one in held if one is not former and one is not same_one]
    return [{**same_one, inner: value, "primary": True}, *others]


def in_full(
    kind: Kind, code: str, given: Mapping[str, Any], held: Any, known: Mapping[str, RemoteField]
) -> Any:
    """What has parts, with those that are `given`; the parts of `held` that are not stay."""
    main = kind.main.get(code, "value")
    named = {part or main: value for part, value in given.items()}
    if code == "prices":
        return _prices(named, held or [])
    if named.get(main, "") is None:
        return None
    # With a new address the parts of the old one would be wrong.
    is_moved = main in named and f"{code}.locality" in known
    kept = () if is_moved or not held else (main, *_parts_of(code, known))
    return {part: held[part] for part in kept if held.get(part) is not None} | named


def _prices(named: Mapping[str, Any], held: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The first price as it is named, and those in other currencies."""
    kept = [{part: one[part] for part in _PRICE if one.get(part) is not None} for one in held]
    if named.get("price", "") is None:
        return kept[1:]
    return [{**(kept[0] if kept else {}), **named}, *kept[1:]]


def _parts_of(code: str, known: Mapping[str, RemoteField]) -> list[str]:
    return [name.partition(".")[2] for name in known if name.startswith(f"{code}.")]


def has_parts(code: str, known: Mapping[str, RemoteField]) -> bool:
    return bool(_parts_of(code, known))


def meets(held: Any, one: Criterion) -> bool:
    if one.operator is Operator.CONTAINS:
        return as_text(one.value).casefold() in as_text("" if held is None else held).casefold()
    return same(held, one.value)


def _id(value: Any) -> Any:
    """Ids are numbers, but for those of leads and of older picklists."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
