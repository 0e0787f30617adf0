"""Coming in: what `linkCRM()` posts, what is refused, and who is told what."""

from __future__ import annotations

import json
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.utils import timezone

import xkit_crm
from tests.crm_link.conftest import ORIGIN, Visitor, text
from tests.factories import ConnectionFactory
from tests.objects import OBJECTS
from xkit_crm.definitions import dump
from xkit_crm.models import Connection, CRMObject, EventDefinition

pytestmark = pytest.mark.django_db


def told(answer: Any) -> dict[str, Any]:
    """What the page around is told."""
    message = text(answer).split('data-message="', 1)[1].split('"', 1)[0]
    found: dict[str, Any] = json.loads(unescape(message))
    return found


def test_a_token_leads_to_the_first_step(visitor: Visitor) -> None:
    answer = visitor.start()
    assert answer.status_code == 303
    assert visitor.get().headers["Location"].endswith("/crms/")
    assert not Connection.objects.exists()  # nothing is made before a CRM is connected


@pytest.mark.parametrize("origin", ["", "https://evil.example", "null", ORIGIN + ".evil.example"])
def test_a_page_of_an_unknown_origin_may_not_open_it(visitor: Visitor, origin: str) -> None:
    answer = visitor.start(origin=origin)
    assert answer.status_code == 403
    assert "LINK_ORIGINS" in text(answer)
    assert "data-message" not in text(answer)


def test_origins_are_named_in_the_settings(visitor: Visitor, settings: Any) -> None:
    settings.XKIT_CRM = {"LINK_ORIGINS": ("https://app.example.com",)}
    assert visitor.start(origin="https://app.example.com").status_code == 303
    policy = visitor.get("crms/sandbox/").headers["Content-Security-Policy"]
    assert "frame-ancestors 'self' https://app.example.com" in policy


def test_pages_are_strict_about_what_they_load_and_keep(inside: Visitor) -> None:
    answer = inside.get()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Frame-Options" not in answer.headers
    assert not answer.cookies


@pytest.mark.parametrize("token", ["", "forged", "a:b:c"])
def test_a_bad_token_is_told_to_the_developer_and_not_to_the_customer(
    visitor: Visitor, token: str
) -> None:
    answer = visitor.start(token=token)
    assert answer.status_code == 401
    said = told(answer)
    assert (said["type"], said["code"]) == ("error", "link_token_invalid")
    assert "ask the vendor" in text(answer)
    assert f'data-origin="{ORIGIN}"' in text(answer)


def test_another_contexts_connection_can_not_be_opened(visitor: Visitor) -> None:
    ConnectionFactory.create(id="theirs", context="workspace-2")
    assert visitor.start(connectionID="theirs").status_code == 401


def test_an_expired_session_says_that_nothing_is_lost(inside: Visitor, time_machine: Any) -> None:
    time_machine.move_to(timezone.now() + timedelta(hours=5))
    answer = inside.get()
    assert answer.status_code == 401
    assert "what was decided so far is kept" in text(answer)


@pytest.mark.parametrize("path", ["", "steps", "review/", "objects/opportunity/", "versions/"])
def test_a_forged_address_shows_nothing(inside: Visitor, path: str) -> None:
    at = inside.at
    forged = at.replace(at[20], "A" if at[20] != "A" else "B", 1)
    assert inside.client.get(f"{forged}{path}").status_code == 401


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"connectionID": "x" * 256}, "connectionID"),
        ({"connectionID": "link-tokens"}, "connectionID"),
        ({"preselectCRMSlug": "sandbocks"}, "preselectCRMSlug"),
    ],
)
def test_what_can_never_be_connected_is_told_to_the_developer_at_once(
    visitor: Visitor, given: dict[str, str], path: str
) -> None:
    said = told(visitor.start(**given))
    assert said["code"] == "malformed"
    assert [problem["path"] for problem in said["errors"]] == [path]


# -- objects --------------------------------------------------------------------------------------


def test_mistakes_in_objects_are_listed_with_their_paths(visitor: Visitor) -> None:
    bad = {"deal": {"events": {"made": {"type": "make", "payloadSchema": {"x": {"type": "text"}}}}}}
    said = told(visitor.start(objects=json.dumps(bad)))
    assert said["code"] == "definition_invalid"
    assert {"objects.deal.events.made.type", "objects.deal.events.made.payloadSchema.x.type"} <= {
        problem["path"] for problem in said["errors"]
    }
    assert not CRMObject.objects.filter(slug="deal").exists()


@pytest.mark.parametrize("given", ["{", "[]", '"x"', "1"])
def test_objects_that_are_no_document_are_refused(visitor: Visitor, given: str) -> None:
    assert visitor.start(objects=given).status_code in (400, 422)


def test_objects_that_are_not_defined_are_refused(visitor: Visitor, settings: Any) -> None:
    settings.XKIT_CRM = {"LINK_DEFINES": False}
    given = {**OBJECTS, "account": {"events": {}}}
    said = told(visitor.start(objects=json.dumps(given)))
    assert [problem["path"] for problem in said["errors"]] == ["account"]
    assert not CRMObject.objects.filter(slug="account").exists()


