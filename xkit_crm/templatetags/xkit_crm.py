"""For a product's own templates: `{% load xkit_crm %}`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from django import template
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from xkit_crm import panel
from xkit_crm.crm_link.tokens import link_token
from xkit_crm.permissions import OPERATE, may

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


@register.inclusion_tag("xkit_crm/panel/records.html", takes_context=True)
def crm_records(
    context: Any,
    instance: Model,
    *,
    among: Iterable[Model] | None = None,
    site: str = "admin",
) -> dict[str, Any]:
    """The CRM records of a row, each with how it stands and a link into the CRM.

    `among` are all the rows that the page shows, so that they are read at once. Who may see the
    page may see this: it shows no values. Operators who are staff get a button to sync the row
    now, where its model's admin has `CRMRecordsMixin`: in the admin site of this name. The page
    loads `xkit_crm/records.css`.
    """
    known = _records_among(context, among) if among is not None else {}
    key = (type(instance), instance.pk)
    records = known[key] if key in known else panel.records_of(instance)
    request = context.get("request")
    user = getattr(request, "user", None)
    operates = request is not None and getattr(user, "is_staff", False) and may(user, OPERATE)
    return {
        "places": records.places,
        "more": records.more,
        "sync_url": _sync_url(instance, site) if operates else "",
        "next": request.get_full_path() if operates else "",
        "csrf_token": context.get("csrf_token"),
    }


def _records_among(
    context: Any, among: Iterable[Model]
) -> dict[tuple[type[Model], Any], panel.Records]:
    """What is known of all of these rows, read once for the page."""
    kept = context.render_context.setdefault("xkit_crm.records", {})
    if id(among) not in kept:
        found: dict[tuple[type[Model], Any], panel.Records] = {}
        for model in dict.fromkeys(map(type, among)):
            rows = [row for row in among if type(row) is model]
            read = panel.records_of_rows(rows)
            found |= {(model, pk): records for pk, records in read.items()}
        # The rows are kept too, or something else may come to have their id.
        kept[id(among)] = (among, found)
    known: dict[tuple[type[Model], Any], panel.Records] = kept[id(among)][1]
    return known


def _sync_url(instance: Model, site: str) -> str:
    """Where the row's admin page takes "Sync now"; empty where it doesn't."""
    # Not above: every project that draws a template reads this module, with or without an admin.
    from django.contrib.admin.utils import quote

    meta = instance._meta
    try:
        name = f"{site}:{meta.app_label}_{meta.model_name}_crm_sync"
        return reverse(name, args=[quote(instance.pk)])
    except NoReverseMatch:
        return ""
