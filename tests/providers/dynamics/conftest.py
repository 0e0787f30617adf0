"""Dynamics 365: what its tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.providers.base import (
    Access,
    Draft,
    RemoteField,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.fakes.dynamics import DynamicsFake

VENUE = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0001"
USER = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0002"
NOBODY = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0003"


@pytest.fixture
def crm(settings: Any) -> Iterator[DynamicsFake]:
    fake = DynamicsFake()
    fake.records["account"][VENUE] = {"accountid": VENUE, "name": "Contoso"}
    fake.records["systemuser"][USER] = {"systemuserid": USER, "fullname": "Ada"}
    with at_work(fake, "dynamics", settings):
        yield fake


@pytest.fixture
def provider(crm: DynamicsFake) -> DynamicsProvider:
    # A connection that nothing is remembered of.
    return DynamicsProvider(Access(str(uuid4()), crm.signed_in))


def _fields(provider: DynamicsProvider, table: str = "contact") -> dict[str, RemoteField]:
    return {one.name: one for one in provider.describe_fields(table)}


def _draft(**values: Any) -> Draft:
    return Draft({"lastname": "Lovelace", **values}, str(uuid4()))


def _paths(crm: DynamicsFake) -> list[str]:
    return [f"{one.method} {one.path}" for one in crm.requests]
