"""The providers there are, and the one that a connection talks through."""

from __future__ import annotations

from collections.abc import Mapping

from django.apps import apps
from django.utils.module_loading import import_string

from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Connection
from xkit_crm.providers.base import Access, Provider

BUILT_IN: Mapping[str, str] = {"sandbox": "xkit_crm.providers.sandbox.provider.SandboxProvider"}


def available() -> dict[str, str]:
    """Every provider's slug with the dotted path of its class, those of the settings last."""
    return {**BUILT_IN, **settings.PROVIDERS}


def offered() -> list[str]:
    """The providers that customers can choose: all but a sandbox that isn't installed."""
    return [
        slug
        for slug in available()
        if slug != "sandbox"
        or slug in settings.PROVIDERS
        or apps.is_installed("xkit_crm.providers.sandbox")
    ]


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
    except (ImportError, RuntimeError) as error:  # the latter is of models that aren't installed
        raise ConfigurationError(
            f"The provider {slug!r} can't be imported from {path}: {error}.",
            hint='Correct its dotted path in XKIT_CRM["PROVIDERS"], and add its app, where it is '
            "one, to INSTALLED_APPS.",
        ) from error
    return found


def provider_for(connection: Connection) -> Provider:
    """The adapter of this connection, with its credentials."""
    return provider_class(connection.provider)(Access(connection.pk, connection.credentials))
