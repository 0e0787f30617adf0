"""Connecting: choose the CRM, let us in, and out again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from xkit_crm import connections, mappings
from xkit_crm.crm_link import wording
from xkit_crm.crm_link.pages import Visit, page
from xkit_crm.crm_link.signing_in import packed, signs_in
from xkit_crm.crm_link.tokens import Session
from xkit_crm.exceptions import AddressRefused, ConfigurationError, CRMUnauthorized, XkitError
from xkit_crm.providers import descriptions
from xkit_crm.providers.registry import offered, provider_class

logger = logging.getLogger(__name__)


@page
def crms(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Choose the CRM; skipped where the product has chosen it or there is only one."""
    found = {slug: provider_class(slug).label for slug in offered()}
    preselected = visit.session.preselect
    if preselected in found or len(found) == 1:
        only = preselected if preselected in found else next(iter(found))
        return visit.go("authorise", provider=only)
    return visit.render("crms", crms=list(found.items()))


@page
def authorise(request: HttpRequest, visit: Visit, provider: str) -> HttpResponse:
    """Ask for what the CRM needs to let us in: what is typed in, or that they sign in there."""
    if provider not in offered():
        raise Http404(provider)
    crm, vendor = provider_class(provider), signs_in(provider)
    before = vendor.sign_in_fields if vendor else ()
    going = vendor is not None and "sign_in" in request.POST
    asked = before if going else crm.credential_fields
    given = {field.name: request.POST.get(field.name, "").strip() for field in asked}
    lacking = [f.name for f in asked if f.required and not given[f.name]]
    typed = {name: value for name, value in given.items() if value}
    is_whole, error, wrong = request.method == "POST" and not lacking, "", []
    if is_whole and not going:
        try:
            let_in(visit.session, provider, typed)
        except XkitError as raised:
            log_trouble(raised)
            error = wording.connect_trouble(raised, typed)
            if isinstance(raised, CRMUnauthorized):
                wrong = [f.name for f in asked if f.secret]
        else:
            return visit.go("overview")
    ready = vendor is not None and (is_whole if before else True)
    return visit.render(
        "authorise",
        crm=crm.label,
        provider=provider,
        fields=crm.credential_fields,
        is_asked=bool(crm.credential_fields) or vendor is None,
        sign_in_fields=before,
        signs_in=vendor is not None,
        leave_url=_leave_url(visit, provider, typed if going else {}) if ready else "",
        since=timezone.now().isoformat(),
        given=given,
        wrong=wrong or (lacking if request.method == "POST" else []),
        error=error,
        several=len(offered()) > 1 and not visit.session.preselect,
    )


def _leave_url(visit: Visit, provider: str, given: Mapping[str, str]) -> str:
    """The address that opens in a new window."""
    url = visit.url("leave", provider=provider)
    return f"{url}?{urlencode({'with': packed(given)})}" if given else url


def let_in(session: Session, provider: str, credentials: Mapping[str, Any]) -> None:
    """Connect with these credentials; raises `XkitError` where that can't be."""
    known = session.connection()
    connection = connections.authorise(
        session.connection_id,
        provider=provider,
        context=session.context,
        credentials=credentials,
    )
    if known is not None and known.provider != provider:
        mappings.begin_anew(connection)


def log_trouble(error: XkitError) -> None:
    """Tell the operator what only they can mend: the customer is told no more than that."""
    if isinstance(error, ConfigurationError) and not isinstance(error, AddressRefused):
        logger.error("A customer can't connect their CRM: %s", error)


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
    descriptions.forget(visit.known)
    return visit.go("overview")
