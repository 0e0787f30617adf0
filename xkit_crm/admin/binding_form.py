"""The form in which an operator makes a binding.

What can be chosen depends on what was chosen before, so the page has its parts renewed by the
server (`binding_renewing.py`). What is wrong with a binding, the layer below tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from typing import Any, Final

from django import forms
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.forms.models import construct_instance
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xkit_crm import schema
from xkit_crm.admin.path_pickers import (
    ConditionWidget,
    PathWidget,
    PayloadWidget,
    Picker,
    RuleRow,
    box_for,
    grouped,
    wanted,
)
from xkit_crm.exceptions import Problem
from xkit_crm.models import CRMObject, EventDefinition, ModelBinding
from xkit_crm.sync import readable
from xkit_crm.sync.bindings import MOMENTS
from xkit_crm.sync.conditions import Operator
from xkit_crm.sync.model_bindings import problems_of
from xkit_crm.sync.readable import Readable

#: What an operator asks the condition to be: `add`, or `remove:<n>`.
RULE: Final = "_rule"
#: Says that the form is being filled in, and not sent to be saved.
RENEWED: Final = "_renewed"


class RowField(forms.TypedChoiceField):
    """One of some rows that were read already, so that choosing costs no query. What else can be
    chosen is renewed with it."""

    widget = forms.Select(attrs={"class": "xkit-renews"})

    def offer(self, rows: Iterable[models.Model], choices: list[Any]) -> None:
        self.rows = {str(row.pk): row for row in rows}
        self.choices = choices
        self.coerce = self._row
        self.empty_value = None

    def _row(self, value: Any) -> models.Model:
        """The row of a key that was sent, or of the one that there was before."""
        row = self.rows.get(str(value))
        if row is None:
            raise ValueError(value)
        return row

    def prepare_value(self, value: Any) -> Any:
        return getattr(value, "pk", value)

    def valid_value(self, value: Any) -> bool:
        return str(value) in self.rows


class PayloadField(forms.Field):
    widget = PayloadWidget


class ConditionField(forms.Field):
    widget = ConditionWidget

    def to_python(self, value: Any) -> Any:
        return value or []


class PathField(forms.CharField):
    widget = PathWidget


class BindingForm(forms.ModelForm):
    """Everything of a `ModelBinding`; drawn by `modelbinding/_parts.html`."""

    model = RowField(label=gettext_lazy("Model"))
    crm_object = RowField(label=gettext_lazy("CRM object"))
    on_create = RowField(label=gettext_lazy("On create"), required=False)
    on_update = RowField(label=gettext_lazy("On update"), required=False)
    on_delete = RowField(label=gettext_lazy("On delete"), required=False)
    payload = PayloadField(required=False)
    condition = ConditionField(required=False)
    connection_path = PathField(label=gettext_lazy("Connection id"), max_length=200)

    class Meta:
        model = ModelBinding
        fields = [
            "model",
            "crm_object",
            *MOMENTS,
            "payload",
            "condition",
            "connection_path",
            "active",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "model" in self.fields:  # which somebody who may only look doesn't have
            self._offer_models()
            self._offer_objects()
            self._offer_events()

    def _offer_models(self) -> None:
        offered = readable.bindable_models()
        types = ContentType.objects.get_for_models(*offered)
        choices: list[Any] = [("", _("Choose a model"))]
        for app, found in groupby(offered, readable.app_name):
            choices.append((app, [(types[one].pk, readable.model_name(one)) for one in found]))
        rows = list(types.values())
        if self.instance.model_id and self.instance.model not in rows:
            rows.append(self.instance.model)
            choices.append((_("Other"), [(self.instance.model_id, str(self.instance.model))]))
        self._rows("model").offer(rows, choices)

    def _offer_objects(self) -> None:
        active = models.Q(active=True) | models.Q(pk=self.instance.crm_object_id)
        rows = list(CRMObject.objects.filter(active).order_by("label", "slug"))
        choices = [(row.pk, f"{row.label} · {row.slug}") for row in rows]
        self._rows("crm_object").offer(rows, [("", _("Choose a CRM object")), *choices])

    def _offer_events(self) -> None:
        chosen = self._rows("crm_object").rows.get(self._chosen("crm_object"))
        rows = []
        if isinstance(chosen, CRMObject):
            rows = list(EventDefinition.objects.filter(crm_object=chosen))
            for row in rows:
                row.crm_object = chosen
        for moment, kind in MOMENTS.items():
            fitting = [row for row in rows if row.type == kind]
            off = _("not active")
            choices = [
                (row.pk, f"{row.label} · {row.slug}" + ("" if row.active else f" ({off})"))
                for row in fitting
            ]
            self._rows(moment).offer(fitting, [("", "—"), *choices])

    def _rows(self, name: str) -> RowField:
        found = self.fields[name]
        assert isinstance(found, RowField)
        return found

    def _chosen(self, name: str) -> str:
        """The key of the row that is chosen there, as text."""
        given = self.data.get(name) if self.is_bound else self[name].initial
        return str(getattr(given, "pk", given) or "")

    # -- what is chosen

    @cached_property
    def bound_model(self) -> type[models.Model] | None:
        """The model that is chosen, where there is one."""
        found = self._rows("model").rows.get(self._chosen("model"))
        return found.model_class() if isinstance(found, ContentType) else None

    @cached_property
    def keys(self) -> dict[str, tuple[Mapping[str, Any], bool]]:
        """The payload keys of the events, `address.city` for a part of an object: each one's
        description, and whether one requires it."""
        keys: dict[str, tuple[Mapping[str, Any], bool]] = {}
        for moment in MOMENTS:
            event = self._rows(moment).rows.get(self._chosen(moment))
            schema_ = event.payload_schema if isinstance(event, EventDefinition) else {}
            for key, description in _with_parts(schema_):
                known, required = keys.get(key, (description, False))
                keys[key] = (known, required or bool(description.get("required")))
        return keys

    @cached_property
    def paths(self) -> list[Readable]:
        return readable.paths_of(self.bound_model) if self.bound_model else []

    @cached_property
    def problems(self) -> list[Problem]:
        """What is wrong with what was sent, once there is something to be wrong."""
        chosen = self.instance.model_id and self.instance.crm_object_id
        return list(problems_of(self.instance)) if self.is_bound and chosen else []

    def _errors_at(self, path: str, *, below: bool = True) -> tuple[str, ...]:
        """Those at a path, also below it, as far as they were sent to be saved."""
        found = self.problems if self.is_sent else []
        return tuple(p.error for p in found if (p.is_at(path) if below else p.path == path))

    def _post_clean(self) -> None:
        if self.is_sent:
            super()._post_clean()  # type: ignore[misc]
        else:
            construct_instance(self, self.instance, self._meta.fields)

    @property
    def is_sent(self) -> bool:
        """Whether it was sent to be saved, and is not just being filled in."""
        return self.is_bound and RENEWED not in self.data

    def row(self) -> ModelBinding | None:
        """What is filled in so far; None before there is a model and a CRM object."""
        self.full_clean()
        chosen = self.instance.model_id and self.instance.crm_object_id
        return self.instance if chosen else None

    # -- what is drawn

    def pickers(self) -> Iterator[Picker]:
        """One for each payload key, then those that no event has any more."""
        given = self["payload"].value()
        given = given if isinstance(given, Mapping) else {}
        stale: dict[str, tuple[Mapping[str, Any], bool]] = {
            str(key): ({}, False) for key in given if key not in self.keys
        }
        for key, (description, required) in {**self.keys, **stale}.items():
            fitting = [one for one in self.paths if one.kind.fits(description)]
            yield Picker(
                f"payload:{key}",
                schema.label_for(key, description),
                str(given.get(key, "")),
                grouped(fitting, self._own_name),
                required,
                wanted(description),
                str(description.get("description", "")),
                self._errors_at(f"payload.{key}", below=False),
            )

    def connection_picker(self) -> Picker:
        """That of the connection's id."""
        errors = self.errors.get("connection_path", ()) if self.is_sent else ()
        return Picker(
            "connection_path",
            str(self.fields["connection_path"].label),
            str(self["connection_path"].value() or ""),
            grouped(readable.connection_paths(self.paths), self._own_name),
            required=True,
            errors=tuple(map(str, errors)),
        )

    def rules(self) -> Iterator[RuleRow]:
        """One row for each rule, and an empty one where that was asked for."""
        given = self["condition"].value()
        rules = list(given) if isinstance(given, list) else []
        if self.is_bound and self.data.get(RULE) == "add":
            rules.append({})
        known = {one.path: one for one in self.paths}
        groups = grouped(self.paths, self._own_name)
        for index, rule in enumerate(rules):
            said: Mapping[str, Any] = rule if isinstance(rule, Mapping) else {}
            path, operator = str(said.get("path", "")), str(said.get("operator") or Operator.IS)
            where = f"condition[{index}]"
            picker = Picker(
                f"condition:{index}:path",
                _("Field"),
                path,
                groups,
                errors=self._errors_at(f"{where}.path"),
            )
            box, choices = box_for(known.get(path), operator)
            errors = (*self._errors_at(f"{where}.operator"), *self._errors_at(f"{where}.value"))
            yield RuleRow(index, picker, operator, said.get("value", ""), box, choices, errors)

    @property
    def _own_name(self) -> str:
        return readable.model_name(self.bound_model) if self.bound_model else ""


def _with_parts(
    described: Mapping[str, Any], above: str = "", heading: str = "", *, required: bool = True
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each key with its description, and each part of an object under the object's name."""
    for name, description in described.items():
        label = heading + schema.label_for(name, description)
        is_required = required and bool(description.get("required"))
        yield f"{above}{name}", {**description, "label": label, "required": is_required}
        inside = description.get("properties") or {}
        yield from _with_parts(inside, f"{above}{name}.", f"{label} › ", required=is_required)
