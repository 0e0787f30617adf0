"""The way between the console's screens, shown on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from xkit_crm.permissions import DEFINE, MANAGE_CREDENTIALS, OPERATE, SEE_PAYLOADS, may

#: Label, the name of its page in the admin (behind `xkit_crm_`), and what lets somebody see it.
SCREENS: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (
        _("Overview"),
        "overview",
        ("xkit_crm.view_connection", OPERATE, MANAGE_CREDENTIALS),
    ),
    (_("Invocations"), "invocation_changelist", ("xkit_crm.view_invocation",)),
    (_("Failures"), "failures", ("xkit_crm.view_invocation",)),
    (
        _("Connections"),
        "connection_changelist",
        ("xkit_crm.view_connection", OPERATE, MANAGE_CREDENTIALS),
    ),
    (_("Try an event"), "invocation_try", (SEE_PAYLOADS,)),
    (_("Record links"), "recordlink_changelist", ("xkit_crm.view_recordlink", OPERATE)),
    (_("Definitions"), "crmobject_changelist", ("xkit_crm.view_crmobject", DEFINE)),
    (_("Bindings"), "modelbinding_changelist", ("xkit_crm.view_modelbinding", DEFINE)),
)


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    label: str
    url: str
    is_current: bool


def entries(request: HttpRequest) -> Iterator[Entry]:
    """The screens that the user may look at, in order; not those that the product has taken out of
    its admin."""
    match = request.resolver_match
    for label, name, permissions in SCREENS:
        if not any(may(request.user, permission) for permission in permissions):
            continue
        url_name = f"xkit_crm_{name}"
        try:
            url = reverse(f"admin:{url_name}")
        except NoReverseMatch:
            continue
        yield Entry(name, str(label), url, match is not None and match.url_name == url_name)
