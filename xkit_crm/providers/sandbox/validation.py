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
_check_url = URLValidator(schemes=["http", "https"])
DEFAULT_MAX_LENGTH = 255
MAX_TEXT = 100_000


def problems_of(
    crm_object: Object,
    fields: Iterable[Field],
    values: Mapping[str, Any],
    *,
    record: Record | None,
) -> list[Problem]:
    """Everything that is wrong with writing these values; `record` is None for a new one."""
    by_name = {field.name: field for field in fields}
    found = [
        Problem(name, f"{crm_object.label} has no field {name}.")
        for name in values
        if name not in by_name
    ]
    for field in by_name.values():
        given = field.name in values
        value = values.get(field.name)
        if given and field.read_only:
            found.append(Problem(field.name, f"{field.label} is read-only."))
        elif _is_blank(value):
            if field.required and (given or record is None):
                found.append(Problem(field.name, f"{field.label} is required."))
        elif (error := _error(field, value)) or (
            error := _lookup_error(crm_object, field, value, record)
        ):
            found.append(Problem(field.name, f"{field.label}: {error}"))
    return found


def _is_blank(value: Any) -> bool:
    return value is None or value == "" or value == []


def _error(field: Field, value: Any) -> str:
    return next(_errors(field, value), "")


def _errors(field: Field, value: Any) -> Iterator[str]:
    kind = RemoteType(field.type)
    if kind is RemoteType.BOOLEAN:
        if not isinstance(value, bool):
            yield f"{value!r} is neither true nor false."
    elif kind in (RemoteType.INTEGER, RemoteType.NUMBER):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number:
            yield f"{value!r} is not a number."
        elif kind is RemoteType.INTEGER and value != int(value):
            yield f"{value!r} is not a whole number."
    elif kind is RemoteType.MULTIPICKLIST:
        if not isinstance(value, list):
            yield "a list of values is expected."
        elif wrong := [item for item in value if item not in field.choices]:
            yield f"{wrong[0]!r} is not one of {', '.join(field.choices)}."
    elif not isinstance(value, str):
        yield f"text is expected, not {value!r}."
    else:
        yield from _text_errors(kind, field, value)


def _text_errors(kind: RemoteType, field: Field, value: str) -> Iterator[str]:
    limit = field.max_length or (MAX_TEXT if kind is RemoteType.TEXT else DEFAULT_MAX_LENGTH)
    if len(value) > limit:
        yield f"data value too large: {len(value)} characters, at most {limit}."
    if kind is RemoteType.PICKLIST and value not in field.choices:
        yield f"{value!r} is not one of {', '.join(field.choices)}."
    checks = {
        RemoteType.EMAIL: (validate_email, "an email address"),
        RemoteType.URL: (_check_url, "a web address"),
        RemoteType.PHONE: (_check_phone, "a phone number"),
        RemoteType.DATE: (date.fromisoformat, "a date such as 2026-01-31"),
        RemoteType.DATETIME: (_check_datetime, "a date and time such as 2026-01-31T09:30:00Z"),
        RemoteType.REFERENCE: (_check_reference, "a record id"),
    }
    if kind in checks:
        check, noun = checks[kind]
        try:
            check(value)  # type: ignore[operator]
        except (ValidationError, ValueError):
            yield f"{value!r} is not {noun}."


def _check_phone(value: str) -> None:
    if not _PHONE.fullmatch(value):
        raise ValueError


def _check_datetime(value: str) -> None:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError


def _check_reference(value: str) -> None:
    if not value.partition(":")[2].isdecimal():
        raise ValueError


def _lookup_error(crm_object: Object, field: Field, value: Any, record: Record | None) -> str:
    """What only other records can tell."""
    if field.type == RemoteType.REFERENCE:
        ref = RecordRef.parse(value)
        if field.references and ref.remote_object not in field.references:
            return f"{value} is no {' or '.join(field.references)}."
        target = Record.objects.filter(
            object__org_id=crm_object.org_id,
            object__name=ref.remote_object,
            number=int(ref.crm_id),
            deleted_at=None,
        )
        return "" if target.exists() else f"there is no record {value}."
    if field.unique:
        same = Record.objects.filter(
            object=crm_object, deleted_at=None, **{f"values__{field.name}": value}
        )
        if record is not None:
            same = same.exclude(pk=record.pk)
        other = same.select_related("object").first()
        if other is not None:
            return f"duplicate value {value!r}: {other.record_id} has it."
    return ""
