"""`manage.py xkit_reconcile`, as a person types it."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

import xkit_crm
from tests.factories import DealFactory
from tests.products.models import Customer, Deal
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Connection, Invocation, RecordLink
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.sandbox import records
from xkit_crm.providers.sandbox.models import Org

pytestmark = pytest.mark.django_db


def run(*command: str) -> str:
    out = StringIO()
    try:
        call_command("xkit_reconcile", *command, stdout=out, stderr=StringIO(), no_color=True)
    except CommandError as error:
        error.add_note(out.getvalue())
        raise
    return out.getvalue()


@pytest.fixture
def link(sandbox: Connection, customer: Customer) -> RecordLink:
    """A deal that the CRM has as it is."""
    deal = DealFactory.create(customer=customer, title="Sales")
    drain("acme")
    Invocation.objects.all().delete()
    return xkit_crm.links(deal).get()


def rename() -> None:
    with xkit_crm.muted():
        Deal.objects.update(title="Renamed")


def edit(link: RecordLink) -> None:
    org = Org.objects.get(slug="acme")
    records.update_record(org, RecordRef.parse(link.record_id), {"Name": "Ada Lovelace"})


def test_nothing_to_do_ends_well(link: RecordLink) -> None:
    assert run("products.Deal") == "products.Deal as opportunity:\n  in step  1\n"


def test_what_differs_is_named_by_key_and_queued(link: RecordLink) -> None:
    rename()
    out = run("products.Deal", "--connection", "acme")
    assert f"acme  {link.object_pk}  {link.record_id}  differs: name  -> deal_updated\n" in out
    assert "deal_updated queued  1" in out
    assert Invocation.objects.count() == 1


def test_a_dry_run_ends_with_3_where_something_differs(link: RecordLink) -> None:
    rename()
    with pytest.raises(CommandError, match=r"1 difference\(s\) are left") as raised:
        run("products.Deal", "--dry-run")
    assert raised.value.returncode == 3
    assert "deal_updated (not queued)" in raised.value.__notes__[0]
    assert not Invocation.objects.exists()


def test_rows_that_were_never_there_are_left_to_backfilling(
    link: RecordLink, customer: Customer
) -> None:
    with xkit_crm.muted():
        DealFactory.create(customer=customer)
    out = run("products.Deal")
    assert "not linked  1" in out
    assert "run manage.py xkit_backfill products.Deal --connection ID" in out
    assert "deal_created queued  1" in run("products.Deal", "--create")


def test_deep_tells_who_changed_which_field_and_shows_no_value(link: RecordLink) -> None:
    edit(link)
    with pytest.raises(CommandError) as raised:
        run("products.Deal", "--deep")
    (out,) = raised.value.__notes__
    assert raised.value.returncode == 3
    assert f"acme  {link.object_pk}  {link.record_id}  Name  changed by: CRM\n" in out
    assert "Ada" not in out
    assert not Invocation.objects.exists()


def test_deep_shows_values_to_whom_asks_for_them(link: RecordLink) -> None:
    edit(link)
    with pytest.raises(CommandError) as raised:
        run("products.Deal", "--deep", "--show-values")
    assert 'Name  ours "Sales"  theirs "Ada Lovelace"  changed by: CRM' in raised.value.__notes__[0]


def test_deep_puts_right_what_it_is_told_to(link: RecordLink) -> None:
    edit(link)
    assert "deal_updated queued" in run("products.Deal", "--deep", "--fix")
    drain("acme")
    assert "in step  1" in run("products.Deal", "--deep")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["products.Deel"], "no model 'products.Deel'"),
        (["products.Customer"], "bound to no CRM object"),
        (["--connection", "nobody"], "no connection 'nobody'"),
        (["--fix"], "--fix goes with --deep"),
        (["--show-values"], "--show-values goes with --deep"),
        (["--deep", "--create"], "--create goes with --fix"),
        (["--deep", "--no-delete"], "deletes nothing"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(
    sandbox: Connection, options: list[str], says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        run(*options)


@pytest.mark.django_db(databases=["default", "other"])
def test_a_binding_whose_events_are_not_defined_stops_no_other(link: RecordLink) -> None:
    with pytest.raises(CommandError) as raised:
        run()
    (out,) = raised.value.__notes__
    assert "has no event 'create_opportunity'" in out
    assert "products.Deal as opportunity:\n  in step  1\n" in out
