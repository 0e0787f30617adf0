"""Confirming: look at it on real data, see what changes, and put it in force."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from xkit_crm import connections, mappings
from xkit_crm.crm_link import changes, previews, steps
from xkit_crm.crm_link.pages import Visit, is_partial, page
from xkit_crm.exceptions import MappingInvalid
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.sync import examples


@page
def preview(request: HttpRequest, visit: Visit, slug: str, event: str) -> HttpResponse:
    """What the event would send for a row of the product or a sample; and on a person's word, do
    it."""
    found = visit.event(slug, event)
    recent = examples.recent(found, visit.known)
    given = request.POST if request.method == "POST" else request.GET
    asked = previews.asked(given, found, visit.known, recent)
    shown = previews.show(visit.known, visit.provider, visit.document, found, asked)
    tried = None
    if request.POST.get("really") == "yes" and shown.can_try:
        tried = previews.carry_out(visit.known, visit.provider, found, asked, shown)
    return visit.render(
        "_preview" if is_partial(request) else "preview",
        crm_object=visit.crm_object(slug),
        event=found,
        remote=visit.document.get(slug, {}).get("remote_object", ""),
        asked=asked,
        values=previews.values(found, asked.payload),
        shown=shown,
        tried=tried,
        recent=recent,
    )


@page
def review(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What changes by confirming; and confirm it, as it was looked at."""
    draft = mappings.draft(visit.known)
    document = draft.document
    found = steps.overview(visit.provider, document, visit.session.objects)
    left = steps.left(found)
    moved = False
    if request.POST.get("discard"):
        mappings.drop_draft(visit.known)
        return visit.go("overview")
    if request.method == "POST" and not left:
        if request.POST.get("revision") == str(draft.revision):
            try:
                mappings.put_in_force(visit.known, document, author=visit.session.author)
            except MappingInvalid as error:
                # In an object that this page doesn't show.
                return visit.render("load_failed", problems=[str(one) for one in error.errors])
            connections.set_status(visit.known, ConnectionStatus.ENABLED)
            return visit.go("done")
        moved = True
    return visit.render(
        "review",
        steps=found,
        left=left,
        moved=moved,
        revision=draft.revision,
        differences=changes.differences(
            mappings.in_force(visit.known), document, changes.Labels(visit.provider)
        ),
    )


@page
@require_GET
def done(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Tell the page around that it is done."""
    message = {"type": "done", "connectionID": visit.known.pk}
    return visit.render("done", message_json=json.dumps(message))
