"""Every screen of the console, for what has to be true of all of them."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.contrib import admin
from django.urls import reverse

from xkit_crm.admin.base import ReadOnlyAdmin
from xkit_crm.models import Invocation

#: Of django-unfold's dress only ours: the sandbox's pages are plain models.
APPS = ("xkit_crm",) if apps.is_installed("unfold") else ("xkit_crm", "xkit_sandbox")


def screens() -> Iterator[str]:
    """The address of every screen: the lists, one row of each, a new one, and the pages."""
    yield reverse("admin:app_list", args=["xkit_crm"])
    yield reverse("admin:xkit_crm_overview")
    yield reverse("admin:xkit_crm_overview_of_one", args=["acme"])
    for model, its_admin in admin.site._registry.items():
        meta = model._meta
        if meta.app_label not in APPS:
            continue
        name = f"admin:{meta.app_label}_{meta.model_name}"
        yield reverse(f"{name}_changelist")
        if (row := model._default_manager.order_by("-pk").first()) is not None:
            yield reverse(f"{name}_change", args=[row.pk])
        if not isinstance(its_admin, ReadOnlyAdmin):
            yield reverse(f"{name}_add")
    yield reverse("admin:xkit_crm_failures")
    yield reverse("admin:xkit_crm_invocation_try")
    failed = Invocation.objects.get(status="failed")
    for page in ("replay", "skip"):
        yield reverse(f"admin:xkit_crm_invocation_{page}", args=[failed.pk])
        yield reverse("admin:xkit_crm_invocation_repair_all", args=[page]) + "?status=trouble"
    yield reverse("admin:xkit_crm_invocation_changelist") + "?status=nope&connection=nobody"
