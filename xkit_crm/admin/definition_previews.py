"""What a definition makes, beside its form, while somebody types. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from xkit_crm import schema
from xkit_crm.admin.base import number
from xkit_crm.admin.definition_forms import CRMObjectForm, DefinitionForm, EventForm
from xkit_crm.admin.schema_form import NAMELESS, SchemaError
from xkit_crm.api.examples import examples
from xkit_crm.exceptions import Problem
from xkit_crm.models import CRMObject, EventDefinition
from xkit_crm.reviewing import Review
from xkit_crm.states import Edit, State


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that can be looked at and copied."""

    name: str
    title: str
    text: str
    note: str = ""
    is_open: bool = False


def preview_event(request: HttpRequest) -> dict[str, Any]:
    """What a posted form of an event makes, for `_preview.html`."""
    row = _row(request, EventDefinition.objects.select_related("crm_object"))
    crm_object = row.crm_object if row else _crm_object(request)
    before = State.of(row) if row else None
    form = EventForm(
        request.POST,
        prefix=request.POST.get("prefix") or None,
        instance=row or EventDefinition(crm_object=crm_object),
    )
    if "crm_object" in form.fields:
        del form.fields["crm_object"]
    found = _found(form, before)
    payload_schema = form.cleaned_data.get("payload_schema")
    if payload_schema is not None:
        found["parts"] = list(_of_event(request, form, crm_object.slug, payload_schema))
    return found


def preview_object(request: HttpRequest) -> dict[str, Any]:
    """What a posted form of a CRM object makes, for `_preview.html`."""
    row = _row(request, CRMObject.objects.all())
    before = State.of(row) if row else None
    form = CRMObjectForm(request.POST, instance=row)
    found = _found(form, before)
    fields = form.cleaned_data.get("fields")
    if fields is not None:
        found["parts"] = list(_of_object(fields))
    return found


def _row(request: HttpRequest, rows: Any) -> Any:
    return rows.filter(pk=number(request.POST.get("pk", "")) or 0).first()


def _crm_object(request: HttpRequest) -> CRMObject:
    """The object of an event that is being made, perhaps together with it."""
    pk = number(request.POST.get("crm_object", "")) or 0
    found = CRMObject.objects.filter(pk=pk).first()
    slug = request.POST.get("slug", "") if request.POST.get("prefix") else ""
    return found or CRMObject(slug=slug or "OBJECT")


def _found(form: DefinitionForm, before: State | None) -> dict[str, Any]:
    """What is wrong with a form, and what saving it would do."""
    form.waits = False
    problems, needed = list(_problems(form)), list(_needed(form))
    if form.errors or before is None:
        return {"problems": problems, "needed": ", ".join(needed)}
    edit = Edit(before, State.of(form.instance))
    if edit.is_none:
        return {}
    review = Review.of([edit])
    # Of what it is, is said by where it stands.
    head = f"{edit.state.path}."
    effects = (replace(one, path=one.path.removeprefix(head)) for one in review.effects)
    return {"review": replace(review, effects=tuple(effects))}


def _needed(form: DefinitionForm) -> Iterator[str]:
    """What nobody has come to yet."""
    for name, errors in form.errors.as_data().items():
        if any(error.code == "required" for error in errors):
            yield str(form.fields[name].label).lower()
        if any(map(_is_nameless, errors)):
            yield _("the name of a key")


def _problems(form: DefinitionForm) -> Iterator[Problem]:
    for name, errors in form.errors.as_data().items():
        label = form.fields[name].label if name in form.fields else ""
        for error in errors:
            if _is_nameless(error):
                continue
            if isinstance(error, SchemaError):
                yield error.problem
            elif error.code != "required":
                for message in error.messages:
                    yield Problem("", f"{label}: {message}" if label else message)


def _is_nameless(error: Exception) -> bool:
    return isinstance(error, SchemaError) and error.problem.error == NAMELESS


def _of_event(
    request: HttpRequest, form: EventForm, crm_object: str, payload_schema: dict[str, Any]
) -> Iterator[Part]:
    sample = schema.sample(payload_schema)
    slug = form.cleaned_data.get("slug") or "EVENT"
    lines = examples(
        crm_object,
        slug,
        form.cleaned_data.get("type") or "",
        sample,
        absolute=request.build_absolute_uri,
    )
    mount = 'path("api/v1/", include("xkit_crm.api.urls"))'
    note = "" if lines.is_mounted else _("Add %(mount)s to your urls first.") % {"mount": mount}
    yield Part("sample", _("Sample payload"), _json(sample), is_open=True)
    yield Part("curl", _("With curl"), lines.curl, note, is_open=True)
    yield Part("python", _("In Python"), lines.python)
    yield Part("schema", _("This schema as JSON"), _json(payload_schema))
    title = form.cleaned_data.get("label")
    translated = schema.json_schema(payload_schema, title=title)
    yield Part("json_schema", _("JSON Schema"), _json(translated))


def _of_object(fields: dict[str, Any]) -> Iterator[Part]:
    read = _json(schema.sample(fields))
    yield Part("sample", _("What an answer holds"), read, is_open=bool(fields))
    yield Part("schema", _("These fields as JSON"), _json(fields))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
