"""Pipedrive: what its tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.providers.base import Access, Criterion, Operator, RecordRef
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.fakes.pipedrive import PipedriveFake, code_of


@pytest.fixture
def crm(settings: Any) -> Iterator[PipedriveFake]:
    with at_work(PipedriveFake(), "pipedrive", settings) as fake:
        yield fake


BUDGET, HOLIDAY, CALL, HOME = (code_of(one) for one in ("Budget", "Holiday", "Call at", "Home"))


@pytest.fixture
def provider(crm: PipedriveFake) -> PipedriveProvider:
    return PipedriveProvider(Access("acme", crm.credentials))


def make(provider: PipedriveProvider, remote_object: str, **values: Any) -> RecordRef:
    return provider.create(remote_object, values, key=str(uuid4()))


def equals(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.EQUALS, value)


def contains(field: str, value: Any) -> Criterion:
    return Criterion(field, Operator.CONTAINS, value)


def ids(found: Any) -> list[str]:
    return [record.ref.crm_id for record in found]
