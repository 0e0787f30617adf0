"""`objects` documents that come and go: exported, and imported after they were looked through."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from xkit_crm import definitions
from xkit_crm.admin.definition_reviews import ReviewedAdmin
from xkit_crm.differences import Change
from xkit_crm.exceptions import XkitError
from xkit_crm.models import CRMObject
from xkit_crm.models.definition_version import changed_by
from xkit_crm.permissions import DEFINE, may
from xkit_crm.reviewing import Unreviewed, reviewed

#: Bytes of a file; whoever has more loads it with `xkit_load`.
MAX_BYTES = 2_000_000


class ImportForm(forms.Form):
    """A document, pasted or in a file."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        required=False,
        help_text=gettext_lazy("As Export and xkit_dump write it, or as linkCRM() takes it."),
        widget=forms.FileInput(attrs={"accept": ".json,application/json"}),
    )
    text = forms.CharField(
        label=gettext_lazy("Or paste it"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false"}),
    )
    prune = forms.BooleanField(
        label=gettext_lazy("Switch off what it doesn't have"),
        required=False,
        help_text=gettext_lazy(
            "Objects that are not in it, and events that its objects don't have. "
            "Without this they stay as they are."
        ),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        file, text = cleaned.get("file"), cleaned.get("text") or ""
        if file is not None:
            text = self._read(file)
        try:
            cleaned["document"] = json.loads(text) if text.strip() else None
        except RecursionError:
            self.add_error(None, _("It is nested too deep."))
        except ValueError as error:
            self.add_error(None, _("This isn't JSON: %(error)s.") % {"error": error})
        if not self.errors and cleaned["document"] is None:
            self.add_error(None, _("Choose a file, or paste a document."))
        cleaned["text"] = text
        return cleaned

    def _read(self, file: Any) -> str:
        if file.size > MAX_BYTES:
            self.add_error("file", _("It is too large; load it with manage.py xkit_load."))
            return ""
        try:
            return str(file.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            self.add_error("file", _("It isn't a text in UTF-8."))
            return ""


class FilesAdmin(ReviewedAdmin):
    """The list of CRM objects has *Export* and *Import*, and each object *Export*."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export), name="xkit_crm_crmobject_export"),
            path("import/", view(self.load), name="xkit_crm_crmobject_import"),
            *super().get_urls(),
        ]

    def export(self, request: HttpRequest) -> HttpResponse:
        """Download every object that is active, or the one that is named."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        slug = request.GET.get("object")
        document = definitions.dump(None if slug is None else [slug])
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        response = HttpResponse(text, content_type="application/json")
        name = next(iter(document), "nothing") if slug else "crm_objects"
        response["Content-Disposition"] = f'attachment; filename="{name}.json"'
        return response

    def load(self, request: HttpRequest) -> HttpResponse:
        """Show what a document would change, and load it where that was seen."""
        if not may(request.user, DEFINE):
            raise PermissionDenied
        if request.method != "POST" or "_edit" in request.POST:
            return self._import_page(request, ImportForm(initial=request.POST.dict()))
        form = ImportForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._import_page(request, form)
        document, prune = form.cleaned_data["document"], form.cleaned_data["prune"]
        try:
            with (
                changed_by(request.user.get_username(), "imported in the admin"),
                reviewed(request.POST.get("reviewed", ""), always=True),
            ):
                changes = definitions.define(document, prune=prune)
        except Unreviewed as found:
            kept = {"text": form.cleaned_data["text"], **({"prune": "on"} if prune else {})}
            return self.review_page(
                request,
                found.review,
                title=_("Import this?"),
                lead=_("Nothing is changed yet."),
                button=_("Import it"),
                posted=list(kept.items()),
            )
        except XkitError as error:
            for problem in error.errors or [error.message]:
                form.add_error(None, str(problem))
            return self._import_page(request, form)
        if changes:
            self._tell(request, changes)
        else:
            self.message_user(request, _("Everything is like this already."), messages.WARNING)
        return HttpResponseRedirect(reverse("admin:xkit_crm_crmobject_changelist"))

    def _tell(self, request: HttpRequest, changes: list[Change]) -> None:
        told = ngettext("%d change is imported.", "%d changes are imported.", len(changes))
        self.message_user(request, told % len(changes))
        counts = Counter(change.path.split(".", 1)[0] for change in changes)
        for row in CRMObject.objects.filter(slug__in=counts):
            self.log_change(request, row, f"Imported, changes: {counts[row.slug]}.")

    def _import_page(self, request: HttpRequest, form: ImportForm) -> HttpResponse:
        return self.console_page(
            request,
            "admin/xkit_crm/crmobject/import.html",
            title=_("Import CRM objects"),
            form=form,
        )
