"""Tables with triggers that mark what is written, and what is written past the capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connection as database
from django.db import models

from tests.factories import DealFactory
from tests.products.models import Customer, Deal, Plain
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, MarkedRow
from xkit_crm.sync import triggers


@contextmanager
def installed(
    *tables: type[models.Model], fields: Sequence[str] = (), patch: pytest.MonkeyPatch
) -> Iterator[None]:
    """These tables have the triggers in the block, as a product's migration gives them."""
    patch.setattr(triggers, "_in_use", False)
    before = list(database.execute_wrappers)
    with ExitStack() as stack:
        for trigger in triggers.capture_triggers(*fields):
            for table in tables:
                stack.enter_context(trigger.install(table))
        yield
    database.execute_wrappers[:] = before


def sql(statement: str, *values: Any) -> None:
    """What another service does to the table."""
    with database.cursor() as cursor:
        cursor.execute(statement, values)


def insert(customer: Customer, title: str) -> None:
    sql(
        "INSERT INTO products_deal (customer_id, title, tags, views, note, modified_at) "
        "VALUES (%s, %s, '[]', 0, '', now())",
        customer.pk,
        title,
    )


def rename(deal: Deal, title: str) -> None:
    sql("UPDATE products_deal SET title = %s WHERE id = %s", title, deal.pk)


def marks() -> list[str]:
    return list(MarkedRow.objects.values_list("object_pk", flat=True))


def events() -> list[str]:
    return list(Invocation.objects.order_by("id").values_list("event__slug", flat=True))


@pytest.fixture(autouse=True)
def marked(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deals and an unbound model have the triggers, as a product's migration gives them."""
    with installed(Deal, Plain, patch=monkeypatch):
        yield


@pytest.fixture
def delivered(sandbox: Connection, customer: Customer) -> Deal:
    """A deal that the CRM has, updated once, so that every key was delivered."""
    deal = DealFactory.create(customer=customer, title="First")
    drain("acme")
    deal.views += 1
    deal.save()
    drain("acme")
    assert not marks()
    Invocation.objects.all().delete()
    return deal
