"""Tryton: the buttons of an opportunity, and deleting."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.providers.tryton.conftest import OPPORTUNITY, Between, asked, opportunity
from xkit_crm.exceptions import RejectedByCRM, RemoteRecordNotFound
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.tryton import TrytonProvider

pytestmark = pytest.mark.service


def press(provider: TrytonProvider, ref: RecordRef, *buttons: str) -> RecordRef | None:
    made = None
    for button in ("opportunity", *buttons) if "convert" in buttons else buttons:
        name = f"{OPPORTUNITY}.{button}"
        made = provider.run_workflow(name, {"opportunity": str(ref)}, key=str(uuid4()), ref=None)
    return made


def test_each_button_of_an_opportunity_is_a_workflow(provider: TrytonProvider) -> None:
    found = {one.name: one.label for one in provider.list_workflows()}
    assert found == {
        "sale.opportunity.lead": "Set as Lead",
        "sale.opportunity.opportunity": "Convert to Opportunity",
        "sale.opportunity.convert": "Convert to Sale",
        "sale.opportunity.lost": "Mark as Lost",
        "sale.opportunity.cancel": "Cancel",
    }


def test_the_buttons_lead_from_state_to_state(provider: TrytonProvider) -> None:
    ref = opportunity(provider)
    for button, state in [
        ("opportunity", "opportunity"),
        ("lost", "lost"),
        ("lead", "lead"),
        ("cancel", "cancelled"),
    ]:
        assert press(provider, ref, button) == ref
        assert provider.get(ref, ["state"]).values == {"state": state}


def test_a_button_that_is_not_there_now_cannot_be_pressed(provider: TrytonProvider) -> None:
    ref = opportunity(provider)
    press(provider, ref, "lost")
    with pytest.raises(RejectedByCRM, match="lost"):
        press(provider, ref, "lost")


def test_a_button_needs_an_opportunity(provider: TrytonProvider) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        provider.run_workflow(f"{OPPORTUNITY}.lost", {}, key="k", ref=None)
    assert [problem.path for problem in caught.value.errors] == ["opportunity"]
    gone = RecordRef(OPPORTUNITY, "999999")
    with pytest.raises(RemoteRecordNotFound):
        provider.run_workflow(f"{OPPORTUNITY}.lost", {}, key="k", ref=gone)


@pytest.mark.parametrize("name", ["delete", "sale.opportunity.delete", "sale.opportunity.copy", ""])
def test_only_what_is_listed_can_be_run(provider: TrytonProvider, crm: Between, name: str) -> None:
    ref = opportunity(provider)
    before = len(crm.requests)
    with pytest.raises(RejectedByCRM, match="no workflow"):
        provider.run_workflow(name, {}, key="k", ref=ref)
    assert len(crm.requests) == before


def test_an_opportunity_is_cancelled_before_it_is_deleted(
    provider: TrytonProvider, crm: Between
) -> None:
    ref = opportunity(provider)
    provider.delete(ref)
    assert len(asked(crm, "opportunity.cancel")) == 1
    with pytest.raises(RemoteRecordNotFound):
        provider.get(ref, [])


def test_an_opportunity_that_became_a_sale_stays(provider: TrytonProvider) -> None:
    ref = opportunity(provider)
    sale = press(provider, ref, "convert")
    assert sale is not None
    assert sale.remote_object == "sale.sale"
    assert provider.get(sale, ["description"]).values == {"description": "Forty licences"}
    with pytest.raises(RejectedByCRM):
        provider.delete(ref)
    assert provider.get(ref, ["state"]).values == {"state": "converted"}
