"""For a product's own templates: `{% load xkit_crm %}`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django import template
from django.urls import reverse
from django.utils.translation import gettext as _

from xkit_crm.crm_link.tokens import link_token

register = template.Library()


@register.inclusion_tag("xkit_crm/link/button.html")
def crm_link_button(
    context: Any,
    connection: Any = None,
    *,
    label: str = "",
    next: str = "",  # noqa: A002 - as in Django's own forms
    crm: str = "",
    author: Any = "",
    css: str = "",
) -> dict[str, Any]:
    """A button that opens CRM Link for this customer.

    `context` is your own id of the customer, `connection` the id of their connection (there need
    be none yet; without one each click makes a new connection), `next` the page to go to when it
    is done, `crm` the slug of a CRM that is chosen already, `author` who decides, `css` a class.
    The page must be one that only this customer's own people see: the button holds their token.
    """
    if getattr(author, "is_anonymous", False):
        author = ""
    connection_id = getattr(connection, "pk", connection) or None
    return {
        "base": reverse("xkit_crm_link:script").removesuffix("crm-link.js"),
        "script": reverse("xkit_crm_link:script"),
        "token": link_token(context, connection_id, author=author),
        "connection": connection_id or "",
        "label": label or _("Connect your CRM"),
        "next": next,
        "crm": crm,
        "css": css,
        "said": f"crm-link-said-{uuid4().hex}",
    }
