"""The example product's addresses: its own pages, the admin, and the CRM API."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.documents.urls")),
    path("admin/", admin.site.urls),
    path("crm-link/", include("xkit_crm.crm_link.urls")),
    path("api/v1/", include("xkit_crm.api.urls")),
]
