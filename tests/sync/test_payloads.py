"""Attribute paths: what they read of a row, and what is wrong with them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import models, transaction
from django.utils import timezone

from tests.factories import CustomerFactory
from tests.products.models import Customer, Deal
from tests.sync.test_capture import rebound
from xkit_crm.exceptions import ConfigurationError, PayloadInvalid
from xkit_crm.models import Invocation
from xkit_crm.sync.payloads import attribute, path_problem


class Labels(models.TextField):
    """A column that reads a list of its text."""

    def to_python(self, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value


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


def test_behind_a_column_of_json_a_step_is_a_key() -> None:
    deal = Deal(tags={"city": {"name": "Rome", "count": 3}, "items": 7})
    assert read("tags.city.name", deal) == "Rome"
    assert read("tags__city__count", deal) == 3
    assert read("tags.items", deal) == 7


@pytest.mark.parametrize("tags", [{}, {"city": None}, {"city": "Rome"}, {"city": ["Rome"]}, ["x"]])
def test_a_key_that_is_not_there_is_none(tags: object) -> None:
    assert read("tags.city.count", Deal(tags=tags)) is None


def test_a_step_on_a_mapping_that_is_computed_is_a_key() -> None:
    deal = Deal()
    deal.stats = {"items": 2}  # type: ignore[attr-defined]
    assert read("stats.items", deal) == 2
    assert read("stats.others", deal) is None


class Kinds(models.Model):
    """One column of each kind that Django makes something else of on its way in."""

    amount = models.DecimalField(max_digits=10, decimal_places=2)
    count = models.IntegerField()
    ratio = models.FloatField()
    day = models.DateField()
    at = models.DateTimeField()
    text = models.CharField(max_length=50)
    is_paid = models.BooleanField()
    labels = Labels()

    class Meta:
        app_label = "kinds"


@pytest.mark.parametrize(
    ("path", "given", "stored"),
    [
        ("amount", Decimal(10) / 3, Decimal("3.33")),
        ("amount", 10 / 3, Decimal("3.33")),
        ("amount", -1, Decimal(-1)),
        ("amount", Decimal("1E+30"), Decimal("1E+30")),
        ("amount", Decimal("NaN"), None),
        ("count", 2.7, 2),
        ("count", True, 1),
        ("ratio", 2, 2.0),
        ("day", dt.datetime(2026, 5, 17, 23, 30, tzinfo=dt.UTC), dt.date(2026, 5, 17)),
        ("at", dt.date(2026, 5, 17), dt.datetime(2026, 5, 17, tzinfo=dt.UTC)),
        ("text", 123, "123"),
        ("text", UUID(int=1), str(UUID(int=1))),
        ("is_paid", 1, True),
        ("labels", "a,b", ["a", "b"]),
        ("labels", ["a"], ["a"]),
    ],
)
@pytest.mark.filterwarnings("ignore:DateTimeField Kinds.at received a naive datetime")
def test_a_column_that_holds_something_else_is_read_as_it_will_be_stored(
    path: str, given: object, stored: object
) -> None:
    found = attribute(path, Kinds)(Kinds(**{path: given}))
    if stored is None:
        assert str(found) == str(given)
    else:
        assert (found, type(found)) == (stored, type(stored))


@pytest.mark.django_db
def test_half_a_place_is_rounded_as_the_database_does(customer: Customer) -> None:
    for text in ("0.125", "0.135", "-0.125"):
        deal = Deal.objects.create(customer=customer, amount=Decimal(text))
        assert read("amount", deal) == Deal.objects.get(pk=deal.pk).amount


def test_a_time_without_a_zone_is_of_the_default_one() -> None:
    row = Kinds(at=dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC).replace(tzinfo=None))
    with timezone.override("Asia/Tokyo"):
        assert attribute("at", Kinds)(row) == dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)


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
        "modified_at.year",
        "modified_at__tzinfo",
        "owner_id",
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
        ("title.town", "title is a column of str, which has no town"),
        ("customer.name.town", "has no town"),
        ("views.town.name", "views is a column of int"),
        ("modified_at.yeer", "datetime"),
        ("modified_at.date", "has no date to be read"),
        ("title.upper", "has no upper"),
        ("owner_id.email", "owner_id is a column of int"),
        ("title.__class__", "empty"),
        ("title._town", "private"),
    ],
)
def test_a_path_that_can_not_be_followed_says_why(path: str, says: str) -> None:
    assert says in path_problem(path, Deal)


@pytest.mark.django_db
def test_a_value_that_json_can_not_hold_is_a_violation_like_any_other(
    deal: Deal, settings: Any
) -> None:
    from tests.products.crm import DealSync

    class Bytes(DealSync):
        def get_name(self, deal: Deal) -> bytes:
            return b"Sales"

    deal.views = 7
    with rebound(Bytes):
        with pytest.raises(PayloadInvalid, match="Bytes"), transaction.atomic():
            deal.save()
        settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
        deal.save()
    (invocation,) = Invocation.objects.all()
    assert (invocation.status, invocation.payload["views"]) == ("failed", 7)
    assert invocation.error is not None
    assert [problem.path for problem in invocation.error.errors] == ["payload.name"]
