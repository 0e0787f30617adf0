"""`manage.py xkit_backfill`, as a person types it; and killed while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import xkit_crm
from tests.delivery.conftest import names
from tests.factories import DealFactory
from tests.processes import Process, processes
from tests.products.models import Customer, Deal
from xkit_crm.delivery.drain import drain
from xkit_crm.management.showing import Progress
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org

ROOT = Path(__file__).parent.parent.parent


def run(*command: str) -> str:
    out = StringIO()
    try:
        call_command("xkit_backfill", *command, stdout=out, stderr=StringIO(), no_color=True)
    except CommandError as error:
        error.add_note(out.getvalue())
        raise
    return out.getvalue()


def rows(customer: Customer, *titles: str) -> list[Deal]:
    with xkit_crm.muted():
        return [DealFactory.create(customer=customer, title=title) for title in titles]


def remote(*titles: str) -> None:
    org = Org.objects.get(slug="acme")
    for title in titles:
        records.create_record(org, "Opportunity", {"Name": title})


@pytest.mark.django_db
def test_it_says_what_became_of_the_rows(sandbox: Connection, customer: Customer) -> None:
    rows(customer, "Linked", "New", "Newer")
    remote("Linked")
    out = run("products.Deal", "--connection", "acme", "--match", "Name")
    assert "products.Deal as opportunity in acme: 3 row(s), matched by Name." in out
    assert "linked to the record that matches               1\n" in out
    assert "create event queued                             2\n" in out
    assert RecordLink.objects.count() == 1
    assert Invocation.objects.filter(event__slug="deal_created").count() == 2


@pytest.mark.django_db
def test_a_dry_run_lists_what_needs_a_person_and_ends_with_3(
    sandbox: Connection, customer: Customer
) -> None:
    deal, *_ = rows(customer, "Twice", "New")
    remote("Twice", "Twice")
    with pytest.raises(CommandError) as raised:
        run("products.Deal", "--connection", "acme", "--match", "Name", "--dry-run")
    (out,) = raised.value.__notes__
    assert raised.value.returncode == 3
    assert f"{deal.pk}  ambiguous: Name is the same in Opportunity:00002, Opportunity:00001" in out
    assert "would be created  1\n" in out
    assert "Nothing was written: this was a dry run." in out
    assert not Invocation.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("title=First", 1),
        ("title__in=First,Second", 2),
        ("amount__range=1,2000", 3),
        ("owner__isnull=True", 3),
        ("owner__isnull=false", 0),
    ],
)
def test_a_filter_limits_the_rows(
    sandbox: Connection, customer: Customer, asked: str, found: int
) -> None:
    rows(customer, "First", "Second", "Third")
    options = ("products.Deal", "--connection", "acme", "--no-match")
    assert f"{found} row(s), not matched" in run(*options, "--filter", asked)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["products.Deel"], "no model 'products.Deel'.*products.Deal"),
        (["deal"], "no model 'deal'"),
        (["products.Customer"], r"bound to no CRM object\.\nRegister it"),
        (["products.BigDeal"], r"as rows of products\.Deal\.\nRun it for products\.Deal"),
        (["products.Deal", "--object", "contact"], "not bound to the CRM object 'contact'"),
        (["products.Deal", "--connection", "nobody"], "no connection 'nobody'"),
        (["products.Deal"], "--match FIELD"),
        (["products.Deal", "--match", "Nmae"], "'Nmae': it is no field"),
        (["products.Deal", "--match", "Name,"], "name a field"),
        (["products.Deal", "--match", "Name", "--no-match"], "not allowed with"),
        (["products.Deal", "--filter", "title"], "has no value"),
        (["products.Deal", "--filter", "titel=x"], "can't be used"),
        (["products.Deal", "--filter", "customer=x"], "can't be used"),
        (["products.Deal", "--filter", "owner__isnull=x"], "True or False"),
        (["products.Deal", "--batch-size", "0"], "no number above 0"),
        (["products.Deal", "--rate", "-1"], "no number above 0"),
        (["products.Deal", "--rate", "nan"], "no number above 0"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(
    sandbox: Connection, options: list[str], says: str
) -> None:
    named = [] if "--connection" in options else ["--connection", "acme"]
    with pytest.raises(CommandError, match=says):
        run(*options, *named)
    assert not Invocation.objects.exists()


@pytest.mark.django_db
def test_a_connection_that_is_not_enabled_is_refused_with_what_to_do(sandbox: Connection) -> None:
    sandbox.status = ConnectionStatus.PENDING
    sandbox.save()
    with pytest.raises(CommandError, match=r"is pending\.\nLet the customer finish CRM Link"):
        run("products.Deal", "--connection", "acme")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_nothing_elsewhere() -> None:
    from django.core.management.base import OutputWrapper

    for stream, said in (
        (Terminal(), "30%  300 of 1,000 rows  100/s  0:00:07 left"),
        (StringIO(), ""),
    ):
        moments = iter([0.0, 0.1, 3.0])
        progress = Progress(OutputWrapper(stream), lambda: 1000, now=lambda m=moments: next(m))
        progress(10)
        progress(300)
        assert said in stream.getvalue()
        assert stream.getvalue().count("rows") == bool(said)
        progress.finish()
        assert bool(said) == stream.getvalue().endswith("\r")


# -- killed ---------------------------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start the command as a process of its own, on the tests' database."""
    with processes() as run:
        yield lambda *options: run(
            "manage.py", "xkit_backfill", *options, settings="tests.settings"
        )


@pytest.mark.django_db(transaction=True)
def test_after_a_kill_the_next_run_goes_on_and_nothing_is_doubled_or_left_out(
    sandbox: Connection, customer: Customer, start: Callable[..., Any]
) -> None:
    expected = [f"Deal {number:02}" for number in range(40)]
    rows(customer, *expected)
    remote(*expected[::4])
    options = ("products.Deal", "--connection", "acme", "--match", "Name", "--batch-size", "4")
    process = start(*options, "--rate", "10")
    deadline = time.monotonic() + 60
    while Invocation.objects.count() < 8:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    begun = RecordLink.objects.count() + Invocation.objects.count()
    assert begun < 40
    said, _ = start(*options).communicate(timeout=60)
    assert "on their way already" in said
    assert RecordLink.objects.count() == 10
    created = Invocation.objects.filter(event__slug="deal_created")
    assert created.count() == created.values("object_pk").distinct().count() == 30
    drain("acme")
    assert sorted(names()) == expected
    assert RecordLink.objects.values("record_id").distinct().count() == 40
