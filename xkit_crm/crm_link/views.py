"""The pages of CRM Link. Each reads who asks, calls the layer below, and shows what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate

from django.conf import settings as django_settings
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from xkit_crm import catalogue, connections, mappings, schema
from xkit_crm.conf import settings
from xkit_crm.crm_link import answers, previews, screens
from xkit_crm.crm_link.tokens import Session, open_session, seal, unseal
from xkit_crm.definitions import define
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    DefinitionInvalid,
    LinkTokenInvalid,
    Malformed,
    MappingInvalid,
    Problem,
    XkitError,
)
from xkit_crm.mapping import documents, picking
from xkit_crm.mapping.fitting import described
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Connection, MappingVersion
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RemoteField
from xkit_crm.providers.registry import offered, provider_class, provider_for

#: What a page may load and where it may be shown. Nothing comes from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {origins}"
)

Page = Callable[..., HttpResponse]


def _secured(response: HttpResponse) -> HttpResponse:
    origins = " ".join(["'self'", *settings.LINK_ORIGINS])
    response["Content-Security-Policy"] = _POLICY.format(origins=origins)
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def page(view: Callable[Concatenate[HttpRequest, Visit, ...], HttpResponse]) -> Page:
    """A page of a session: found and checked before the view is called, its troubles shown.

    The address itself is the credential, and no cookie is read, so nothing can be forged.
    """

    @csrf_exempt
    @xframe_options_exempt
    @wraps(view)
    def shown(request: HttpRequest, sealed: str, **named: Any) -> HttpResponse:
        visit = None
        try:
            session = unseal(sealed)
            visit = Visit(request, sealed, session, session.connection())
            response = view(request, visit, **named)
        except LinkTokenInvalid as error:
            response = _ended(request, error.message, error.hint, status=error.status)
            return _secured(_as_page(request, response))
        except CRMError as error:
            if visit is None:
                raise
            return _secured(_as_page(request, _trouble(visit, error)))
        return _secured(_as_page(request, response) if response.status_code == 303 else response)

    return shown


def _as_page(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Where a part of a page was asked for and another page has to be shown: have that loaded."""
    if not _is_partial(request):
        return response
    if response.status_code == 303:
        return HttpResponse(headers={"HX-Redirect": response["Location"]})
    if request.method == "GET":
        response["HX-Retarget"], response["HX-Reswap"] = "body", "innerHTML"
        return response
    # The page itself says the same when it is loaded again.
    return HttpResponse(headers={"HX-Refresh": "true"})


