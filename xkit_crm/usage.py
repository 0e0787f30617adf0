"""Who knows a CRM object or an event by its slug and type, so that neither may change any more.

The models refuse by this, and the admin shows it beside the box that can't be edited. The log is
looked at last, and only where somebody wants to change something: it has no index by event, since
every delivery would pay for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from xkit_crm.exceptions import DefinitionInUse, Problem

if TYPE_CHECKING:
    from xkit_crm.models import CRMObject, EventDefinition
    from xkit_crm.models.definition_version import Versioned


@dataclass(frozen=True, slots=True)
class Use:
    """Something that refers to an event or an object: `reason` is a phrase that says what."""

    reason: str
    #: Whether it needs an event to be of the type that it is of.
    needs_type: bool = True

    def __str__(self) -> str:
        return self.reason


def of_events(events: Collection[EventDefinition]) -> dict[int, list[Use]]:
    """What refers to each of these events, by id, but for the log. Two queries, however many
    events and connections there are."""
    from xkit_crm.models import EventAction, EventDefinition

    found: dict[int, list[Use]] = {event.pk: [] for event in events}
    decided = EventDefinition.objects.filter(pk__in=found).filter(
        Exists(EventAction.objects.filter(event_id=OuterRef("pk")))
    )
    for pk in decided.order_by().values_list("pk", flat=True):
        found[pk].append(Use(_("customers have decided what it does in their CRMs")))
    for pk, use in _bound(events):
        found[pk].append(use)
    return found


def _bound(events: Collection[EventDefinition]) -> Iterator[tuple[int, Use]]:
    """The bindings that fire them: those from code, and those of the admin, switched off or not."""
    from xkit_crm.models import ModelBinding
    from xkit_crm.sync.bindings import MOMENTS, from_code

    by_slug = {(event.crm_object.slug, event.slug): event for event in events}
    by_id = {event.pk: event for event in events}
    fired = Q(pk__in=[])
    for moment in MOMENTS:
        fired |= Q(**{f"{moment}__in": list(by_id)})
    rows = list(ModelBinding.objects.filter(fired).select_related("model", "crm_object"))
    for moment, kind in MOMENTS.items():
        for binding in from_code():
            event = by_slug.get((binding.crm_object, getattr(binding, moment)))
            if event is not None:
                yield event.pk, _fired(binding.origin, event, kind)
        for row in rows:
            event = by_id.get(getattr(row, f"{moment}_id"))
            if event is not None:
                yield event.pk, _fired(row.path, event, kind)


def _fired(origin: str, event: EventDefinition, kind: str) -> Use:
    # One that needs another type than the event has is a mistake that may be mended.
    return Use(_("%(binding)s fires it") % {"binding": origin}, event.type == kind)


def of_object(crm_object: CRMObject) -> list[Use]:
    """What refers to a CRM object or to events of it, but for the log. Three queries."""
    from xkit_crm.models import ModelBinding, ObjectMapping, RecordLink
    from xkit_crm.sync.bindings import from_code

    found = []
    if ObjectMapping.objects.filter(crm_object=crm_object).exists():
        found.append(_("customers have decided what it is in their CRMs"))
    if RecordLink.objects.filter(crm_object=crm_object).exists():
        found.append(_("rows are linked to records of it"))
    origins = [binding.origin for binding in from_code() if binding.crm_object == crm_object.slug]
    rows = ModelBinding.objects.filter(crm_object=crm_object).select_related("model", "crm_object")
    bound = _("%(binding)s is bound to it")
    found += [bound % {"binding": origin} for origin in (*origins, *(row.path for row in rows))]
    return [Use(reason) for reason in found]


def everything_of(row: CRMObject | EventDefinition) -> list[Use]:
    """What refers to an object and its events, or to one event, the log included."""
    from xkit_crm.models import CRMObject

    if isinstance(row, CRMObject):
        return of_object(row) or _logged(list(row.events.all()))
    return of_events([row])[row.pk] or _logged([row])


def _logged(events: Collection[EventDefinition]) -> list[Use]:
    from xkit_crm.models import Invocation

    if Invocation.objects.filter(event__in=list(events)).exists():
        return [Use(_("the log has invocations of it"))]
    return []


def refusals(before: Versioned, after: Versioned) -> list[Problem]:
    """Why a row can't be changed like this, by field: others know it by what it was called."""
    from xkit_crm.models import CRMObject, EventDefinition

    if not isinstance(before, CRMObject | EventDefinition):
        return []
    changed = [name for name in before.identity if before.identity[name] != after.identity[name]]
    if not changed:
        return []
    uses = everything_of(before)
    return [
        Problem(
            name.removesuffix("_id"),
            _("can't change any more: %(reason)s") % {"reason": use.reason},
        )
        for name in changed
        for use in uses
        if name != "type" or use.needs_type
    ]


def require_free(before: Versioned, after: Versioned) -> None:
    """Raise `DefinitionInUse` where a row can't be changed like this."""
    if problems := refusals(before, after):
        raise DefinitionInUse(
            _("%(path)s is in use; nothing was changed.") % {"path": before.path},
            hint=_("Define another one, and switch this one off when nothing needs it any more."),
            errors=problems,
        )


def require_unused(row: CRMObject | EventDefinition) -> None:
    """Raise `DefinitionInUse` where a row can't be deleted."""
    if uses := everything_of(row):
        raise DefinitionInUse(
            _("%(path)s is in use; nothing was deleted.") % {"path": row.path},
            hint=_("Switch it off instead: then nothing is sent any more, and its history stays."),
            errors=[Problem("", use.reason) for use in uses],
        )
