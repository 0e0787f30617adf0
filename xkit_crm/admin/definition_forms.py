"""The forms of CRM objects and events: what they were made of, what may still change in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.forms.models import BaseInlineFormSet
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from xkit_crm import usage, versions
from xkit_crm.admin.schema_form import SchemaField
from xkit_crm.differences import same
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.models.base import locking
from xkit_crm.models.definition_version import Versioned
from xkit_crm.usage import Use
from xkit_crm.versions import Overtaken


class SeenField(forms.JSONField):
    """What the row said when the form was made of it."""

    widget = forms.HiddenInput

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class DefinitionForm(forms.ModelForm):
    """A form of which nobody overwrites unseen what others changed meanwhile.

    What somebody changed is told by what they were shown, not by what the row says now: so a form
    that was left alone changes nothing.
    """

    seen = SeenField(required=False)
    #: Who needs the row to be called what it is called.
    uses: Sequence[Use] = ()
    #: Whether somebody who saves it at this moment is waited for; what only looks need not.
    waits = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._state_is_new:
            return
        self.initial["seen"] = self.instance.as_document()
        if self.is_bound and (seen := self._shown()) is not None:
            self.initial.update({name: seen[name] for name in self.fields if name in seen})

    @property
    def _state_is_new(self) -> bool:
        return bool(self.instance._state.adding)

    def _shown(self) -> dict[str, Any] | None:
        """What whoever sent the form was shown; None where it doesn't say."""
        try:
            shown = SeenField().to_python(self.data.get(self.add_prefix("seen")))
        except forms.ValidationError:
            return None
        return shown if isinstance(shown, dict) else None

    def protect(self, uses: Sequence[Use]) -> None:
        """Show why the slug and the type can't be changed, where they can't."""
        self.uses = uses
        if not uses or "slug" not in self.fields:
            return
        why = _("Can't change any more: %(reasons)s.")
        self.fields["slug"].widget.attrs["readonly"] = True
        self.fields["slug"].help_text = why % {"reasons": _listed(uses)}
        needing = [use for use in uses if use.needs_type]
        kind: Any = self.fields.get("type")
        if needing and kind is not None:
            kind.choices = [one for one in kind.choices if one[0] == self.instance.type]
            alike = len(needing) == len(uses)
            kind.help_text = _("Nor can this.") if alike else why % {"reasons": _listed(needing)}

    def has_changed(self) -> bool:
        # Nobody begins with what is ticked and chosen already; and a card that was taken off the
        # page again sends nothing.
        if self._state_is_new:
            return any(name not in ("type", "active") for name in self.changed_data)
        return super().has_changed()

    def is_valid(self) -> bool:
        # Whoever looked at what it does and went back is shown their own input again.
        return "_edit" not in self.data and super().is_valid()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self._state_is_new or not self.has_changed() or (seen := self._shown()) is None:
            return cleaned
        rows = type(self.instance)._default_manager.all()
        if self.waits:
            rows = locking(rows)
        row: Versioned = rows.get(pk=self.instance.pk)
        overtaken = versions.since(row, seen)
        if overtaken and not self._says_the_same(row):
            self._show(overtaken, row)
        return cleaned

    def _says_the_same(self, row: Versioned) -> bool:
        """Whether the row says already what somebody wants it to."""
        said = row.as_document()
        return all(
            same(self.cleaned_data.get(name), said[name]) for name in self.fields if name in said
        )

    def _show(self, overtaken: Overtaken, row: Versioned) -> None:
        """Tell what others changed; what was typed stays, and is saved when it is sent again."""
        who = ", ".join(overtaken.authors) or _("Somebody else")
        told = _(
            "%(who)s changed this while you were editing. Nothing was saved. Look at what they "
            "changed; when you save again, what you typed takes its place."
        )
        changed = [str(change) for change in overtaken.changes]
        self.add_error(None, [told % {"who": who}, *changed])
        data: Any = self.data
        self.data = data = data.copy()
        data[self.add_prefix("seen")] = SeenField().prepare_value(row.as_document())


def _listed(uses: Sequence[Use]) -> str:
    shown = [use.reason for use in uses[:3]]
    if left := len(uses) - len(shown):
        shown.append(ngettext("and %d more", "and %d more", left) % left)
    return "; ".join(shown)


class ReadFieldsField(SchemaField):
    path = "fields"


class CRMObjectForm(DefinitionForm):
    class Meta:
        model = CRMObject
        fields = ["label", "slug", "description", "active", "fields"]
        field_classes = {"fields": ReadFieldsField}
        labels = {"fields": gettext_lazy("What the product reads back")}
        help_texts = {"fields": ""}


class LoneCRMObjectForm(CRMObjectForm):
    """The form of an object's own page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._state_is_new:
            self.protect(usage.of_object(self.instance))


class EventForm(DefinitionForm):
    class Meta:
        model = EventDefinition
        fields = ["crm_object", "label", "slug", "type", "description", "active", "payload_schema"]
        field_classes = {"payload_schema": SchemaField}
        labels = {"payload_schema": gettext_lazy("Payload: what the event carries")}
        help_texts = {"payload_schema": ""}


class LoneEventForm(EventForm):
    """The form of an event's own page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self._state_is_new:
            self.protect(usage.of_events([self.instance])[self.instance.pk])


class EventFormSet(BaseInlineFormSet):
    """The events of one CRM object."""

    @cached_property
    def uses(self) -> dict[int, list[Use]]:
        events = list(self.get_queryset())
        for event in events:
            event.crm_object = self.instance
        return usage.of_events(events)

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form: Any = super()._construct_form(i, **kwargs)  # type: ignore[misc]
        if form.instance.pk:
            form.protect(self.uses.get(form.instance.pk, ()))
        return form
