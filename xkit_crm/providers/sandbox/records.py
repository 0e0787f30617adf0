"""Reading and writing the sandbox CRM's records, with history and versions.

The CRM's own rules; `provider` calls it as if over a network, `flows` and the admin from inside.
A create costs 7 queries and an update 6, and one more for each unique field and reference written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from xkit_crm.exceptions import (
    CRMUnavailable,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import Criterion, Operator, RecordRef
from xkit_crm.providers.sandbox.models import Change, Field, Object, Operation, Org, Record
from xkit_crm.providers.sandbox.validation import problems_of


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
        taken = {"last_number": F("last_number") + 1} if number is None else {"last_number": number}
        Object.objects.filter(org=org, name=object_name).update(**taken)
        crm_object = object_named(org, object_name)
        fields = list(crm_object.fields.all())
        defaults = {f.name: f.default for f in fields if f.default is not None}
        complete = defaults | dict(values)
        _require_valid(crm_object, fields, complete, record=None)
        record = Record.objects.create(
            object=crm_object,
            number=crm_object.last_number,
            values={name: value for name, value in complete.items() if value is not None},
        )
        _remember(record, Operation.CREATE, {k: [None, v] for k, v in record.values.items()})
    return record


def update_record(
    org: Org, ref: RecordRef, values: Mapping[str, Any], *, version: int | None = None
) -> Record:
    """Write fields of a record; null clears. With `version` only if it still is that one."""
    with transaction.atomic():
        Object.objects.select_for_update().filter(org=org, name=ref.remote_object).first()
        record = get_record(org, ref)
        if version is not None and version != record.version:
            raise RejectedByCRM(
                f"{ref} was changed by someone else: it is version {record.version} now."
            )
        fields = list(record.object.fields.all())
        _require_valid(record.object, fields, values, record=record)
        changes = {
            name: [record.values.get(name), value]
            for name, value in values.items()
            if record.values.get(name) != value
        }
        if not changes:
            return record
        merged = {**record.values, **values}
        record.values = {name: value for name, value in merged.items() if value is not None}
        written = Record.objects.filter(pk=record.pk, version=record.version).update(
            values=record.values, version=F("version") + 1, updated_at=timezone.now()
        )
        if not written:
            raise CRMUnavailable(f"{ref} is being changed by someone else.", retry_after=1)
        record.version += 1
        _remember(record, Operation.UPDATE, changes)
    return record


def delete_record(org: Org, ref: RecordRef) -> Record:
    """Delete a record; its history stays."""
    with transaction.atomic():
        record = get_record(org, ref)
        record.deleted_at = timezone.now()
        record.version += 1
        record.save(update_fields=["deleted_at", "version"])
        _remember(record, Operation.DELETE, {k: [v, None] for k, v in record.values.items()})
    return record


def get_record(org: Org, ref: RecordRef) -> Record:
    """The record; `RemoteRecordNotFound` where it isn't there or was deleted."""
    found = None
    if ref.crm_id.isdecimal() and len(ref.crm_id) < 10:
        found = (
            Record.objects.select_related("object")
            .filter(object__org=org, object__name=ref.remote_object, number=int(ref.crm_id))
            .first()
        )
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
    found = Record.objects.select_related("object").filter(object=crm_object, deleted_at=None)
    for criterion in criteria:
        if criterion.field not in known:
            raise RejectedByCRM(f"{crm_object.label} has no field {criterion.field}.")
        suffix = "__icontains" if criterion.operator is Operator.CONTAINS else ""
        found = found.filter(**{f"values__{criterion.field}{suffix}": criterion.value})
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


def _remember(record: Record, operation: Operation, changes: Mapping[str, Any]) -> None:
    Change.objects.create(
        record=record, operation=operation, version=record.version, changes=dict(changes)
    )
