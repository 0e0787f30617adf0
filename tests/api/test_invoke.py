"""Firing events over HTTP: the seed's requests and answers, and what stands beside them."""

from __future__ import annotations

import pytest

import xkit_crm
from tests.api.conftest import Caller
from xkit_crm.models import Connection, EventAction, Invocation

pytestmark = pytest.mark.django_db

CREATE = "acme/objects/opportunity/events/deal_created"


def act(event: str, **changes: object) -> None:
    """Change what the customer decided for an event."""
    EventAction.objects.filter(event__slug=event).update(**changes)


def test_create_answers_with_the_record_and_its_mapped_fields(
    sandbox: Connection, caller: Caller
) -> None:
    response = caller.post(CREATE, {"payload": {"name": "Apple Sales Contract"}})
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert body["record"]["type"] == "opportunity"
    assert body["record"]["id"].startswith("Opportunity:")
    assert body["record"]["data"] == {
        "document_name": "Apple Sales Contract",
        "document_tags": {},
    }
    assert body["invocation"]["status"] == "succeeded"


def test_update_answers_with_the_updated_record(caller: Caller, opportunity: str) -> None:
    response = caller.post(
        f"acme/objects/opportunity/{opportunity}/events/deal_updated",
        {"payload": {"name": "Renamed", "updated_at": "2022-05-17T23:17:53Z"}},
    )
    assert response.status_code == 200
    assert response.json()["record"] == {
        "type": "opportunity",
        "id": opportunity,
        "data": {"document_name": "Renamed", "document_tags": {}},
    }


def test_delete_answers_with_the_id_and_no_data(caller: Caller, opportunity: str) -> None:
    path = f"acme/objects/opportunity/{opportunity}"
    response = caller.post(f"{path}/events/deal_deleted", {"payload": {}})
    assert response.json()["record"] == {"type": "opportunity", "id": opportunity, "data": {}}
    assert caller.get(path).status_code == 404


def test_a_delete_that_the_customer_made_an_update_answers_the_same(
    caller: Caller, opportunity: str
) -> None:
    act(
        "deal_deleted",
        action="update",
        transformations=[{"field": "StageName", "kind": "static", "value": "Closed Lost"}],
    )
    path = f"acme/objects/opportunity/{opportunity}"
    response = caller.post(f"{path}/events/deal_deleted", {"payload": {"name": "Last"}})
    assert response.json()["record"] == {"type": "opportunity", "id": opportunity, "data": {}}
    assert caller.get(path).status_code == 200


def test_doing_nothing_is_told_apart_on_create(sandbox: Connection, caller: Caller) -> None:
    act("deal_created", action="noop", transformations=[])
    body = caller.post(CREATE, {"payload": {"name": "x"}}).json()
    assert body["record"] is None
    assert body["invocation"]["status"] == "skipped"


def test_doing_nothing_names_the_untouched_record_on_update(
    caller: Caller, opportunity: str
) -> None:
    act("deal_updated", action="noop", transformations=[])
    path = f"acme/objects/opportunity/{opportunity}"
    body = caller.post(f"{path}/events/deal_updated", {"payload": {"name": "x"}}).json()
    assert body["record"] == {"type": "opportunity", "id": opportunity, "data": {}}
    assert body["invocation"]["status"] == "skipped"
    assert caller.get(path).json()["record"]["data"]["document_name"] == "Sales Contract"


def test_search_answers_with_records(caller: Caller, opportunity: str) -> None:
    caller.post(CREATE, {"payload": {"name": "Another"}})
    body = caller.post(
        "acme/objects/opportunity/events/find_deals", {"payload": {"name": "Sales Contract"}}
    ).json()
    assert [record["id"] for record in body["records"]] == [opportunity]
    assert body["records"][0]["data"]["document_name"] == "Sales Contract"


def test_ids_may_hold_any_character_once_percent_encoded(definitions: None, caller: Caller) -> None:
    xkit_crm.connect("a b/c?d#é%", provider="sandbox", context="odd")
    path = "a%20b%2Fc%3Fd%23%C3%A9%25/objects/opportunity/events/deal_created"
    body = caller.post(path, {"payload": {"name": "x"}}).json()
    assert body["invocation"]["status"] == "succeeded"


