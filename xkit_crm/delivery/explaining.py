"""Why an invocation is where it is, what happens next and when, and what a person can do.

For whoever shows one; it reads what is known and changes nothing. It never quotes the words of an
error, which may hold personal data. A few queries, none of which depends on how much waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from xkit_crm.conf import settings
from xkit_crm.delivery import pausing
from xkit_crm.delivery.pausing import Pause
from xkit_crm.exceptions import ConnectionNotEnabled, MappingIncomplete, class_of
from xkit_crm.invoking import require_enabled
from xkit_crm.models import Invocation, Lane
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import NEVER, InvocationStatus, Priority

#: What is due for so long, and nobody works anywhere: nobody seems to look.
UNSEEN = timedelta(minutes=1)
#: What a person does about one that is unknown.
DECIDE = gettext_lazy(
    "Look in the CRM. If it is not there, replay it. If it is, link the row to the record, then "
    "skip it."
)
#: How many others that come first are counted.
COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """Sentences for a person; what doesn't apply is empty."""

    #: In a few words.
    state: str
    why: str = ""
    next: str = ""
    #: When that is.
    when: datetime | None = None
    to_do: str = ""
    #: The invocation that it waits for, or that stands for it.
    other: Invocation | None = None


def explain(invocation: Invocation) -> Explanation:
    """What is to be said of it now. It needs its connection and event."""
    status = InvocationStatus(invocation.status)
    if status == InvocationStatus.PENDING:
        return _pending(invocation)
    if status == InvocationStatus.RUNNING:
        return _running(invocation)
    if status in (InvocationStatus.FAILED, InvocationStatus.UNKNOWN):
        return _in_trouble(invocation, status)
    return _done(invocation, status)


# -- done -----------------------------------------------------------------------------------------


def _done(invocation: Invocation, status: InvocationStatus) -> Explanation:
    # What is noted of one without an error are words of our own.
    note = invocation.error.message if invocation.error and not invocation.error_code else ""
    if status == InvocationStatus.SUPERSEDED:
        other = invocation.superseded_by
        if other is not None and other.event.type == EventType.DELETE:
            return Explanation(
                _("Replaced by a delete"),
                _("It was not sent: its record was to be deleted before its turn came."),
                other=other,
            )
        return Explanation(
            _("Joined another one"),
            _("Another one of the same record was sent in its place, with what this one changes."),
            other=other,
        )
    if status == InvocationStatus.DEFERRED:
        return Explanation(
            _("Given to the CRM's workflow"), _("What the workflow does is the CRM's own affair.")
        )
    if status == InvocationStatus.SUCCEEDED:
        if invocation.event.type == EventType.SEARCH:
            return Explanation(_("Answered"), note)
        return Explanation(_("Delivered"), note or _("The CRM has it."))
    if invocation.error_code:
        # Whoever skips a failed one leaves its error where it was.
        note = _("Somebody decided to skip it after it had failed.")
    return Explanation(
        _("Skipped"),
        note or _("The customer chose that nothing is done with this event."),
        to_do=_("Nothing. Replay it if it shall be sent after all."),
    )


def _in_trouble(invocation: Invocation, status: InvocationStatus) -> Explanation:
    if status == InvocationStatus.UNKNOWN:
        return Explanation(
            _("May have been written: somebody has to decide"),
            _("Nobody can tell whether the CRM carried it out, and it can't be asked."),
            next=_("Nothing by itself. What comes for the same record waits behind it."),
            to_do=str(DECIDE),
        )
    return Explanation(
        _(class_of(invocation.error_code).meaning),
        next=_("Nothing by itself."),
        to_do=_(class_of(invocation.error_code).remedy),
    )


# -- being sent -----------------------------------------------------------------------------------


