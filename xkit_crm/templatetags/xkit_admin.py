"""For the console's own templates: `{% load xkit_admin %}`."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()


@register.inclusion_tag("admin/xkit_crm/_navigation.html", takes_context=True)
def console_navigation(context: dict[str, Any]) -> dict[str, Any]:
    """The way between the console's screens, as far as the user may look at them."""
    # Not above: every project that draws a template reads this module, with or without an admin.
    from xkit_crm.admin.navigation import entries

    return {"entries": entries(context["request"])}
