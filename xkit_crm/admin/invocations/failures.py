"""The page of failures: what needs a person, by its cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from xkit_crm.admin.base import XkitAdmin
from xkit_crm.admin.invocations.asking import IN_TROUBLE
from xkit_crm.delivery import explaining, failures
from xkit_crm.delivery.failures import Group
from xkit_crm.delivery.log import Asked
from xkit_crm.exceptions import class_of
from xkit_crm.models import EventAction, EventDefinition

#: So many causes are shown.
SHOWN = 100


@dataclass(frozen=True)
class Shown:
    """A group as the page shows it."""

    group: Group
    event: EventDefinition
    #: The action by which the customer decided it, by id; None: not decided.
    action_id: int | None

    @property
    def words(self) -> str:
        return self.group.cause.words or self.meaning

    @property
    def meaning(self) -> str:
        return _(class_of(self.group.cause.code).meaning)

    @property
    def to_do(self) -> str:
        """Of those that failed; empty where all are unknown."""
        if self.group.unknown == self.group.count:
            return ""
        return self.group.hint or _(class_of(self.group.cause.code).remedy)

    @cached_property
    def query(self) -> str:
        """What asks for the invocations of the group."""
        cause = self.group.cause
        return urlencode(
            {
                "status": IN_TROUBLE,
                "connection": cause.connection_id,
                "event": f"{self.event.crm_object.slug}.{self.event.slug}",
                "error": cause.code,
                "cause": cause.key,
            }
        )


class FailuresPage(XkitAdmin):
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.failures_view)
        return [
            path("failures/", view, name="xkit_crm_failures"),
            *super().get_urls(),
        ]

    def failures_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        connection_id = request.GET.get("connection", "")
        report = failures.report(Asked(connection_id=connection_id))
        groups = report.groups[:SHOWN]
        return self.console_page(
            request,
            "admin/xkit_crm/invocation/failures.html",
            title=_("Failures"),
            report=report,
            groups=_shown(groups),
            more=len(report.groups) - len(groups),
            newest=failures.NEWEST,
            decide=explaining.DECIDE,
            connection_id=connection_id,
            can_operate=self.has_operate_permission(request),
            list_url=reverse("admin:xkit_crm_invocation_changelist"),
        )


def _shown(groups: tuple[Group, ...]) -> list[Shown]:
    """The groups with what is shown beside them, in two queries."""
    ids = {group.cause.event_id for group in groups}
    events = EventDefinition.objects.select_related("crm_object").in_bulk(ids)
    actions = EventAction.objects.filter(
        event__in=ids, mapping__connection__in={group.cause.connection_id for group in groups}
    ).values_list("mapping__connection_id", "event_id", "pk")
    decided = {(connection_id, event_id): pk for connection_id, event_id, pk in actions}
    return [
        Shown(
            group,
            events[group.cause.event_id],
            decided.get((group.cause.connection_id, group.cause.event_id)),
        )
        for group in groups
    ]
