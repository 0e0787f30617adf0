"""For the console's own templates: `{% load xkit_admin %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.apps import apps
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_htmx.jinja import htmx_script

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


@register.inclusion_tag("admin/xkit_crm/trying/_button.html", takes_context=True)
def console_try(context: dict[str, Any]) -> dict[str, Any]:
    """The button on the page of an event, a connection or a record link that tries an event."""
    from xkit_crm.admin.trying import address_from

    return {"address": address_from(context["request"], context.get("original"))}


@register.simple_tag(takes_context=True)
def console_htmx(context: dict[str, Any]) -> SafeString:
    """htmx, once: django-unfold brings its own, and two would send every request twice. It writes
    no style and evaluates no text, so that a strict policy holds."""
    script = htmx_script(nonce=context.get("csp_nonce"))
    config = '{"includeIndicatorStyles": false, "allowEval": false}'
    return format_html(
        '<meta name="htmx-config" content="{}">{}',
        config,
        "" if apps.is_installed("unfold") else script,
    )
