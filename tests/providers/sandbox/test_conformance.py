"""The conformance suite against the sandbox CRM."""

from __future__ import annotations

import pytest

from tests.providers.sandbox.conftest import add_flow
from xkit_crm.providers.base import Access
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject

pytestmark = pytest.mark.django_db


class TestSandbox(ProviderConformance):
    subject = Subject(
        remote_object="Opportunity",
        text="Name",
        values={
            "Name": "Lease",
            "Amount": 1234.5,
            "StageName": "Prospecting",
            "CloseDate": "2026-11-02",
            "Description": "First line\nsecond line",
        },
        changes={"Amount": 7, "StageName": "Closed Won", "Description": None},
        refused={"Amount": "many"},
        at_fault="Amount",
        least={"StageName": "Prospecting", "CloseDate": "2026-11-02"},
        long_text="Description",
        workflow="greet",
        inputs={"name": "Coyote"},
    )

    @pytest.fixture
    def make(self, org: Org) -> Make:
        task = {"object_name": "Task", "values": {"Subject": "Greet {name}"}}
        add_flow(org, "greet", task, inputs=[{"name": "name", "type": "string"}])
        return lambda: SandboxProvider(Access("any", {"org": org.slug}))
