"""A site that has the metrics, as docs/monitoring.md adds them."""

from django.urls import include, path

from example_project.urls import urlpatterns as site

urlpatterns = [*site, path("metrics/", include("xkit_crm.metrics.urls"))]