def test_a_body_is_read_as_json_whatever_curl_calls_it(sandbox: Connection, caller: Caller) -> None:
    response = caller.client.post(
        f"/api/v1/crm/{CREATE}",
        '{"payload": {"name": "x"}}',
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": caller.authorization},
    )
    assert response.status_code == 200


def test_every_answer_has_a_request_id_and_is_not_stored(
    sandbox: Connection, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="xkit_crm")
    response = caller.post(CREATE, {"payload": {"name": "x"}}, **{"X-Request-ID": "mine-1"})
    assert response["X-Request-ID"] == "mine-1"
    assert response["Cache-Control"] == "no-store"
    assert Invocation.objects.get().request_id == "mine-1"
    assert "is succeeded after try 1 (request mine-1)" in caplog.text
    assert caller.get("connections/nobody")["X-Request-ID"]


# -- doing it once --------------------------------------------------------------------------------


def test_the_same_key_and_body_give_the_first_answer_again(
    sandbox: Connection, caller: Caller
) -> None:
    body = {"payload": {"name": "Once"}}
    first = caller.post(CREATE, body, **{"Idempotency-Key": "k"})
    again = caller.post(CREATE, body, **{"Idempotency-Key": "k"})
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert Invocation.objects.count() == 1


def test_the_same_key_with_another_body_is_refused(sandbox: Connection, caller: Caller) -> None:
    caller.post(CREATE, {"payload": {"name": "One"}}, **{"Idempotency-Key": "k"})
    response = caller.post(CREATE, {"payload": {"name": "Two"}}, **{"Idempotency-Key": "k"})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "idempotency_mismatch"


def test_keys_of_different_callers_are_different_keys(
    sandbox: Connection, caller: Caller, client
) -> None:
    from tests.api.conftest import basic
    from xkit_crm.models import APIKey

    key, secret = APIKey.objects.issue("another")
    other = Caller(client, basic(key.publishable_key, secret))
    caller.post(CREATE, {"payload": {"name": "One"}}, **{"Idempotency-Key": "k"})
    response = other.post(CREATE, {"payload": {"name": "Two"}}, **{"Idempotency-Key": "k"})
    assert response.status_code == 200


def test_a_key_is_free_again_after_its_time(
    sandbox: Connection, caller: Caller, time_machine
) -> None:
    body = {"payload": {"name": "Once"}}
    time_machine.move_to("2026-01-01T00:00:00Z")
    first = caller.post(CREATE, body, **{"Idempotency-Key": "k"}).json()
    time_machine.move_to("2026-01-02T00:00:01Z")
    later = caller.post(CREATE, body, **{"Idempotency-Key": "k"})
    assert "Idempotent-Replayed" not in later
    assert later.json()["record"]["id"] != first["record"]["id"]


def test_a_key_that_is_too_long_is_refused(sandbox: Connection, caller: Caller) -> None:
    response = caller.post(CREATE, {"payload": {"name": "x"}}, **{"Idempotency-Key": "k" * 256})
    assert response.status_code == 400


# -- not waiting ----------------------------------------------------------------------------------


def test_an_answer_may_be_asked_for_at_once_and_fetched_later(
    sandbox: Connection, caller: Caller
) -> None:
    from xkit_crm.testing import deliver

    response = caller.post(CREATE, {"payload": {"name": "Later"}}, Prefer="respond-async")
    assert response.status_code == 202
    assert response.json() == {
        "record": None,
        "invocation": {"id": response.json()["invocation"]["id"], "status": "pending"},
    }
    location = response["Location"].removeprefix("/api/v1/crm/")
    assert caller.get(location).json()["record"] is None
    deliver()
    found = caller.get(location).json()
    assert found["status"] == "succeeded"
    assert found["record"]["data"]["document_name"] == "Later"


def test_a_preview_says_what_would_be_sent_and_writes_nothing(
    caller: Caller, opportunity: str
) -> None:
    before = Invocation.objects.count()
    response = caller.post(
        f"acme/objects/opportunity/{opportunity}/events/deal_updated/preview",
        {"payload": {"name": "Renamed"}},
    )
    assert response.json() == {
        "action": "update",
        "target": opportunity,
        "values": {"Name": "Renamed"},
        "current": response.json()["current"],
        "criteria": [],
    }
    assert response.json()["current"]["Name"] == "Sales Contract"
    assert Invocation.objects.count() == before
