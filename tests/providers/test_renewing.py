"""New credentials for old ones: fetched once, whoever needs them, and never lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection as database
from django.db import connections, transaction

from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import Customer
from tests.threads import begun
from xkit_crm.exceptions import CRMUnauthorized
from xkit_crm.models import Connection, Invocation
from xkit_crm.providers.base import Credentials
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.renewing import renew

OLD = {"access_token": "old-access", "refresh_token": "old-refresh"}
NEW = {"access_token": "new-access", "refresh_token": "new-refresh"}


def made() -> Connection:
    connection = ConnectionFactory.build(id="acme", provider="sandbox")
    connection.credentials = OLD
    connection.save()
    return connection


@pytest.mark.django_db
def test_what_was_fetched_is_stored_and_in_hand() -> None:
    connection = made()
    assert renew(connection, OLD, lambda known: NEW) == NEW
    assert connection.credentials == NEW
    assert Connection.objects.get().credentials == NEW


@pytest.mark.django_db
def test_who_comes_late_takes_what_the_first_one_fetched() -> None:
    connection = made()
    late = Connection.objects.get()
    renew(connection, OLD, lambda known: NEW)

    def again(known: Credentials) -> Credentials:
        raise AssertionError("the vendor was asked twice")

    assert renew(late, OLD, again) == NEW
    assert late.credentials == NEW


@pytest.mark.django_db
def test_where_the_vendor_refuses_nothing_changes() -> None:
    connection = made()

    def refuse(known: Credentials) -> Credentials:
        raise CRMUnauthorized("The refresh token was revoked.")

    with pytest.raises(CRMUnauthorized):
        renew(connection, OLD, refuse)
    assert Connection.objects.get().credentials == OLD


@pytest.mark.django_db
def test_credentials_of_the_crm_that_was_connected_meanwhile_are_not_sent_to_this_one() -> None:
    connection = made()
    anew = Connection.objects.get()
    anew.provider, anew.credentials = "another", NEW
    anew.save()
    with pytest.raises(CRMUnauthorized, match="another CRM") as caught:
        renew(connection, OLD, lambda known: NEW)
    assert caught.value.hint == "Try it again, in that one."
    assert connection.credentials == OLD


@pytest.mark.django_db
def test_a_connection_that_is_only_being_made_has_nothing_to_store_in() -> None:
    connection = ConnectionFactory.build(id="acme", provider="sandbox")
    connection.credentials = OLD
    assert renew(connection, OLD, lambda known: NEW) == NEW
    assert not Connection.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_rotated_token_outlives_a_transaction_that_is_rolled_back() -> None:
    if database.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    connection = made()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        renew(connection, OLD, lambda known: NEW)
        raise ZeroDivisionError
    assert Connection.objects.get().credentials == NEW


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_ask_the_vendor_once() -> None:
    made()
    asked: list[Credentials] = []
    together = threading.Barrier(2, timeout=10)
    got: list[Any] = []

    def ask(known: Credentials) -> Credentials:
        asked.append(known)
        threading.Event().wait(0.2)
        return NEW

    def work() -> None:
        try:
            provider = provider_for(Connection.objects.get(pk="acme"))
            together.wait()
            got.append(provider.access.renew(provider.access.credentials, ask))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert asked == [OLD]
    assert got == [NEW, NEW]


@pytest.mark.django_db(transaction=True)
def test_what_was_connected_while_the_vendor_was_asked_stays() -> None:
    """Where whoever connects doesn't wait for the vendor."""
    if database.vendor != "mysql":
        pytest.skip("the connection is locked meanwhile")
    connection = made()
    given = {"access_token": "given", "refresh_token": "given"}

    def ask(known: Credentials) -> Credentials:
        anew = Connection.objects.get()
        anew.credentials = given
        begun(anew.save).join(10)
        return NEW

    assert renew(connection, OLD, ask) == given
    assert Connection.objects.get().credentials == given


@pytest.mark.django_db(transaction=True)
def test_who_saves_does_not_wait_for_the_vendor(
    sandbox: Connection, customer: Customer, settings: Any
) -> None:
    """An event is captured for the connection while its new token is long in coming."""
    if database.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    settings.XKIT_CRM = {**settings.XKIT_CRM, "DELIVERY": "worker"}
    asked, saved = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def ask(known: Credentials) -> Credentials:
        asked.set()
        in_time.append(saved.wait(5))
        return NEW

    renewing = begun(lambda: renew(sandbox, sandbox.credentials, ask))
    assert asked.wait(10)
    DealFactory.create(customer=customer)
    saved.set()
    renewing.join(20)
    assert in_time == [True]
    assert Connection.objects.get().credentials == NEW
    assert Invocation.objects.count() == 1
