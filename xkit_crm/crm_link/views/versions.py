"""Versions: what was in force before, and mappings that come and go as files."""

from __future__ import annotations

import json

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from xkit_crm import mappings
from xkit_crm.conf import settings
from xkit_crm.crm_link import changes
from xkit_crm.crm_link.pages import Visit, page
from xkit_crm.exceptions import MappingInvalid
from xkit_crm.models import MappingVersion


@page
@require_GET
def show_versions(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Every mapping that was in force: who, when, what changed."""
    found = list(MappingVersion.objects.filter(connection=visit.known)[:50])
    labels = changes.Labels(visit.provider)
    before = [*found[1:], None][: len(found)]
    now = mappings.in_force(visit.known)
    return visit.render(
        "versions",
        versions=[
            (
                version,
                version.document == now,
                changes.differences(older.document if older else {}, version.document, labels),
            )
            for version, older in zip(found, before, strict=True)
        ],
    )


@page
@require_POST
def restore(request: HttpRequest, visit: Visit, number: int) -> HttpResponse:
    """Begin with an earlier version; nothing that is in use changes before it is confirmed."""
    version = MappingVersion.objects.filter(connection=visit.known, number=number).first()
    if version is None:
        raise Http404(str(number))
    try:
        return _begin_with(visit, version.document)
    except MappingInvalid as error:
        # The product has dropped or renamed what it speaks of.
        return visit.render("load_failed", problems=[str(problem) for problem in error.errors])


def _begin_with(visit: Visit, document: mappings.Document, **fields: str) -> HttpResponse:
    """Make a document the draft; asks first where another one would be lost, and gets these fields
    again then. Raises `MappingInvalid`."""
    mappings.require_valid(document)
    if visit.request.POST.get("sure") != "yes" and mappings.is_unfinished(visit.known):
        return visit.render("sure", fields=fields)
    visit.write(document, aside={})
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
    """Begin with the mapping of a file; nothing that is in use changes before it is confirmed."""
    file = request.FILES.get("file")
    try:
        text = file.read(settings.MAX_BODY_BYTES) if file else request.POST.get("text", "{}")
        given = json.loads(text)
        return _begin_with(visit, {**visit.document, **given}, text=json.dumps(given))
    except MappingInvalid as error:
        problems = [str(problem) for problem in error.errors]
    except (ValueError, TypeError):
        problems = [_("This file is no mapping.")]
    return visit.render("load_failed", problems=problems[:50])
