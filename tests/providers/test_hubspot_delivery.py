"""What is saved reaches HubSpot, once: the engine and the adapter together."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

import xkit_crm
from tests.factories import CustomerFactory
from tests.products.models import Deal
from tests.providers.vendors import at_work
from xkit_crm.connections import set_status
from xkit_crm.exceptions import XkitError
from xkit_crm.models import Connection, EventAction, Invocation, Lane, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.testing import deliver
from xkit_crm.testing.fakes import Misbehaviour
from xkit_crm.testing.fakes.hubspot import HubSpotFake
from xkit_crm.testing.fakes.server import Response

pytestmark = pytest.mark.django_db


@pytest.fixture
def crm(settings: Any) -> Iterator[HubSpotFake]:
    with at_work(HubSpotFake(), "hubspot", settings) as fake:
        yield fake


@pytest.fixture
def acme(definitions: None, crm: HubSpotFake) -> Connection:
    return xkit_crm.connect("acme", provider="hubspot", credentials=crm.signed_in)


def save(*titles: str) -> None:
    customer = CustomerFactory.create(connection_id="acme")
    Deal.synced.bulk_create([Deal(customer=customer, title=title) for title in titles])


def names(crm: HubSpotFake) -> list[str]:
    return sorted(r["properties"]["dealname"] for r in crm.records["deals"].values())


def states() -> set[str]:
    return set(Invocation.objects.values_list("status", flat=True))


def test_what_is_saved_arrives_in_one_call(acme: Connection, crm: HubSpotFake) -> None:
    save("First", "Second", "Third")
    before = len(crm.requests)
    assert deliver() == 3
    assert names(crm) == ["First", "Second", "Third"]
    writes = [r for r in crm.requests[before:] if "batch/create" in r.path]
    assert len(writes) == 1
    assert RecordLink.objects.count() == 3


@pytest.mark.parametrize("titles", [["Only"], ["First", "Second", "Third"]])
def test_a_lost_answer_doubles_nothing(
    acme: Connection, crm: HubSpotFake, titles: list[str]
) -> None:
    save(*titles)
    crm.misbehave(Misbehaviour.LOST)
    while deliver():
        pass
    assert names(crm) == sorted(titles)
    assert states() == {"succeeded"}


def test_without_the_key_field_a_lost_create_is_left_to_a_person(
    definitions: None, crm: HubSpotFake
) -> None:
    crm.properties["deals"] = [p for p in crm.properties["deals"] if p["name"] != "xkit_key"]
    xkit_crm.connect("acme", provider="hubspot", credentials=crm.signed_in)
    save("Only")
    crm.misbehave(Misbehaviour.LOST)
    while deliver():
        pass
    assert names(crm) == ["Only"]
    assert states() == {"unknown"}


def test_an_ended_token_is_renewed_and_kept(acme: Connection, crm: HubSpotFake) -> None:
    crm.expire()
    save("Only")
    assert deliver() == 1
    assert states() == {"succeeded"}
    assert crm.renewals == 1
    assert Connection.objects.get().credentials["access_token"] == crm.token


def test_a_revoked_sign_in_breaks_the_connection_off(acme: Connection, crm: HubSpotFake) -> None:
    crm.expire()
    crm.refresh_token = "another"
    save("Only")
    deliver()
    connection = Connection.objects.get()
    assert connection.status == "errored"
    assert "invalid_grant" in connection.status_reason
    assert states() == {"pending"}


def test_no_token_is_told_or_logged(
    acme: Connection, crm: HubSpotFake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    save("Only")
    crm.misbehave(Misbehaviour.HTML, Misbehaviour.UNAVAILABLE)
    while deliver():
        pass
    secrets = (crm.token, crm.refresh_token, "a-client-secret")
    log = caplog.text
    attempts = str(list(Invocation.objects.values("error_detail", "result", "attempts__error")))
    assert not [secret for secret in secrets if secret in log or secret in attempts]


# -- what changes in the CRM behind our back ------------------------------------------------------


def told(number: int = -1) -> tuple[str, str]:
    """The status of an invocation and all that is said of what went wrong."""
    found = list(Invocation.objects.order_by("id"))[number]
    return found.status, str(found.error_detail)


def amount(crm: HubSpotFake) -> Any:
    return next(p for p in crm.properties["deals"] if p["name"] == "amount")


def priced(title: str, price: int) -> None:
    customer = CustomerFactory.create(connection_id="acme")
    Deal.objects.create(customer=customer, title=title, amount=price)


def make_read_only(crm: HubSpotFake) -> None:
    found = amount(crm)
    changed = {**found, "modificationMetadata": {"readOnlyValue": True}}
    crm.properties["deals"] = [changed if p is found else p for p in crm.properties["deals"]]


def test_a_field_that_became_read_only_is_named_and_the_invocation_kept(
    acme: Connection, crm: HubSpotFake
) -> None:
    deliver()
    make_read_only(crm)
    priced("Only", 5)
    deliver()
    status, said = told()
    assert status == "failed"
    assert "amount" in said
    assert "read only" in said
    assert names(crm) == []


def test_once_the_crm_says_so_it_waits_for_the_customer(acme: Connection, crm: HubSpotFake) -> None:
    make_read_only(crm)
    cache.clear()  # what it said of itself before is forgotten
    priced("Only", 5)
    deliver()
    status, said = told()
    assert status == "pending"
    assert "Amount" in said


def test_a_picklist_value_that_is_gone_is_named(acme: Connection, crm: HubSpotFake) -> None:
    stage = {**amount(crm), "name": "stage", "label": "Stage", "type": "enumeration"}
    stage |= {"fieldType": "select", "options": [{"value": "old", "label": "Old", "hidden": False}]}
    crm.properties["deals"].append(stage)
    cache.clear()
    action = EventAction.objects.get(mapping__connection=acme, event__slug="deal_created")
    action.transformations.append({"field": "stage", "kind": "static", "value": "old"})
    action.save()
    stage["options"] = [{"value": "new", "label": "New", "hidden": False}]
    save("Only")
    deliver()
    status, said = told()
    assert status in ("failed", "pending")
    assert "tage" in said
    assert names(crm) == []


def test_an_id_of_another_object_is_no_record(acme: Connection, crm: HubSpotFake) -> None:
    with pytest.raises(XkitError) as caught:
        xkit_crm.invoke(
            "acme", "opportunity", "deal_updated", {"name": "Other"}, record="contacts:10001"
        )
    assert caught.value.status in (404, 422)
    assert "contacts:10001" in str(caught.value)


def test_a_day_that_is_used_up_ends_at_a_midnight_that_is_not_told(
    acme: Connection, crm: HubSpotFake, time_machine: Any
) -> None:
    """It is that of the account's own time zone: in New York it is five o'clock in UTC."""
    body = {"status": "error", "message": "The daily limit is reached.", "policyName": "DAILY"}
    crm.too_many = lambda: Response(429, body)  # type: ignore[method-assign]
    save("Only")
    for moment in ("2026-01-01T22:00Z", "2026-01-02T00:01Z"):
        time_machine.move_to(datetime.fromisoformat(moment))
        Invocation.objects.update(due_at=timezone.now())
        crm.misbehave(Misbehaviour.RATE_LIMIT)
        deliver()
        assert states() == {"pending"}
    time_machine.move_to(datetime.fromisoformat("2026-01-02T06:00Z"))
    deliver()
    assert names(crm) == ["Only"]


# -- when signing in goes wrong -------------------------------------------------------------------


def answering(crm: HubSpotFake, response: Response) -> None:
    """Let the token endpoint answer this."""
    crm.give_token = lambda request: response  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "response",
    [
        Response(401, {"error": "invalid_client"}),
        Response(429, {"message": "slow down"}),
        Response(403, "<h1>Blocked</h1>"),
        Response(404, {"message": "not here"}),
        Response(200, "<h1>We'll be back soon</h1>"),
        Response(503, None),
    ],
)
def test_what_is_not_the_customers_fault_is_waited_for(
    acme: Connection, crm: HubSpotFake, response: Response, settings: Any
) -> None:
    """The operator's secret has ended, say: nothing is lost, and nobody signs in again."""
    settings.XKIT_CRM = {**settings.XKIT_CRM, "RETRY_BASE": 60.0}
    crm.expire()
    answering(crm, response)
    save("Only")
    deliver()
    assert states() == {"pending"}
    assert Connection.objects.get().status == "enabled"
    del crm.give_token
    Lane.objects.update(paused_until=None)
    Invocation.objects.update(due_at=timezone.now())
    deliver()
    assert names(crm) == ["Only"]


