"""For the console's own templates: `{% load xkit_admin %}`."""

from __future__ import annotations

from datetime import datetime
from math import floor
from typing import Any

from django import template
from django.apps import apps
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_htmx.jinja import htmx_script

from xkit_crm.crm_link import wording
from xkit_crm.schema.language import FORMATS, KEYWORDS, TEXT, TYPES

register = template.Library()


@register.inclusion_tag("admin/xkit_crm/_navigation.html", takes_context=True)
def console_navigation(context: dict[str, Any], *, named: bool = False) -> dict[str, Any]:
    """The way between the console's screens, as far as the user may look at them; `named` where
    the page doesn't say whose they are."""
    # Not above: every project that draws a template reads this module, with or without an admin.
    from xkit_crm.admin.navigation import entries

    return {"entries": list(entries(context["request"])), "named": named}


@register.simple_tag(takes_context=True)
def console_groups(context: dict[str, Any]) -> list[Any]:
    """Every screen by what it is for, on the console's first page."""
    from xkit_crm.admin.index import groups

    models = [model for app in context["app_list"] for model in app["models"]]
    return list(groups(context["request"], models))


@register.inclusion_tag("admin/xkit_crm/trying/_button.html", takes_context=True)
def console_try(context: dict[str, Any]) -> dict[str, Any]:
    """The button on the page of an event, a connection or a record link that tries an event."""
    from xkit_crm.admin.trying_choice import address_from

    return {"address": address_from(context["request"], context.get("original"))}


@register.simple_tag(takes_context=True)
def console_heading(context: dict[str, Any]) -> SafeString | str:
    """A page's title, where the admin's dress doesn't show it: django-unfold's names the model."""
    if not apps.is_installed("unfold"):
        return ""
    return format_html('<h1 class="xkit-title">{}</h1>', context["title"])


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


@register.filter
def took(seconds: float | None) -> SafeString:
    """A duration as people say it; a dash for None."""
    from xkit_crm.admin.charts import took as said

    return _isolated(said(seconds))


@register.filter
def grouped(count: int) -> str:
    """A count with its thousands set apart."""
    from xkit_crm.admin.charts import number

    return number(count)


@register.filter
def age(moment: datetime | None) -> SafeString:
    """How long ago it was, as people say it; a dash for None."""
    return took(None if moment is None else (timezone.now() - moment).total_seconds())


@register.filter
def per_cent(share: float | None) -> SafeString:
    """A share of 1 as people say it; a dash for None. What isn't all is never shown as all."""
    if share is None:
        return _isolated("—")
    value = floor(share * 1000) / 10
    return _isolated(f"{number_format(value, 0 if value == int(value) else 1)} %")


def _isolated(text: str) -> SafeString:
    """A number stays in front of its unit, also where one reads from the right."""
    return format_html("<bdi>{}</bdi>", text)


@register.filter
def crm_value(value: Any) -> str:
    """A value of a CRM's record as a person reads it."""
    return wording.shown(value)


@register.inclusion_tag("admin/xkit_crm/_schema_blocks.html")
def schema_blocks() -> dict[str, Any]:
    """What the editor of schemas is built of, once a page."""
    kinds = {keyword: " ".join(types) for keyword, types in KEYWORDS.items()}
    return {"types": TYPES, "formats": [TEXT, *FORMATS], "kinds": kinds}
