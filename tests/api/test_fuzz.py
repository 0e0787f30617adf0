"""Generated requests against the OpenAPI document: no server error, no undocumented status."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS

import xkit_crm
from tests.api.conftest import basic
from tests.objects import OBJECTS
from xkit_crm.models import APIKey

pytestmark = [pytest.mark.fuzz, pytest.mark.django_db(transaction=True)]

#: What a caller relies on; the rest of schemathesis's checks are about styles of API.
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]
OPERATIONS = [
    "create_link_token",
    "get_connection",
    "get_invocation",
    "get_record",
    "get_schema",
    "invoke_event",
    "invoke_event_on_record",
    "list_connections",
    "list_invocations",
    "preview_event",
    "preview_event_on_record",
]


@pytest.fixture
def document() -> Any:
    """The document, as the running application gives it."""
    return schemathesis.openapi.from_dict(Client().get("/api/v1/schema").json())


@pytest.fixture
def known(sandbox: Any, settings: Any) -> dict[str, str]:
    """Path parameters that exist, without which every generated request would be a 404."""
    settings.XKIT_CRM = {**settings.XKIT_CRM, "REQUIRE_HTTPS": False}
    made = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Sales"})
    assert made.record is not None
    return {
        "connection": "acme",
        "crm_object": "opportunity",
        "record": made.record.id,
        "uuid": str(made.uuid),
    }


def test_the_document_has_the_operations_that_are_tried(document: Any) -> None:
    found = [result.ok().definition.raw["operationId"] for result in document.get_all_operations()]
    assert sorted(found) == OPERATIONS


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_no_generated_request_breaks_the_api(
    document: Any, known: dict[str, str], operation_id: str
) -> None:
    application = get_wsgi_application()
    checks = CHECKS.get_by_names(CHECKED)
    operation = document.find_operation_by_id(operation_id)
    key, secret = APIKey.objects.issue("fuzz")
    headers = {"Authorization": basic(key.publishable_key, secret)}
    event = "deal_updated" if operation_id.endswith("on_record") else "deal_created"
    statuses = set()

    @hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), exists=st.sets(st.sampled_from(sorted(known))))
    def send(case: Any, exists: set[str]) -> None:
        there = {**{name: known[name] for name in exists}, **({"event": event} if exists else {})}
        case.path_parameters = {
            name: there.get(name, value) for name, value in (case.path_parameters or {}).items()
        }
        response = case.call_and_validate(app=application, headers=headers, checks=checks)
        statuses.add(response.status_code)

    send()
    assert statuses & {200, 201, 202, 404, 422}, statuses


def test_events_with_generated_payloads_are_carried_out(document: Any, known: Any) -> None:
    """Payloads that fit their event's own schema get past the door."""
    from tests.strategies import payloads

    application = get_wsgi_application()
    checks = CHECKS.get_by_names(CHECKED)
    operation = document.find_operation_by_id("invoke_event")
    key, secret = APIKey.objects.issue("fuzz")
    headers = {"Authorization": basic(key.publishable_key, secret)}
    statuses = set()
    schema = OBJECTS["opportunity"]["events"]["deal_created"]["payloadSchema"]

    @hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(payload=payloads(schema))
    @example(payload={"name": "Sales"})
    def send(payload: dict[str, Any]) -> None:
        case = operation.Case(
            path_parameters={**known, "event": "deal_created"},
            body={"payload": payload},
            media_type="application/json",
        )
        response = case.call_and_validate(app=application, headers=headers, checks=checks)
        statuses.add(response.status_code)

    send()
    assert 200 in statuses
    # A missing name, or an address that the CRM itself doesn't take.
    assert statuses <= {200, 422}