def test_a_token_that_a_crm_echoes_is_not_stored(acme: Connection, crm: HubSpotFake) -> None:
    set_status(acme, ConnectionStatus.ERRORED, f"bad header Bearer {crm.token}")
    assert crm.token not in Connection.objects.get().status_reason


@pytest.mark.parametrize("said", ["inf", "nan", "1e308", "99999999999"])
def test_an_absurd_wish_to_be_left_alone_is_not_believed(
    acme: Connection, crm: HubSpotFake, said: str
) -> None:
    save("Only")
    crm.too_many = lambda: Response(429, {"message": "no"}, {"Retry-After": said})  # type: ignore[method-assign]
    crm.misbehave(Misbehaviour.RATE_LIMIT)
    deliver()
    assert states() == {"pending"}
    paused = Lane.objects.get().paused_until
    assert paused is None or paused < timezone.now() + timedelta(hours=25)


def test_who_connects_again_is_known_by_what_they_give(acme: Connection, crm: HubSpotFake) -> None:
    """Although their access token has ended by then, and an older sign-in is stored."""
    acme.credentials = {**crm.signed_in, "refresh_token": "revoked"}
    acme.save()
    given = {**crm.signed_in, "access_token": "ended", "expires_at": 1}
    crm.expire()
    connected = xkit_crm.connect("acme", provider="hubspot", credentials=given)
    stored = Connection.objects.get().credentials
    assert connected.credentials == stored
    assert stored["access_token"] == crm.token
    assert stored["refresh_token"] == crm.refresh_token
