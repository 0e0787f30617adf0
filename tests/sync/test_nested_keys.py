"""An object of a payload that is filled part by part: `address.city`."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

import xkit_crm
from tests.admin.binding_pages import ADD, IN_FORCE, chosen, form, options, parts, preview
from tests.admin.reading import text
from tests.factories import CustomerFactory
from tests.products.crm import DealSync
from tests.products.models import Customer, Deal
from tests.sync.test_capture import fired, rebound
from xkit_crm.checks.bindings import misnamed_by
from xkit_crm.exceptions import ConfigurationError, PayloadInvalid
from xkit_crm.models import Connection, EventDefinition, ModelBinding
from xkit_crm.sync import bindings

pytestmark = IN_FORCE

ADDRESS = {
    "type": "object",
    "label": "Address",
    "properties": {
        "city": {"type": "string", "label": "City", "required": True, "maxLength": 20},
        "geo": {"type": "object", "properties": {"views": {"type": "integer"}}},
    },
}


@pytest.fixture(autouse=True)
def created(connection: Connection) -> EventDefinition:
    """A creation that takes an address."""
    event = EventDefinition.objects.get(slug="deal_created")
    event.payload_schema["address"] = ADDRESS
    event.save()
    return event


class Addressed(DealSync):
    payload = {"address.city": "title", "address.geo.views": "views", "address.none": "note"}


def test_code_fills_an_object_part_by_part(customer: Customer) -> None:
    with rebound(Addressed):
        Deal.objects.create(customer=customer, title="Bern", views=3)
    assert [payload for _, payload in fired()] == [
        {"address": {"city": "Bern", "geo": {"views": 3}}}
    ]


def test_what_is_wrong_with_a_part_is_told_at_it(customer: Customer) -> None:
    with rebound(Addressed), pytest.raises(PayloadInvalid) as raised:
        Deal.objects.create(customer=customer, title="x" * 30)
    assert [problem.path for problem in raised.value.errors] == ["payload.address.city"]


def test_an_object_is_filled_as_a_whole_or_part_by_part() -> None:
    class Twice(Addressed):
        def get_address(self, deal: Deal) -> dict[str, Any]:
            return {}

    with pytest.raises(ConfigurationError, match=r"address\.city is a part of address"):
        xkit_crm.register(Deal)(Twice)


def told(sync: type[DealSync]) -> list[str]:
    """What the checks say of a binding."""
    with rebound(sync):
        (binding,) = bindings.bindings_for(Deal)
        return [message.msg for message in misnamed_by(binding)]


def test_the_checks_know_the_parts(created: EventDefinition) -> None:
    class Partly(DealSync):
        payload = {"address.geo.views": "views"}

    (unknown,) = told(Addressed)
    assert "address.none is in none of its events" in unknown
    (absent,) = told(Partly)
    assert "requires: address.city" in absent
    created.payload_schema["address"] = {**ADDRESS, "required": True}
    created.save()
    (absent,) = told(DealSync)
    assert "requires: address" in absent


# -- in the admin ---------------------------------------------------------------------------------

BOUND = {"on_update": "", "payload:address.city": "name", "payload:address.geo.views": "id"}


def test_each_part_is_offered_what_fits_it(admin_client: Client) -> None:
    html = parts(admin_client, **form())
    assert "Address › City" in html
    assert {"name", "connection_id"} <= set(options(html, "payload:address.city"))
    assert "name" not in options(html, "payload:address.geo.views")
    # It may be called like a field that is something else.
    assert chosen(html, "payload:address.city") == ""


def test_an_operator_fills_an_object_part_by_part(admin_client: Client) -> None:
    assert admin_client.post(ADD, form(**BOUND)).status_code == 302
    made = Customer.objects.create(name="Bern", connection_id="acme")
    assert [payload["address"] for _, payload in fired()] == [
        {"city": "Bern", "geo": {"views": made.pk}}
    ]
    assert '"city": "Bern"' in preview(admin_client, **form(**BOUND))


def test_what_is_wrong_with_the_parts_is_told(admin_client: Client) -> None:
    def told(**sent: Any) -> str:
        return text(admin_client.post(ADD, form(**sent)))

    assert "is required by deal_created" in told(**{**BOUND, "payload:address.city": ""})
    assert "never gives what deal_created takes: integer" in told(
        **{**BOUND, "payload:address.geo.views": "name"}
    )
    assert "is in the schema of none of these events" in told(**{"payload:address.zip": "name"})
    whole = {"payload:address": "*", "payload:address:typed": "deals.count"}
    assert "is a part of address, which is filled as a whole" in told(**BOUND, **whole)
    assert not ModelBinding.objects.exists()
    CustomerFactory.create(name="Ada", connection_id="acme")
    assert '"address":' in preview(admin_client, **form(**BOUND, **whole))
