"""A customer's CRM, and the ways in which tests write to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from xkit_crm.exceptions import RejectedByCRM
from xkit_crm.providers.base import Access, RecordRef
from xkit_crm.providers.sandbox.models import Flow, FlowStep, Org, Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.records import create_record, update_record
from xkit_crm.providers.sandbox.standard import ensure_org


@pytest.fixture
def org(db: None) -> Org:
    return ensure_org("acme")


@pytest.fixture
def provider(org: Org) -> SandboxProvider:
    return SandboxProvider(Access("acme"))


@pytest.fixture
def deal(org: Org) -> Record:
    return create_record(org, "Opportunity", {"Name": "Sales contract", "Amount": 1200.5})


def ref_of(record: Record) -> RecordRef:
    return RecordRef.parse(record.record_id)


def refusal(
    org: Org, remote_object: str, values: Mapping[str, Any], *, record: Record | None = None
) -> dict[str, str]:
    """What the CRM says, by field, to a create, or to an update of the record."""
    with pytest.raises(RejectedByCRM) as raised:
        if record is None:
            create_record(org, remote_object, values)
        else:
            update_record(org, ref_of(record), values)
    return {problem.path: problem.error for problem in raised.value.errors}


def add_flow(
    org: Org, name: str, *steps: Mapping[str, Any], inputs: list[dict[str, Any]] | None = None
) -> Flow:
    """A flow of these steps, in this order; each creates unless it says otherwise."""
    flow = Flow.objects.create(org=org, name=name, label=name.title(), inputs=inputs or [])
    for position, step in enumerate(steps, start=1):
        FlowStep.objects.create(flow=flow, **{"position": position, "action": "create", **step})
    return flow
