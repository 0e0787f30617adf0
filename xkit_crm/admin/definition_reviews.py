"""Saving and deleting definitions: what isn't safe is looked at first, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib import messages
from django.db import router, transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from xkit_crm import definitions, usage
from xkit_crm.admin.base import XkitAdmin
from xkit_crm.exceptions import DefinitionInUse
from xkit_crm.permissions import DEFINE
from xkit_crm.reviewing import Review, Unreviewed, reviewed

#: What is sent with a review, and is no part of what was typed.
_OWN = ("csrfmiddlewaretoken", "reviewed", "_edit")


class ReviewedAdmin(XkitAdmin):
    """Pages on which definitions are changed."""

    permission = DEFINE
    delete_confirmation_template = "admin/xkit_crm/definition_delete_confirmation.html"
    delete_selected_confirmation_template = (
        "admin/xkit_crm/definition_delete_selected_confirmation.html"
    )

    def review_page(
        self,
        request: HttpRequest,
        review: Review,
        *,
        title: str,
        lead: str,
        button: str,
        posted: Sequence[tuple[str, str]] | None = None,
        back: str = "",
    ) -> HttpResponse:
        """Show what would be done, with a button that sends the same again: what was `posted`."""
        if posted is None:
            posted = [(k, v) for k, vs in request.POST.lists() for v in vs if k not in _OWN]
        return self.console_page(
            request,
            "admin/xkit_crm/review.html",
            title=title,
            lead=lead,
            button=button,
            review=review,
            posted=posted,
            overtaken=bool(request.POST.get("reviewed")),
            back=back,
        )

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(
                request, object_id, form_url, extra_context
            )
        except Unreviewed as found:
            return self.review_page(
                request,
                found.review,
                title=_("Look before you save"),
                lead=_("This concerns others. Nothing is saved yet."),
                button=_("Save all the same"),
            )
        return response

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Nothing yet: see `save_related`."""

    def save_related(
        self, request: HttpRequest, form: ModelForm, formsets: Iterable[Any], change: bool
    ) -> None:
        """Save all that was sent, where it is safe or was reviewed."""
        with reviewed(request.POST.get("reviewed", "")):
            if form.has_changed() or not change:
                form.instance.save()
            super().save_related(request, form, formsets, change)

    # -- deleting ---------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What is deleted, and who relies on it: not every row that does, of which there may be
        millions."""
        rows = [row for each in objs for row in definitions.with_events(each)]
        counts = Counter(str(row._meta.verbose_name_plural) for row in rows)
        used = [f"{each.path}: {use}" for each in objs for use in usage.everything_of(each)]
        return [row.path for row in rows], counts, set(), used

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        definitions.remove(obj)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._or_all_stays(request, super().delete_view, object_id, extra_context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._or_all_stays(request, super().changelist_view, extra_context)

    def _or_all_stays(
        self, request: HttpRequest, view: Callable[..., HttpResponse], *args: Any
    ) -> HttpResponse:
        """Answer, and delete nothing where somebody began to use it since the page was shown."""
        try:
            with transaction.atomic(using=router.db_for_write(self.model)):
                return view(request, *args)
        except DefinitionInUse as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
