"""Signing in at the vendor's: away in a new window, and back."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from xkit_crm.conf import settings
from xkit_crm.crm_link import wording
from xkit_crm.crm_link.pages import Visit, embedded, page
from xkit_crm.crm_link.signing_in import PATIENCE, Leave, from_state, signs_in, unpacked
from xkit_crm.crm_link.tokens import unseal
from xkit_crm.crm_link.views.connecting import let_in, log_trouble
from xkit_crm.exceptions import ConfigurationError, XkitError
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers import oauth

#: What the vendor may send back beside the code that it is asked with again.
_BROUGHT_BACK = ("location", "accounts-server")


def _redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("xkit_crm_link:callback"))


@page
@require_safe
def leave(request: HttpRequest, visit: Visit, provider: str) -> HttpResponse:
    """Send the person to the vendor's page."""
    crm = signs_in(provider)
    # Only from our own page: who is sent here from elsewhere would let somebody else in.
    came_from = request.headers.get("Sec-Fetch-Site", "same-origin")
    if crm is None or came_from != "same-origin":
        raise Http404(provider)
    left = Leave(visit.sealed, provider, unpacked(request.GET.get("with", "")))
    try:
        url = oauth.sign_in_url(
            crm,
            left.given,
            redirect_uri=_redirect_uri(request),
            state=left.as_state(),
            verifier=left.verifier,
        )
    except XkitError as error:
        return _told(request, error, status=400)
    response = HttpResponseRedirect(url)
    response.set_cookie(
        left.cookie,
        left.nonce,
        max_age=PATIENCE,
        path=reverse("xkit_crm_link:callback"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return response


@embedded
@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """Where the vendor sends the person back to, with a code or a reason."""
    try:
        left = from_state(request.GET.get("state", ""), request.COOKIES)
        session = unseal(left.sealed)
        crm = signs_in(left.provider)
        if crm is None:
            raise Http404(left.provider)
        if "code" not in request.GET:
            return _refused(request, crm.label)
        brought = {name: request.GET[name] for name in _BROUGHT_BACK if name in request.GET}
        credentials = oauth.exchanged(
            crm,
            {**left.given, **brought},
            code=request.GET["code"],
            redirect_uri=_redirect_uri(request),
            verifier=left.verifier,
        )
        let_in(session, left.provider, credentials)
    except XkitError as error:
        return _told(request, error, status=_status(error))
    response = _page(request, title=_("You are signed in"), text=_("You can close this window."))
    response.delete_cookie(left.cookie, path=reverse("xkit_crm_link:callback"))
    return response


@page
@require_safe
def arrived(request: HttpRequest, visit: Visit, provider: str) -> HttpResponse:
    """Asked again and again by the page that waits: go on as soon as they are back."""
    since, connection = request.GET.get("since", ""), visit.connection
    is_new = (
        connection is not None
        and connection.provider == provider
        and connection.status in (ConnectionStatus.PENDING, ConnectionStatus.ENABLED)
        and connection.updated_at.isoformat() > since
    )
    return visit.go("overview") if is_new else HttpResponse(status=204)


def _refused(request: HttpRequest, label: str) -> HttpResponse:
    """They said no, or the vendor did."""
    said = request.GET.get("error_description") or request.GET.get("error", "")
    if said in ("", "access_denied"):
        text = _("You did not let us in. You can close this window and try again.")
    else:
        text = _("%(crm)s says: %(said)s") % {"crm": label, "said": said}
    return _page(request, title=_("Not connected"), text=text, status=400)


def _status(error: XkitError) -> int:
    """A site that is set up wrongly has not broken down."""
    return 400 if isinstance(error, ConfigurationError) else error.status


def _told(request: HttpRequest, error: XkitError, *, status: int) -> HttpResponse:
    log_trouble(error)
    text = wording.connect_trouble(error).strip()
    return _page(request, title=_("Not connected"), text=text, status=status)


def _page(request: HttpRequest, *, title: str, text: str, status: int = 200) -> HttpResponse:
    return render(
        request,
        "xkit_crm/link/signed_in.html",
        {"title": title, "text": text, "is_in": status == 200, "product": settings.LINK_NAME},
        status=status,
    )
