"""Zoho CRM: what its tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.providers.base import (
    Access,
    Criterion,
    RecordRef,
)
from xkit_crm.providers.zoho.provider import ZohoProvider
from xkit_crm.testing.fakes.zoho import ZohoFake


@pytest.fixture
def crm(settings: Any) -> Iterator[ZohoFake]:
    with at_work(ZohoFake(), "zoho", settings) as fake:
        yield fake


@pytest.fixture
def provider(crm: ZohoFake) -> ZohoProvider:
    return ZohoProvider(Access("acme", crm.credentials))


def lead(provider: ZohoProvider, name: str = "Lovelace", **values: Any) -> RecordRef:
    values = {"Last_Name": name, "Company": "Engines", **values}
    return provider.create("Leads", values, key=str(uuid4()))


def names(provider: ZohoProvider, *criteria: Criterion) -> list[str]:
    found = provider.search("Leads", criteria, ["Last_Name"], limit=10)
    return [record.values["Last_Name"] for record in found]
