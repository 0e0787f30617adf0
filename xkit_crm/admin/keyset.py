"""Lists of logs: pages from one id to the next, found by a form. Nothing is counted, sorted or
scanned, so they open as fast with millions of rows as with ten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xkit_crm.admin.base import ReadOnlyAdmin, moment, number
from xkit_crm.delivery.walking import SIZE, Page

#: Where a page begins, in its address.
BEFORE, AFTER = "before", "after"


class AskForm(forms.Form):
    """What is looked for. It comes with the address, where a filter that isn't known is an error:
    to leave it out would show, and repair, more than was asked for."""

    q = forms.CharField(
        label=gettext_lazy("Find"), required=False, widget=forms.SearchInput, max_length=500
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        known = {*self.fields, BEFORE, AFTER}
        for name in self.data:
            # Django's admin has some of its own, such as `_changelist_filters` and `e`.
            if name not in known and not name.startswith("_") and name != "e":
                self.add_error(None, _("There is no filter “%s”.") % name)
        return cleaned

    @property
    def is_asked(self) -> bool:
        """Whether anything is looked for."""
        return any(self.data.get(name) for name in self.fields)

    def query(self, **more: Any) -> str:
        """The query string that asks for the same."""
        query = QueryDict(mutable=True)
        for name in self.fields:
            if value := self.data.get(name):
                query[name] = value
        query.update({name: str(value) for name, value in more.items() if value is not None})
        return query.urlencode()

    def described(self) -> str:
        """What is looked for, for a log."""
        return ", ".join(f"{field.name}: {field.value()}" for field in self if field.value())


class KeysetChangeList(ChangeList):
    """One page of a log, as the form in its address asks for it."""

    model_admin: KeysetAdmin

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """All rows: what is done to some of them names those by their ids. Whoever says "all" by
        hand gets none: for that there are pages that ask."""
        self.filter_specs: list[Any] = []
        self.has_filters = self.has_active_filters = False
        everything = request.POST.get("select_across", "0") != "0"
        return self.root_queryset.none() if everything else self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        self.form = self.model_admin.ask_form(request.GET)
        self.page, self.goes_up = Page([]), False
        if self.form.is_valid():
            # What is no id is the newest page.
            before, after = (number(request.GET.get(name, "")) for name in (BEFORE, AFTER))
            self.goes_up = after is not None
            self.page = self.model_admin.read(request, self.form, before=before, after=after)
        self.result_list = self.page.rows
        self.result_count = self.full_result_count = len(self.page.rows)
        self.show_admin_actions = bool(self.page.rows)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.page.rows, SIZE)

    # -- for the template -------------------------------------------------------------------------

    def ended_at(self) -> str:
        """When that was made at which the look for more rows ended."""
        field = self.model_admin.time_field
        rows = self.model._default_manager.filter(pk__gte=self._end()).order_by("pk")
        return moment(rows.values_list(field, flat=True).first())

    def further_query(self) -> str:
        """Where the look goes on."""
        return self.newer_query() if self.goes_up else self.older_query()

    def _end(self) -> int:
        return (self.page.newer if self.goes_up else self.page.older) or 0

    def newest_query(self) -> str:
        return f"?{self.form.query()}"

    def newer_query(self) -> str:
        return f"?{self.form.query(after=self.page.newer)}"

    def older_query(self) -> str:
        return f"?{self.form.query(before=self.page.older)}"


class KeysetAdmin(ReadOnlyAdmin):
    """A log in pages from one id to the next."""

    ask_form: ClassVar[type[AskForm]]
    #: When a row was made.
    time_field: ClassVar[str] = "created_at"
    change_list_template = "admin/xkit_crm/keyset_list.html"
    list_per_page = SIZE
    sortable_by = ()
    show_full_result_count = False

    if TYPE_CHECKING:  # each log has its own

        def read(
            self, request: HttpRequest, form: Any, *, before: int | None, after: int | None
        ) -> Page:
            """The page that the (valid) form asks for."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})
