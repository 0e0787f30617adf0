"""Editing Xkit-flavored JSON block by block.

The box holds JSON and works as it stands; `schema-editor.js` puts blocks in its place. Those are
written as pairs, `[["name", {"type": "string"}]]`, so that a key that was typed twice or not at all
is still there when the form comes back.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from xkit_crm import schema
from xkit_crm.exceptions import Problem
from xkit_crm.schema.wording import at

#: What is said of a block that nobody has given a key yet.
NAMELESS = "a key has no name yet"


def read_blocks(shown: Any, path: str, problems: list[Problem]) -> Any:
    """The schema that the blocks mean; what is no list of pairs is given back as it is."""
    if not isinstance(shown, list) or not all(map(_is_pair, shown)):
        return shown
    found: dict[str, Any] = {}
    for key, description in shown:
        below = at(path, key)
        if not key:
            problems.append(Problem(path, NAMELESS))
        elif key in found:
            problems.append(Problem(below, _("is there twice")))
        found[key] = _read_description(description, below, problems)
    found.pop("", None)
    return found


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _read_description(shown: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(shown, dict):
        return shown
    read = dict(shown)
    if "properties" in shown:
        read["properties"] = read_blocks(shown["properties"], at(path, "properties"), problems)
    if "items" in shown:
        read["items"] = _read_description(shown["items"], at(path, "items"), problems)
    return read


class SchemaWidget(forms.Textarea):
    template_name = "admin/xkit_crm/schema_widget.html"

    class Media:
        js = ("xkit_crm/schema-editor.js",)


class SchemaError(forms.ValidationError):
    """One mistake, and where it is: the editor marks the box."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class SchemaField(forms.JSONField):
    """A form field for Xkit-flavored JSON; says everything that is wrong with it, each mistake as
    a `SchemaError`."""

    #: What the paths of mistakes begin with.
    path = "payloadSchema"

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"rows": 12, "spellcheck": "false"}
        # The model says how its column is edited; here the blocks do.
        mine = {"required": False, "widget": SchemaWidget(attrs), "show_hidden_initial": False}
        super().__init__(**{**kwargs, **mine})

    def prepare_value(self, value: Any) -> Any:
        # What came in with the request is shown as it came.
        return value if isinstance(value, str) else json.dumps(value or {}, ensure_ascii=False)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data

    def to_python(self, value: Any) -> Any:
        problems: list[Problem] = []
        try:
            shown = super().to_python(value)
            read = read_blocks(shown, self.path, problems) or {}
            problems += schema.check(read, path=self.path)
        except RecursionError:
            problems, read = [Problem(self.path, _("is nested too deep"))], {}
        if problems:
            raise forms.ValidationError([SchemaError(one) for one in dict.fromkeys(problems)])
        return schema.normalise(read)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            # The order of keys is what customers see.
            return json.dumps(self.to_python(data)) != json.dumps(initial or {})
        except forms.ValidationError:
            return True
