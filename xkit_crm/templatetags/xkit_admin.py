"""For the console's own templates: `{% load xkit_admin %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.apps import apps
from django.utils.safestring import SafeString
from django_htmx.jinja import htmx_script

from xkit_crm.schema.language import FORMATS, KEYWORDS, TEXT, TYPES

register = template.Library()


@register.inclusion_tag("admin/xkit_crm/_navigation.html", takes_context=True)
def console_navigation(context: dict[str, Any]) -> dict[str, Any]:
    """The way between the console's screens, as far as the user may look at them."""
    # Not above: every project that draws a template reads this module, with or without an admin.
    from xkit_crm.admin.navigation import entries

    return {"entries": entries(context["request"])}


@register.simple_tag(takes_context=True)
def console_groups(context: dict[str, Any]) -> list[Any]:
    """Every screen by what it is for, on the console's first page."""
    from xkit_crm.admin.index import groups

    models = [model for app in context["app_list"] for model in app["models"]]
    return list(groups(context["request"], models))


@register.simple_tag(takes_context=True)
def console_htmx(context: dict[str, Any]) -> SafeString | str:
    """htmx, once: django-unfold brings its own, and two would send every request twice."""
    return "" if apps.is_installed("unfold") else htmx_script(nonce=context.get("csp_nonce"))


@register.inclusion_tag("admin/xkit_crm/_schema_blocks.html")
def schema_blocks() -> dict[str, Any]:
    """What the editor of schemas is built of, once a page."""
    kinds = {keyword: " ".join(types) for keyword, types in KEYWORDS.items()}
    return {"types": TYPES, "formats": [TEXT, *FORMATS], "kinds": kinds}
