"""Reading and writing the sandbox CRM's records, with history and versions.

The CRM's own rules; `provider` calls it as if over a network, `flows` and the admin from inside.
A create and an update cost 5 queries in a transaction, and one more for each unique field and
reference written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone

from xkit_crm.exceptions import (
    CRMUnavailable,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import Criterion, Operator, RecordRef
from xkit_crm.providers.sandbox.models import Change, Field, Object, Operation, Org, Record
from xkit_crm.providers.sandbox.validation import problems_of, storage_error


def object_named(org: Org, name: str) -> Object:
    """The object with this API name; `RejectedByCRM` where there is none."""
    found = Object.objects.filter(org=org, name=name).first()
    if found is None:
        raise RejectedByCRM(f"This CRM has no object {name!r}.")
    return found


def create_record(
    org: Org, object_name: str, values: Mapping[str, Any], *, number: int | None = None
) -> Record:
    """Make a record. Raises `RejectedByCRM` with every problem by field.

    `number` is for fixtures that name the record; otherwise it is the next one.
    """
    with transaction.atomic():
        # Taking a number also makes writers of one object wait for each other, which keeps
        # unique fields unique.
        taken = F("last_number") + 1 if number is None else Greatest("last_number", number)
        Object.objects.filter(org=org, name=object_name).update(last_number=taken)
        crm_object = object_named(org, object_name)
        fields = list(crm_object.fields.all())
        _require_valid(crm_object, fields, values, record=None)
        complete = {field.name: field.default for field in fields} | dict(values)
        record = Record.objects.create(
            object=crm_object,
            number=crm_object.last_number if number is None else number,
            values=_filled(_cleared(complete)),
        )
        _remember(record, Operation.CREATE, {k: [None, v] for k, v in record.values.items()})
    return record


def update_record(
    org: Org, ref: RecordRef, values: Mapping[str, Any], *, version: int | None = None
) -> Record:
    """Write fields of a record; null clears. With `version` only if it still is that one."""
    with transaction.atomic():
        record = _get_for_write(org, ref)
        if version is not None and version != record.version:
            raise RejectedByCRM(
                f"{ref} was changed by someone else: it is version {record.version} now."
            )
        _require_valid(record.object, list(record.object.fields.all()), values, record=record)
        changes = {
            name: [record.values.get(name), value]
            for name, value in _cleared(values).items()
            if record.values.get(name) != value
        }
        if changes:
            record.values = _filled(record.values | _cleared(values))
            _write(record, Operation.UPDATE, changes)
    return record


def delete_record(org: Org, ref: RecordRef) -> Record:
    """Delete a record; its history stays."""
    with transaction.atomic():
        record = _get_for_write(org, ref)
        record.deleted_at = timezone.now()
        _write(record, Operation.DELETE, {k: [v, None] for k, v in record.values.items()})
    return record


def get_record(org: Org, ref: RecordRef) -> Record:
    """The record; `RemoteRecordNotFound` where it isn't there or was deleted."""
    found = Record.objects.select_related("object").at(org.pk, ref).first()
    if found is None or found.deleted_at is not None:
        how = "was deleted" if found else "doesn't exist"
        raise RemoteRecordNotFound(
            f"The record {ref} {how} in the CRM.",
            hint="Use an id that a create or a read returned.",
        )
    return found


def search_records(
    org: Org, object_name: str, criteria: Sequence[Criterion], *, limit: int
) -> QuerySet[Record]:
    """The newest records that meet every criterion."""
    crm_object = object_named(org, object_name)
    known = set(crm_object.fields.values_list("name", flat=True))
    found = Record.objects.select_related("object").alive().filter(object=crm_object)
    for criterion in criteria:
        name, value = criterion.field, criterion.value
        if name not in known:
            raise RejectedByCRM(f"{crm_object.label} has no field {name}.")
        if error := storage_error(value):
            raise RejectedByCRM(f"{crm_object.label} can't be searched by {name}: {error}")
        contains = criterion.operator is Operator.CONTAINS
        found = found.where(name, value, lookup="icontains" if contains else "exact")
    return found.order_by("-number")[:limit]


def shown(record: Record, names: Iterable[str]) -> dict[str, Any]:
    """The asked fields of a record."""
    system = {
        "CreatedAt": record.created_at.isoformat(),
        "UpdatedAt": record.updated_at.isoformat(),
    }
    return {name: record.values.get(name, system.get(name)) for name in names}


def _require_valid(
    crm_object: Object,
    fields: Sequence[Field],
    values: Mapping[str, Any],
    *,
    record: Record | None,
) -> None:
    if problems := problems_of(crm_object, fields, values, record=record):
        raise RejectedByCRM(
            f"The CRM refused the {crm_object.label}.",
            hint="Correct the values, or the mapping that makes them.",
            errors=problems,
        )


def _cleared(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with null for empty text and an empty list, which are no value to a CRM."""
    return {name: None if value in ("", []) else value for name, value in values.items()}


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _get_for_write(org: Org, ref: RecordRef) -> Record:
    """The record as it is once nobody else writes to its object; call in a transaction."""
    Object.objects.select_for_update().filter(org=org, name=ref.remote_object).first()
    return get_record(org, ref)


def _write(record: Record, operation: Operation, changes: Mapping[str, Any]) -> None:
    """Store the record's next version, with its history."""
    record.updated_at = timezone.now()
    # The version is asked for once more: not every database locks rows.
    written = Record.objects.filter(pk=record.pk, version=record.version).update(
        values=record.values,
        version=F("version") + 1,
        updated_at=record.updated_at,
        deleted_at=record.deleted_at,
    )
    if not written:
        raise CRMUnavailable(f"{record} is being changed by someone else.", retry_after=1)
    record.version += 1
    _remember(record, operation, changes)


def _remember(record: Record, operation: Operation, changes: Mapping[str, Any]) -> None:
    Change.objects.create(
        record=record, operation=operation, version=record.version, changes=dict(changes)
    )
