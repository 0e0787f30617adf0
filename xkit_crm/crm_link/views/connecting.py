"""Connecting: choose the CRM, let us in, and out again."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from xkit_crm import connections, mappings
from xkit_crm.crm_link.pages import Visit, page
from xkit_crm.exceptions import XkitError
from xkit_crm.providers import descriptions
from xkit_crm.providers.registry import offered, provider_class


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
