"""Reading over HTTP: records, connections, the log, and the document that describes it all."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import resolve

from tests.api.conftest import Caller
from tests.factories import ConnectionFactory
from xkit_crm.models import Connection

pytestmark = pytest.mark.django_db


def test_a_record_is_read_with_its_mapped_fields(caller: Caller, opportunity: str) -> None:
    response = caller.get(f"acme/objects/opportunity/{opportunity}")
    assert response.json() == {
        "record": {
            "type": "opportunity",
            "id": opportunity,
            "data": {"document_name": "Sales Contract", "document_tags": {}},
        }
    }


@pytest.mark.parametrize("record", ["Opportunity:99999", "Contact:1", "nonsense"])
def test_a_record_that_is_not_there_is_unknown(
    sandbox: Connection, caller: Caller, record: str
) -> None:
    response = caller.get(f"acme/objects/opportunity/{record}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "unknown_record"


def test_connections_are_listed_by_owner_and_never_with_credentials(
    sandbox: Connection, caller: Caller
) -> None:
    ConnectionFactory.create(id="other", context="workspace-2")
    Connection.objects.filter(pk="acme").update(status_reason="fine")
    everything = caller.get("connections").json()["results"]
    assert [found["id"] for found in everything] == ["acme", "other"]
    (mine,) = caller.get("connections", context="workspace-1").json()["results"]
    assert mine == caller.get("connections/acme").json()
    assert mine.keys() == {
        "id",
        "context",
        "provider",
        "status",
        "status_reason",
        "created_at",
    }


def test_the_log_comes_in_pages_newest_first(sandbox: Connection, caller: Caller) -> None:
    for number in range(3):
        caller.post(
            "acme/objects/opportunity/events/deal_created", {"payload": {"name": str(number)}}
        )
    first = caller.get("acme/invocations", limit=2).json()
    assert [row["record"]["data"]["document_name"] for row in first["results"]] == ["2", "1"]
    cursor = first["next"].split("cursor=")[1].split("&")[0]
    client = caller.client
    second = client.get(
        f"/api/v1/crm/acme/invocations?limit=2&cursor={cursor}",
        headers={"Authorization": caller.authorization},
    ).json()
    assert [row["record"]["data"]["document_name"] for row in second["results"]] == ["0"]
    assert caller.get("acme/invocations", status="failed").json()["results"] == []
    unknown = caller.get("acme/invocations", status="bogus")
    assert unknown.status_code == 400
    assert "superseded" in unknown.json()["error"]["hint"]
    assert len(caller.get("acme/invocations", event="deal_created").json()["results"]) == 3


def test_an_invocation_of_another_connection_is_not_there(
    sandbox: Connection, caller: Caller, opportunity: str
) -> None:
    ConnectionFactory.create(id="other")
    (row,) = caller.get("acme/invocations").json()["results"]
    assert caller.get(f"acme/invocations/{row['id']}").status_code == 200
    response = caller.get(f"other/invocations/{row['id']}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "unknown_invocation"


def test_the_document_describes_every_path_with_its_errors() -> None:
    response = Client().get("/api/v1/schema")
    document = json.loads(response.content)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "http://testserver/api/v1"}]
    paths = document["paths"]
    assert "/crm/{connection}/objects/{crm_object}/events/{event}" in paths
    invoke = paths["/crm/{connection}/objects/{crm_object}/{record}/events/{event}"]["post"]
    assert set(invoke["responses"]) == {
        "200",
        "202",
        *("400", "401", "403", "404", "409", "413", "422", "429", "502", "503"),
    }
    assert invoke["security"] == [{"apiKey": []}]


def test_times_are_iso_8601_in_utc_whatever_the_product_says(
    sandbox: Connection, caller: Caller, settings: Any
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    settings.REST_FRAMEWORK = {"DATETIME_FORMAT": "%d.%m.%Y"}
    made = caller.get("connections/acme").json()["created_at"]
    assert datetime.fromisoformat(made).utcoffset() == timedelta()
    assert made.endswith("Z")


def test_no_view_is_inside_the_transaction_of_a_request() -> None:
    view = resolve("/api/v1/crm/acme/objects/opportunity/events/deal_created").func
    assert view._non_atomic_requests == {"default", "other"}  # type: ignore[attr-defined]
