"""Records that a customer has already: found live in their CRM, and linked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import names
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm import mappings
from xkit_crm.exceptions import (
    AlreadyLinked,
    ConnectionNotEnabled,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
    UnknownObject,
    UnknownRecord,
)
from xkit_crm.models import Connection, Lane, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Misbehaviour, Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.sync import existing
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_search_before(db: None) -> None:
    cache.clear()


@pytest.fixture
def theirs(sandbox: Connection) -> None:
    """What the customer had before us: Opportunity:00001 to 00003."""
    org = Org.objects.get(slug="acme")
    for name, amount in (("Rocket Skates", 100), ("Rocket Fuel", None), ("Anvil <b>No. 5</b>", 7)):
        records.create_record(org, "Opportunity", {"Name": name, "Amount": amount})


def found(text: str, connection_id: str = "acme") -> list[str]:
    connection = Connection.objects.get(pk=connection_id)
    return [one.record_id for one in existing.find(connection, "opportunity", text)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each call that reads records, in order."""
    calls: list[str] = []

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            calls.append(name)
            return original(*args, **named)

        return call

    for name in ("get", "search"):
        monkeypatch.setattr(SandboxProvider, name, counted(name, getattr(SandboxProvider, name)))
    return calls


# -- finding --------------------------------------------------------------------------------------


def test_a_record_is_found_by_a_part_of_its_name_the_newest_first(theirs: None) -> None:
    assert found("rocket") == ["Opportunity:00002", "Opportunity:00001"]
    assert found("  skates ") == ["Opportunity:00001"]
    assert found("nothing like it") == []


def test_a_record_shows_its_name_what_we_write_to_it_and_its_page(
    theirs: None, sandbox: Connection
) -> None:
    (skates,) = existing.find(sandbox, "opportunity", "skates")
    assert skates.name == "Rocket Skates"
    assert dict(skates.values) == {"Amount": 100}
    assert skates.url.endswith("/acme/Opportunity:00001/")
    assert skates.link is None


@pytest.mark.parametrize("text", ["Opportunity:00003", "00003", "3"])
def test_a_record_is_found_by_its_id(theirs: None, text: str) -> None:
    assert found(text) == ["Opportunity:00003"]


def test_a_number_finds_names_too(theirs: None) -> None:
    org = Org.objects.get(slug="acme")
    records.create_record(org, "Opportunity", {"Name": "Offer 00003"})
    assert found("00003") == ["Opportunity:00003", "Opportunity:00004"]


def test_the_record_id_asks_once_and_a_name_is_no_id(theirs: None, asked: list[str]) -> None:
    found("Opportunity:00003")
    assert asked == ["get"]
    found("skates")
    assert asked == ["get", "search"]


def test_what_is_too_short_asks_nothing(theirs: None, asked: list[str]) -> None:
    assert found("r") == []
    assert found("  ") == []
    assert asked == []


def test_a_contact_is_found_by_its_email(sandbox: Connection) -> None:
    org = Org.objects.get(slug="acme")
    records.create_record(org, "Contact", {"LastName": "Lovelace", "Email": "ada@example.com"})
    (ada,) = existing.find(sandbox, "contact", "ada@exam")
    assert (ada.name, dict(ada.values)["Email"]) == ("Lovelace", "ada@example.com")


def test_what_a_row_is_linked_to_already_is_told(
    theirs: None, sandbox: Connection, deal: Deal
) -> None:
    xkit_crm.link(deal, "acme", "Opportunity:00001")
    links = {one.record_id: one.link for one in existing.find(sandbox, "opportunity", "rocket")}
    assert links["Opportunity:00002"] is None
    link = links["Opportunity:00001"]
    assert link is not None
    assert link.object_pk == str(deal.pk)


def test_another_customers_records_are_never_found(theirs: None) -> None:
    xkit_crm.connect("globex", provider="sandbox")
    assert found("rocket", "globex") == []
    assert found("Opportunity:00001", "globex") == []


def test_no_more_than_ten_are_found(sandbox: Connection) -> None:
    org = Org.objects.get(slug="acme")
    for number in range(12):
        records.create_record(org, "Opportunity", {"Name": f"Deal {number}"})
    assert len(found("deal")) == 10


# -- a CRM that is not to be asked, or does not answer ---------------------------------------------


@pytest.mark.parametrize("status", ["pending", "disabled", "errored"])
def test_only_an_enabled_connection_is_asked(theirs: None, asked: list[str], status: str) -> None:
    Connection.objects.update(status=status)
    with pytest.raises(ConnectionNotEnabled):
        found("rocket")
    assert asked == []


