"""Rivals: who else has the records that a backfill has found, or is getting them.

Two rows that are linked to one record overwrite each other. A record is another row's where a link
says so, and may be where a create is under way: the CRM gives a record before a link tells of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.contenttypes.models import ContentType

from xkit_crm import catalogue
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.mapping import resolving
from xkit_crm.models import RecordLink
from xkit_crm.providers.base import RemoteRecord
from xkit_crm.sync import echo, matching, planning

#: A row by its content type and key, with the CRM object as which it is linked.
_Linked = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Rivals:
    """By record id the rows that each record has; and what those have that are being made."""

    keys: matching.Keys
    content_type_id: int
    crm_object_id: int
    rows: defaultdict[str, set[_Linked]]
    making: list[Mapping[str, Any]]

    @classmethod
    def of(cls, plan: planning.Plan, records: Iterable[RemoteRecord]) -> Rivals:
        """Those of these records. Two queries."""
        # Asked before the links are: what ends in between has one then.
        making = _being_made(plan)
        rows: defaultdict[str, set[_Linked]] = defaultdict(set)
        links = RecordLink.objects.filter(
            connection_id=plan.connection.pk, record_id__in={str(one.ref) for one in records}
        )
        columns = ("record_id", "content_type_id", "object_pk", "crm_object_id")
        for record_id, *linked in links.order_by().values_list(*columns):
            rows[record_id].add((linked[0], linked[1], linked[2]))
        content_type = ContentType.objects.get_for_model(plan.binding.model)
        crm_object = catalogue.crm_object(plan.binding.crm_object)
        return cls(plan.keys, content_type.pk, crm_object.id, rows, making)

    def add(self, record_id: str, pk: str) -> None:
        """This row gets the record."""
        self.rows[record_id].add((self.content_type_id, pk, self.crm_object_id))

    def has_row(self, record_id: str, pk: str) -> bool:
        """Whether the record is linked to this row, as this CRM object."""
        return (self.content_type_id, pk, self.crm_object_id) in self.rows[record_id]

    def has_another_row(self, record_id: str, pk: str) -> bool:
        """Whether it is linked to any other. One row may be one record as several CRM objects."""
        row = (self.content_type_id, pk)
        return any(linked[:2] != row for linked in self.rows[record_id])

    def may_be_being_made(self, record: RemoteRecord) -> bool:
        """Whether it has what a record would be found by that is being made of some row."""
        return any(matching.may_be(self.keys, record.values, made) for made in self.making)


def _being_made(plan: planning.Plan) -> list[Mapping[str, Any]]:
    """What the records have, or will, that are being made."""
    if plan.shape is None:
        return []
    makers = echo.under_way(plan.connection.pk).filter(
        echo.making(), event__crm_object__slug=plan.binding.crm_object
    )
    found: list[Mapping[str, Any]] = []
    for payload, folded in makers.order_by().values_list("payload", "folded"):
        whole = reduce(or_, (step["payload"] for step in folded or ()), payload)
        with suppress(PayloadInvalid):  # one that was erased
            found.append(
                resolving.resolve(
                    plan.shape.action, whole, fields=plan.fields, creating=True, current=None
                )
            )
    return found
