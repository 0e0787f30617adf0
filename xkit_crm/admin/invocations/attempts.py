"""Attempts: every try by itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xkit_crm.admin.base import badge, link_to, moment, pretty
from xkit_crm.admin.invocations.hiding import error_of, hidden, payloads_of
from xkit_crm.admin.keyset import AskForm, KeysetAdmin
from xkit_crm.delivery import walking
from xkit_crm.delivery.failures import without_values
from xkit_crm.delivery.walking import Page, walk
from xkit_crm.mapping.transformations import ActionType
from xkit_crm.models import Attempt, Invocation
from xkit_crm.models.attempt import Outcome
from xkit_crm.permissions import SEE_PAYLOADS, may
from xkit_crm.redaction import MASK


class AttemptAskForm(AskForm):
    outcome = forms.ChoiceField(
        label=gettext_lazy("Outcome"),
        required=False,
        choices=[("", gettext_lazy("any")), *Outcome.choices],
    )
    operation = forms.ChoiceField(
        label=gettext_lazy("Operation"),
        required=False,
        choices=[("", gettext_lazy("any")), *((one.value, one.value) for one in ActionType)],
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["q"].help_text = _(
            "An invocation's id; or the beginning of a record id (Opportunity:09876), or of a "
            "workflow's name."
        )

    def conditions(self) -> tuple[list[Q], Q]:
        """What an index has in order, and everything else."""
        given = self.cleaned_data
        by, where = [], Q()
        if text := given["q"].strip():
            try:
                named = Invocation.objects.filter(uuid=UUID(text)).values_list("pk", flat=True)
                by.append(Q(invocation__in=list(named)))
            except ValueError:
                where &= Q(target__startswith=text)
        if given["outcome"]:
            where &= Q(outcome=given["outcome"])
        if given["operation"]:
            where &= Q(operation=given["operation"])
        return by, where


@admin.register(Attempt)
class AttemptAdmin(KeysetAdmin):
    ask_form = AttemptAskForm
    time_field = "started_at"
    list_display = ["when", "number", "what", "outcome_", "took", "of"]
    #: What may hold payloads, and what stands in its place.
    _open = ("error_", "sent_", "received_")
    _hidden = ("masked_error", "no_sent", "no_received")

    def read(
        self, request: HttpRequest, form: Any, *, before: int | None, after: int | None
    ) -> Page:
        by, where = form.conditions()
        rows = Attempt.objects.select_related("invocation").defer(
            "sent", "received", *(f"invocation__{name}" for name in ("payload", "folded", "result"))
        )

        def read(start: int | None, down: bool) -> walking.Stretch:
            return walk(rows, by=by, where=where, start=start, down=down)

        return walking.page(read, before=before, after=after)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        shown = self._open if may(request.user, SEE_PAYLOADS) else self._hidden
        return ["of", "number", "what", "outcome_", "when", "took", *shown]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.get_fields(request, obj)

    @admin.display(description=gettext_lazy("started"))
    def when(self, attempt: Attempt) -> str:
        return moment(attempt.started_at)

    @admin.display(description=gettext_lazy("what"))
    def what(self, attempt: Attempt) -> str:
        return f"{attempt.operation} {attempt.target}"

    @admin.display(description=gettext_lazy("outcome"))
    def outcome_(self, attempt: Attempt) -> str:
        return badge(attempt.outcome)

    @admin.display(description=gettext_lazy("took"))
    def took(self, attempt: Attempt) -> str:
        return f"{attempt.duration.total_seconds() * 1000:.0f} ms"

    @admin.display(description=gettext_lazy("invocation"))
    def of(self, attempt: Attempt) -> str:
        return link_to(attempt.invocation)

    @admin.display(description=gettext_lazy("error"))
    def error_(self, attempt: Attempt) -> str:
        return str(error_of(attempt) or "—")

    @admin.display(description=gettext_lazy("error"))
    def masked_error(self, attempt: Attempt) -> str:
        payloads = payloads_of(attempt.invocation, [attempt])
        return without_values(str(error_of(attempt) or "—"), payloads, by=MASK)

    @admin.display(description=gettext_lazy("sent"))
    def sent_(self, attempt: Attempt) -> str:
        return pretty(attempt.sent)

    @admin.display(description=gettext_lazy("received"))
    def received_(self, attempt: Attempt) -> str:
        return pretty(attempt.received)

    @admin.display(description=gettext_lazy("sent"))
    def no_sent(self, attempt: Attempt) -> str:
        return hidden()

    @admin.display(description=gettext_lazy("received"))
    def no_received(self, attempt: Attempt) -> str:
        return hidden()
