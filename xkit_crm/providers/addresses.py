"""Which addresses a CRM may be called at: those that are public, and hosts that the operator named.

Looked at when the URL is given, before its host is connected to, and once it is.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError

_PRIVATE_HINT = 'A CRM in your own network has to be named in XKIT_CRM["PRIVATE_HOSTS"].'
#: NAT64 (RFC 6052), and addresses that were to be compatible with IPv4.
_WITH_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
#: NAT64 for one's own network (RFC 8215).
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")


def require_allowed(url: str) -> None:
    """Raise `ConfigurationError` for an address that may not be called: tokens are sent over
    HTTPS only, except to hosts that the operator named."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.username or parts.password:
        raise ConfigurationError(f"{parts.hostname or url!r} is no address of a CRM.")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_named(host)):
        return
    raise ConfigurationError(f"The CRM at {host} has to be called over HTTPS.", hint=_PRIVATE_HINT)


def _is_named(host: str) -> bool:
    return host.lower() in {name.lower() for name in settings.PRIVATE_HOSTS}


def _require_public(host: str, addresses: Iterable[str]) -> None:
    """Raise `ConfigurationError` for a host inside the operator's own network."""
    if not _is_named(host) and not all(map(is_public, addresses)):
        raise ConfigurationError(f"{host} is inside a private network.", hint=_PRIVATE_HINT)


def _leads_to(connection: HTTPConnection) -> list[str]:
    """The addresses of a connection's host; none where its name is not known."""
    try:
        found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except OSError:
        return []  # connecting says so
    return [str(address[0]) for *_, address in found]


def is_public(address: str) -> bool:
    """Whether an IP address is somebody else's. An IPv4 address within an IPv6 one is judged by
    itself: a gateway may lead to it."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is None and any(found in network for network in _WITH_IPV4):
            inner = IPv4Address(found.packed[-4:])
        if found in _LOCAL_NAT64 or found.is_site_local:
            return False
        found = inner or found
    return found.is_global and not found.is_multicast


class _HTTPConnection(HTTPConnection):
    def _new_conn(self) -> Any:
        _require_public(self.host, _leads_to(self))
        return _checked(self, super()._new_conn())


class _HTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> Any:
        _require_public(self.host, _leads_to(self))
        return _checked(self, super()._new_conn())


def _checked(connection: HTTPConnection, made: Any) -> Any:
    """Looked at before, so that nobody learns which doors of the network are open; and what was in
    fact connected to, before anything is said to it: a name may lead elsewhere a moment later."""
    try:
        _require_public(connection.host, [made.getpeername()[0]])
    except BaseException:
        made.close()
        raise
    return made


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class PublicOnly(HTTPAdapter):
    """Looks whom it has connected to. A proxy of the environment is the operator's own choice, and
    decides for itself what may be reached through it."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
