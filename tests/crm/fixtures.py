"""Fixtures of tests that talk to the loopback CRM; import those that you need.

from tests.crm.fixtures import crm, crm_process, loopback  # noqa: F401
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import xkit_crm
from tests.crm.control import CRMControl, running_crm
from tests.crm.provider import PROVIDERS
from xkit_crm.conf import SETTING
from xkit_crm.models import Connection


@pytest.fixture(scope="session")
def crm_process() -> Iterator[CRMControl]:
    """One loopback CRM for the whole session; use `crm`, which empties it."""
    with running_crm() as control:
        yield control


@pytest.fixture
def crm(crm_process: CRMControl, settings: Any) -> CRMControl:
    """An empty loopback CRM in which nothing goes wrong, and its providers in the settings."""
    given = getattr(settings, SETTING)
    setattr(settings, SETTING, {**given, "PROVIDERS": {**given.get("PROVIDERS", {}), **PROVIDERS}})
    crm_process.forget()
    return crm_process


@pytest.fixture
def loopback(connection: Connection, crm: CRMControl) -> Connection:
    """The connection `acme` with the loopback CRM behind it, mapped by default."""
    return xkit_crm.connect(
        "acme",
        provider="loopback",
        context="workspace-1",
        credentials=crm.credentials("acme", timeout=1),
    )
