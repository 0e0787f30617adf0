"""The page that Prometheus scrapes: for who has the token, or may look at connections."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from xkit_crm.conf import settings
from xkit_crm.metrics.collector import XkitCollector
from xkit_crm.permissions import may


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics, as text or as OpenMetrics, whichever is asked for; 401 for anybody else."""
    if not _is_let_in(request):
        return HttpResponse(
            "Send the token of XKIT_CRM['METRICS_TOKEN']: Authorization: Bearer <token>.\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": "Bearer"},
        )
    registry = CollectorRegistry()
    registry.register(XkitCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _is_let_in(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    return may(getattr(request, "user", None), "xkit_crm.view_connection")
