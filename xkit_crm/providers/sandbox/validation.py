"""What the sandbox CRM accepts, and what it says about the rest.

`records` asks before every write. Each problem names the field by its API name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email

from xkit_crm.exceptions import Problem
from xkit_crm.providers.base import RecordRef, RemoteType
from xkit_crm.providers.sandbox.models import Field, Object, Record

_PHONE = re.compile(r"[0-9+()./ -]{3,40}")
_REFERENCE = re.compile(r"[^:]+:[0-9]{1,9}")
_check_url = URLValidator(schemes=["http", "https"])
#: NUL and halves of surrogate pairs, which not every database can hold.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
DEFAULT_MAX_LENGTH = 255
MAX_TEXT = 100_000
#: Numbers have 18 digits at most; what is longer not every database can hold.
MAX_NUMBER = 10**18


def problems_of(
    crm_object: Object,
    fields: Iterable[Field],
    values: Mapping[str, Any],
    *,
    record: Record | None,
) -> list[Problem]:
    """Everything that is wrong with writing these values; `record` is None for a new one, which
    has its fields' defaults where nothing is given."""
    by_name = {field.name: field for field in fields}
    found = [
        Problem(name, f"{crm_object.label} has no field {name}.")
        for name in values
        if name not in by_name
    ]
    for field in by_name.values():
        given = field.name in values
        value = values.get(field.name, field.default if record is None else None)
        if given and field.read_only:
            found.append(Problem(field.name, f"{field.label} is read-only."))
        elif _is_blank(field, value):
            if field.required and (given or record is None):
                found.append(Problem(field.name, f"{field.label} is required."))
        elif (error := error_of(field, value)) or (
            error := _lookup_error(crm_object, field, value, record)
        ):
            found.append(Problem(field.name, f"{field.label}: {error}"))
    return found


def error_of(field: Field, value: Any) -> str:
    """What is wrong with the value in itself; empty where nothing is."""
    return storage_error(value) or next(_errors(field, value), "")


def storage_error(value: Any) -> str:
    """Why no field can hold the value; empty where one can."""
    if isinstance(value, str) and _UNSTORABLE.search(value):
        return "it has characters that can't be stored."
    # NaN is neither less nor more than anything.
    if isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:
        return "the number is out of range."
    return ""


def _is_blank(field: Field, value: Any) -> bool:
    return value in (None, "") or (field.type == RemoteType.MULTIPICKLIST and value == [])


def _errors(field: Field, value: Any) -> Iterator[str]:
    kind = RemoteType(field.type)
    if kind is RemoteType.BOOLEAN:
        if not isinstance(value, bool):
            yield f"{value!r:.80} is neither true nor false."
    elif kind in (RemoteType.INTEGER, RemoteType.NUMBER):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number:
            yield f"{value!r:.80} is not a number."
        elif kind is RemoteType.INTEGER and value != int(value):
            yield f"{value!r:.80} is not a whole number."
    elif kind is RemoteType.MULTIPICKLIST:
        if not isinstance(value, list):
            yield "a list of values is expected."
        elif wrong := [item for item in value if item not in field.choices]:
            yield f"{wrong[0]!r:.80} is not one of {', '.join(map(str, field.choices))}."
    elif not isinstance(value, str):
        yield f"text is expected, not {value!r:.80}."
    else:
        yield from _text_errors(kind, field, value)


def _text_errors(kind: RemoteType, field: Field, value: str) -> Iterator[str]:
    limit = field.max_length or (MAX_TEXT if kind is RemoteType.TEXT else DEFAULT_MAX_LENGTH)
    if len(value) > limit:
        yield f"data value too large: {len(value)} characters, at most {limit}."
    if kind is RemoteType.PICKLIST and value not in field.choices:
        yield f"{value!r:.80} is not one of {', '.join(map(str, field.choices))}."
    checks = {
        RemoteType.EMAIL: (validate_email, "an email address"),
        RemoteType.URL: (_check_url, "a web address"),
        RemoteType.PHONE: (_check_phone, "a phone number"),
        RemoteType.DATE: (_check_date, "a date such as 2026-01-31"),
        RemoteType.DATETIME: (_check_datetime, "a date and time such as 2026-01-31T09:30:00Z"),
        RemoteType.REFERENCE: (_check_reference, "a record id"),
    }
    if kind in checks:
        check, noun = checks[kind]
        try:
            check(value)  # type: ignore[operator]
        except (ValidationError, ValueError):
            yield f"{value!r:.80} is not {noun}."


def _check_phone(value: str) -> None:
    if not _PHONE.fullmatch(value):
        raise ValueError


def _check_date(value: str) -> None:
    # Python reads 20260131 and 2026-W05-6 too; CRMs don't.
    if date.fromisoformat(value).isoformat() != value:
        raise ValueError


def _check_datetime(value: str) -> None:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError


def _check_reference(value: str) -> None:
    if not _REFERENCE.fullmatch(value):
        raise ValueError


def _lookup_error(crm_object: Object, field: Field, value: Any, record: Record | None) -> str:
    """What only other records can tell."""
    if field.type == RemoteType.REFERENCE:
        ref = RecordRef.parse(value)
        if field.references and ref.remote_object not in field.references:
            return f"{value} is no {' or '.join(field.references)}."
        target = Record.objects.alive().at(crm_object.org_id, ref)
        return "" if target.exists() else f"there is no record {value}."
    if field.unique:
        same = Record.objects.alive().filter(object=crm_object).where(field.name, value)
        if record is not None:
            same = same.exclude(pk=record.pk)
        other = same.select_related("object").first()
        if other is not None:
            return f"duplicate value {value!r:.80}: {other.record_id} has it."
    return ""
