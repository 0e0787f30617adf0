"""The overview: how it goes, in all connections and in one. It draws what `overview/` finds out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from xkit_crm.admin import charts
from xkit_crm.admin.base import number
from xkit_crm.delivery import waiting
from xkit_crm.overview import lanes
from xkit_crm.overview.figures import RANGES, Course, Figures, Range, course, of_each
from xkit_crm.overview.lanes import LaneNow, LaneState

DEFAULT = "24h"
#: Connections of one page.
PAGE = 25


@dataclass(frozen=True, slots=True)
class Cause:
    code: str
    count: int
    #: Its part of the most frequent one, of 1000.
    width: float
    log_url: str


@dataclass(frozen=True, slots=True)
class Row:
    """A connection in the list."""

    lane: LaneNow
    figures: Figures
    url: str

    @property
    def p95(self) -> float | None:
        return self.figures.percentile(0.95)


class OverviewPages:
    """The two pages, beside those of the connections; whoever may look at these may look here."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view  # type: ignore[attr-defined]
        return [
            path("overview/", view(self.overview), name="xkit_crm_overview"),
            path(
                "<path:connection_id>/overview/",
                view(self.overview_of_one),
                name="xkit_crm_overview_of_one",
            ),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def overview(self, request: HttpRequest) -> HttpResponse:
        """All connections: `range` 1h, 24h or 7d; `show` all; `q` searches; `p` turns the page."""
        self._require_view(request)
        wanted, page = _range(request), _page(request)
        survey = lanes.survey(wanted)
        query = request.GET.get("q", "").strip()
        shows_all = bool(query) or request.GET.get("show") == "all"
        begin, end = PAGE * (page - 1), PAGE * page + 1
        if shows_all:
            ids = lanes.search(query, begin=begin, end=end)
        else:
            ids = [one.connection_id for one in survey.troubled[begin:end]]
        if page > 1 and not ids:
            raise Http404("There is no such page.")
        return self.console_page(  # type: ignore[attr-defined, no-any-return]
            request,
            "admin/xkit_crm/overview.html",
            title=_("Overview"),
            **_shown(request, course(wanted), wanted),
            waits=waiting.in_all(),
            longest=survey.longest,
            states=_states(),
            rows=_rows(ids[:PAGE], wanted),
            troubled=len(survey.troubled),
            shows_all=shows_all,
            query=query,
            troubled_url=_url(request, show=None, q=None, p=None),
            all_url=_url(request, show="all", q=None, p=None),
            next_url=_url(request, p=page + 1) if len(ids) > PAGE else "",
            previous_url=_url(request, p=page - 1) if page > 1 else "",
        )

    def overview_of_one(self, request: HttpRequest, connection_id: str) -> HttpResponse:
        """One connection: `range` as above."""
        self._require_view(request)
        wanted, pk = _range(request), unquote(connection_id)
        found = lanes.now([pk])
        if not found:
            raise Http404("There is no such connection.")
        return self.console_page(  # type: ignore[attr-defined, no-any-return]
            request,
            "admin/xkit_crm/overview_of_one.html",
            title=_("Overview of %s") % pk,
            **_shown(request, course(wanted, pk), wanted, pk),
            lane=found[0],
            change_url=reverse("admin:xkit_crm_connection_change", args=[quote(pk)]),
        )

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied


def _shown(
    request: HttpRequest, found: Course, wanted: Range, connection_id: str | None = None
) -> dict[str, Any]:
    """What both pages show of a range."""
    return {
        "range": wanted.slug,
        "ranges": [(slug, _url(request, range=slug, p=None)) for slug in RANGES],
        "figures": found.figures,
        "throughput": charts.throughput(found.steps),
        "times": charts.times(found.steps),
        "percentiles": [
            (f"p{percent}", found.figures.percentile(percent / 100))
            for percent in charts.PERCENTILES
        ],
        "causes": _causes(found.figures.causes, connection_id),
    }


def _causes(causes: Counter[str], connection_id: str | None) -> list[Cause]:
    """The most frequent first."""
    log = reverse("admin:xkit_crm_invocation_changelist")
    most = max(causes.values(), default=1)
    of_one = {} if connection_id is None else {"connection": connection_id}
    return [
        Cause(
            code,
            count,
            charts.WIDTH * count / most,
            f"{log}?{urlencode({'error': code, **of_one})}",
        )
        for code, count in causes.most_common()
    ]


def _states() -> list[tuple[LaneState, int]]:
    """How many lanes are in each state, those first that somebody has to look at."""
    total: Counter[str] = sum(lanes.states().values(), Counter())
    order = (*lanes.STOPPED, *(state for state in LaneState if state not in lanes.STOPPED))
    return [(state, total[state.value]) for state in order if total[state.value]]


def _rows(ids: Sequence[str], wanted: Range) -> list[Row]:
    figures = of_each(ids, wanted)
    return [
        Row(
            lane,
            figures.get(lane.connection.pk) or Figures(),
            reverse("admin:xkit_crm_overview_of_one", args=[quote(lane.connection.pk)])
            + f"?range={wanted.slug}",
        )
        for lane in lanes.now(ids)
    ]


def _range(request: HttpRequest) -> Range:
    try:
        return RANGES[request.GET.get("range", DEFAULT)]
    except KeyError:
        raise Http404(f"There is no such range; there are {', '.join(RANGES)}.") from None


def _page(request: HttpRequest) -> int:
    page = number(request.GET.get("p", "1"))
    if page is None or page >= 100_000:
        raise Http404("There is no such page.")
    return page


def _url(request: HttpRequest, **changes: Any) -> str:
    """This page's address with these parameters changed; None takes one out."""
    parameters = {**request.GET.dict(), **changes}
    return "?" + urlencode({name: value for name, value in parameters.items() if value is not None})