def _running(invocation: Invocation) -> Explanation:
    lane, now = _lane(invocation), timezone.now()
    if lane is not None and lane.leased_until and lane.leased_until > now:
        return Explanation(
            _("Being sent"),
            _("The worker %s has handed it to the CRM.") % lane.holder,
            next=_("It says what came of it. If it dies, another one takes over."),
            when=lane.leased_until,
        )
    return Explanation(
        _("Interrupted"),
        _("The worker that sent it has died: it gave no sign of life until its lease ran out."),
        next=_("The next worker takes it up, and asks the CRM first whether it was written."),
        to_do=_see_to_workers() if _nobody_works(now) else "",
    )


# -- waiting --------------------------------------------------------------------------------------


def _pending(invocation: Invocation) -> Explanation:
    """The first thing that holds it up, as a worker meets them."""
    now = timezone.now()
    try:
        require_enabled(invocation.connection)
    except ConnectionNotEnabled as error:
        return Explanation(
            _("Waits for its connection"),
            error.message,
            next=_("It goes on as soon as the connection is enabled."),
            to_do=error.hint,
        )
    if invocation.connection.shadow:
        return _in_shadow(invocation)
    return (
        _behind_another(invocation)
        or _undecided(invocation, now)
        or _paused(invocation, now)
        or _backing_off(invocation, now)
        or _next_in_line(invocation, now)
    )


def _in_shadow(invocation: Invocation) -> Explanation:
    rehearsed = invocation.due_at == NEVER
    return Explanation(
        _("Waits for its connection to go live"),
        _("The connection is in shadow mode: nothing is sent."),
        next=_("It is sent once the connection goes live.")
        if rehearsed
        else _("A worker rehearses it: its attempt says what would be sent."),
        to_do=_("Choose “Go live” for the connection, when what would be sent is right."),
    )


def _behind_another(invocation: Invocation) -> Explanation | None:
    if invocation.record_key == str(invocation.uuid):
        return None  # it makes a record that nobody else knows yet
    earlier = Invocation.objects.open().filter(
        connection_id=invocation.connection_id,
        record_key=invocation.record_key,
        pk__lt=invocation.pk,
    )
    first = earlier.order_by("pk").select_related("event").first()
    if first is None:
        return None
    if first.status == InvocationStatus.UNKNOWN:
        return Explanation(
            _("Waits behind one of which nobody knows what came of it"),
            _("An earlier one of the same record may have been written, and comes first."),
            next=_("It goes on as soon as somebody has decided on that one."),
            to_do=_("Decide on that one: replay or skip it."),
            other=first,
        )
    return Explanation(
        _("Waits behind an earlier one"),
        _("What happens to one record is sent in the order in which it happened."),
        next=_("It is sent after that one, or together with it."),
        other=first,
    )


def _undecided(invocation: Invocation, now: datetime) -> Explanation | None:
    if invocation.error_code != MappingIncomplete.code or invocation.due_at <= now:
        return None
    return Explanation(
        _("Waits for the mapping"),
        _(MappingIncomplete.meaning),
        next=_("It goes on as soon as a mapping is put in force, and is looked at again by then:"),
        when=invocation.due_at,
        to_do=_(MappingIncomplete.remedy),
    )


def _paused(invocation: Invocation, now: datetime) -> Explanation | None:
    lane = _lane(invocation)
    if lane is None or lane.paused_until is None or lane.paused_until <= now:
        return None
    why = pausing.why(lane, now=now)
    return Explanation(
        _("Waits: its lane is paused"),
        _why_paused(lane, why),
        next=_("The lane goes on, in its order."),
        when=lane.paused_until,
        to_do=_against(lane, why),
    )


def _against(lane: Lane, why: Pause) -> str:
    if why != Pause.QUOTA:
        return _("Nothing. If the CRM is well, choose “Call the CRM again at once” for the lane.")
    if not lane.connection.quota_reserve:
        return _("Nothing: it goes on when the quota is renewed.")
    # Called again at once, it would say what is left, and the lane would be paused as before.
    return _(
        "Nothing: it goes on when the quota is renewed. If that is too late, lower “Quota reserve” "
        "on the connection, then choose “Call the CRM again at once” for the lane."
    )