def test_a_crm_that_asked_for_a_pause_is_left_alone(theirs: None, asked: list[str]) -> None:
    until = timezone.now() + timedelta(minutes=5)
    Lane.objects.update_or_create(connection_id="acme", defaults={"paused_until": until})
    with pytest.raises(RateLimited):
        found("rocket")
    assert asked == []


def test_an_object_that_the_customer_mapped_to_nothing_has_no_records(
    theirs: None, sandbox: Connection
) -> None:
    mappings.put_in_force(sandbox, {"opportunity": {"remote_object": ""}})
    with pytest.raises(UnknownObject, match="not mapped"):
        found("rocket")


@pytest.mark.parametrize(
    ("kind", "error"), [("unavailable", CRMUnavailable), ("rate_limit", RateLimited)]
)
def test_a_crm_that_does_not_answer_is_asked_once_and_told(
    theirs: None, asked: list[str], kind: str, error: type[Exception]
) -> None:
    org = Org.objects.get(slug="acme")
    Misbehaviour.objects.create(org=org, kind=kind, operation="search")
    with pytest.raises(error):
        found("rocket")
    assert asked == ["search"]


def test_refused_credentials_break_the_connection_off(theirs: None, sandbox: Connection) -> None:
    Org.objects.update(token="another")
    with pytest.raises(CRMUnauthorized):
        found("rocket")
    sandbox.refresh_from_db()
    assert sandbox.status == ConnectionStatus.ERRORED


def test_an_answer_that_makes_no_sense_is_told_as_the_crms(
    theirs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("results")

    monkeypatch.setattr(SandboxProvider, "search", broken)
    with pytest.raises(CRMError, match="can't be understood"):
        found("rocket")


def test_what_the_crm_can_not_search_for_is_told_in_its_words(
    theirs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise RejectedByCRM("CONTAINS is not supported.")

    monkeypatch.setattr(SandboxProvider, "search", refused)
    with pytest.raises(RejectedByCRM, match="not supported"):
        found("rocket")
    assert found("3") == ["Opportunity:00003"]


def test_so_many_searches_are_made_in_a_minute_and_no_more(
    theirs: None, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "PER_MINUTE", 3)
    for _ in range(3):
        found("rocket")
    with pytest.raises(RateLimited, match="too many searches"):
        found("rocket")
    assert len(asked) == 3
    xkit_crm.connect("globex", provider="sandbox")
    assert found("rocket", "globex") == []


# -- linking --------------------------------------------------------------------------------------


def test_a_row_is_linked_to_a_record_that_is_there(
    theirs: None, sandbox: Connection, deal: Deal
) -> None:
    existing.link_existing(deal, sandbox, " Opportunity:00001 ", crm_object="opportunity")
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"
    deal.title = "Ours"
    deal.save()
    deliver()
    assert names()[0] == "Ours"


def test_the_record_is_known_by_the_crms_own_spelling_of_its_id(
    theirs: None, sandbox: Connection, deal: Deal
) -> None:
    existing.link_existing(deal, sandbox, "Opportunity:1", crm_object="opportunity")
    assert xkit_crm.links(deal).get().record_id == "Opportunity:00001"


@pytest.mark.parametrize(
    ("record_id", "error"),
    [
        ("Opportunity:00009", RemoteRecordNotFound),
        ("Contact:00001", UnknownRecord),
        ("00001", UnknownRecord),
        ("", UnknownRecord),
    ],
)
def test_what_is_no_record_of_the_object_is_not_linked(
    theirs: None, sandbox: Connection, deal: Deal, record_id: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        existing.link_existing(deal, sandbox, record_id, crm_object="opportunity")
    assert not RecordLink.objects.exists()


def test_a_record_of_another_row_is_refused_and_the_row_named(
    theirs: None, sandbox: Connection, customer: Customer, deal: Deal
) -> None:
    with xkit_crm.muted():
        other = DealFactory.create(customer=customer)
    xkit_crm.link(other, "acme", "Opportunity:00001")
    with pytest.raises(AlreadyLinked, match=f"deal {other.pk}"):
        existing.link_existing(deal, sandbox, "Opportunity:1", crm_object="opportunity")
    assert not xkit_crm.links(deal).exists()


def test_linking_to_the_record_that_it_has_already_is_fine(
    theirs: None, sandbox: Connection, deal: Deal
) -> None:
    for _ in range(2):
        existing.link_existing(deal, sandbox, "Opportunity:00001", crm_object="opportunity")
    assert RecordLink.objects.count() == 1


def test_a_connection_that_is_not_enabled_links_nothing(
    theirs: None, sandbox: Connection, deal: Deal
) -> None:
    Connection.objects.update(status=ConnectionStatus.DISABLED)
    sandbox.refresh_from_db()
    with pytest.raises(ConnectionNotEnabled):
        existing.link_existing(deal, sandbox, "Opportunity:00001", crm_object="opportunity")
