"""The page of one invocation: how it stands with it, what it is, and its life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from xkit_crm import records
from xkit_crm.admin.base import XkitAdmin, badge, link_to, link_to_row, moment, number
from xkit_crm.admin.invocations.hiding import Eyes, error_of
from xkit_crm.delivery.explaining import explain
from xkit_crm.delivery.life import Life, Moment, What, life
from xkit_crm.delivery.replay import REPLAYABLE, SKIPPABLE
from xkit_crm.models import EventDefinition, Invocation, MappingVersion
from xkit_crm.models.invocation import InvocationStatus

#: What is done by operators is told so far back.
ACTIONS = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline."""

    at: datetime
    title: SafeString | str
    #: What is told of it: label and text.
    facts: tuple[tuple[str, SafeString | str], ...] = ()
    kind: str = ""


class InvocationPage(XkitAdmin):
    """Instead of a form: nothing of an invocation is edited."""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        invocation = self.found(request, object_id)
        if isinstance(invocation, HttpResponse):
            return invocation
        eyes, lived = Eyes(request), life(invocation)
        attempts = [one.attempt for one in lived.moments if one.attempt]
        operates = self.has_operate_permission(request)
        status = InvocationStatus(invocation.status)
        return self.console_page(
            request,
            "admin/xkit_crm/invocation/page.html",
            title=f"{invocation.event.slug} → {invocation.connection_id}",
            invocation=invocation,
            badge=badge(status),
            explained=explain(invocation),
            error=eyes.error(invocation.error, invocation, attempts),
            facts=_facts(invocation),
            payloads=_payloads(invocation, eyes),
            lines=_lines(lived, invocation, eyes, self._actions(invocation)),
            is_whole=lived.is_whole,
            can_replay=operates and status in REPLAYABLE,
            can_send_again=operates and status == InvocationStatus.SUCCEEDED,
            can_skip=operates and status in SKIPPABLE,
        )

    def found(self, request: HttpRequest, object_id: str) -> Invocation | HttpResponse:
        """The invocation, with what its pages need; or the answer where there is none."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        related = ("connection__lane", "event__crm_object", "content_type", "superseded_by__event")
        rows = Invocation.objects.select_related(*related)
        found = rows.filter(pk=number(object_id) or 0).first()
        if found is None:
            answer: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
            return answer
        return found

    def _actions(self, invocation: Invocation) -> list[LogEntry]:
        """What operators did to it, newest first."""
        done = LogEntry.objects.filter(
            content_type=get_content_type_for_model(invocation), object_id=str(invocation.pk)
        )
        return list(done.select_related("user").order_by("-action_time")[:ACTIONS])


# -- what it is -----------------------------------------------------------------------------------

Facts = list[tuple[str, SafeString | str]]


def _facts(invocation: Invocation) -> Facts:
    event = invocation.event
    tries = str(invocation.tries)
    if invocation.replays:
        tries = _("%(tries)s, replayed %(replays)d×") % {
            "tries": tries,
            "replays": invocation.replays,
        }
    found: Facts = [
        (_("Connection"), link_to(invocation.connection)),
        (_("Event"), link_to(event, f"{event.crm_object.slug}.{event.slug}")),
        (_("Record"), _record(invocation)),
        (_("Row"), link_to_row(invocation.content_type, invocation.object_pk)),
        (_("Source"), invocation.get_source_display()),
        (_("Priority"), invocation.get_priority_display()),
        (_("Tries"), tries),
        (_("Mapping"), _version(invocation)),
        (_("Id"), format_html('<code class="xkit-copy">{}</code>', invocation.uuid)),
    ]
    if invocation.request_id:
        request_id = format_html('<code class="xkit-copy">{}</code>', invocation.request_id)
        found.append((_("Request id"), request_id))
    if invocation.doubtful and not invocation.is_final:
        found.append((_("In doubt"), _("It may have been written: the CRM is asked first.")))
    return found


def _record(invocation: Invocation) -> SafeString | str:
    if not invocation.record_id:
        return "—"
    url = records.url_of(invocation.connection, invocation.record_id)
    if not url:
        return invocation.record_id
    return format_html('<a href="{}">{}</a>', url, invocation.record_id)


def _version(invocation: Invocation) -> SafeString | str:
    number = invocation.mapping_version
    if not number:
        return "—"
    version = MappingVersion.objects.filter(connection_id=invocation.connection_id, number=number)
    text = _("version %d") % number
    found = version.only("pk", "number", "connection_id").first()
    return link_to(found, text) if found else text


def _payloads(invocation: Invocation, eyes: Eyes) -> list[tuple[str, SafeString | str]]:
    """What it carries and what came of it: its own payload, those that joined it, the answer."""
    shown = [(_("Payload"), eyes.json(invocation.payload))]
    steps = invocation.folded or []
    known = EventDefinition.objects.in_bulk({step["event"] for step in steps}) if steps else {}
    for step in steps:
        event = known.get(step["event"])
        name = _("Joined: %s") % (event.slug if event else "?")
        shown.append((name, eyes.json(step.get("payload"))))
    if invocation.result and invocation.result.get("records"):
        shown.append((_("Answer"), eyes.json(invocation.result)))
    return shown


# -- its life -------------------------------------------------------------------------------------


def _lines(lived: Life, invocation: Invocation, eyes: Eyes, actions: list[LogEntry]) -> list[Line]:
    """What happened, and what operators did, in order."""
    lines = [_line(one, invocation, eyes) for one in lived.moments]
    for entry in actions:
        title = f"{entry.user.get_username()}: {entry.get_change_message()}"
        lines.append(Line(entry.action_time, title, kind="person"))
    # Whoever skips it is logged a moment after it has ended by that.
    return sorted(lines, key=lambda line: (line.kind == "ended", line.at))


def _line(moment_: Moment, invocation: Invocation, eyes: Eyes) -> Line:
    if moment_.what is What.MADE:
        return Line(moment_.at, _("Made by: %s") % invocation.get_source_display(), kind="made")
    if moment_.what is What.ENDED:
        return Line(moment_.at, badge(invocation.status), kind="ended")
    if moment_.other is not None:
        text = _("Joined by %(event)s of %(made)s") % {
            "event": moment_.other.event.slug,
            "made": moment(moment_.other.created_at),
        }
        return Line(moment_.at, link_to(moment_.other, text), kind="joined")
    attempt = moment_.attempt
    assert attempt is not None
    took = attempt.duration.total_seconds() * 1000
    facts = [
        (_("Sent"), eyes.json(attempt.sent)),
        (_("Received"), eyes.json((attempt.received or {}).get("records"))),
    ]
    if error := eyes.error(error_of(attempt), invocation, [attempt]):
        facts.append((_("Error"), format_html("<bdi>{}</bdi>", error)))
    what = f"{attempt.operation} {attempt.target}".strip()
    title = format_html(
        '{} {} <span class="xkit-quiet">{}</span>',
        _("Try %(number)d: %(what)s") % {"number": attempt.number, "what": what},
        badge(attempt.outcome),
        f"{took:.0f} ms",
    )
    shown = tuple((name, text) for name, text in facts if text != "—")
    return Line(attempt.started_at, title, shown, "tried")
