"""What the customer decides while a backfill runs: from the next page on it goes by that."""

from __future__ import annotations

from typing import Any

import pytest

import xkit_crm
from tests.products.models import Customer, Deal
from tests.sync.test_backfill import remote, rows, run
from xkit_crm import exceptions, mappings
from xkit_crm.connections import disconnect
from xkit_crm.models import (
    Connection,
    Invocation,
)
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.standard import add_field
from xkit_crm.sync import backfill as backfilling
from xkit_crm.sync.backfill import Outcome

pytestmark = pytest.mark.django_db


def by_name(remote_object: str) -> dict[str, Any]:
    """What a mapping has for deals, which are told by their name alone."""
    name = {"field": "Name", "kind": "direct", "key": "name"}
    events = {
        f"deal_{type_}d": {"action": type_, "transformations": [name]}
        for type_ in ("create", "update")
    }
    return {"remote_object": remote_object, "fields": {}, "events": events}


def test_what_the_customer_maps_otherwise_meanwhile_is_gone_by_from_there(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    deals = rows(customer, "First", "Second", "Third")
    for title in ("First", "Second", "Third"):
        remote(title)
        records.create_record(Org.objects.get(slug="acme"), "Account", {"Name": title})
    search = backfilling._Run._one_search
    asked: list[Any] = []

    def at_the_second(self: Any, row: Deal, *args: Any) -> Any:
        found = search(self, row, *args)
        asked.append(row.title)
        if asked == ["First", "Second"]:
            document = mappings.in_force(sandbox)
            document["opportunity"] = by_name("Account")
            mappings.put_in_force(sandbox, document)
        return found

    monkeypatch.setattr(backfilling._Run, "_one_search", at_the_second)
    assert run(batch_size=1).counts == {Outcome.LINKED: 3}
    assert asked == ["First", "Second", "Second", "Third"]
    linked = [xkit_crm.links(deal).get().record_id.partition(":")[0] for deal in deals]
    assert linked == ["Opportunity", "Account", "Account"]


def test_a_field_that_the_customer_makes_for_that_is_known_from_there(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "First", "Second")
    remote("Second")

    def map_anew(done: int) -> None:
        if done == 1:
            add_field(Org.objects.get(slug="acme"), "Opportunity", "Motto")
            document = mappings.in_force(sandbox)
            document["opportunity"] = by_name("Opportunity")
            for action in document["opportunity"]["events"].values():
                motto = {"field": "Motto", "kind": "static", "value": "Onwards"}
                action["transformations"].append(motto)
            mappings.put_in_force(sandbox, document)

    found = run(batch_size=1, progress=map_anew)
    assert (found.counts, found.updates) == ({Outcome.CREATED: 1, Outcome.LINKED: 1}, 1)


def test_a_crm_that_is_connected_to_another_account_meanwhile_is_asked_as_that_one(
    sandbox: Connection, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(customer, "First", "Second")
    search = SandboxProvider.search
    asked_as: list[Any] = []

    def searching(self: SandboxProvider, *args: Any, **named: Any) -> Any:
        asked_as.append(self.access.credentials.get("account"))
        return search(self, *args, **named)

    def connect_anew(done: int) -> None:
        xkit_crm.connect("acme", provider="sandbox", credentials={"account": "another"})

    monkeypatch.setattr(SandboxProvider, "search", searching)
    run(batch_size=1, progress=connect_anew)
    assert asked_as == [None, "another"]


def test_a_crm_that_is_disconnected_meanwhile_is_asked_no_more(
    sandbox: Connection, customer: Customer
) -> None:
    rows(customer, "First", "Second", "Third")
    with pytest.raises(exceptions.ConnectionNotEnabled, match="by the customer"):
        run(batch_size=1, progress=lambda _: disconnect(sandbox, "by the customer"))
    assert [one.payload["name"] for one in Invocation.objects.all()] == ["First"]
