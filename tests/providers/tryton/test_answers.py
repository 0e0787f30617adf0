"""Tryton: what it says, and what is at fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.tryton.conftest import OPPORTUNITY, Between, opportunity, party
from xkit_crm.exceptions import CRMError, RecordLocked, RejectedByCRM
from xkit_crm.providers.tryton import TrytonProvider

pytestmark = pytest.mark.service


@pytest.mark.parametrize(
    ("values", "at_fault"),
    [
        ({"currency": None}, "currency"),
        ({"amount": 1.234}, "amount"),
        ({"description": "two\nlines"}, "description"),
        ({"conversion_probability": 2}, "conversion_probability"),
        ({"no_such_field": "x"}, "no_such_field"),
        ({"number": "7"}, "number"),
    ],
)
def test_the_field_at_fault_is_found_in_what_tryton_says(
    provider: TrytonProvider, values: Any, at_fault: str
) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        opportunity(provider, **values)
    assert [problem.path for problem in caught.value.errors] == [at_fault]


def test_words_in_another_language_name_the_field_as_well(
    provider: TrytonProvider, crm: Between
) -> None:
    ref = opportunity(provider)
    provider.fields(OPPORTUNITY)
    message = "Ein Wert für das Feld „Currency“ im Datensatz „7“ ist erforderlich."
    crm.say({"id": 1, "error": ["UserError", [message, "", None]]})
    with pytest.raises(RejectedByCRM, match="erforderlich") as caught:
        provider.run_workflow(f"{OPPORTUNITY}.lost", {}, key="k", ref=ref)
    assert [problem.path for problem in caught.value.errors] == ["currency"]


def test_what_the_user_may_not_do_is_refused(provider: TrytonProvider) -> None:
    with pytest.raises(RejectedByCRM, match="not allowed"):
        provider.create("party.category", {"name": "x"}, key="k") and provider.create(
            "company.company", {"party": "1", "currency": "1"}, key="k"
        )


def test_a_warning_is_refused_with_its_words(provider: TrytonProvider, crm: Between) -> None:
    ref = party(provider)
    crm.say({"id": 1, "result": []})
    crm.say({"id": 1, "error": ["UserWarning", ["a_name", "This looks odd.", "Go on?"]]})
    with pytest.raises(RejectedByCRM, match=r"This looks odd\. Go on\?") as caught:
        provider.update(ref, {"name": "Byron"})
    assert "warn" in caught.value.hint


def test_who_changed_the_record_meanwhile_is_waited_for(
    provider: TrytonProvider, crm: Between
) -> None:
    ref = opportunity(provider)
    crm.say({"id": 1, "error": ["ConcurrencyException", "sale.opportunity,1"]})
    with pytest.raises(RecordLocked) as caught:
        provider.update(ref, {"description": "x"})
    assert not caught.value.outcome_unknown


def test_an_answer_without_result_or_error_is_in_doubt(
    provider: TrytonProvider, crm: Between
) -> None:
    ref = opportunity(provider)
    crm.say({"id": 1})
    with pytest.raises(CRMError, match="can't be read") as caught:
        provider.update(ref, {"description": "x"})
    assert caught.value.outcome_unknown
