"""Bad input gets the documented status and error body, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.api.conftest import Caller, basic
from xkit_crm.models import APIKey, Connection, EventAction, Invocation

pytestmark = pytest.mark.django_db

CREATE = "acme/objects/opportunity/events/deal_created"
GOOD: dict[str, Any] = {"payload": {"name": "x"}}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("nobody/objects/opportunity/events/deal_created", GOOD, 404, "unknown_connection"),
        ("a\0b/objects/opportunity/events/deal_created", GOOD, 404, "unknown_connection"),
        ("acme/objects/oportunity/events/deal_created", GOOD, 404, "unknown_object"),
        ("acme/objects/opportunity/events/deal_crated", GOOD, 404, "unknown_event"),
        (
            "acme/objects/opportunity/Opportunity:99999/events/deal_updated",
            GOOD,
            404,
            "unknown_record",
        ),
        ("acme/objects/opportunity/99999/events/deal_updated", GOOD, 404, "unknown_record"),
        (
            "acme/objects/opportunity/Opportunity:1/events/deal_created",
            GOOD,
            409,
            "wrong_event_type",
        ),
        ("acme/objects/opportunity/events/deal_updated", GOOD, 409, "wrong_event_type"),
        (
            "acme/objects/opportunity/Opportunity:\0/events/deal_updated",
            GOOD,
            404,
            "unknown_record",
        ),
        (
            f"acme/objects/opportunity/Opportunity:{'9' * 300}/events/deal_updated",
            GOOD,
            404,
            "unknown_record",
        ),
        ("acme/objects/opportunity/Account:1/events/deal_updated", GOOD, 404, "unknown_record"),
        (CREATE, "{", 400, "malformed"),
        (CREATE, b"\xff\xfe", 400, "malformed"),
        (CREATE, "[" * 100_000, 400, "malformed"),
        (CREATE, '{"payload": {"name": NaN}}', 400, "malformed"),
        (CREATE, [], 400, "malformed"),
        (CREATE, {}, 400, "malformed"),
        (CREATE, {"payload": []}, 400, "malformed"),
        (CREATE, {"payload": {}, "paylod": {}}, 400, "malformed"),
        (CREATE, '{"payload": {"name": "' + "x" * 1_100_000 + '"}}', 413, "malformed"),
        (CREATE, {"payload": {"name": 7}}, 422, "payload_invalid"),
        (CREATE, {"payload": {"nme": "x"}}, 422, "payload_invalid"),
        (CREATE, {"payload": {"name": "a\0b"}}, 422, "payload_invalid"),
        (CREATE, '{"payload": {"name": "\\ud800"}}', 422, "payload_invalid"),
    ],
)
def test_each_mistake_has_its_status_and_code_and_writes_nothing(
    sandbox: Connection, caller: Caller, path: str, body: Any, status: int, code: str
) -> None:
    response = caller.post(path.replace("\0", "%00"), body)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["hint"]
    written = Invocation.objects.exclude(status="failed").count()
    assert written == 0
    if code != "unknown_record":
        assert Invocation.objects.count() == 0


def test_a_violated_schema_names_every_path(sandbox: Connection, caller: Caller) -> None:
    payload = {"name": "x" * 81, "amount": "1", "owner_email": "nobody", "extra": 1}
    response = caller.post(CREATE, {"payload": payload})
    assert response.status_code == 422
    assert {problem["path"] for problem in response.json()["error"]["errors"]} == {
        "payload.name",
        "payload.amount",
        "payload.owner_email",
        "payload.extra",
    }


def test_a_near_miss_is_suggested(sandbox: Connection, caller: Caller) -> None:
    response = caller.post("acme/objects/opportunity/events/deal_crated", GOOD)
    assert "deal_created" in response.json()["error"]["hint"]


def test_what_the_crm_refuses_is_told_in_its_words_by_payload_key(
    sandbox: Connection, caller: Caller
) -> None:
    from xkit_crm.providers.sandbox.models import Field

    Field.objects.filter(object__name="Opportunity", name="Name").update(max_length=5)
    response = caller.post(CREATE, {"payload": {"name": "too long for them"}})
    assert response.status_code == 422
    body = response.json()
    assert body["error"]["code"] == "rejected_by_crm"
    assert body["error"]["errors"][0]["path"] == "payload.name"
    assert body["invocation"]["status"] == "failed"


@pytest.mark.parametrize("status", ["pending", "disabled", "errored"])
def test_a_connection_that_is_not_enabled_says_which_and_what_to_do(
    sandbox: Connection, caller: Caller, status: str
) -> None:
    Connection.objects.update(status=status, status_reason="so it is")
    response = caller.post(CREATE, GOOD)
    assert response.status_code == 409
    error = response.json()["error"]
    assert error["code"] == "connection_not_enabled"
    assert status in error["message"]
    assert error["hint"]
    assert Invocation.objects.count() == 0


def test_an_event_that_nobody_decided_says_what_is_missing(
    sandbox: Connection, caller: Caller
) -> None:
    EventAction.objects.all().delete()
    response = caller.post(CREATE, GOOD)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "mapping_incomplete"
    assert "deal_created" in response.json()["error"]["message"]
    assert Invocation.objects.count() == 0


def test_a_required_field_that_is_not_mapped_is_named(sandbox: Connection, caller: Caller) -> None:
    EventAction.objects.filter(event__slug="deal_created").update(transformations=[])
    response = caller.post(CREATE, GOOD)
    assert response.status_code == 422
    body = response.json()["error"]
    assert body["code"] == "mapping_incomplete"
    assert any("Name" in problem["path"] for problem in body["errors"])


# -- who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Bearer abc",
        basic("xpk_wrong", "xsk_wrong"),
        basic("", ""),
        basic("x\0y", "z"),
    ],
)
def test_without_a_good_key_there_is_nothing(
    sandbox: Connection, caller: Caller, authorization: str
) -> None:
    response = Caller(Client(), authorization).post(CREATE, GOOD)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Basic realm="xkit_crm"'
    assert response.json()["error"]["code"] == "unauthenticated"
    assert Invocation.objects.count() == 0


def test_a_wrong_secret_is_refused(sandbox: Connection, api_key: tuple[APIKey, str]) -> None:
    authorization = basic(api_key[0].publishable_key, "xsk_wrong")
    assert Caller(Client(), authorization).post(CREATE, GOOD).status_code == 401


def test_a_revoked_key_is_refused_and_the_next_one_works(
    sandbox: Connection, caller: Caller, api_key: tuple[APIKey, str]
) -> None:
    key, secret = APIKey.objects.issue("next")
    api_key[0].revoke()
    assert caller.post(CREATE, GOOD).status_code == 401
    following = Caller(Client(), basic(key.publishable_key, secret))
    assert following.post(CREATE, GOOD).status_code == 200


def test_a_connection_of_another_owner_is_not_there(sandbox: Connection) -> None:
    key, secret = APIKey.objects.issue("limited", contexts=["workspace-2"])
    limited = Caller(Client(), basic(key.publishable_key, secret))
    assert limited.post(CREATE, GOOD).status_code == 404
    assert limited.get("connections").json()["results"] == []
    assert limited.get("connections/acme").status_code == 404
    assert limited.get("acme/invocations").status_code == 404


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({"REMOTE_ADDR": "203.0.113.5"}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "crm.example.com"}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}, 403),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:8000"}, 200),
        ({"REMOTE_ADDR": "203.0.113.5", "wsgi.url_scheme": "https"}, 200),
    ],
)
def test_keys_go_over_https_only(
    sandbox: Connection, caller: Caller, extra: dict[str, str], status: int
) -> None:
    response = caller.client.get(
        "/api/v1/crm/connections", headers={"Authorization": caller.authorization}, **extra
    )
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["code"] == "https_required"


# -- paths and methods ----------------------------------------------------------------------------


def test_an_unknown_path_is_answered_with_the_error_body(caller: Caller) -> None:
    response = caller.get("somewhere")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_a_wrong_method_is_answered_with_the_error_body(
    sandbox: Connection, caller: Caller
) -> None:
    response = caller.get(CREATE)
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_allowed"


def test_a_cursor_that_is_none_is_malformed(sandbox: Connection, caller: Caller) -> None:
    assert caller.get("acme/invocations", cursor="nonsense").status_code == 400


@pytest.mark.parametrize("cursor", ["x", "cD1hYmM=", "cD1hAGI=", "bz0x", "%00"])
@pytest.mark.parametrize("path", ["acme/invocations", "connections"])
def test_a_cursor_that_is_not_ours_is_malformed(
    sandbox: Connection, caller: Caller, path: str, cursor: str
) -> None:
    response = caller.get(path, cursor=cursor)
    # A place between two rows is a place, whoever names it.
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert response.json()["error"]["errors"][0]["path"] == "cursor"


def test_a_mistake_of_the_operator_is_in_the_log(
    sandbox: Connection, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    Connection.objects.update(credentials_cipher="garbage")
    response = caller.post(CREATE, GOOD)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "configuration"
    assert "ENCRYPTION_KEYS" in caplog.text
