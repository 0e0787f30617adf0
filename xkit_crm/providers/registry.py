"""The providers there are, and the one that a connection talks through."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import entry_points

from django.apps import apps
from django.utils.module_loading import import_string

from xkit_crm import logs
from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError, XkitError
from xkit_crm.models import Connection
from xkit_crm.providers.base import Access, Provider
from xkit_crm.providers.renewing import renew, renew_given
from xkit_crm.redaction import redact

logger = logging.getLogger(__name__)

BUILT_IN: Mapping[str, str] = {
    "sandbox": "xkit_crm.providers.sandbox.provider.SandboxProvider",
    "salesforce": "xkit_crm.providers.salesforce.provider.SalesforceProvider",
    "hubspot": "xkit_crm.providers.hubspot.HubSpotProvider",
    "pipedrive": "xkit_crm.providers.pipedrive.provider.PipedriveProvider",
    "zoho": "xkit_crm.providers.zoho.provider.ZohoProvider",
    "dynamics": "xkit_crm.providers.dynamics.provider.DynamicsProvider",
    "odoo": "xkit_crm.providers.odoo.provider.OdooProvider",
    "tryton": "xkit_crm.providers.tryton.TrytonProvider",
    "xkit": "xkit_crm.providers.xkit.XkitProvider",
}


#: Where installed packages name providers of their own, as slug = module:Class.
ENTRY_POINTS = "xkit_crm.providers"


@cache
def _installed() -> dict[str, str]:
    return {
        point.name: f"{point.module}.{point.attr}" for point in entry_points(group=ENTRY_POINTS)
    }


def available() -> dict[str, str]:
    """Every provider's slug with the dotted path of its class: the built-in ones, those of
    installed packages, and those of the settings. The last one that has a slug is meant by it."""
    return {**BUILT_IN, **_installed(), **settings.PROVIDERS}


def offered() -> list[str]:
    """The providers that customers can choose, but for those that can't be connected here: those of
    `LINK_CRMS`, in its order, or else all that there are, by their names."""
    if settings.LINK_CRMS is not None:
        return [slug for slug in settings.LINK_CRMS if is_ready(slug)]
    found = filter(is_ready, available())
    return sorted(found, key=lambda slug: provider_class(slug).label.casefold())


def is_ready(slug: str) -> bool:
    """Whether a customer can connect this one here, as the site is set up."""
    if slug in settings.PROVIDERS or slug not in available():
        return slug in settings.PROVIDERS
    if slug == "sandbox":
        return apps.is_installed("xkit_crm.providers.sandbox")
    if slug == "xkit":  # for who knows what it is, and says so
        return slug in settings.PROVIDER_OPTIONS or slug in (settings.LINK_CRMS or ())
    registered = settings.PROVIDER_OPTIONS.get(slug, {}).get("client_id")
    return bool(registered or provider_class(slug).credential_fields)


def provider_class(slug: str) -> type[Provider]:
    """The provider with this slug; raises `ConfigurationError`."""
    path = available().get(slug)
    if path is None:
        raise ConfigurationError(
            f"There is no provider {slug!r}.",
            hint=f"Known are: {', '.join(available())}. "
            'Add your own to XKIT_CRM["PROVIDERS"] as slug: dotted path.',
        )
    try:
        found: type[Provider] = import_string(path)
    except Exception as error:  # importing runs whatever is in the module
        raise ConfigurationError(
            f"The provider {slug!r} can't be imported from {path}: {error}.",
            hint='Correct its dotted path in XKIT_CRM["PROVIDERS"], and add its app, where it is '
            "one, to INSTALLED_APPS.",
        ) from error
    return found


def provider_for(connection: Connection, *, given: bool = False) -> Provider:
    """The adapter of this connection, with its credentials; raises `ConfigurationError`.

    `given` are credentials that are not stored yet.
    """
    access = Access(
        connection.pk,
        connection.credentials,
        connection.description_key,
        partial(renew_given if given else renew, connection),
    )
    adapter = provider_class(connection.provider)
    try:
        return adapter(access)
    except XkitError:
        raise
    except Exception as raised:
        told = redact(traceback.format_exc(), access.credentials)
        logger.error(
            "There is no adapter for %s.\n%s", connection, told, extra=logs.of(connection.pk)
        )
        raise ConfigurationError(
            f"{adapter.__name__} can't be made of this connection's credentials: "
            f"{type(raised).__name__}.",
            hint="Connect it anew, or mend the adapter; the log has its traceback.",
        ) from raised
