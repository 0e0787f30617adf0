"""A binding that is being filled in: what is in its form's boxes after each choice."""

from __future__ import annotations

from django.db import models
from django.http import QueryDict

from xkit_crm.admin.base import number
from xkit_crm.admin.binding_form import RENEWED, RULE, BindingForm
from xkit_crm.admin.path_pickers import picked
from xkit_crm.models import EventDefinition, ModelBinding
from xkit_crm.sync import readable
from xkit_crm.sync.bindings import MOMENTS
from xkit_crm.sync.payloads import path_problem


def in_work(sent: QueryDict, instance: ModelBinding | None) -> BindingForm:
    """The form as it is being filled in: nothing is required of it yet."""
    data = sent.copy()
    data[RENEWED] = "yes"
    return BindingForm(data, instance=instance)


def renewed(sent: QueryDict, instance: ModelBinding | None) -> BindingForm:
    """The same after a choice, with what depended on it chosen anew.

    With another CRM object, its event of each type where it has one only. With another model, or
    with a payload key that is new, the model's own path that is called like the key.
    """
    data = sent.copy()
    if data.get("was:crm_object") != data.get("crm_object"):
        _choose_events(data)
    _choose_paths(data, in_work(data, instance))
    action, _colon, index = data.get(RULE, "").partition(":")
    if action == "remove":
        _drop(data, f"condition:{index}:")
    return in_work(data, instance)


def _choose_events(data: QueryDict) -> None:
    events = EventDefinition.objects.filter(crm_object=number(data.get("crm_object", "")))
    by_type: dict[str, list[int]] = {}
    for pk, kind in events.filter(active=True).values_list("pk", "type"):
        by_type.setdefault(kind, []).append(pk)
    for moment, kind in MOMENTS.items():
        found = by_type.get(kind, [])
        data[moment] = str(found[0]) if len(found) == 1 else ""


def _choose_paths(data: QueryDict, form: BindingForm) -> None:
    model = form.bound_model
    is_other = data.get("was:model") != data.get("model")
    for key, (description, _required) in form.keys.items():
        name = f"payload:{key}"
        if name not in data or (is_other and not _still_leads(model, picked(data, name))):
            data[name] = readable.proposed(key, description, form.paths)
    for name in [one for one in data if one.startswith("payload:")]:
        if name.split(":")[1] not in form.keys:
            del data[name]
    if is_other:
        _drop(data, "condition:")
        if not _still_leads(model, picked(data, "connection_path")):
            data["connection_path"] = readable.likely_connection(form.paths)


def _still_leads(model: type[models.Model] | None, path: str) -> bool:
    return bool(model and path and not path_problem(path, model))


def _drop(data: QueryDict, beginning: str) -> None:
    for name in [one for one in data if one.startswith(beginning)]:
        del data[name]
