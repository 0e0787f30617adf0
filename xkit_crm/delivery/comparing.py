"""What a replay would send now, beside what was sent last. The admin shows it before one confirms.

It is prepared as delivery prepares a try, so it is what would be sent; nothing is sent, and nothing
is stored of it. The CRM is asked what it describes, and what a record holds where that decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xkit_crm.delivery.lanes import Hold
from xkit_crm.delivery.line import Line
from xkit_crm.delivery.preparing import complete, prepare
from xkit_crm.delivery.replay import is_linked
from xkit_crm.exceptions import PayloadInvalid, XkitError
from xkit_crm.models import Attempt, Invocation
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Source

#: No row has this id, so whatever is done to it while it is prepared is done to nothing.
_NO_ROW = -1


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one way to replay would do. `values` are by remote field (or input, or criterion)."""

    operation: str = ""
    target: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    #: Why nothing would be sent.
    problem: XkitError | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A value that would be sent for a field, or not, and whether it differs from the last one."""

    is_sent: bool = False
    value: Any = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was sent last, and what would be sent by each of the ways to replay."""

    #: None: it was never sent.
    last: Attempt | None
    #: With the payload that is stored; None: a create whose row has its record by now becomes an
    #: update of that, with its row as it is.
    as_it_was: Outlook | None
    #: With its row as it is; None: it comes from none.
    renewed: Outlook | None
    #: By field: what was sent, then as it was, then renewed (where there is that).
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    #: Later changes of the same row that have been delivered: as it was would overwrite them.
    later: int = 0


def compare(invocation: Invocation) -> Comparison:
    """Raises nothing that a CRM or a mapping causes: each outlook has its own problem."""
    tried = invocation.attempts.filter(sent__isnull=False).order_by("-number")
    last = tried.first()
    becomes = _becomes_an_update(invocation)
    stored, made_anew = _ways(invocation, becomes=becomes)
    as_it_was = outlook(invocation, as_it_was=True) if stored else None
    renewed = outlook(invocation, as_it_was=False) if made_anew else None
    looks = [look for look in (as_it_was, renewed) if look is not None]
    before = dict(last.sent or {}) if last else {}
    names = dict.fromkeys([*before, *(name for look in looks for name in look.values)])
    rows = tuple((name, _cells(name, before, looks, compared=last is not None)) for name in names)
    return Comparison(last, as_it_was, renewed, rows, 0 if becomes else _later(invocation))


def can_be(invocation: Invocation, *, as_it_was: bool) -> bool:
    """Whether this is (still) a way to replay it."""
    stored, made_anew = _ways(invocation, becomes=_becomes_an_update(invocation))
    return stored if as_it_was else made_anew


def _ways(invocation: Invocation, *, becomes: bool) -> tuple[bool, bool]:
    """Whether it can be sent with the payload that is stored, and made anew of its row."""
    of_row = bool(invocation.object_pk)
    return not becomes, of_row and (becomes or invocation.source == Source.MODEL)


def outlook(invocation: Invocation, *, as_it_was: bool) -> Outlook:
    """What a replay would send now."""
    if as_it_was and invocation.error_code == PayloadInvalid.code:
        return Outlook(problem=invocation.error)
    this = Invocation.objects.select_related("connection", "event__crm_object").get(
        pk=invocation.pk
    )
    this.replays, this.renew = this.replays + 1, not as_it_was
    this.error_code, this.error_detail = "", None
    if _is_delivered_create(this):
        this.record_id = ""  # as `replay.send_again` does: its link names it
    this.pk = _NO_ROW
    line = Line(this.connection, Hold(this.connection_id, holder="", until=None))
    (tried,) = prepare(line, [this])
    if not tried.over:
        complete(line, [tried])
    values = dict(tried.sent or {})
    values |= {f"{one.field} {one.operator}": one.value for one in tried.criteria}
    return Outlook(tried.operation, tried.target, values, this.error)


def _becomes_an_update(invocation: Invocation) -> bool:
    """As `sync/retarget.py` has it, whichever way it is replayed."""
    if _is_delivered_create(invocation):
        return True
    created = invocation.event.type == EventType.CREATE
    names_its_record = invocation.source != Source.MODEL and invocation.record_id
    return created and not names_its_record and is_linked(invocation)


def _is_delivered_create(invocation: Invocation) -> bool:
    created = invocation.event.type == EventType.CREATE
    return created and invocation.status == InvocationStatus.SUCCEEDED


def _cells(
    name: str, before: Mapping[str, Any], looks: list[Outlook], *, compared: bool
) -> tuple[Cell, ...]:
    was = Cell(name in before, before.get(name))
    now = (Cell(name in look.values, look.values.get(name)) for look in looks)
    return (
        was,
        *(Cell(one.is_sent, one.value, differs=compared and one != was) for one in now),
    )


def _later(invocation: Invocation) -> int:
    """So many later changes of the same row were delivered; counted to 100."""
    if not invocation.object_pk:
        return 0
    later = Invocation.objects.filter(
        content_type_id=invocation.content_type_id,
        object_pk=invocation.object_pk,
        connection_id=invocation.connection_id,
        event__crm_object_id=invocation.event.crm_object_id,
        pk__gt=invocation.pk,
        status=InvocationStatus.SUCCEEDED,
    )
    return later.order_by()[:100].count()
