"""A product's own admin site, with pages of its own making."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path

from xkit_crm.admin import CRMRecordsMixin

from .models import Deal, DealProxy, Plain

if apps.is_installed("unfold"):
    from unfold.admin import ModelAdmin
    from unfold.sites import UnfoldAdminSite as AdminSite
else:
    from django.contrib.admin import AdminSite, ModelAdmin


class Site(AdminSite):
    site_header = "The product's own site"


site = Site(name="backoffice")


@admin.register(Deal, site=site)
class DealAdmin(CRMRecordsMixin, ModelAdmin):
    """With a template of its own, a list of actions of its own, and rows that not all may see."""

    change_form_template = "products/deal_form.html"
    actions = ["nothing"]
    fields = ["customer", "title", "amount"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).exclude(note="secret")

    @admin.action(description="Nothing")
    def nothing(self, request: HttpRequest, rows: QuerySet[Any]) -> None: ...


@admin.register(DealProxy, site=site)
class DealProxyAdmin(CRMRecordsMixin, ModelAdmin):
    actions = None


@admin.register(Plain, site=site)
class PlainAdmin(CRMRecordsMixin, ModelAdmin):
    """Of a model that nothing is bound to."""


urlpatterns = [path("backoffice/", site.urls)]