def test_a_customer_can_not_change_definitions(visitor: Visitor, settings: Any) -> None:
    settings.XKIT_CRM = {"LINK_DEFINES": False}
    event = {"type": "create", "label": "Mine now", "payloadSchema": {}}
    given = {"opportunity": {"events": {"deal_created": event}}}
    assert visitor.start(objects=json.dumps(given)).status_code == 303
    assert EventDefinition.objects.get(slug="deal_created").label == "Deal Created"


def test_objects_are_defined_where_the_settings_say_so(visitor: Visitor, settings: Any) -> None:
    settings.XKIT_CRM = {"LINK_DEFINES": True}
    given = {"account": {"label": "Account", "events": {}}}
    assert visitor.start(objects=json.dumps(given)).status_code == 303
    assert CRMObject.objects.filter(slug="account").exists()


def test_what_a_page_leaves_out_of_a_definition_stays(visitor: Visitor, settings: Any) -> None:
    settings.XKIT_CRM = {"LINK_DEFINES": True}
    before = dump()["opportunity"]
    event = {"type": "create", "payloadSchema": {"colour": {"type": "string"}}}
    given = {"opportunity": {"events": {"deal_created": event}}, "contact": {}}
    assert visitor.start(objects=json.dumps(given)).status_code == 303
    after = dump()["opportunity"]
    payload = after["events"]["deal_created"].pop("payloadSchema")
    assert set(payload) == {"colour", *before["events"]["deal_created"].pop("payloadSchema")}
    assert after == before


def test_a_page_that_names_no_object_is_told(visitor: Visitor) -> None:
    said = told(visitor.start(objects="{}"))
    assert said["code"] == "definition_invalid"
    assert said["errors"][0]["path"] == "objects"


def test_only_the_objects_of_the_page_are_shown(visitor: Visitor) -> None:
    visitor.start(objects=json.dumps({"contact": {"events": {}}}))
    visitor.post("crms/sandbox/")
    steps = text(visitor.part("steps"))
    assert "objects/contact/" in steps
    assert "objects/opportunity/" not in steps
    assert visitor.get("objects/opportunity/").status_code == 404


# -- connecting -----------------------------------------------------------------------------------


def test_connecting_makes_a_pending_connection_of_the_context(inside: Visitor) -> None:
    connection = Connection.objects.get()
    assert (connection.pk, connection.context, connection.status) == (
        "acme",
        "workspace-1",
        "pending",
    )


def test_a_refused_token_of_the_crm_is_told_and_nothing_is_made(visitor: Visitor) -> None:
    from xkit_crm.providers.sandbox.standard import ensure_org

    org = ensure_org("acme")
    org.token = "right"
    org.save()
    visitor.start()
    answer = visitor.post("crms/sandbox/", {"token": "wrong"})
    assert "Your CRM didn&#x27;t let us in." in text(answer)
    assert 'aria-invalid="true"' in text(answer)
    assert "401" not in text(answer)
    assert "Reconnect" not in text(answer)
    assert "wrong" not in text(answer)
    assert not Connection.objects.exists()
    assert visitor.post("crms/sandbox/", {"token": "right"}).status_code == 303


def test_the_only_crm_or_the_preselected_one_needs_no_choosing(
    visitor: Visitor, settings: Any
) -> None:
    settings.XKIT_CRM = {"LINK_CRMS": ["sandbox"]}
    visitor.start()
    assert visitor.get("crms/").headers["Location"].endswith("crms/sandbox/")
    settings.XKIT_CRM = {}
    assert visitor.get("crms/").status_code == 200
    visitor.start(preselectCRMSlug="sandbox")
    assert visitor.get("crms/").headers["Location"].endswith("crms/sandbox/")


def test_an_unknown_crm_can_not_be_connected(visitor: Visitor) -> None:
    visitor.start()
    assert visitor.post("crms/nonesuch/").status_code == 404


def test_a_connected_one_opens_on_the_overview(visitor: Visitor) -> None:
    xkit_crm.connect("acme", provider="sandbox", context="workspace-1")
    visitor.start()
    assert visitor.get().status_code == 200


def test_disconnecting_forgets_the_credentials_and_keeps_the_mapping(visitor: Visitor) -> None:
    xkit_crm.connect(
        "acme", provider="sandbox", context="workspace-1", credentials={"token": "secret"}
    )
    visitor.start()
    visitor.post("disconnect")
    connection = Connection.objects.get()
    assert (connection.status, connection.credentials) == ("disabled", {})
    assert connection.mappings.exists()
    assert "disconnected" in text(visitor.get())
    visitor.post("crms/sandbox/")
    connection.refresh_from_db()
    assert connection.status == "enabled"


# -- the script -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crm-link.js", "crm-link.mjs"])
def test_the_script_may_be_loaded_by_any_page_and_is_remembered(client: Any, name: str) -> None:
    answer = client.get(f"/crm-link/{name}")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    again = client.get(f"/crm-link/{name}", HTTP_IF_NONE_MATCH=answer.headers["ETag"])
    assert again.status_code == 304
