"""The CRM records of a row, on its own page in the admin: `CRMRecordsMixin`.

For a product's own admin classes, whatever they are made of, and for the record links' page. What
is shown comes from `panel.py`; what the buttons do, from `sync/`. Every view asks the admin class
for the row, so that who may not see a row there sees nothing of it here either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import select_template
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from xkit_crm import panel
from xkit_crm.admin.base import log_of_many
from xkit_crm.admin.wording import became
from xkit_crm.exceptions import ConnectionNotEnabled, XkitError
from xkit_crm.models import Connection
from xkit_crm.models.invocation import Priority
from xkit_crm.panel import Place
from xkit_crm.permissions import OPERATE, SEE_PAYLOADS, may
from xkit_crm.sync import existing
from xkit_crm.sync.findings import State
from xkit_crm.sync.links import unlink
from xkit_crm.sync.resync import Resync, resync

#: The newest events of a CRM that are shown.
EVENTS = 5
#: So often the panel looks by itself, every three seconds, at what is about to happen.
LOOKS = 40


@dataclass(frozen=True, slots=True)
class Note:
    """What came of a button."""

    text: str
    is_good: bool = True

    @classmethod
    def of(cls, error: XkitError) -> Note:
        return cls(str(error), is_good=False)


if TYPE_CHECKING:
    _Base = ModelAdmin
else:
    _Base = object


class CRMRecordsMixin(_Base):
    """Put in front of a `ModelAdmin`: shows a row's CRM records below its form, with buttons to
    sync it now, to unlink it, and to link it to a record that the customer has; and adds an action
    that syncs the selected rows.

        class DocumentAdmin(CRMRecordsMixin, admin.ModelAdmin): ...

    It works with any template of the change page, in the plain admin and in django-unfold's, and
    in a site of your own. Who may look at record links sees the panel, who may operate the buttons
    and the action, and who may see payloads what was written last.
    """

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        order = cls.__mro__
        if ModelAdmin in order and order.index(ModelAdmin) < order.index(CRMRecordsMixin):
            raise ImproperlyConfigured(
                f"{cls.__name__} would show no CRM records: put CRMRecordsMixin in front of "
                "ModelAdmin among its bases."
            )

    # -- where it is put --------------------------------------------------------------------------

    @property
    def media(self) -> Media:
        return super().media + Media(css={"all": ["xkit_crm/records.css"]})

    def get_urls(self) -> list[Any]:
        views: tuple[tuple[str, str, Callable[..., HttpResponse]], ...] = (
            ("", "records", self.crm_panel_view),
            ("sync/", "sync", self.crm_sync_view),
            ("unlink/", "unlink", self.crm_unlink_view),
            ("search/", "search", self.crm_search_view),
            ("link/", "link", self.crm_link_view),
        )
        # A CRM may be slow, and no transaction is to be open meanwhile.
        ours = [
            path(
                f"<path:object_id>/crm-records/{route}",
                transaction.non_atomic_requests(self.admin_site.admin_view(view)),
                name=self._crm_name(name),
            )
            for route, name, view in views
        ]
        return [*ours, *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **named: Any
    ) -> HttpResponse:
        """The page as it is without the panel, in whatever template, with the panel below it."""
        page: HttpResponse = super().render_change_form(request, context, *args, **named)
        obj = context.get("original")
        if not isinstance(page, TemplateResponse) or obj is None or context.get("is_popup"):
            return page
        row = self.crm_row_of(obj) if _may_look(request) else None
        if row is not None:
            names = page.template_name
            names = [names] if isinstance(names, str) else names
            # Whoever made the page may have given a template that is loaded already.
            parent = select_template(names) if isinstance(names, list | tuple) else names
            page.template_name = "admin/xkit_crm/recordlink/on_change_form.html"
            crm = self._crm_context(request, row, quote(obj.pk))
            page.context_data = {**(page.context_data or {}), "crm": crm, "crm_page": parent}
        return page

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 names where actions are shown; earlier ones have one place.
        where = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **where)
        has_any = self.actions is not None and IS_POPUP_VAR not in request.GET
        if has_any and may(request.user, OPERATE):
            name = "sync_with_crms"
            actions[name] = (type(self).sync_with_crms, name, _("Sync with CRMs now"))
        return actions

    def crm_row_of(self, obj: Any) -> Model | None:
        """The row that an object of this admin stands for: itself."""
        found: Model = obj
        return found

    # -- what is done -----------------------------------------------------------------------------

    def sync_with_crms(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        """The action: what the selected rows are now is written to all of their CRMs."""
        if not may(request.user, OPERATE):
            raise PermissionDenied
        try:
            result = resync(rows, priority=Priority.BACKGROUND)
        except XkitError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        count = rows.count()
        told = f"Sync with CRMs now: {count} selected, {result.queued} queued."
        log_of_many(request, self.model, f"{count} {self.opts.verbose_name_plural}", told)
        level = messages.SUCCESS if result.queued else messages.WARNING
        self.message_user(request, self._crm_became(request, result), level)

    @method_decorator(require_GET)
    def crm_panel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._crm_row(request, object_id)
        looks = request.GET.get("looks", "")
        looks_before = int(looks) if looks.isdecimal() and len(looks) < 4 else LOOKS
        return self._crm_drawn(request, row, object_id, looks=looks_before)

    @method_decorator(require_POST)
    def crm_sync_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row, place = self._crm_place(request, object_id, request.POST)
        rows = type(row)._base_manager.filter(pk=row.pk)
        try:
            result = resync(rows, self._crm_connection(place), crm_object=place.crm_object)
        except XkitError as error:
            return self._crm_answer(request, object_id, row, Note.of(error))
        if result.queued:
            self.log_change(request, row, f"Sync with {place.connection_id} now: queued.")
        is_good = bool(result.queued) or set(result.left) == {State.ON_ITS_WAY}
        note = Note(self._crm_became(request, result), is_good=is_good)
        return self._crm_answer(request, object_id, row, note)

    @method_decorator(require_POST)
    def crm_unlink_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row, place = self._crm_place(request, object_id, request.POST)
        seen = request.POST.get("record_id", "")
        if place.link is None or place.link.record_id != seen or not unlink(place.link):
            text = _("Nothing was unlinked: somebody has changed the link meanwhile.")
            return self._crm_answer(request, object_id, row, Note(text, is_good=False))
        self.log_change(request, row, f"Unlinked from {seen} in {place.connection_id}.")
        text = _("Unlinked from %s, which stays in the CRM.") % seen
        return self._crm_answer(request, object_id, row, Note(text))

    @method_decorator(require_GET)
    def crm_search_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        _row, place = self._crm_place(request, object_id, request.GET)
        text = request.GET.get("q", "").strip()
        found: list[existing.Existing] = []
        note = None
        try:
            found = existing.find(self._crm_connection(place), place.crm_object, text)
        except XkitError as error:
            note = Note.of(error)
        crm = {
            "place": place,
            "q": text,
            "found": found,
            "note": note,
            "too_short": len(text) < existing.SHORTEST and not text.isdecimal(),
            "is_full": len(found) == existing.LIMIT,
            "sees_values": may(request.user, SEE_PAYLOADS),
            "url": self._crm_urls(object_id),
        }
        request.current_app = self.admin_site.name
        if _is_partial(request):
            return render(request, "xkit_crm/panel/_found.html", {"crm": crm})
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Link to an existing record"),
            "back": self._crm_page(object_id),
            "crm": crm,
        }
        return render(request, "admin/xkit_crm/recordlink/search.html", page)

    @method_decorator(require_POST)
    def crm_link_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row, place = self._crm_place(request, object_id, request.POST)
        record_id = request.POST.get("record_id", "")
        try:
            made = existing.link_existing(
                row, self._crm_connection(place), record_id, crm_object=place.crm_object
            )
        except XkitError as error:
            return self._crm_answer(request, object_id, row, Note.of(error), anew=False)
        self.log_change(request, row, f"Linked to {made.record_id} in {place.connection_id}.")
        text = _(
            "Linked to %s. Its next change is written there; “Sync now” writes it as it is now."
        )
        return self._crm_answer(request, object_id, row, Note(text % made.record_id))

    # -- who asks, and for what -------------------------------------------------------------------

    def _crm_row(self, request: HttpRequest, object_id: str) -> Model:
        """The row, where it may be looked at."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404(object_id)
        if not (_may_look(request) and self.has_view_or_change_permission(request, obj)):
            raise PermissionDenied
        row = self.crm_row_of(obj)
        if row is None:
            raise Http404(object_id)
        return row

    def _crm_place(
        self, request: HttpRequest, object_id: str, data: Mapping[str, str]
    ) -> tuple[Model, Place]:
        """The row and the one of its CRMs that is meant, where something may be done there."""
        row = self._crm_row(request, object_id)
        if not may(request.user, OPERATE):
            raise PermissionDenied
        named = data.get("connection", ""), data.get("crm_object", "")
        place = panel.records_of(row).place(*named)
        if place is None:
            raise Http404("/".join(named))
        return row, place

    def _crm_connection(self, place: Place) -> Connection:
        if place.connection is None:
            raise ConnectionNotEnabled(
                f"The customer has not connected {place.connection_id!r} yet.",
                hint="They do so in CRM Link.",
            )
        return place.connection

    def _crm_became(self, request: HttpRequest, result: Resync) -> str:
        return became(result, with_values=may(request.user, SEE_PAYLOADS))

    # -- what is answered -------------------------------------------------------------------------

    def _crm_answer(
        self, request: HttpRequest, object_id: str, row: Model, note: Note, *, anew: bool = True
    ) -> HttpResponse:
        """The panel with what came of it, or without a script the page that was left. Unless it is
        shown `anew`, what is open in the panel stays open."""
        if _is_partial(request):
            if anew:
                return self._crm_drawn(request, row, object_id, note=note)
            answer = render(request, "xkit_crm/panel/_note.html", {"crm": {"note": note}})
            answer["HX-Retarget"], answer["HX-Reswap"] = "#crm-records-note", "outerHTML"
            return answer
        self.message_user(request, note.text, messages.SUCCESS if note.is_good else messages.ERROR)
        return redirect(_next(request) or self._crm_page(object_id))

    def _crm_page(self, object_id: str) -> str:
        name = f"{self.opts.app_label}_{self.opts.model_name}_change"
        return reverse(f"{self.admin_site.name}:{name}", args=[object_id])

    def _crm_drawn(
        self,
        request: HttpRequest,
        row: Model,
        object_id: str,
        *,
        note: Note | None = None,
        looks: int = 0,
    ) -> HttpResponse:
        if not _is_partial(request):
            return redirect(f"{self._crm_page(object_id)}#crm-records")
        request.current_app = self.admin_site.name
        crm = self._crm_context(request, row, object_id, note=note, looks=looks)
        return render(request, "xkit_crm/panel/panel.html", {"crm": crm})

    def _crm_context(
        self,
        request: HttpRequest,
        row: Model,
        object_id: str,
        *,
        note: Note | None = None,
        looks: int = 0,
    ) -> dict[str, Any]:
        sees = may(request.user, SEE_PAYLOADS)
        records = panel.records_of(row, events=EVENTS, values=sees)
        moves = looks < LOOKS and any(place.moves for place in records.places)
        return {
            "records": records,
            "row_is_gone": row._state.adding,
            "url": self._crm_urls(object_id),
            "note": note,
            "next_look": looks + 1 if moves else None,
            "has_tools": not apps.is_installed("unfold"),
            "may_operate": may(request.user, OPERATE),
            "sees_values": sees,
            "shortest": existing.SHORTEST,
        }

    def _crm_urls(self, object_id: str) -> dict[str, str]:
        return {
            name: reverse(f"{self.admin_site.name}:{self._crm_name(name)}", args=[object_id])
            for name in ("records", "sync", "unlink", "search", "link")
        }

    def _crm_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_crm_{name}"


def _may_look(request: HttpRequest) -> bool:
    return may(request.user, "xkit_crm.view_recordlink") or may(request.user, OPERATE)


def _is_partial(request: HttpRequest) -> bool:
    """Whether a part of the page is asked for, by htmx."""
    return request.headers.get("HX-Request") == "true"


def _next(request: HttpRequest) -> str:
    """Where the button was, if that is on this site."""
    url = request.POST.get("next", "")
    allowed = url_has_allowed_host_and_scheme(
        url, {request.get_host()}, require_https=request.is_secure()
    )
    return url if allowed else ""
