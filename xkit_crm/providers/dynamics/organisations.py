"""Where an organisation is, and where its people sign in: in which of Microsoft's clouds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from xkit_crm.exceptions import AddressRefused

#: Where organisations are, and where people sign in to each of Microsoft's clouds.
_LOGIN = "login.microsoftonline.com"
_CLOUDS = {
    ".dynamics.com": _LOGIN,
    ".microsoftdynamics.us": "login.microsoftonline.us",
    ".appsplatform.us": "login.microsoftonline.us",
    ".dynamics.cn": "login.partner.microsoftonline.cn",
}
_ORGANISATION = re.compile(r"[a-z0-9][a-z0-9-]*(\.api)?\.crm\d*")


def address_of(given: Mapping[str, Any]) -> str:
    """The address without what stands behind the host; raises `AddressRefused` where it is
    none of Microsoft's, so that no token is sent to anybody else."""
    said = str(given.get("url", "")).strip()
    try:
        parts = urlsplit(said if "//" in said else f"https://{said}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port = "", None
    end = next((end for end in _CLOUDS if host.endswith(end)), "")
    known = end and _ORGANISATION.fullmatch(host.removesuffix(end))
    if not known or port not in (None, 443):
        raise AddressRefused(
            f"{said!r} is no address of a Dynamics 365 organisation.",
            hint="It is such as https://contoso.crm4.dynamics.com.",
        )
    return f"https://{host.replace('.api.crm', '.crm')}"


def login_of(address: str) -> str:
    """The host at which the people of the organisation at this address sign in."""
    hosts = (login for end, login in _CLOUDS.items() if address.endswith(end))
    return next(hosts, _LOGIN)
