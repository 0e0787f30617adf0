"""Tryton: values, alone and many at once."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.providers.tryton.conftest import PARTY, Between, asked, opportunity, party
from xkit_crm.exceptions import RejectedByCRM, RemoteRecordNotFound
from xkit_crm.providers.base import Criterion, Edit, Operator
from xkit_crm.providers.tryton import TrytonProvider

pytestmark = pytest.mark.service


def test_a_moment_is_given_and_taken_in_utc(provider: TrytonProvider) -> None:
    ref = party(provider)
    made = provider.get(ref, ["create_date"]).values["create_date"]
    assert abs(datetime.fromisoformat(made) - datetime.now(UTC)) < timedelta(minutes=1)
    elsewhere = datetime.fromisoformat(made).astimezone(timezone(timedelta(hours=5)))
    for text in (made, elsewhere.isoformat()):
        criteria = [Criterion("create_date", Operator.EQUALS, text)]
        assert ref in [one.ref for one in provider.search(PARTY, criteria, [], limit=9)]


def test_a_reference_is_an_id_or_a_record_id(provider: TrytonProvider) -> None:
    ref = party(provider)
    for said in (ref.crm_id, str(ref)):
        made = opportunity(provider, party=said)
        assert provider.get(made, ["party"]).values == {"party": ref.crm_id}
    with pytest.raises(RejectedByCRM) as caught:
        opportunity(provider, party=f"sale.sale:{ref.crm_id}")
    assert [problem.path for problem in caught.value.errors] == ["party"]


def test_a_reference_to_any_model_says_which(provider: TrytonProvider) -> None:
    ref = party(provider)
    note = provider.create("ir.note", {"resource": str(ref), "message": "Hello"}, key="k")
    assert provider.get(note, ["resource"]).values == {"resource": f"{PARTY},{ref.crm_id}"}
    provider.delete(note)
    with pytest.raises(RemoteRecordNotFound):
        provider.get(note, ["resource"])


@pytest.mark.parametrize("value", [0.1, 1234.5, 10**14 + 0.25, 7, None])
def test_an_amount_is_a_decimal_and_stays_what_it_is(provider: TrytonProvider, value: Any) -> None:
    ref = opportunity(provider)
    with contextlib.suppress(RejectedByCRM):  # more digits than the currency has
        provider.update(ref, {"amount": value})
        assert provider.get(ref, ["amount"]).values == {"amount": value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", "many"),
        ("amount", True),
        ("end_date", "next week"),
        ("end_date", 5),
        ("party", "Ada"),
    ],
)
def test_a_value_that_cannot_be_said_names_its_field_and_is_not_sent(
    provider: TrytonProvider, crm: Between, name: str, value: Any
) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        opportunity(provider, **{name: value})
    assert [problem.path for problem in caught.value.errors] == [name]
    assert asked(crm, "opportunity.create") == []


def test_each_record_gets_its_own_values_in_one_call(
    provider: TrytonProvider, crm: Between
) -> None:
    refs = [opportunity(provider) for _ in range(3)]
    edits = [Edit(refs[0], {"comment": "a"}), Edit(refs[1], {"reference": "b", "comment": "c"})]
    assert list(provider.update_many(edits)) == [None, None]
    assert len(asked(crm, "opportunity.write")) == 1
    read = provider.get_many(refs, ["comment", "reference"])
    assert [getattr(one, "values", one) for one in read] == [
        {"comment": "a", "reference": None},
        {"comment": "c", "reference": "b"},
        {"comment": None, "reference": None},
    ]


def test_one_that_is_refused_spoils_all_and_nothing_is_written(provider: TrytonProvider) -> None:
    refs = [opportunity(provider) for _ in range(2)]
    edits = [Edit(refs[0], {"comment": "a"}), Edit(refs[1], {"conversion_probability": 2})]
    with pytest.raises(RejectedByCRM):
        provider.update_many(edits)
    assert provider.get(refs[0], ["comment"]).values == {"comment": None}