class Visit:
    """One request of a session: the connection it is about, and how to answer it."""

    def __init__(
        self, request: HttpRequest, sealed: str, session: Session, connection: Connection | None
    ) -> None:
        self.request = request
        self.sealed = sealed
        self.session = session
        self.connection = connection
        self._provider: Provider | None = None

    def url(self, name: str, **named: Any) -> str:
        return reverse(f"xkit_crm_link:{name}", kwargs={"sealed": self.sealed, **named})

    def go(self, name: str, **named: Any) -> HttpResponse:
        return HttpResponseRedirect(self.url(name, **named), status=303)

    def render(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        return render(
            self.request,
            f"xkit_crm/link/{template}.html",
            {
                "visit": self,
                "sealed": self.sealed,
                "connection": self.connection,
                "origin": self.session.origin,
                "product": settings.LINK_NAME,
                **context,
            },
            status=status,
        )

    @property
    def provider(self) -> Provider:
        if self._provider is None:
            self._provider = provider_for(self.known)
        return self._provider

    @property
    def known(self) -> Connection:
        if self.connection is None:
            raise Http404("This connection is not there yet.")
        return self.connection

    @property
    def crm(self) -> str:
        """What the customer's CRM is called."""
        return provider_class(self.known.provider).label

    @property
    def document(self) -> dict[str, Any]:
        """What is decided so far."""
        found: dict[str, Any] = mappings.draft(self.known).document
        return found

    def crm_object(self, slug: str) -> catalogue.Object:
        if slug not in mappings.definitions(self.session.objects):
            raise Http404(slug)
        return catalogue.objects()[slug]

    def event(self, slug: str, event: str) -> catalogue.Event:
        found = self.crm_object(slug).events.get(event)
        if found is None:
            raise Http404(event)
        return found

    def decide(self, slug: str, **parts: Any) -> None:
        """Change what is decided of one CRM object, in the draft."""
        document = self.document
        given = {**document.get(slug, {}), **parts}
        mappings.write_draft(self.known, {**document, slug: given})


# -- coming in ------------------------------------------------------------------------------------


@csrf_exempt
@xframe_options_exempt
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Where `linkCRM()` comes in: a token for a session, or the reason why not.

    Fields: `token`, `origin`, and `connectionID`, `objects` (JSON) and `preselectCRMSlug`, which
    may be left out.
    """
    origin = request.POST.get("origin", "")
    if not _is_allowed(request, origin):
        return _secured(
            _ended(
                request,
                f"Pages of {origin or 'an unknown origin'} may not open CRM Link.",
                'Add the origin to XKIT_CRM["LINK_ORIGINS"].',
                status=403,
            )
        )
    try:
        session = open_session(
            request.POST.get("token", ""),
            origin=origin,
            connection_id=request.POST.get("connectionID") or None,
            objects=_objects(request.POST.get("objects", "")),
            preselect=request.POST.get("preselectCRMSlug", ""),
        )
    except XkitError as error:
        return _secured(_refused(request, error, origin))
    return _secured(
        HttpResponseRedirect(
            reverse("xkit_crm_link:overview", kwargs={"sealed": seal(session)}), status=303
        )
    )


def _is_allowed(request: HttpRequest, origin: str) -> bool:
    own = f"{request.scheme}://{request.get_host()}"
    return origin == own or origin in settings.LINK_ORIGINS


def _objects(text: str) -> tuple[str, ...] | None:
    """The CRM objects that the page shows. Raises `DefinitionInvalid` where they aren't defined."""
    if not text:
        return None
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Malformed("`objects` is not JSON.", hint="Pass a plain object.") from error
    if problems := schema.check_objects(given):
        raise DefinitionInvalid(
            "The objects passed to linkCRM() have mistakes.",
            hint="Correct them all.",
            errors=problems,
        )
    defines = settings.LINK_DEFINES
    if django_settings.DEBUG if defines is None else defines:
        define(given)
    known = catalogue.objects()
    unknown = [
        Problem(path, "is not defined")
        for slug, found in given.items()
        for path in (
            [slug]
            if slug not in known
            else [
                f"{slug}.events.{event}"
                for event in found.get("events", {})
                if event not in known[slug].events
            ]
        )
    ]
    if unknown:
        raise DefinitionInvalid(
            "The objects passed to linkCRM() are not all defined here.",
            hint='Load them with manage.py xkit_load, or set XKIT_CRM["LINK_DEFINES"].',
            errors=unknown,
        )
    return tuple(given)


def _refused(request: HttpRequest, error: XkitError, origin: str) -> HttpResponse:
    """Tell the developer everything in the rejected promise, and the customer whom to ask."""
    message = {
        "type": "error",
        "code": error.code,
        "message": f"{error.message} {error.hint}".strip(),
        "errors": [{"path": p.path, "error": p.error} for p in error.errors],
    }
    return _ended(
        request,
        _("This page can't be opened."),
        _("Please ask the vendor of this product for help."),
        message_json=json.dumps(message),
        origin=origin,
        status=error.status,
    )


def _ended(
    request: HttpRequest, title: str, text: str, *, status: int, **context: Any
) -> HttpResponse:
    return render(
        request,
        "xkit_crm/link/ended.html",
        {"title": title, "text": text, "product": settings.LINK_NAME, **context},
        status=status,
    )


def _trouble(visit: Visit, error: CRMError) -> HttpResponse:
    """The CRM gives no answer: say so, and let them try again or connect anew."""
    if isinstance(error, CRMUnauthorized):
        connections.set_status(visit.known, ConnectionStatus.ERRORED, error.message)
        return visit.go("crms")
    return visit.render(
        "trouble", text=screens.crm_trouble(error), detail=error.message, status=200
    )


# -- connecting -----------------------------------------------------------------------------------


@page
def crms(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Choose the CRM; skipped where the product has chosen it or there is only one."""
    found = {slug: provider_class(slug).label for slug in offered()}
    preselected = visit.session.preselect
    if preselected in found or len(found) == 1:
        only = preselected if preselected in found else next(iter(found))
        return visit.go("authorise", provider=only)
    return visit.render("crms", crms=sorted(found.items(), key=lambda one: one[1].casefold()))


@page
def authorise(request: HttpRequest, visit: Visit, provider: str) -> HttpResponse:
    """Ask for what the CRM needs to let us in."""
    if provider not in offered():
        raise Http404(provider)
    crm = provider_class(provider)
    error: XkitError | None = None
    asked = crm.credential_fields
    given = {field.name: request.POST.get(field.name, "").strip() for field in asked}
    lacking = [f.name for f in asked if f.required and not given[f.name]]
    if request.method == "POST" and not lacking:
        before = visit.connection.provider if visit.connection else provider
        try:
            connection = connections.authorise(
                visit.session.connection_id,
                provider=provider,
                context=visit.session.context,
                credentials={name: value for name, value in given.items() if value},
            )
        except XkitError as raised:
            error = raised
        else:
            if before != provider:
                mappings.begin_anew(connection)
            return visit.go("overview")
    return visit.render(
        "authorise",
        crm=crm.label,
        fields=asked,
        lacking=lacking if request.method == "POST" else [],
        error=error,
        several=len(offered()) > 1 and not visit.session.preselect,
    )


@page
@require_POST
def disconnect(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Forget the credentials; what is mapped stays for when they come back."""
    connections.disconnect(visit.known, _("Disconnected by the customer."))
    return visit.go("overview")


@page
@require_POST
def refresh(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Ask the CRM anew for its objects and fields."""
    descriptions.forget(visit.provider)
    return visit.go("overview")


# -- deciding -------------------------------------------------------------------------------------


@page
@require_GET
def overview(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What is done, and what is missing. Read in a second request, since the CRM may be slow."""
    connection = visit.connection
    if connection is None or connection.status in (
        ConnectionStatus.ERRORED,
        ConnectionStatus.DISABLED,
    ):
        if connection is not None and connection.status == ConnectionStatus.DISABLED:
            return visit.render("disconnected")
        return visit.go("crms")
    return visit.render("overview")


@page
@require_GET
def steps(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The overview's list."""
    if not _is_partial(request):
        return visit.go("overview")
    document = visit.document
    found = screens.overview(visit.provider, document, visit.session.objects)
    return visit.render(
        "_steps",
        steps=found,
        left=screens.left(found),
        changed=bool(documents.differences(mappings.in_force(visit.known), document)),
    )


@page
def choose_object(request: HttpRequest, visit: Visit, slug: str) -> HttpResponse:
    """Which of the customer's objects it is, or none."""
    crm_object = visit.crm_object(slug)
    document = visit.document
    found = descriptions.objects(visit.provider)
    given = document.get(slug, {})
    if request.method == "POST":
        chosen = request.POST.get("remote_object", "")
        if chosen == answers.IGNORED:
            visit.decide(slug, remote_object="")
            return visit.go("overview")
        if chosen not in {remote.name for remote in found}:
            raise Http404(chosen)
        if chosen != given.get("remote_object"):
            # Another object has other fields: begin with what is proposed for it.
            fresh = mappings.with_proposals(
                visit.provider, {**document, slug: {"remote_object": chosen}}
            )
            mappings.write_draft(visit.known, {**document, slug: fresh[slug]})
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
    if request.method == "POST":
        read = answers.fields(request.POST, crm_object.fields)
        _refuse_unknown(read, given.get("fields", {}), fields)
        visit.decide(slug, fields=read)
        given = {**given, "fields": read}
    step = next(
        s for s in screens.overview(visit.provider, visit.document, [slug]) if s.slug == slug
    )
    context = {
        "crm_object": crm_object,
        "remote": remote,
        "step": step,
        "reads": screens.reads(crm_object, given.get("fields", {}), fields),
    }
    return visit.render("_reads" if _is_partial(request) else "object", **context)


def _refuse_unknown(
    read: Mapping[str, Any], before: Mapping[str, Any], fields: Mapping[str, RemoteField]
) -> None:
    def names(feeds: Mapping[str, Any]) -> set[str]:
        return {
            name
            for feed in feeds.values()
            for name in (feed.values() if isinstance(feed, Mapping) else [feed])
            if name
        }

    for name in names(read) - names(before):
        if name not in fields or not fields[name].readable:
            raise Http404(name)


@page
def show_event(request: HttpRequest, visit: Visit, slug: str, event: str) -> HttpResponse:
    """What one event does: which action, and what is written to which field."""
    found = visit.event(slug, event)
    document = visit.document
    given = document.get(slug, {})
    if not given.get("remote_object"):
        return visit.go("choose_object", slug=slug)
    refused: list[Problem] = []
    if request.method == "POST":
        changed = _answered(visit, found, given, request)
        refused = mappings.refusals(visit.provider, document, changed, found)
        if not refused:
            mappings.write_draft(visit.known, changed)
            document = changed
    workflows = descriptions.workflows(visit.provider)
    context = _event_context(visit, found, document)
    return visit.render(
        "_event_form" if _is_partial(request) else "event",
        **context,
        refused=[screens.problem_text(p, found) for p in refused],
        actions=screens.actions(found, has_workflows=bool(workflows)),
        workflows=workflows,
        saved=request.method == "POST" and not refused,
    )


def _answered(
    visit: Visit, event: catalogue.Event, given: Mapping[str, Any], request: HttpRequest
) -> dict[str, Any]:
    """The document with what was filled in; another action begins with what is proposed."""
    before = given.get("events", {}).get(event.slug, {})
    action = answers.action(request.POST)
    if _writes_to(action) != _writes_to(before):
        action["transformations"] = []  # they named what the other one has
    if action["action"] != before.get("action") and not action["transformations"]:
        without = {n: e for n, e in given.get("events", {}).items() if n != event.slug}
        proposed = mappings.with_proposals(
            visit.provider, {event.crm_object: {**given, "events": without}}
        )[event.crm_object]["events"].get(event.slug, {})
        if proposed.get("action") == action["action"]:
            action = proposed
    if action["action"] == ActionType.WORKFLOW and not action["workflow"]:
        known = descriptions.workflows(visit.provider)
        action["workflow"] = known[0].name if known else ""
    action["transformations"] += _taken_over(visit, event, given, action, request)
    events = {**given.get("events", {}), event.slug: action}
    return {**visit.document, event.crm_object: {**given, "events": events}}


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
    found = screens.offer(event, now, key, fields)
    return [found] if found else []


def _writes_to(action: Mapping[str, Any]) -> str:
    """The workflow whose inputs an action fills; empty where it fills a record's fields."""
    is_workflow = action.get("action") == ActionType.WORKFLOW
    return str(action.get("workflow") or "workflow") if is_workflow else ""


def _event_context(
    visit: Visit, event: catalogue.Event, document: Mapping[str, Any]
) -> dict[str, Any]:
    given = document.get(event.crm_object, {})
    action = given.get("events", {}).get(event.slug, {})
    state = mappings.event_state(visit.provider, document, event)
    fields = mappings.targets(visit.provider, document, event)
    rows = screens.rows(event, action, fields, (*state.missing, *state.undecided))
    for row in rows:
        if row.own_key and not row.field_name:
            found = screens.offer(event, given, row.own_key, fields)
            row.offer = fields[found["field"]] if found else None
    return {
        "crm_object": visit.crm_object(event.crm_object),
        "event": event,
        "action": action,
        "remote": given.get("remote_object", ""),
        "rows": rows,
        "new_row": str(len(rows)),
        "left_count": len(state.missing) + len(state.undecided),
        "keys": screens.keys(event),
        "state": state,
        "others": [
            screens.problem_text(p, event)
            for p in state.missing
            if not p.path.startswith("transformations.")
        ],
    }


def _is_partial(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true" and "HX-Boosted" not in request.headers


@page
@require_GET
def pick(request: HttpRequest, visit: Visit, slug: str, event: str = "") -> HttpResponse:
    """The options of a field picker for what was typed, for a payload key or a field to read."""
    if not _is_partial(request):
        return visit.go("event", slug=slug, event=event) if event else visit.go("object", slug=slug)
    crm_object = visit.crm_object(slug)
    document = visit.document
    given = document.get(slug, {})
    key = request.GET.get("key", "")
    if event:
        found = visit.event(slug, event)
        fields = mappings.targets(visit.provider, document, found)
        action = given.get("events", {}).get(event, {})
        operation = action.get("action", str(found.type))
        description = described(found.payload_schema, key) if key else None
        rows = action.get("transformations", ())
        # A fixed value gives way; a value of the product doesn't.
        taken = [row["field"] for row in rows if not key or row.get("key", key) != key]
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
        picked=screens.pick(options, request.GET.get("q", "")),
        row=request.GET.get("row", ""),
    )


# -- looking ahead --------------------------------------------------------------------------------


@page
def preview(request: HttpRequest, visit: Visit, slug: str, event: str) -> HttpResponse:
    """What the event would send for a row of the product or a sample; and on a person's word, do
    it."""
    found = visit.event(slug, event)
    asked = previews.asked(
        request.POST if request.method == "POST" else request.GET, found, visit.known
    )
    really = request.method == "POST" and request.POST.get("really") == "yes"
    shown = previews.show(visit.known, visit.provider, visit.document, found, asked)
    tried = (
        previews.carry_out(visit.known, visit.provider, visit.document, found, asked)
        if really
        else None
    )
    return visit.render(
        "_preview" if _is_partial(request) else "preview",
        crm_object=visit.crm_object(slug),
        event=found,
        asked=asked,
        shown=shown,
        tried=tried,
        recent=previews.recent(found, visit.known),
    )


@page
def review(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What changes by confirming; and confirm it, as it was looked at."""
    draft = mappings.draft(visit.known)
    document = draft.document
    found = screens.overview(visit.provider, document, visit.session.objects)
    left = screens.left(found)
    moved = False
    if request.POST.get("discard"):
        mappings.drop_draft(visit.known)
        return visit.go("overview")
    if request.method == "POST" and not left:
        if request.POST.get("revision") == str(draft.revision):
            mappings.put_in_force(visit.known, document, author=visit.session.author)
            connections.set_status(visit.known, ConnectionStatus.ENABLED)
            return visit.go("done")
        moved = True
    return visit.render(
        "review",
        steps=found,
        left=left,
        moved=moved,
        revision=draft.revision,
        differences=screens.differences(mappings.in_force(visit.known), document),
    )


@page
@require_GET
def done(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Tell the page around that it is done."""
    message = {"type": "done", "connectionID": visit.known.pk}
    return visit.render("done", message_json=json.dumps(message))


# -- versions -------------------------------------------------------------------------------------


@page
@require_GET
def versions(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Every mapping that was in force: who, when, what changed."""
    found = list(MappingVersion.objects.filter(connection=visit.known)[:50])
    before = [*found[1:], None][: len(found)]
    return visit.render(
        "versions",
        versions=[
            (version, screens.differences(older.document if older else {}, version.document))
            for version, older in zip(found, before, strict=True)
        ],
    )


@page
@require_POST
def restore(request: HttpRequest, visit: Visit, number: int) -> HttpResponse:
    """Begin with an earlier version; nothing changes before it is confirmed."""
    version = MappingVersion.objects.filter(connection=visit.known, number=number).first()
    if version is None:
        raise Http404(str(number))
    try:
        mappings.write_draft(visit.known, version.document)
    except MappingInvalid as error:
        # The product has dropped or renamed what it speaks of.
        return visit.render("load_failed", problems=[str(problem) for problem in error.errors])
    return visit.go("review")


@page
@require_GET
def export(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The mapping as a file, to be used for another connection."""
    response = JsonResponse(visit.document, json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = 'attachment; filename="mapping.json"'
    return response


@page
@require_POST
def load(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Begin with the mapping of a file; nothing changes before it is confirmed."""
    file = request.FILES.get("file")
    problems: list[str] = []
    try:
        given = json.loads(file.read(settings.MAX_BODY_BYTES)) if file else {}
        mappings.write_draft(visit.known, {**visit.document, **given})
    except MappingInvalid as error:
        problems = [str(problem) for problem in error.errors]
    except (ValueError, TypeError):
        problems = [_("This file is no mapping.")]
    if problems:
        return visit.render("load_failed", problems=problems[:50])
    return visit.go("review")
