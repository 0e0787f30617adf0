"""Who asks: HTTP Basic with a publishable key and its secret, over HTTPS."""

from __future__ import annotations

import base64
import binascii
import ipaddress

from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from xkit_crm.conf import settings
from xkit_crm.exceptions import HTTPSRequired, Unauthenticated
from xkit_crm.models import APIKey

#: A request that has one of these came through a proxy.
_PROXY_HEADERS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded", "Via")
CHALLENGE = 'Basic realm="xkit_crm"'


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Basic base64(publishable key:secret key)`; raises `Unauthenticated`."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, APIKey]:
        require_https(request)
        publishable_key, secret = _credentials(request.headers.get("Authorization", ""))
        key = APIKey.objects.authenticate(publishable_key, secret)
        if key is None:
            raise Unauthenticated(
                "The API key is wrong or was revoked.",
                hint="Check both halves; manage.py xkit_apikey list shows which keys are live.",
            )
        return AnonymousUser(), key

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


def _credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    publishable_key, separator, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not separator or "\0" in decoded:
        raise Unauthenticated(
            "An API key is needed.",
            hint="Send Authorization: Basic base64(publishable key:secret key).",
        )
    return publishable_key, secret


def require_https(request: Request) -> None:
    """Refuse plain HTTP where keys could be read on the way; raises `HTTPSRequired`."""
    required = settings.REQUIRE_HTTPS
    if required is None:
        required = not django_settings.DEBUG
    if required and not request.is_secure() and not _is_loopback(request):
        raise HTTPSRequired(
            "API keys go over HTTPS only.",
            hint="Use https://. Behind a proxy that ends TLS, set SECURE_PROXY_SSL_HEADER.",
        )


def _is_loopback(request: Request) -> bool:
    """Whether it never left this machine; a local proxy's own address doesn't say so."""
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    host = request.get_host().rpartition(":")[0] or request.get_host()
    if host not in ("localhost", "testserver") and not _loopback_address(host.strip("[]")):
        return False
    return _loopback_address(request.META.get("REMOTE_ADDR", ""))


def _loopback_address(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the OpenAPI document about it."""

    target_class = KeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "basic",
            "description": "The publishable key as user name, the secret key as password.",
        }
