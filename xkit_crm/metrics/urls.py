"""`path("metrics/", include("xkit_crm.metrics.urls"))`."""

from __future__ import annotations

from django.urls import path

from xkit_crm.exceptions import ConfigurationError

try:
    from xkit_crm.metrics.views import metrics
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise ConfigurationError(
        "The metrics need prometheus_client, which is not installed.",
        hint="Install it with: pip install 'xkit_crm[prometheus]'",
    ) from missing

urlpatterns = [path("", metrics, name="xkit_crm_metrics")]
