"""Salesforce: what its tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.providers.base import (
    Access,
    Criterion,
    Draft,
    Operator,
    RecordRef,
)
from xkit_crm.providers.salesforce.provider import SalesforceProvider
from xkit_crm.testing.fakes.salesforce import SalesforceFake


@pytest.fixture
def crm(settings: Any) -> Iterator[SalesforceFake]:
    with at_work(SalesforceFake(), "salesforce", settings) as fake:
        yield fake


@pytest.fixture
def salesforce(crm: SalesforceFake) -> SalesforceProvider:
    return SalesforceProvider(Access("acme", crm.credentials))


def create(provider: SalesforceProvider, name: str = "Ada", **values: Any) -> RecordRef:
    return provider.create("Contact", {"LastName": name, **values}, key=str(uuid4()))


def draft(name: str = "Ada", **values: Any) -> Draft:
    return Draft({"LastName": name, **values}, str(uuid4()))


def found(provider: SalesforceProvider, *criteria: Criterion, limit: int = 10) -> list[Any]:
    rows = provider.search("Contact", criteria, ["LastName"], limit=limit)
    return [row.values["LastName"] for row in rows]


def equals(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.EQUALS, value)


def contains(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.CONTAINS, value)
