"""The form by which one finds invocations, and what it asks of the log."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xkit_crm.admin.keyset import AskForm
from xkit_crm.delivery import failures, log
from xkit_crm.delivery.log import NAMED, TROUBLE, Asked
from xkit_crm.exceptions import explained_codes
from xkit_crm.models import Connection, EventDefinition
from xkit_crm.models.invocation import InvocationStatus, Source

#: What a person has to see to, as a choice of its own.
IN_TROUBLE = "trouble"

_ANY = ("", gettext_lazy("any"))
_LAST = {
    "hour": (gettext_lazy("last hour"), timedelta(hours=1)),
    "day": (gettext_lazy("last 24 hours"), timedelta(days=1)),
    "week": (gettext_lazy("last 7 days"), timedelta(days=7)),
}


def _key(event: EventDefinition) -> str:
    """An event as the address names it."""
    return f"{event.crm_object.slug}.{event.slug}"


class _Moment(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%dT%H:%M")


class InvocationAskForm(AskForm):
    """Every choice is known without a look into the log."""

    status = forms.ChoiceField(
        label=gettext_lazy("Status"),
        required=False,
        choices=[
            _ANY,
            (IN_TROUBLE, gettext_lazy("failed or unknown")),
            *InvocationStatus.choices,
        ],
    )
    error = forms.CharField(label=gettext_lazy("Error"), required=False, max_length=50)
    object = forms.ChoiceField(label=gettext_lazy("CRM object"), required=False)
    event = forms.ChoiceField(label=gettext_lazy("Event"), required=False)
    connection = forms.CharField(
        label=gettext_lazy("Connection"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    source = forms.ChoiceField(
        label=gettext_lazy("Source"), required=False, choices=[_ANY, *Source.choices]
    )
    when = forms.ChoiceField(
        label=gettext_lazy("Made"),
        required=False,
        choices=[_ANY, *((name, label) for name, (label, _span) in _LAST.items())],
    )
    since = forms.DateTimeField(label=gettext_lazy("From"), required=False, widget=_Moment)
    until = forms.DateTimeField(label=gettext_lazy("To"), required=False, widget=_Moment)
    #: A row of the product, `app.model:pk`, and a cause of failing: links name them.
    row = forms.CharField(required=False, max_length=355, widget=forms.HiddenInput)
    cause = forms.CharField(required=False, max_length=16, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["q"].help_text = _(
            "An invocation's id, a record id (Opportunity:09876) or its beginning, a row's key, a "
            "request id; or words of an error."
        )
        objects: dict[str, list[tuple[str, str]]] = {}
        of_slug: dict[str, list[str]] = {}
        for event in self.events.values():
            slug, key = event.crm_object.slug, _key(event)
            objects.setdefault(slug, []).append((key, event.slug))
            of_slug.setdefault(event.slug, []).append(key)
        shared = [(slug, slug) for slug, keys in of_slug.items() if len(keys) > 1]
        fields: Any = self.fields
        fields["object"].choices = [_ANY, *((slug, slug) for slug in objects)]
        of_several = [(_("of several objects"), shared)] if shared else []
        fields["event"].choices = [_ANY, *of_several, *objects.items()]
        if len(keys := of_slug.get(self.data.get("event", ""), [])) == 1:
            # Its slug says which one it is, to whoever types it into the address.
            given: Any = copy(self.data)
            given["event"] = keys[0]
            self.data = given
        given = self.data.get("error")
        codes = dict.fromkeys([*sorted(explained_codes()), *([given] if given else [])])
        fields["error"].widget = forms.Select(choices=[_ANY, *((code, code) for code in codes)])

    @cached_property
    def events(self) -> dict[int, EventDefinition]:
        """Every event definition, by id."""
        rows = EventDefinition.objects.select_related("crm_object")
        return {row.pk: row for row in rows.order_by("crm_object__slug", "slug")}

    def clean_connection(self) -> str:
        named: str = self.cleaned_data["connection"].strip()
        if named and not Connection.objects.filter(pk=named).exists():
            near = Connection.objects.filter(pk__startswith=named).values_list("pk", flat=True)[:5]
            told = _("There is no connection “%s”.") % named
            if near:
                told += " " + _("Did you mean %s?") % ", ".join(near)
            raise forms.ValidationError(told)
        return named

    def clean_row(self) -> tuple[int, str] | None:
        label, _colon, pk = self.cleaned_data["row"].partition(":")
        if not label:
            return None
        app_label, _dot, model = label.partition(".")
        found = ContentType.objects.filter(app_label=app_label, model=model).first()
        if found is None or not pk:
            raise forms.ValidationError(_("There is no such row: “%s”.") % label)
        return found.pk, pk

    @cached_property
    def filters(self) -> Asked:
        """What is asked for, but for the text and the cause."""
        given = self.cleaned_data
        status = given["status"]
        statuses = tuple(TROUBLE) if status == IN_TROUBLE else (status,) if status else ()
        return Asked(
            statuses=statuses,
            error_code=given["error"],
            connection_id=given["connection"],
            event_ids=self._event_ids(),
            source=given["source"],
            since=self._since(),
            until=given["until"],
            row=given["row"],
        )

    @cached_property
    def asked(self) -> Asked:
        """What is asked for; a few queries where there is a text or a cause."""
        if cause := self.cleaned_data["cause"]:
            ids, _is_all = failures.of_cause(self.filters, cause)
            return Asked(ids=ids)
        return log.search(self.filters, self.cleaned_data["q"])

    @property
    def names_too_many(self) -> bool:
        """Whether the text names more than were looked at."""
        ids = self.asked.ids
        return not self.cleaned_data["cause"] and ids is not None and len(ids) >= NAMED

    def _event_ids(self) -> tuple[int, ...] | None:
        named, of_object = self.cleaned_data["event"], self.cleaned_data["object"]
        if not named and not of_object:
            return None
        return tuple(
            pk
            for pk, event in self.events.items()
            if named in ("", event.slug, _key(event)) and of_object in ("", event.crm_object.slug)
        )

    def _since(self) -> datetime | None:
        given: datetime | None = self.cleaned_data["since"]
        if when := self.cleaned_data["when"]:
            last = timezone.now() - _LAST[when][1]
            return last if given is None else max(last, given)
        return given
