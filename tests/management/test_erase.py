"""`xkit_erase`, as a person types it."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.delivery.conftest import create, states
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.mapping.erased import ERASED
from xkit_crm.models import Connection, Invocation
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def run(*options: str) -> str:
    out = StringIO()
    call_command("xkit_erase", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def ada(sandbox: Connection, customer: Customer) -> Deal:
    deal = DealFactory.create(customer=customer, title="Ada")
    deliver()
    return deal


def name() -> str:
    return str(Invocation.objects.latest("id").payload["name"])


def test_a_row_is_counted_and_then_erased(ada: Deal) -> None:
    told = "1 invocation(s), 1 attempt(s), the digests of 1 link(s). Cancelled: 0.\n"
    assert run("products.Deal", str(ada.pk), "--dry-run") == f"There would be erased: {told}"
    assert name() == "Ada"
    assert run("products.Deal", str(ada.pk), "--no-input") == f"Erased: {told}"
    assert name() == ERASED
    finds_nothing("products.Deal", str(ada.pk))


def finds_nothing(*options: str) -> None:
    with pytest.raises(CommandError, match="The log holds nothing more of it") as raised:
        run(*options)
    assert raised.value.returncode == 3


def test_a_record_is_erased_in_its_connection(sandbox: Connection) -> None:
    create("Ada")
    ConnectionFactory.create(id="other")
    finds_nothing("--record", "other", "Opportunity:00001", "--no-input")
    assert "1 invocation(s)" in run("--record", "acme", "Opportunity:00001", "--no-input")
    assert name() == ERASED


def test_another_connection_is_left_alone(ada: Deal) -> None:
    ConnectionFactory.create(id="other")
    finds_nothing("products.Deal", str(ada.pk), "--connection", "other", "--no-input")
    assert name() == "Ada"


@pytest.mark.parametrize(("answer", "expected"), [("yes", ERASED), ("y", "Ada"), ("", "Ada")])
def test_it_asks_first(
    ada: Deal, answer: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: answer)
    if expected == "Ada":
        with pytest.raises(CommandError, match="Nothing was erased"):
            run("products.Deal", str(ada.pk))
    else:
        run("products.Deal", str(ada.pk))
    assert name() == expected


def test_what_waits_is_told_and_cancelled_only_where_that_is_wanted(ada: Deal) -> None:
    ada.title = "Ada L."
    ada.save()
    with pytest.raises(CommandError, match=r"waiting to be sent.*--cancel"):
        run("products.Deal", str(ada.pk), "--no-input")
    assert "Cancelled: 1." in run("products.Deal", str(ada.pk), "--no-input", "--cancel")
    assert states() == ["succeeded", "skipped"]


def test_a_row_of_which_everything_waits_is_cancelled_and_erased(
    sandbox: Connection, customer: Customer
) -> None:
    grace = DealFactory.create(customer=customer, title="Grace")
    options = ["products.Deal", str(grace.pk), "--cancel"]
    told = "1 invocation(s), 0 attempt(s), the digests of 0 link(s). Cancelled: 1.\n"
    assert run(*options, "--dry-run") == f"There would be erased: {told}"
    assert run(*options, "--no-input") == f"Erased: {told}"
    assert (name(), states()) == (ERASED, ["skipped"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "either a row"),
        (["products.Deal"], "either a row"),
        (["products.Deal", "1", "--record", "acme", "Opportunity:1"], "either a row"),
        (["products.Nothing", "1"], "is no model"),
        (["products", "1"], "is no model"),
        (["products.Deal", "one"], "is no primary key"),
        (["--record", "acme", "00001"], "is not a record id"),
        (["--record", "nope", "Opportunity:1"], "There is no connection 'nope'."),
        (["products.Deal", "1", "--connection", "nope"], "There is no connection 'nope'."),
    ],
)
def test_what_names_nothing_is_told(db: None, options: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told) as raised:
        run(*options, "--no-input")
    assert raised.value.returncode == 1
