"""Deciding: which object, which fields, what each event does. Every answer is kept as a draft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from xkit_crm import catalogue, mappings
from xkit_crm.crm_link import answers, rows, steps, wording
from xkit_crm.crm_link.pages import Visit, is_partial, page
from xkit_crm.exceptions import Problem
from xkit_crm.mapping import documents, picking, resolving
from xkit_crm.mapping.fitting import described
from xkit_crm.mapping.reconsidering import target
from xkit_crm.mapping.transformations import parse_object_map
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import RemoteField


@page
@require_GET
def overview(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What is done, and what is missing. Read in a second request, since the CRM may be slow."""
    connection = visit.connection
    if connection is None or connection.status == ConnectionStatus.ERRORED:
        return visit.go("crms")
    is_off = connection.status == ConnectionStatus.DISABLED
    return visit.render("disconnected" if is_off else "overview")


@page
@require_GET
def show_steps(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The overview's list."""
    if not is_partial(request):
        return visit.go("overview")
    found = steps.overview(visit.provider, visit.document, visit.session.objects)
    return visit.render(
        "_steps",
        steps=found,
        left_count=sum(len(step.problems) for step in steps.left(found)),
        changed=bool(documents.differences(mappings.in_force(visit.known), visit.document)),
    )


@page
def choose_object(request: HttpRequest, visit: Visit, slug: str) -> HttpResponse:
    """Which of the customer's objects it is, or none."""
    crm_object = visit.crm_object(slug)
    found = descriptions.objects(visit.provider)
    given = visit.document.get(slug, {})
    if request.method == "POST":
        chosen = request.POST.get("remote_object", "")
        if chosen == answers.IGNORED:
            mappings.choose_object(visit.known, visit.provider, slug, "")
            return visit.go("overview")
        if chosen not in {remote.name for remote in found}:
            raise Http404(chosen)
        mappings.choose_object(visit.known, visit.provider, slug, chosen)
        return visit.go("object", slug=slug)
    return visit.render(
        "choose_object",
        crm_object=crm_object,
        chosen=given.get("remote_object"),
        objects=picking.objects_by_likeness(slug, crm_object.label, found),
    )


@page
def show_object(request: HttpRequest, visit: Visit, slug: str) -> HttpResponse:
    """The fields that the product reads, and the object's events."""
    crm_object = visit.crm_object(slug)
    given = visit.document.get(slug, {})
    remote = given.get("remote_object")
    if not remote:
        return visit.go("choose_object", slug=slug)
    fields = descriptions.fields(visit.provider, remote)
    moved = visit.is_overtaken(_seen(given))
    if request.method == "POST" and not moved:
        read = answers.fields(request.POST, crm_object.fields)
        _refuse_unknown(read, given.get("fields", {}), fields)
        visit.decide(slug, fields=read)
        given = {**given, "fields": read}
    answer = visit.render(
        "_reads" if is_partial(request) else "object",
        crm_object=crm_object,
        remote=remote,
        step=steps.object_step(visit.provider, visit.document, crm_object),
        reads=rows.reads(
            crm_object,
            given.get("fields", {}),
            fields,
            answers.begun(request.POST, crm_object.fields),
        ),
        seen=documents.fingerprint(_seen(given)),
        moved=moved,
    )
    return _as_a_whole(answer, "#reads") if moved else answer


def _refuse_unknown(
    read: Mapping[str, Any], before: Mapping[str, Any], fields: Mapping[str, RemoteField]
) -> None:
    def names(feeds: Mapping[str, Any]) -> set[str]:
        return set(resolving.remote_fields(parse_object_map({"fields": feeds})))

    for name in names(read) - names(before):
        if name not in fields or not fields[name].readable:
            raise Http404(name)


@page
def show_event(request: HttpRequest, visit: Visit, slug: str, event: str) -> HttpResponse:
    """What one event does: which action, and what is written to which field."""
    found = visit.event(slug, event)
    given = visit.document.get(slug, {})
    if not given.get("remote_object"):
        return visit.go("choose_object", slug=slug)
    refused: list[Problem] = []
    moved = visit.is_overtaken(_seen(given, event))
    if request.method == "POST" and not moved:
        answer = answers.action(request.POST)
        begun, aside = mappings.choose_action(
            visit.provider, visit.draft, found, answer["action"], answer["workflow"]
        )
        changed = _answered(visit, found, begun, answer, request)
        refused = mappings.refusals(visit.provider, begun, changed, found)
        if not refused:
            visit.write(changed, aside=aside)
    workflows = descriptions.workflows(visit.provider)
    shown = visit.render(
        "_event_form" if is_partial(request) else "event",
        **_event_context(visit, found),
        refused=[wording.problem_text(p, found) for p in refused],
        actions=wording.actions(found, has_workflows=bool(workflows)),
        workflows=workflows,
        saved=request.method == "POST" and not refused and not moved,
        seen=documents.fingerprint(_seen(visit.document[slug], event)),
        moved=moved,
    )
    return _as_a_whole(shown, "#event-form") if moved else shown


def _seen(given: Mapping[str, Any], event: str = "") -> list[Any]:
    """What a form of a CRM object shows of its part of the document."""
    shown = given.get("events", {}).get(event) if event else given.get("fields")
    return [given.get("remote_object"), shown]


def _as_a_whole(response: HttpResponse, form: str) -> HttpResponse:
    """Have all of the form replaced and shown, whichever part of it was asked for."""
    response["HX-Retarget"] = response["HX-Reselect"] = form
    response["HX-Reswap"] = "outerHTML show:top"
    return response


def _answered(
    visit: Visit,
    event: catalogue.Event,
    begun: mappings.Document,
    answer: Mapping[str, Any],
    request: HttpRequest,
) -> mappings.Document:
    """The document with what was filled in. What was chosen is begun already; where the form had
    no rows for it yet, they are those that it begins with."""
    given = begun[event.crm_object]
    before = visit.document[event.crm_object].get("events", {}).get(event.slug, {})
    action = given["events"][event.slug]
    is_same = action["action"] == before.get("action")
    writes_to_same = target(given, action) == target(given, before)
    if writes_to_same and (is_same or answers.has_rows(request.POST)):
        action = {**action, **{name: answer[name] for name in ("transformations", "ignored")}}
    taken = _taken_over(visit, event, given, action, request)
    action = {**action, "transformations": [*action["transformations"], *taken]}
    events = {**given["events"], event.slug: action}
    return {**begun, event.crm_object: {**given, "events": events}}


def _taken_over(
    visit: Visit,
    event: catalogue.Event,
    given: Mapping[str, Any],
    action: Mapping[str, Any],
    request: HttpRequest,
) -> list[dict[str, Any]]:
    """What is sent here as it is elsewhere, on a person's word."""
    key = request.POST.get("take-over", "")
    if not key:
        return []
    now = {**given, "events": {**given.get("events", {}), event.slug: action}}
    fields = descriptions.fields(visit.provider, given.get("remote_object", ""))
    found = rows.offer(event, now, key, fields)
    return [found] if found else []


def _event_context(visit: Visit, event: catalogue.Event) -> dict[str, Any]:
    document = visit.document
    given = document.get(event.crm_object, {})
    action = given.get("events", {}).get(event.slug, {})
    state = mappings.event_state(visit.provider, document, event)
    fields = mappings.targets(visit.provider, document, event)
    shown = rows.rows(event, action, fields, (*state.missing, *state.undecided))
    for row in shown:
        if row.own_key and not row.field_name:
            found = rows.offer(event, given, row.own_key, fields)
            row.offer = fields[found["field"]] if found else None
    return {
        "crm_object": visit.crm_object(event.crm_object),
        "event": event,
        "action": action,
        "remote": given.get("remote_object", ""),
        "rows": shown,
        "new_row": str(len(shown)),
        "left_count": len(state.missing) + len(state.undecided),
        "keys": wording.keys(event),
        "state": state,
        "others": [
            wording.problem_text(p, event)
            for p in state.missing
            if not p.path.startswith("transformations.")
        ],
    }


@page
@require_GET
def pick(request: HttpRequest, visit: Visit, slug: str, event: str = "") -> HttpResponse:
    """The options of a field picker for what was typed, for a payload key or a field to read."""
    if not is_partial(request):
        return visit.go("event", slug=slug, event=event) if event else visit.go("object", slug=slug)
    crm_object = visit.crm_object(slug)
    given = visit.document.get(slug, {})
    key = request.GET.get("key", "")
    if event:
        found = visit.event(slug, event)
        fields = mappings.targets(visit.provider, visit.document, found)
        action = given.get("events", {}).get(event, {})
        operation = action.get("action", str(found.type))
        description = described(found.payload_schema, key) if key else None
        written = action.get("transformations", ())
        # A fixed value gives way; a value of the product doesn't.
        taken = [row["field"] for row in written if not key or row.get("key", key) != key]
    else:
        fields = descriptions.fields(visit.provider, given.get("remote_object", ""))
        operation, taken = "read", []
        description = crm_object.fields.get(key)
        if description and description.get("type") == "object":
            description = None
    if operation not in ("create", "update", "search", "read"):
        operation = "update"
    options = picking.options(
        fields.values(),
        operation,
        key=key,
        description=description,
        taken=taken,
        own=(slug, crm_object.label),
    )
    return visit.render(
        "_options",
        picked=rows.pick(options, request.GET.get("q", "")),
        row=request.GET.get("row", ""),
    )
