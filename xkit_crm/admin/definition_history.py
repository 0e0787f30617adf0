"""The history of definitions: who changed what, and going back."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xkit_crm import definitions, versions
from xkit_crm.admin.base import ReadOnlyAdmin, pretty
from xkit_crm.admin.definition_reviews import ReviewedAdmin
from xkit_crm.exceptions import XkitError
from xkit_crm.models import CRMObject, DefinitionVersion
from xkit_crm.models.definition_version import changed_by
from xkit_crm.permissions import DEFINE, may
from xkit_crm.reviewing import Unreviewed, reviewed

#: How many are shown at once.
PAGE = 25


def _by(request: HttpRequest) -> AbstractContextManager[None]:
    return changed_by(request.user.get_username(), "in the admin")


class HistoryMixin:
    """Whoever changes a definition is kept with what they changed, and *History* shows all of it:
    that of an object's events, too."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with _by(request):
            return super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with _by(request):
            return super().changelist_view(request, *args, **kwargs)  # type: ignore[misc]

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with _by(request):
            return super().delete_view(request, *args, **kwargs)  # type: ignore[misc]

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """One by one: what is deleted as a set leaves no version."""
        for row in queryset:
            self.delete_model(request, row)  # type: ignore[attr-defined]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row: Any = self.get_object(request, object_id)  # type: ignore[attr-defined]
        if row is None:
            raise Http404(object_id)
        if not self.has_view_permission(request, row):  # type: ignore[attr-defined]
            raise PermissionDenied
        rows = definitions.with_events(row) if isinstance(row, CRMObject) else [row]
        found = DefinitionVersion.objects.of(*rows)
        shown = Paginator(found, PAGE).get_page(request.GET.get("p"))
        page: HttpResponse = self.console_page(  # type: ignore[attr-defined]
            request,
            "admin/xkit_crm/definition_history.html",
            title=_("History: %s") % row,
            entries=list(_entries(list(shown))),
            shown=shown,
            row=row,
            may_restore=may(request.user, DEFINE),
        )
        return page


def _entries(found: list[DefinitionVersion]) -> Any:
    earlier = versions.earlier(found)
    for version in found:
        yield version, list(versions.changes(version, earlier.get(version.pk)))


@admin.register(DefinitionVersion)
class DefinitionVersionAdmin(ReadOnlyAdmin, ReviewedAdmin):
    """Everything that was changed of all definitions, what was deleted included."""

    class Media:
        css = {"all": ["xkit_crm/definitions.css"]}

    list_display = ["name", "number", "kind", "author", "reason", "created_at"]
    list_filter = ["kind"]
    search_fields = ["name", "author", "reason"]
    fields = ["name", "number", "kind", "author", "reason", "created_at", "changes", "shown"]
    readonly_fields = ["changes", "shown"]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        found = super().get_queryset(request)
        # A list needs no documents, which may be large.
        match = request.resolver_match
        return found if match and match.kwargs else found.defer("document")

    @admin.display(description=gettext_lazy("what it changed"))
    def changes(self, version: DefinitionVersion) -> SafeString:
        earlier = versions.earlier([version]).get(version.pk)
        changed = list(versions.changes(version, earlier))
        return render_to_string("admin/xkit_crm/_changes.html", {"changes": changed})

    @admin.display(description=gettext_lazy("definition"))
    def shown(self, version: DefinitionVersion) -> str:
        return pretty(version.document)

    def get_urls(self) -> list[Any]:
        restore = path(
            "<int:pk>/restore/",
            self.admin_site.admin_view(self.restore),
            name="xkit_crm_definitionversion_restore",
        )
        return [restore, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        mine = {"may_restore": may(request.user, DEFINE)}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **mine})

    def restore(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what going back would do, and go back where that was seen."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not may(request.user, DEFINE):
            raise PermissionDenied
        version = get_object_or_404(DefinitionVersion, pk=pk)
        back = reverse("admin:xkit_crm_definitionversion_change", args=[pk])
        if versions.is_in_force(version):
            self.message_user(request, _("That is what it is already."), messages.WARNING)
            return HttpResponseRedirect(back)
        try:
            with (
                changed_by(request.user.get_username()),
                reviewed(request.POST.get("reviewed", ""), always=True),
            ):
                row = versions.restore(version)
        except Unreviewed as found:
            return self.review_page(
                request,
                found.review,
                title=_("Restore %s?") % version,
                lead=_("It becomes what it was then. Nothing is changed yet."),
                button=_("Restore it"),
                back=back,
            )
        except XkitError as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(back)
        self.log_change(request, row, f"Restored version {version.number}.")
        self.message_user(request, _("%s is restored.") % version)
        return HttpResponseRedirect(_page_of(row))


def _page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
