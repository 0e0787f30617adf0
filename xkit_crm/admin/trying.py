"""Try an event: choose it, fill it, look at what would be sent, send it, see the answer.

Whoever looks at what would be sent may see payloads; whoever sends it operates. The steps carry
what was given before in their forms, and check it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from xkit_crm import catalogue, schema, trying
from xkit_crm.admin import payload_form
from xkit_crm.admin.base import XkitAdmin, badge, pretty
from xkit_crm.admin.trying_choice import Choice, chosen, record_problems, required
from xkit_crm.exceptions import NotFound, Problem, XkitError
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.base import new_uuid
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS, may
from xkit_crm.sync import examples
from xkit_crm.trying import Plan, Wish

_TEMPLATES: Final = "admin/xkit_crm/trying"
#: Connections and records that are offered while somebody types.
OFFERED: Final = 20
_View = Callable[..., HttpResponse]


def urls(model_admin: XkitAdmin) -> list[Any]:
    """The pages, for the admin that they are a part of."""

    def page(address: str, view: _View, name: str) -> Any:
        checked = model_admin.admin_site.admin_view(partial(view, model_admin))
        return path(f"try/{address}", checked, name=f"xkit_crm_invocation_{name}")

    return [
        page("", choose, "try"),
        page("fill/", fill, "try_fill"),
        page("boxes/", boxes, "try_boxes"),
        page("check/", check, "try_check"),
        page("send/", send, "try_send"),
        page("offered/", offered, "try_offered"),
        page("<int:pk>/", answer, "try_answer"),
    ]


def _seeing(*methods: str) -> Callable[[_View], _View]:
    """For those who may see payloads, and for requests of these methods."""

    def decorate(view: _View) -> _View:
        @wraps(view)
        def checked(model_admin: XkitAdmin, request: HttpRequest, **named: Any) -> HttpResponse:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            if not may(request.user, SEE_PAYLOADS):
                raise PermissionDenied
            return view(model_admin, request, **named)

        return checked

    return decorate


# -- what is chosen -------------------------------------------------------------------------------


@_seeing("GET")
def choose(model_admin: XkitAdmin, request: HttpRequest) -> HttpResponse:
    """Step 1: which event, in which connection."""
    return _choose(model_admin, request, chosen(request.GET))


def _choose(model_admin: XkitAdmin, request: HttpRequest, choice: Choice) -> HttpResponse:
    only = request.GET.get("object", "")
    groups = []
    for found in catalogue.objects().values():
        events = [
            event
            for event in found.events.values()
            if only in ("", found.slug) and (event.type.needs_record or not choice.record_id)
        ]
        groups += [(found.label, events)] if events else []
    return _page(model_admin, request, "choose", choice=choice, groups=groups)


@_seeing("GET")
def offered(model_admin: XkitAdmin, request: HttpRequest) -> HttpResponse:
    """What there is to choose from, of what somebody types: connections, or a connection's
    records."""
    found: list[tuple[str, str]] = []
    if any("\x00" in given for given in request.GET.values()):
        pass  # no database takes it
    elif "record" in request.GET:
        typed = request.GET["record"].strip()
        rows = RecordLink.objects.filter(
            Q(record_id__startswith=typed) | Q(object_pk=typed),
            connection_id=request.GET.get("connection", ""),
            crm_object__slug=request.GET.get("event", "").partition(".")[0],
        ).select_related("content_type")
        found = [
            (row.record_id, f"{row.content_type.name} {row.object_pk}")
            for row in rows.order_by("-id")[:OFFERED]
        ]
    else:
        typed = request.GET.get("connection", "").strip()
        matching = Connection.objects.filter(Q(id__icontains=typed) | Q(context__icontains=typed))
        found = [(row.pk, f"{row.provider}, {row.status}") for row in matching[:OFFERED]]
    return TemplateResponse(request, f"{_TEMPLATES}/_offered.html", {"offered": found})


# -- it is filled ---------------------------------------------------------------------------------


@_seeing("GET", "POST")
def fill(model_admin: XkitAdmin, request: HttpRequest) -> HttpResponse:
    """Step 2: the payload, empty, of the event's sample, or of a row of the product; or as it was
    before somebody went back."""
    given = request.POST if request.method == "POST" else request.GET
    choice = chosen(given)
    if choice.connection is None or choice.event is None:
        return _choose(model_admin, request, required(choice))
    event = choice.event
    problems: tuple[Problem, ...] = ()
    payload: Mapping[str, Any] = {}
    found = trying.example(choice.connection, event, choice.row)
    if found is None:
        choice = replace(choice, row="")
    if request.method == "POST":
        payload = _payload(given.get("payload", ""))
    elif given.get("from") == "sample":
        payload = schema.sample(event.payload_schema)
    elif found is not None:
        payload, problems = found.payload, found.problems
        record_id = choice.record_id or (found.record_id if event.type.needs_record else "")
        choice = replace(choice, record_id=record_id)
    flat = payload_form.flat(event.payload_schema, payload)
    return _fill(model_admin, request, choice, flat, list(problems))


def _fill(
    model_admin: XkitAdmin,
    request: HttpRequest,
    choice: Choice,
    flat: Mapping[str, str],
    problems: list[Problem],
) -> HttpResponse:
    assert choice.event is not None
    assert choice.connection is not None
    shown, left = payload_form.boxes(choice.event.payload_schema, flat, problems)
    return _page(
        model_admin,
        request,
        "fill",
        choice=choice,
        boxes=shown,
        problems=[problem for problem in left if problem.path != "record"],
        record_error=next((p.error for p in left if p.path == "record"), ""),
        recent=examples.recent(choice.event, choice.connection),
    )


@_seeing("POST")
def boxes(model_admin: XkitAdmin, request: HttpRequest) -> HttpResponse:
    """The payload's boxes after an entry of a list was added or taken away."""
    choice = chosen(request.POST)
    described = choice.event.payload_schema if choice.event else {}
    shown, _left = payload_form.boxes(described, payload_form.sent(request.POST))
    return TemplateResponse(request, f"{_TEMPLATES}/_boxes.html", {"boxes": shown})


