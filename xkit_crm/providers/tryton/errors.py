"""What Tryton says when it refuses, and which fields it means by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from xkit_crm.exceptions import CRMError, CRMUnauthorized, Problem, RecordLocked, RejectedByCRM
from xkit_crm.providers.base import RemoteField


def error_of(
    error: list[Any], at_fault: Callable[[str, Any], Iterable[Problem]] | None
) -> CRMError:
    """The typed error. Its transaction was rolled back, so nothing was written."""
    kind, detail, *_ = [*error, None, None]
    parts: list[Any] = [part for part in detail if part] if isinstance(detail, list) else []
    match kind:
        case "ConcurrencyException":
            return RecordLocked("Tryton answered that somebody else changed the record.")
        case "LoginException":
            return CRMUnauthorized("Tryton wants more than a user's name and password.")
        case "UserWarning":
            _, *words = [*parts, ""]
            return RejectedByCRM(
                f"Tryton warns: {' '.join(words).strip()}",
                hint="The user of this connection can tell Tryton, in its client, not to warn of "
                "this again.",
            )
        case "UserError":
            message = " ".join(part for part in parts if isinstance(part, str))
            domain = parts[-1] if parts and isinstance(parts[-1], list) else None
        case _:
            message, domain = str(kind), None
    problems = tuple(at_fault(message, domain)) if at_fault else ()
    return RejectedByCRM(f"Tryton answered: {message or 'an error without words'}", errors=problems)


def problems_in(
    message: str,
    domain: Any,
    fields: Mapping[str, RemoteField],
    rows: Sequence[Mapping[str, Any]],
) -> Iterable[Problem]:
    """The fields at fault: those of the violated domain, or else those whose label, name or value
    stands in quotes in what it says, in whichever language."""
    written = {name for row in rows for name in row}
    named = domain[1] if isinstance(domain, list) and len(domain) == 2 else {}
    labels = {name for name, field in fields.items() if _quotes(message, field.label)}
    for found in (
        named.keys() & fields.keys(),
        labels & written or labels,
        {name for name in written if _quotes(message, name)},
        {name for row in rows for name, value in row.items() if _quotes(message, value)},
    ):
        if found:
            return [Problem(name, message) for name in sorted(found)]
    return []


def _quotes(message: str, what: Any) -> bool:
    text = str(what)
    return bool(text and re.search(f"{_OPENING}{re.escape(text)}{_CLOSING}", message))


_OPENING, _CLOSING = "[\"'“„«‘「]\\s?", "\\s?[\"'”“»’」]"
