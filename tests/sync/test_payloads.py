"""Attribute paths: what they read of a row, and what is wrong with them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from tests.factories import CustomerFactory
from tests.products.models import Customer, Deal
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Invocation
from xkit_crm.sync.payloads import attribute, path_problem


def read(path: str, row: Deal) -> object:
    return attribute(path, Deal)(row)


def test_a_path_reads_a_column_a_relation_and_a_method() -> None:
    owner = User(username="ada", first_name="Ada", last_name="Lovelace")
    deal = Deal(title="Sales", owner=owner)
    assert read("title", deal) == "Sales"
    assert read("owner.username", deal) == "ada"
    assert read("owner__username", deal) == "ada"
    assert read("owner.get_full_name", deal) == "Ada Lovelace"


def test_a_path_reads_what_a_choice_is_called() -> None:
    deferred = Invocation(status="deferred")
    assert attribute("get_status_display", Invocation)(deferred) == "deferred to the CRM's workflow"


def test_a_missing_relation_on_the_way_is_none() -> None:
    assert read("owner.email", Deal(owner=None)) is None


@pytest.mark.django_db
def test_a_reverse_relation_that_is_not_there_is_none(definitions: None) -> None:
    customer = CustomerFactory.create()
    assert attribute("bigdeal.discount", Deal)(Deal.objects.create(customer=customer)) is None


def test_a_column_that_holds_the_text_it_was_given_is_read_by_its_field() -> None:
    assert read("amount", Deal(amount="12.50")) == Decimal("12.50")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["delete", "customer.delete", "customer.deals.create"])
def test_a_method_that_changes_data_is_never_called(definitions: None, path: str) -> None:
    deal = Deal.objects.create(customer=CustomerFactory.create())
    with pytest.raises(ConfigurationError, match="changes data"):
        read(path, deal)
    assert Deal.objects.exists()
    assert Customer.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "title",
        "customer",
        "customer_id",
        "pk",
        "customer.name",
        "owner__email",
        "owner.get_full_name",
        "tags.anything.below.a.json.column",
        "customer.deals.count",
    ],
)
def test_a_path_that_can_be_followed_has_no_problem(path: str) -> None:
    assert path_problem(path, Deal) == ""


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("titel", "did you mean title"),
        ("customer.nam", "Customer has no nam"),
        ("delete", "changes data"),
        ("owner.delete", "changes data"),
        ("_state", "private"),
        ("owner._meta.db_table", "private"),
        ("", "empty"),
        ("owner..email", "empty"),
    ],
)
def test_a_path_that_can_not_be_followed_says_why(path: str, says: str) -> None:
    assert says in path_problem(path, Deal)
