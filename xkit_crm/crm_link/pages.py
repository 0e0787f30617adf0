"""What every page of CRM Link shares: who may see it, what it may load, how it answers.

The address itself is the credential and no cookie is read, so nothing can be forged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, Concatenate

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt

from xkit_crm import catalogue, connections, mappings
from xkit_crm.conf import settings
from xkit_crm.crm_link import wording
from xkit_crm.crm_link.tokens import Session, unseal
from xkit_crm.exceptions import CRMError, CRMUnauthorized, LinkTokenInvalid
from xkit_crm.mapping import documents
from xkit_crm.models import Connection, MappingDraft
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.base import Provider
from xkit_crm.providers.registry import provider_class, provider_for

#: What a page may load and where it may be shown. Nothing comes from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {origins}"
)

View = Callable[..., HttpResponse]


def embedded(view: View) -> View:
    """A page that is shown in frames of the configured origins, and nowhere else."""

    @csrf_exempt
    @xframe_options_exempt
    @wraps(view)
    def secured(request: HttpRequest, **named: Any) -> HttpResponse:
        response = view(request, **named)
        origins = " ".join(["'self'", *settings.LINK_ORIGINS])
        response["Content-Security-Policy"] = _POLICY.format(origins=origins)
        response["Referrer-Policy"] = "no-referrer"
        response["Cache-Control"] = "no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return secured


def page(view: Callable[Concatenate[HttpRequest, Visit, ...], HttpResponse]) -> View:
    """A page of a session: found and checked before the view is called, its troubles shown."""

    @embedded
    @wraps(view)
    def shown(request: HttpRequest, sealed: str, **named: Any) -> HttpResponse:
        try:
            session = unseal(sealed)
            visit = Visit(request, sealed, session, session.connection())
        except LinkTokenInvalid as error:
            response = ended(request, error.message, error.hint, status=error.status)
            return _as_page(request, response)
        try:
            response = view(request, visit, **named)
        except CRMError as error:
            return _as_page(request, _trouble(visit, error))
        except Http404:
            # Django's own page may not be shown in a frame, which would stay broken.
            return _as_page(request, visit.render("missing", status=404))
        return _as_page(request, response) if response.status_code == 303 else response

    return shown


def _as_page(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Where a part of a page was asked for and another page has to be shown: have that loaded."""
    if not is_partial(request):
        return response
    if response.status_code == 303:
        return HttpResponse(headers={"HX-Redirect": response["Location"]})
    if request.method == "GET":
        response["HX-Retarget"], response["HX-Reswap"] = "body", "innerHTML"
        return response
    # The page itself says the same when it is loaded again.
    return HttpResponse(headers={"HX-Refresh": "true"})


def is_partial(request: HttpRequest) -> bool:
    """Whether a part of a page is asked for, by htmx."""
    return request.headers.get("HX-Request") == "true" and "HX-Boosted" not in request.headers


class Visit:
    """One request of a session: the connection it is about, and how to answer it."""

    def __init__(
        self, request: HttpRequest, sealed: str, session: Session, connection: Connection | None
    ) -> None:
        self.request = request
        self.sealed = sealed
        self.session = session
        self.connection = connection

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

    @cached_property
    def provider(self) -> Provider:
        return provider_for(self.known)

    @property
    def known(self) -> Connection:
        if self.connection is None:
            raise Http404("This connection is not there yet.")
        return self.connection

    @property
    def crm(self) -> str:
        """What the customer's CRM is called."""
        return provider_class(self.known.provider).label

    @cached_property
    def draft(self) -> MappingDraft:
        return mappings.draft(self.known)

    @property
    def document(self) -> mappings.Document:
        """What is decided so far."""
        found: mappings.Document = self.draft.document
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

    def write(self, document: mappings.Document, **kept: Any) -> None:
        """Change what is decided. Raises `MappingInvalid`."""
        self.draft = mappings.write_draft(self.known, document, **kept)

    def is_overtaken(self, part: Any) -> bool:
        """Whether a form was made before somebody else changed this part of the document."""
        seen = self.request.POST.get("seen")
        return seen is not None and seen != documents.fingerprint(part)

    def decide(self, slug: str, **parts: Any) -> None:
        """Change what is decided of one CRM object."""
        given = {**self.document.get(slug, {}), **parts}
        self.write({**self.document, slug: given})


def ended(
    request: HttpRequest, title: str, text: str, *, status: int, **context: Any
) -> HttpResponse:
    """A page from which nothing leads on: what is wrong, and what to do."""
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
    text = wording.crm_trouble(error)
    said = connections.redacted(visit.known, error.message)
    detail = said if said != text else ""
    return visit.render("trouble", text=text, detail=detail)
