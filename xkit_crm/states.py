"""What all definitions and bindings say at one moment, and what changed between two.

Whoever changes definitions takes one before and one after, in the same transaction: so what is told
is what happened, whichever way it was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xkit_crm.differences import Change, differences, same
from xkit_crm.models import CRMObject, EventDefinition, ModelBinding
from xkit_crm.models.definition_version import Kind, Versioned

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """What one CRM object, event or binding says: its path, and the document of its row."""

    kind: Kind
    pk: int | None
    path: str
    document: Document

    @classmethod
    def of(cls, row: Versioned) -> State:
        return cls(row.version_kind, row.pk, row.path, row.as_document())


@dataclass(frozen=True, slots=True)
class Edit:
    """One of them before and after; None where there was or is none."""

    before: State | None
    after: State | None

    @property
    def state(self) -> State:
        """What there is now, or was last."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def is_none(self) -> bool:
        """Whether nothing changes."""
        old, new = self.before, self.after
        return old is not None and new is not None and same(old.document, new.document)

    @property
    def is_switched_off(self) -> bool:
        """Whether it was in force and no longer is."""
        return self.was_active and not self.is_active

    @property
    def was_active(self) -> bool:
        return self.before is not None and bool(self.before.document["active"])

    @property
    def is_active(self) -> bool:
        return self.after is not None and bool(self.after.document["active"])

    def schemas(self, field: str) -> tuple[Document, Document]:
        """What a field with a schema said before and says now."""
        before, after = self.before, self.after
        return (
            before.document[field] if before else {},
            after.document[field] if after else {},
        )


States = dict[tuple[Kind, int | None], State]


def now() -> States:
    """What every CRM object, event and binding says now, those that are switched off too. Three
    queries."""
    found: States = {}
    events: dict[int, list[EventDefinition]] = {}
    for event in EventDefinition.objects.select_related("crm_object"):
        events.setdefault(event.crm_object_id, []).append(event)
    for crm_object in CRMObject.objects.all():
        for row in (crm_object, *events.get(crm_object.pk, ())):
            found[row.version_kind, row.pk] = State.of(row)
    pointed_at = ("model", "crm_object", "on_create", "on_update", "on_delete")
    for binding in ModelBinding.objects.select_related(*pointed_at):
        found[binding.version_kind, binding.pk] = State.of(binding)
    return found


def edits(before: States, after: States) -> list[Edit]:
    """What is not the same in both, in the order of `after`."""
    found = (Edit(before.get(key), after.get(key)) for key in {**after, **before})
    return [edit for edit in found if not edit.is_none]


def changes(edit: Edit) -> Iterator[Change]:
    """What an edit changes, path by path."""
    path, old, new = edit.state.path, edit.before, edit.after
    if old is None or new is None:
        yield Change("+" if old is None else "-", path)
        return
    if edit.is_switched_off:
        yield Change("-", path)
    for change in differences(path, old.document, new.document):
        if not (edit.is_switched_off and change.path == f"{path}.active"):
            yield change
