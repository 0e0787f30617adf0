"""Tryton: what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.tryton.conftest import OPPORTUNITY, PARTY

pytestmark = pytest.mark.service


def test_what_people_work_with_is_listed_and_tryton_itself_is_not(provider: Any) -> None:
    found = {one.name: one.label for one in provider.describe_objects()}
    assert found[PARTY] == "Party"
    assert found[OPPORTUNITY] == "Sale Opportunity"
    assert "ir.note" in found
    assert not found.keys() & {"ir.cron", "res.user", "account.move", "sale.reporting.main"}


def test_fields_are_described_as_the_form_has_them(provider: Any) -> None:
    found = {one.name: one for one in provider.describe_fields(PARTY)}
    kinds = {"name": "string", "email": "email", "phone": "phone", "website": "url"}
    assert {name: found[name].type.value for name in kinds} == kinds
    assert found["lang"].references == ("ir.lang",)
    methods = [choice.value for choice in found["sale_invoice_method"].choices]
    assert methods == ["manual", "order", "fulfillment"]
    # A form for a new party takes an email, a later one doesn't.
    assert (found["email"].createable, found["email"].updateable) == (True, False)
    assert (found["create_date"].createable, found["create_date"].updateable) == (False, False)


def test_what_tryton_fills_in_itself_is_not_required(provider: Any) -> None:
    found = {one.name: one for one in provider.describe_fields(OPPORTUNITY)}
    assert not [one.name for one in found.values() if one.required]
    assert not found["number"].createable
    contacts = provider.describe_fields("party.contact_mechanism")
    assert {one.name for one in contacts if one.required} == {"party", "value"}


def test_what_depends_on_values_nobody_knows_is_as_it_is_without_them(provider: Any) -> None:
    found = {one.name: one for one in provider.describe_fields("sale.line")}
    assert found["sale"].required
    assert found["sale"].createable
    assert not found["product"].required
