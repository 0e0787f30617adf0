"""What the templates of CRM Link ask of a row."""

from __future__ import annotations

from django import template
from django.utils.translation import gettext as _

from xkit_crm.crm_link import wording
from xkit_crm.crm_link.rows import Row
from xkit_crm.mapping.transformations import WriteMode

register = template.Library()
register.filter("type_name", wording.type_name)


@register.filter
def key_kinds(row: Row) -> list[tuple[str, str]]:
    """How a payload key can be sent."""
    return [
        ("direct", _("it is")),
        ("default", _("it is, or another value")),
        ("value_map", _("a translated value")),
    ]


@register.filter
def field_kinds(row: Row, action: str) -> list[tuple[str, str]]:
    """What a remote field can get."""
    found = [
        ("static", _("a fixed value")),
        ("direct", _("a value of the product")),
        ("default", _("a value, or another one")),
        ("value_map", _("a translated value")),
        ("template", _("a text with values in it")),
    ]
    return found if action == "search" else [*found, ("empty", _("nothing, on purpose"))]


@register.filter
def has_key(row: Row, keys: list[tuple[str, str]]) -> bool:
    return row.key in dict(keys)


@register.filter
def modes(row: Row) -> list[tuple[str, str]]:
    """When the field is written by an update, for which no record is new."""
    offered = [m for m in WriteMode if m is not WriteMode.ON_CREATE or m == row.mode]
    return [(str(mode), wording.mode_name(str(mode))) for mode in offered]
