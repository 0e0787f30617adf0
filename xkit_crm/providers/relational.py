"""What CRMs have in common that give their own tables away, as Odoo and Tryton do.

A record's id is the database's integer; a text to look for is a pattern of SQL; and of a value that
a column can't hold they say what is wrong, but not where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from xkit_crm.exceptions import Problem, RejectedByCRM
from xkit_crm.providers.base import RecordRef, RemoteField, RemoteType

#: What is raised for a value that a field can't have.
UNSAYABLE = (ValueError, ArithmeticError, TypeError)
#: The largest id: a database's integer.
_MAX_ID = 2**31 - 1


def number_of(ref: RecordRef) -> int:
    """The id; 0 where it is none that a record could have."""
    text = ref.crm_id
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    return found if found <= _MAX_ID else 0


def literally(text: str) -> str:
    """The text as a pattern that only it fits."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def row_of(
    values: Mapping[str, Any],
    fields: Mapping[str, RemoteField],
    say: Callable[[str, Any], Any],
    *,
    crm: str,
) -> dict[str, Any]:
    """Each value as `say(name, value)` puts it. Raises `RejectedByCRM`, in the name of this CRM,
    with every value for which that raised one of `UNSAYABLE`."""
    row, problems = {}, []
    for name, value in values.items():
        try:
            row[name] = say(name, value)
        except UNSAYABLE:
            problems.append(Problem(name, f"{value!r} is no {_wanted(fields[name])}"))
    if problems:
        raise RejectedByCRM(f"{crm} can't hold these values.", errors=problems)
    return row


def _wanted(field: RemoteField) -> str:
    return "id of a record" if field.type is RemoteType.REFERENCE else field.type.value
