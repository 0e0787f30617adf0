"""What the admin pages share."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString


class XkitAdmin(admin.ModelAdmin):
    """A page in our own dress."""

    class Media:
        css = {"all": ["xkit_crm/admin.css"]}


class ReadOnlyAdmin(XkitAdmin):
    """A log: to be looked at, not to be changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(admin.TabularInline):
    """Rows of a log below what they are about."""

    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def link_to(instance: models.Model | None, text: str | None = None) -> SafeString | str:
    """A link to the instance's own admin page, where it has one."""
    if instance is None:
        return "—"
    label = text or str(instance)
    meta = instance._meta
    try:
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[instance.pk])
    except NoReverseMatch:
        return label
    return format_html('<a href="{}">{}</a>', url, label)


def link_to_row(content_type: ContentType | None, pk: str | None) -> SafeString | str:
    """A link to a row of the product, without asking the database whether it is there."""
    if not pk or content_type is None:
        return "—"
    name = f"{content_type.name} {pk}"
    model = content_type.model_class()
    try:
        return link_to(model(pk=pk), name) if model else name
    except (TypeError, ValueError):
        return name


def moment(value: datetime | None) -> str:
    """A time to the second, as a log needs it, in the current time zone."""
    return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S") if value else "—"


def badge(status: str) -> SafeString:
    """A status by its name in code, in its colour."""
    return format_html('<span class="xkit-status xkit-status-{}">{}</span>', status, status)


def pretty(value: Any) -> SafeString | str:
    """JSON to be read by a person."""
    if value in (None, {}, []):
        return "—"
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="xkit-json">{}</pre>', text)
