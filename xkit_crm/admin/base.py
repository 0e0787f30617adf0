"""What the admin pages share."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from xkit_crm.permissions import OPERATE, may

# A page is dressed by what it inherits from; both have the same doors.
if not TYPE_CHECKING and apps.is_installed("unfold"):
    from unfold.admin import ModelAdmin, TabularInline
else:
    from django.contrib.admin import ModelAdmin, TabularInline


class Permitted:
    """Rows that one permission lets somebody make, change and delete; None: Django's own three."""

    permission: ClassVar[str | None] = None

    def _may(self, action: str, request: HttpRequest, *args: Any) -> bool:
        if self.permission is not None:
            return may(request.user, self.permission)
        return bool(getattr(super(), f"has_{action}_permission")(request, *args))

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return self._may("add", request, *args)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may("change", request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may("delete", request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        changes = self.permission is not None and may(request.user, self.permission)
        return changes or bool(super().has_view_permission(request, obj))  # type: ignore[misc]


class XkitAdmin(Permitted, ModelAdmin):
    """A page in our own dress, in the plain admin or in django-unfold's."""

    class Media:
        css = {"all": ["xkit_crm/records.css", "xkit_crm/admin.css"]}
        js = ["xkit_crm/admin.js"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """For actions: `@admin.action(permissions=["operate"])`."""
        return may(request.user, OPERATE)

    def console_page(
        self, request: HttpRequest, template: str, *, title: str, **context: Any
    ) -> TemplateResponse:
        """A page of the console that is no form or list of a model's rows.

        `template` extends `admin/xkit_crm/page.html`. Who may see it is checked by the caller.
        """
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": title,
                "media": self.media,
                **context,
            },
        )


class ReadOnlyAdmin(XkitAdmin):
    """A log: to be looked at, not to be changed."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


_Shown = TypeVar("_Shown")


class NamedFormSet(BaseInlineFormSet):
    """A table's headings name no box for a screen reader: each box says its own name."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        for field in form.fields.values():
            box = getattr(field.widget, "widget", field.widget)  # within its links to add another
            box.attrs.setdefault("aria-label", field.label)


class XkitInline(Permitted, TabularInline):
    """Rows below what they belong to."""

    formset: type[BaseInlineFormSet] = NamedFormSet
    extra = 0


class ReadOnlyInline(XkitInline):
    """Rows of a log below what they are about."""

    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def once(column: Callable[[Any, Any], _Shown]) -> Callable[[Any, Any], _Shown]:
    """A column that costs queries, worked out once for a row: django-unfold asks five times."""

    @wraps(column)
    def shown(its_admin: Any, row: models.Model) -> _Shown:
        known: dict[Any, _Shown] = row.__dict__.setdefault("_xkit_shown", {})
        if column not in known:
            known[column] = column(its_admin, row)
        return known[column]

    return shown


def link_to(instance: models.Model | None, text: str | None = None) -> SafeString | str:
    """A link to the instance's own admin page, where it has one."""
    if instance is None:
        return "—"
    label = text or str(instance)
    meta = instance._meta
    try:
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(instance.pk)])
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


def log_of_many(request: HttpRequest, model: Any, rows: str, told: str) -> None:
    """One entry in the admin's log of what was done to many rows of a model at once."""
    LogEntry.objects.create(
        user_id=cast("int", request.user.pk),  # the admin lets nobody else in
        content_type=get_content_type_for_model(model),
        object_repr=rows[:200],
        action_flag=CHANGE,
        change_message=told,
    )


def number(text: str) -> int | None:
    """The number that an address or a form says; None where it is none, or none of a database."""
    found = int(text) if text.isdecimal() and len(text) < 20 else 0
    return found if 0 < found < 2**63 else None


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