def _why_paused(lane: Lane, why: Pause) -> str:
    if why == Pause.DOWN:
        return ngettext(
            "The CRM didn't answer the last call, so it is left alone for a while.",
            "The CRM didn't answer the last %(count)d calls, so it is left alone for a while.",
            lane.failures,
        ) % {"count": lane.failures}
    if why == Pause.QUOTA:
        return _("The CRM's daily quota is used up, but for what is reserved for other tools.")
    if why == Pause.LIMIT:
        return _("The CRM's limit for calls is reached.")
    return _("The CRM asked to be left alone.")


def _backing_off(invocation: Invocation, now: datetime) -> Explanation | None:
    if invocation.due_at <= now:
        return None
    if invocation.error_code:
        why = _("The last try failed; %(count)d of %(most)d tries are used up.") % {
            "count": invocation.tries - invocation.forgiven,
            "most": settings.MAX_ATTEMPTS,
        }
    else:
        why = _("It stood behind another one of its record.")
    return Explanation(
        _("Waits for its next try"), why, next=_("It is tried again."), when=invocation.due_at
    )


def _next_in_line(invocation: Invocation, now: datetime) -> Explanation:
    """It is due: somebody works in its lane, or should."""
    lane = _lane(invocation)
    if lane is not None and lane.leased_until and lane.leased_until > now:
        return Explanation(
            _("Waits for its turn"),
            _("The worker %s works in its lane.") % lane.holder,
            next=_turn(invocation),
        )
    if now - invocation.due_at > UNSEEN and _nobody_works(now):
        return Explanation(
            _("Waits for a worker"),
            _("It is due for a while, and no worker is at work in any lane."),
            next=_("A worker takes it as soon as there is one."),
            to_do=_see_to_workers(),
        )
    return Explanation(
        _("Waits for its turn"), _("A worker takes its lane next."), _turn(invocation)
    )


def _turn(invocation: Invocation) -> str:
    count = 0
    for ahead in _ahead(invocation):
        count += ahead.order_by()[: COUNTED + 1].count()
        if count > COUNTED:
            return _("More than %d others of its lane come first.") % COUNTED
    if not count:
        return _("It is the next one of its lane.")
    told = ngettext(
        "%d other one of its lane comes first.", "%d others of its lane come first.", count
    )
    return told % count


def _ahead(invocation: Invocation) -> Iterator[QuerySet[Invocation]]:
    """What is due in its lane before it, in parts that the lane's index has."""
    due = Invocation.objects.filter(
        connection_id=invocation.connection_id, status=InvocationStatus.PENDING
    )
    yield due.filter(priority=invocation.priority, due_at__lt=invocation.due_at)
    yield due.filter(priority=invocation.priority, due_at=invocation.due_at, pk__lt=invocation.pk)
    if invocation.priority > Priority.WAITED_FOR:
        yield due.filter(priority__lt=invocation.priority, due_at__lte=timezone.now())


def _lane(invocation: Invocation) -> Lane | None:
    found: Lane | None = getattr(invocation.connection, "lane", None)
    return found


def _nobody_works(now: datetime) -> bool:
    """Whether no worker has any lane in hand: each holds one while it works."""
    return not Lane.objects.filter(leased_until__gt=now).exists()


def _see_to_workers() -> str:
    if settings.DELIVERY == "immediate":
        return _(
            "With immediate delivery it waits until the next event of its lane, or until "
            "“manage.py xkit_worker --once” is run."
        )
    if settings.DELIVERY == "worker":
        return _("See to the workers: is “manage.py xkit_worker” running?")
    return _("See to the workers, and to what runs the sweep (DELIVERY is “%s”).") % str(
        settings.DELIVERY
    )
