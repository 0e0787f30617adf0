"""Generated requests against the OpenAPI document: no server error, no undocumented status."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, settings
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
]


@pytest.fixture
def document() -> Any:
    """The document, as the running application gives it."""
    raw = Client().get("/api/v1/schema").json()
    return schemathesis.openapi.from_dict(raw)


@pytest.fixture
def authorization(db: None) -> str:
    xkit_crm.define(OBJECTS)
    xkit_crm.connect("acme", provider="sandbox", context="workspace-1")
    key, secret = APIKey.objects.issue("fuzz")
    return basic(key.publishable_key, secret)


def test_no_generated_request_breaks_the_api(document: Any, authorization: str) -> None:
    application = get_wsgi_application()
    checks = CHECKS.get_by_names(CHECKED)
    tried = 0
    for result in document.get_all_operations():
        operation = result.ok()

        @operation.as_strategy().__class__ and settings(  # type: ignore[misc]
            max_examples=40, deadline=None, suppress_health_check=list(HealthCheck)
        )
        def run(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(
                app=application, headers={"Authorization": authorization}, checks=checks
            )

        del run
    assert tried
