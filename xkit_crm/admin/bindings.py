"""Model bindings: those that operators make, and those that engineers wrote, to be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from xkit_crm.admin import binding_renewing
from xkit_crm.admin.base import ReadOnlyAdmin, XkitAdmin, number
from xkit_crm.admin.binding_form import BindingForm
from xkit_crm.admin.binding_previews import panel
from xkit_crm.admin.definition_history import HistoryMixin
from xkit_crm.checks.bindings import misnamed_by, mistakes_of
from xkit_crm.exceptions import Problem
from xkit_crm.models import MarkedRow, ModelBinding
from xkit_crm.permissions import DEFINE
from xkit_crm.sync import bindings, readable
from xkit_crm.sync.bindings import MOMENTS, Binding
from xkit_crm.sync.model_bindings import as_far_as_it_leads, problems_of, silences_of

_BOUND = ("model", "crm_object", *MOMENTS)
_TEMPLATES = "admin/xkit_crm/modelbinding"


@dataclass(frozen=True, slots=True)
class Coded:
    """A binding from code, as the list and its page show it."""

    binding: Binding

    @property
    def name(self) -> str:
        return f"{readable.model_name(self.binding.model)} → {self.binding.crm_object}"

    @property
    def source(self) -> str:
        return bindings.source_of(self.binding)

    @property
    def query(self) -> str:
        named = {"model": self.binding.model._meta.label, "crm_object": self.binding.crm_object}
        return urlencode(named)

    @property
    def broken(self) -> list[str]:
        """What the checks say of it."""
        found = [*mistakes_of(self.binding), *misnamed_by(self.binding)]
        return [f"{message.msg} {message.hint}" for message in found]

    @property
    def state(self) -> SafeString:
        return _problems(self.broken, told=0) or _badge("enabled", _("active"))


@admin.register(ModelBinding)
class ModelBindingAdmin(HistoryMixin, XkitAdmin):
    permission = DEFINE
    form = BindingForm
    list_display = ["bound", "events", "condition_", "state"]
    list_filter = ["active", "crm_object"]
    list_select_related = list(_BOUND)
    search_fields = ["model__model", "crm_object__slug", "connection_path"]
    actions = ["switch_on", "switch_off"]
    change_form_template = f"{_TEMPLATES}/change_form.html"
    change_list_template = f"{_TEMPLATES}/change_list.html"

    class Media:
        css = {"all": ["xkit_crm/forms.css"]}

    def get_urls(self) -> list[Any]:
        def named(name: str, view: Any) -> Any:
            address, view = f"{name}/", self.admin_site.admin_view(view)
            return path(address, view, name=f"xkit_crm_modelbinding_{name}")

        return [
            named("parts", self.parts_view),
            named("preview", self.preview_view),
            named("look", self.look_view),
            named("code", self.code_view),
            *super().get_urls(),
        ]

    # -- the list

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        from_code = sorted(map(Coded, bindings.from_code()), key=lambda coded: coded.name)
        context = {**(extra_context or {}), "from_code": from_code}
        shown: HttpResponse = super().changelist_view(request, context)
        return shown

    @admin.display(description=gettext_lazy("binding"), ordering="model__model")
    def bound(self, row: ModelBinding) -> str:
        return _name_of(row)

    @admin.display(description=gettext_lazy("events"))
    def events(self, row: ModelBinding) -> str:
        slugs = [event.slug for moment in MOMENTS if (event := getattr(row, moment))]
        return ", ".join(slugs) or "—"

    @admin.display(description=gettext_lazy("condition"))
    def condition_(self, row: ModelBinding) -> str:
        binding = _as_far_as_it_leads(row)
        return ", ".join(map(str, binding.rules)) if binding and binding.rules else "—"

    @admin.display(description=gettext_lazy("state"), ordering="active")
    def state(self, row: ModelBinding) -> SafeString:
        if problems := _problems(problems_of(row)):
            return problems
        if not row.active:
            return _badge("off", _("switched off"))
        silences = list(map(str, silences_of(row)))
        if silences:
            return _badge("pending", _("partly silent"), silences)
        return _badge("enabled", _("active"))

    @admin.action(description=gettext_lazy("Switch on"), permissions=["change"])
    def switch_on(self, request: HttpRequest, chosen: QuerySet[ModelBinding]) -> None:
        for row in chosen.select_related(*_BOUND).filter(active=False):
            row.active = True
            try:
                row.full_clean()
            except ValidationError as error:
                told = f"{_name_of(row)}: {'; '.join(error.messages)}"
                self.message_user(request, told, messages.ERROR)
            else:
                row.save()
                self.log_change(request, row, "Switched on.")

    @admin.action(description=gettext_lazy("Switch off: fire nothing"), permissions=["change"])
    def switch_off(self, request: HttpRequest, chosen: QuerySet[ModelBinding]) -> None:
        for row in chosen.filter(active=True):
            row.active = False
            row.save()
            self.log_change(request, row, "Switched off.")

    # -- one binding of an operator

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row: ModelBinding | None = kwargs.get("obj")
        is_new = row is None or row.pk is None
        context |= {
            "form": context["adminform"].form,
            "editable": is_new or self.has_change_permission(request, row),
            **_addresses(None if is_new else row),
        }
        if row is not None and not is_new and not context["form"].is_bound:
            context["broken"] = list(map(str, [*problems_of(row), *silences_of(row)]))
            context |= _shown(_as_far_as_it_leads(row))
        shown: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return shown

    @method_decorator(require_POST)
    def parts_view(self, request: HttpRequest) -> HttpResponse:
        """The form's parts after a choice."""
        row = self._edited(request)
        context = {"form": binding_renewing.renewed(request.POST, row), **_addresses(row)}
        return TemplateResponse(request, f"{_TEMPLATES}/_parts.html", context)

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """What the binding makes of a row, as it is being filled in."""
        row = binding_renewing.in_work(request.POST, self._edited(request)).row()
        binding = _as_far_as_it_leads(row) if row is not None else None
        return self._panel(request, binding, list(problems_of(row)) if row is not None else [])

    @method_decorator(require_GET)
    def look_view(self, request: HttpRequest) -> HttpResponse:
        """The same for somebody who only looks, and for a binding from code."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if "model" in request.GET:
            return self._panel(request, _coded(request).binding, [])
        row = _asked_for(request)
        return self._panel(request, _as_far_as_it_leads(row) if row is not None else None, [])

    def _edited(self, request: HttpRequest) -> ModelBinding | None:
        """The binding that is being changed; None where it is a new one."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return _asked_for(request)

    def _panel(
        self, request: HttpRequest, binding: Binding | None, problems: list[Problem]
    ) -> HttpResponse:
        given = request.POST if request.method == "POST" else request.GET
        shown = panel(request, binding, problems, given.get("preview_row", ""))
        return TemplateResponse(request, f"{_TEMPLATES}/_preview.html", {"panel": shown})

    # -- one binding from code

    @method_decorator(require_GET)
    def code_view(self, request: HttpRequest) -> HttpResponse:
        """What an engineer bound, and where that is written."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        coded = _coded(request)
        return self.console_page(
            request,
            f"{_TEMPLATES}/code.html",
            title=coded.name,
            coded=coded,
            **_shown(coded.binding),
            broken=coded.broken,
            look_url=f"{reverse('admin:xkit_crm_modelbinding_look')}?{coded.query}",
        )


def _asked_for(request: HttpRequest) -> ModelBinding | None:
    """The row that the address names; None where it names none. Raises `Http404`."""
    asked = request.GET.get("id", "")
    if not asked:
        return None
    found = ModelBinding.objects.select_related(*_BOUND).filter(pk=number(asked) or 0).first()
    if found is None:
        raise Http404
    return found


def _coded(request: HttpRequest) -> Coded:
    """The binding from code that the address names; raises `Http404`."""
    named = (request.GET.get("model"), request.GET.get("crm_object"))
    for binding in bindings.from_code():
        if (binding.model._meta.label, binding.crm_object) == named:
            return Coded(binding)
    raise Http404


def _addresses(row: ModelBinding | None) -> dict[str, str]:
    query = f"?id={row.pk}" if row is not None else ""
    names = ("parts", "preview", "look")
    return {f"{name}_url": reverse(f"admin:xkit_crm_modelbinding_{name}") + query for name in names}


def _name_of(row: ModelBinding) -> str:
    model = row.model.model_class()
    return f"{readable.model_name(model) if model else row.model} → {row.crm_object}"


def _as_far_as_it_leads(row: ModelBinding) -> Binding | None:
    model = row.model.model_class()
    return as_far_as_it_leads(model, row) if model is not None else None


def _shown(binding: Binding | None) -> dict[str, Any]:
    """What a binding says, for a page on which nobody changes it."""
    if binding is None:
        return {}
    return {
        "binding": binding,
        "by_triggers": bindings.are_told_by_triggers(binding.model),
        "model_label": f"{readable.model_name(binding.model)} ({binding.model._meta.label})",
        "payload": [(key, binding.paths.get(key, "")) for key, _getter in binding.payload],
    }


def _badge(status: str, text: str, why: Iterable[object] = ()) -> SafeString:
    shown = format_html('<span class="xkit-status xkit-status-{}">{}</span>', status, text)
    told = "; ".join(map(str, why))
    return format_html('{} <span class="xkit-quiet">{}</span>', shown, told) if told else shown


def _problems(found: Iterable[object], *, told: int = 2) -> SafeString | None:
    """That it is broken, and the first few words of how; None where nothing is wrong."""
    problems = list(found)
    if not problems:
        return None
    text = ngettext("%d problem", "%d problems", len(problems)) % len(problems)
    return _badge("errored", text, problems[:told])


@admin.register(MarkedRow)
class MarkedRowAdmin(ReadOnlyAdmin):
    """What triggers have marked and nobody has looked at yet: mostly nothing."""

    list_display = ["model", "object_pk", "created_at"]
    search_fields = ["model", "object_pk"]
    show_full_result_count = False
