"""Bindings and definitions in memory follow the database, and no page or command fails for it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.db import connection as database
from django.test import Client

from tests.products.models import Customer
from tests.sync.test_bindings import bind
from xkit_crm import catalogue
from xkit_crm.models import Connection, EventDefinition, ModelBinding
from xkit_crm.sync import bindings, following


@pytest.fixture
def looking(settings: Any) -> None:
    """Every request looks for changes."""
    settings.XKIT_CRM = {**settings.XKIT_CRM, "REFRESH_INTERVAL": 0}


def failing(*_: object) -> None:
    raise OperationalError("no such column: xkit_crm_modelbinding.something_new")


def test_a_page_that_uses_no_database_needs_none(looking: None) -> None:
    assert Client().get("/no-such-page").status_code == 404


@pytest.mark.django_db
def test_a_page_opens_although_the_tables_are_of_another_version(
    looking: None, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue.objects()
    with database.execute_wrapper(failing):
        assert Client().get("/no-such-page").status_code == 404
    assert "something_new" in caplog.text


@pytest.mark.django_db
def test_the_first_use_of_the_database_survives_tables_of_another_version(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bindings, "load_rows", failing)
    following._load_first(connection=database)
    assert "something_new" in caplog.text


@pytest.mark.django_db
def test_a_request_sees_what_another_process_changed(looking: None, connection: Connection) -> None:
    bind(Customer)
    catalogue.event("opportunity", "deal_created")
    # Past every signal, as another process does it.
    ModelBinding.objects.update(active=False, updated_at="2100-01-01T00:00:00Z")
    EventDefinition.objects.filter(slug="find_deals")._raw_delete("default")
    Client().get("/no-such-page")
    assert bindings.bindings_for(Customer) == ()
    assert "find_deals" not in catalogue.objects()["opportunity"].events


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_forgotten_by_the_next_request(connection: Connection) -> None:
    bind(Customer)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        ModelBinding.objects.all().delete()
        assert bindings.bindings_for(Customer) == ()
        raise ZeroDivisionError
    Client().get("/no-such-page")
    assert len(bindings.bindings_for(Customer)) == 1
    ModelBinding.objects.all().delete()
