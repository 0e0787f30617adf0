"""Which providers there are, and which one a connection talks through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.factories import ConnectionFactory
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.providers import registry
from xkit_crm.providers.registry import available, offered, provider_class, provider_for
from xkit_crm.providers.sandbox.provider import SandboxProvider


class Renamed(SandboxProvider):
    slug = "renamed"
    label = "Renamed CRM"


RENAMED = f"{__name__}.Renamed"


def test_the_sandbox_is_there_without_any_setting(settings: Any) -> None:
    settings.XKIT_CRM = {}
    assert "sandbox" in available()
    assert provider_class("sandbox") is SandboxProvider


def test_a_product_adds_providers_and_may_replace_a_built_in_one(settings: Any) -> None:
    settings.XKIT_CRM = {"PROVIDERS": {"renamed": RENAMED}}
    assert list(available())[-1] == "renamed"
    assert provider_class("renamed") is Renamed
    settings.XKIT_CRM = {"PROVIDERS": {"sandbox": RENAMED}}
    assert provider_class("sandbox") is Renamed


def test_an_installed_package_adds_providers_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    dist = tmp_path / "their_crm-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: their-crm\nVersion: 1.0\n")
    (dist / "entry_points.txt").write_text(
        f"[xkit_crm.providers]\ntheirs = {RENAMED.rpartition('.')[0]}:Renamed\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    try:
        assert provider_class("theirs") is Renamed
        settings.XKIT_CRM = {}
        assert "theirs" in offered()
    finally:
        monkeypatch.undo()
        registry._installed.cache_clear()


def test_a_crm_that_can_not_be_connected_here_is_not_offered(settings: Any) -> None:
    settings.XKIT_CRM = {"LINK_CRMS": ["sandbox"]}
    assert offered() == ["sandbox"]
    settings.XKIT_CRM = {}
    assert {"sandbox", "hubspot"} <= set(offered())
    # Of those that are named, too: Zoho needs a registration.
    settings.XKIT_CRM = {"LINK_CRMS": ["zoho", "xkit", "odoo", "nobodys"]}
    assert offered() == ["xkit", "odoo"]
    registered = {"zoho": {"client_id": "a", "client_secret": "b"}}
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": registered}
    assert offered() == ["zoho", "xkit", "odoo"]


def test_an_unknown_provider_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="no provider 'salesfarce'") as raised:
        provider_class("salesfarce")
    assert "sandbox" in raised.value.hint
    assert "PROVIDERS" in raised.value.hint


@pytest.mark.parametrize(
    "path", ["no.such.Module", "xkit_crm.providers.base.NoSuchClass", "nodots", ""]
)
def test_a_wrong_path_names_the_provider_and_the_setting(settings: Any, path: str) -> None:
    settings.XKIT_CRM = {"PROVIDERS": {"broken": path}}
    with pytest.raises(ConfigurationError, match="'broken' can't be imported") as raised:
        provider_class("broken")
    assert "PROVIDERS" in raised.value.hint


def test_a_provider_whose_app_is_not_installed_is_told_not_crashed_on(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "from django.db import models\n\n\nclass Row(models.Model):\n    pass\n"
    (tmp_path / "absent_crm.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    settings.XKIT_CRM = {"PROVIDERS": {"absent": "absent_crm.Provider"}}
    with pytest.raises(ConfigurationError, match="INSTALLED_APPS"):
        provider_class("absent")


@pytest.mark.django_db
def test_a_connection_talks_through_its_provider_with_its_own_credentials() -> None:
    connection = ConnectionFactory.create(id="acme", provider="sandbox")
    connection.credentials = {"org": "elsewhere"}
    provider = provider_for(connection)
    assert isinstance(provider, SandboxProvider)
    assert provider.access.connection_id == "acme"
    assert provider.access.credentials == {"org": "elsewhere"}
