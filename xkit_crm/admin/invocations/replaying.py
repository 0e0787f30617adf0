"""Replay and skip of one invocation: pages that say what it means, then do it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from xkit_crm.admin.invocations.hiding import Eyes
from xkit_crm.admin.invocations.page import InvocationPage
from xkit_crm.delivery.comparing import Cell, Comparison, can_be, compare
from xkit_crm.delivery.replay import SKIPPABLE, Skipped, objection, replay, send_again, skip
from xkit_crm.exceptions import PayloadInvalid
from xkit_crm.models import Invocation
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.redaction import MASK

#: A page is asked for, then something is done.
#: The ways to replay, and whether each sends the payload that is stored.
WAYS = {"renewed": False, "as_it_was": True}

one_of_two: Callable[..., Any] = require_http_methods(["GET", "HEAD", "POST"])


class ReplayPages(InvocationPage):
    """Whoever comes here by hand without the permission is refused."""

    def get_urls(self) -> list[Any]:
        views = {"replay": self.replay_view, "skip": self.skip_view}
        ours = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(one_of_two(view)),
                name=f"xkit_crm_invocation_{name}",
            )
            for name, view in views.items()
        ]
        return [*ours, *super().get_urls()]

    def require_operator(self, request: HttpRequest) -> None:
        if not (self.has_view_permission(request) and self.has_operate_permission(request)):
            raise PermissionDenied

    def replay_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, with what would be sent; then do it, in the way that was chosen."""
        self.require_operator(request)
        invocation = self.found(request, object_id)
        if isinstance(invocation, HttpResponse):
            return invocation
        way = request.POST.get("way")
        # Since the page was opened, its row may have been linked to a record.
        if way not in WAYS or not can_be(invocation, as_it_was=WAYS[way]):
            return self._ask_to_replay(request, invocation)
        delivered = invocation.status == InvocationStatus.SUCCEEDED
        do = send_again if delivered else _replay_one
        # It may be sent as soon as it is committed, and stands in the log behind this.
        with transaction.atomic(using=router.db_for_write(Invocation)):
            done = do(invocation, as_it_was=WAYS[way])
            if done:
                told = "as it was" if WAYS[way] else "with its row of now"
                self.log_change(request, invocation, f"Replayed {told}.")
        self.say_replayed(request, int(done))
        return _to_page(invocation)

    def _ask_to_replay(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        eyes, refused = Eyes(request), objection(invocation)
        compared = None if refused else compare(invocation)
        return self.console_page(
            request,
            "admin/xkit_crm/invocation/replay.html",
            title=_("Replay %(event)s → %(connection)s")
            % {"event": invocation.event.slug, "connection": invocation.connection_id},
            invocation=invocation,
            refused=refused,
            compared=compared,
            **(_shown(invocation, compared, eyes) if compared else {}),
        )

    def skip_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then do it."""
        self.require_operator(request)
        invocation = self.found(request, object_id)
        if isinstance(invocation, HttpResponse):
            return invocation
        if request.method == "POST":
            skipped = skip([invocation])
            if skipped.count:
                self.log_change(request, invocation, "Skipped.")
            self.say_skipped(request, skipped)
            return _to_page(invocation)
        return self.console_page(
            request,
            "admin/xkit_crm/invocation/skip.html",
            title=_("Skip %(event)s → %(connection)s")
            % {"event": invocation.event.slug, "connection": invocation.connection_id},
            invocation=invocation,
            can_skip=invocation.status in SKIPPABLE,
            makes=invocation.event.type == EventType.CREATE and bool(invocation.object_pk),
        )

    # -- what is said afterwards ------------------------------------------------------------------

    def say_replayed(self, request: HttpRequest, count: int, *, left: int = 0) -> None:
        text = ngettext("%d invocation is queued again.", "%d invocations are queued again.", count)
        level = messages.SUCCESS if count else messages.WARNING
        if count or not left:
            self.message_user(request, text % count, level)
        if left:
            told = ngettext(
                "%d is unknown and was left: look in the CRM. If it is not there, replay it on its "
                "own page, or with “Replay all that match…”.",
                "%d are unknown and were left: look in the CRM. Those that are not there, replay "
                "on their own pages, or with “Replay all that match…”.",
                left,
            )
            self.message_user(request, told % left, messages.WARNING)

    def say_skipped(self, request: HttpRequest, skipped: Skipped) -> None:
        text = ngettext("%d invocation is skipped.", "%d invocations are skipped.", skipped.count)
        level = messages.SUCCESS if skipped.count else messages.WARNING
        self.message_user(request, text % skipped.count, level)
        if skipped.left:
            told = _(
                "Some would create their row again with its next change: link the row to its "
                "record first (Record links, Add), or replay it if the record is not there."
            )
            self.message_user(request, told, messages.WARNING)


def _replay_one(invocation: Invocation, *, as_it_was: bool) -> bool:
    return bool(replay([invocation], as_it_was=as_it_was))


@dataclass(frozen=True, slots=True)
class Way:
    """A way to replay, as the page offers it."""

    name: str
    label: str
    #: What it would do, or why it would do nothing.
    told: str
    problem: str
    may: bool = True
    is_proposed: bool = False


def _shown(invocation: Invocation, compared: Comparison, eyes: Eyes) -> dict[str, Any]:
    """The ways, and what each would send by remote field, beside what was sent last."""
    ways: list[Way] = []
    looks: list[str] = []
    for name, label, look in (
        ("renewed", _("With its row as it is now"), compared.renewed),
        ("as_it_was", _("As it was, with the payload that is stored"), compared.as_it_was),
    ):
        if look is None:
            continue
        problem = eyes.error(look.problem, invocation) if look.problem else ""
        may = name == "renewed" or not isinstance(look.problem, PayloadInvalid)
        told = f"{look.operation} {look.target}".strip()
        ways.append(Way(name, label, told, problem, may, is_proposed=may and not ways))
        looks.append(label)
    return {
        "ways": ways,
        "warnings": _warnings(invocation, compared),
        "heads": [_("Sent last"), *reversed(looks)],
        "rows": [
            (name, [(_cell(cell, eyes), cell.differs) for cell in cells])
            for name, cells in compared.rows
        ],
    }


def _cell(cell: Cell, eyes: Eyes) -> str:
    if not cell.is_sent:
        return "—"
    return json.dumps(cell.value, ensure_ascii=False) if eyes.may_see else MASK


def _warnings(invocation: Invocation, compared: Comparison) -> list[str]:
    """What one has to know before one replays it."""
    told = []
    if invocation.status == InvocationStatus.SUCCEEDED:
        told.append(
            _("It was delivered. Sent again, it writes the fields of the same record once more.")
        )
    if invocation.status == InvocationStatus.UNKNOWN:
        told.append(
            _(
                "It may have been written. The CRM is asked first; where it can't be asked, it is "
                "done again: look there before."
            )
        )
    if compared.later:
        told.append(
            ngettext(
                "%d later change of this row was delivered: as it was, this one overwrites it.",
                "%d later changes of this row were delivered: as it was, this overwrites them.",
                compared.later,
            )
            % compared.later
        )
    return told


def _to_page(invocation: Invocation) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:xkit_crm_invocation_change", args=[invocation.pk]))