@_seeing("POST")
def check(model_admin: XkitAdmin, request: HttpRequest) -> HttpResponse:
    """Step 3: what would be sent. What is wrong with the payload goes back to its boxes."""
    choice = chosen(request.POST)
    if choice.connection is None or choice.event is None:
        return _choose(model_admin, request, required(choice))
    described = choice.event.payload_schema
    payload = payload_form.payload_of(described, payload_form.sent(request.POST))
    problems = [*choice.event.validator.validate(payload), *record_problems(choice)]
    if problems:
        # As it was read: without the entries of lists that were left empty.
        flat = payload_form.flat(described, payload)
        return _fill(model_admin, request, choice, flat, problems)
    return _checked(model_admin, request, choice, payload)


def _checked(
    model_admin: XkitAdmin,
    request: HttpRequest,
    choice: Choice,
    payload: Mapping[str, Any],
    *,
    error: XkitError | None = None,
) -> HttpResponse:
    try:
        plan = Plan(error=error) if error is not None else trying.plan(_wish(choice, payload))
    except NotFound as gone:
        plan = Plan(error=gone)
    return _page(
        model_admin,
        request,
        "check",
        choice=choice,
        plan=plan,
        payload=pretty(payload),
        payload_json=json.dumps(payload),
        key=str(new_uuid()),
        may_send=may(request.user, OPERATE),
    )


def _wish(choice: Choice, payload: Mapping[str, Any]) -> Wish:
    """Raises `NotFound` for a row that is none of the connection's, or not any more."""
    assert choice.event is not None
    assert choice.connection is not None
    found = trying.example(choice.connection, choice.event, choice.row)
    if choice.row and found is None:
        raise NotFound(
            f"The connection {choice.connection_id!r} has no row {choice.row!r}.",
            hint="Change the values: they can be sent without it, or taken from another one.",
        )
    row = found.row if found is not None else None
    return Wish(choice.connection, choice.event, payload, choice.record_id, row)


# -- it is sent -----------------------------------------------------------------------------------


@_seeing("POST")
def send(model_admin: XkitAdmin, request: HttpRequest) -> HttpResponse:
    """Step 4: send it, once, however often the page is sent; its answer has an address of its
    own."""
    if not may(request.user, OPERATE):
        raise PermissionDenied
    choice = chosen(request.POST)
    if choice.connection is None or choice.event is None:
        return _choose(model_admin, request, required(choice))
    payload = _payload(request.POST.get("payload", ""))
    if (key := _key(request)) is None:
        return _checked(model_admin, request, choice, payload)
    try:
        invocation, is_again = trying.send(_wish(choice, payload), key=key)
    except XkitError as error:
        return _checked(model_admin, request, choice, payload, error=error)
    if not is_again:
        told = f"Tried {choice.event_key} in {choice.connection_id}."
        model_admin.log_addition(request, invocation, told)
    page = reverse("admin:xkit_crm_invocation_try_answer", args=[invocation.pk])
    return HttpResponseRedirect(page)


def _key(request: HttpRequest) -> str | None:
    """What makes one sending of the page and the next the same; None where the form has none."""
    try:
        return f"try:{request.user.pk}:{UUID(request.POST.get('key', ''))}"
    except ValueError:
        return None


@_seeing("GET")
def answer(model_admin: XkitAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """What came of it; asked again while it is under way."""
    rows = Invocation.objects.select_related("connection__lane", "event__crm_object")
    found = trying.answer(get_object_or_404(rows, pk=pk))
    context: dict[str, Any] = {
        "answer": found,
        "attempts": [(attempt, pretty(attempt.sent)) for attempt in found.attempts],
        "badge": badge(found.invocation.status),
    }
    if request.headers.get("HX-Request"):
        return TemplateResponse(request, f"{_TEMPLATES}/_answer.html", context)
    return _page(model_admin, request, "answer", **context)


# -- drawing --------------------------------------------------------------------------------------


def _page(model_admin: XkitAdmin, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
    return model_admin.console_page(
        request, f"{_TEMPLATES}/{name}.html", title=_("Try an event"), **context
    )


def _payload(text: str) -> dict[str, Any]:
    """The payload that a form carries; what was tampered with is none."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}
