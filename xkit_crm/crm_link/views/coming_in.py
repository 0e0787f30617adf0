"""Coming in: `linkCRM()` posts a token, and gets a session or the reason why not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from xkit_crm import catalogue, connections, schema
from xkit_crm.conf import settings
from xkit_crm.crm_link.pages import embedded, ended
from xkit_crm.crm_link.tokens import Session, open_session, seal
from xkit_crm.definitions import add
from xkit_crm.exceptions import DefinitionInvalid, Malformed, Problem, XkitError
from xkit_crm.models.definition_version import changed_by
from xkit_crm.providers.registry import offered

logger = logging.getLogger(__name__)


@embedded
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Where `linkCRM()` comes in: a token for a session, or the reason why not.

    Fields: `token`, `origin`, and `connectionID`, `objects` (JSON) and `preselectCRMSlug`, which
    may be left out.
    """
    origin = request.POST.get("origin", "")
    if not _is_allowed(request, origin):
        return ended(
            request,
            f"Pages of {origin or 'an unknown origin'} may not open CRM Link.",
            'Add the origin to XKIT_CRM["LINK_ORIGINS"].',
            status=403,
        )
    try:
        session = open_session(
            request.POST.get("token", ""),
            origin=origin,
            connection_id=request.POST.get("connectionID") or None,
            preselect=request.POST.get("preselectCRMSlug", ""),
        )
        # After the token: who has none defines nothing.
        objects = _objects(request.POST.get("objects", ""), session.author)
        session = replace(session, objects=objects)
        _require_possible(session)
    except XkitError as error:
        return _refused(request, error, origin)
    overview = reverse("xkit_crm_link:overview", kwargs={"sealed": seal(session)})
    return HttpResponseRedirect(overview, status=303)


def _require_possible(session: Session) -> None:
    """Raise `Malformed` where no such connection could ever be made."""
    problems = connections.id_problems(session.connection_id, path="connectionID")
    if session.preselect and session.preselect not in offered():
        problems.append(Problem("preselectCRMSlug", f"is none of {', '.join(offered())}"))
    if problems:
        raise Malformed(
            "linkCRM() can't open this connection.", hint="Correct its options.", errors=problems
        )


def _is_allowed(request: HttpRequest, origin: str) -> bool:
    own = f"{request.scheme}://{request.get_host()}"
    return origin == own or origin in settings.LINK_ORIGINS


def _objects(text: str, author: str) -> tuple[str, ...] | None:
    """The CRM objects that the page shows. Raises `DefinitionInvalid` where they aren't defined."""
    if not text:
        return None
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Malformed("`objects` is not JSON.", hint="Pass a plain object.") from error
    problems = schema.check_objects(given)
    if given == {}:
        problems = [Problem("objects", "names no object: leave it out to show all of them")]
    if problems:
        raise DefinitionInvalid(
            "The objects passed to linkCRM() have mistakes.",
            hint="Correct them all.",
            errors=problems,
        )
    defines = settings.LINK_DEFINES
    if django_settings.DEBUG if defines is None else defines:
        with changed_by(author, "linkCRM()"):
            changes = add(given)
        for change in changes:
            logger.warning("linkCRM() changed a definition: %s", change)
    if unknown := list(_undefined(given)):
        raise DefinitionInvalid(
            "The objects passed to linkCRM() are not all defined here.",
            hint='Load them with manage.py xkit_load, or set XKIT_CRM["LINK_DEFINES"].',
            errors=unknown,
        )
    return tuple(given)


def _undefined(objects: Mapping[str, Any]) -> Iterator[Problem]:
    known = catalogue.objects()
    for slug, given in objects.items():
        if slug not in known:
            yield Problem(slug, "is not defined")
            continue
        for event in given.get("events", {}):
            if event not in known[slug].events:
                yield Problem(f"{slug}.events.{event}", "is not defined")


def _refused(request: HttpRequest, error: XkitError, origin: str) -> HttpResponse:
    """Tell the developer everything in the rejected promise, and the customer whom to ask."""
    message = {
        "type": "error",
        "code": error.code,
        "message": f"{error.message} {error.hint}".strip(),
        "errors": [{"path": p.path, "error": p.error} for p in error.errors],
    }
    return ended(
        request,
        _("This page can't be opened."),
        _("Please ask the vendor of this product for help."),
        message_json=json.dumps(message),
        origin=origin,
        status=error.status,
    )
