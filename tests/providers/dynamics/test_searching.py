"""Dynamics 365: searches."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.providers.dynamics.conftest import NOBODY, VENUE, _paths
from xkit_crm.exceptions import (
    RejectedByCRM,
)
from xkit_crm.providers.base import (
    Criterion,
    Operator,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.fakes.dynamics import DynamicsFake


class TestSearching:
    def _found(self, provider: DynamicsProvider, *criteria: Criterion) -> list[Any]:
        found = provider.search("contact", criteria, ["lastname"], limit=10)
        return [one.values["lastname"] for one in found]

    @pytest.mark.parametrize("name", ["O'Brien", "' or lastname ne '", "a&b=c+d%20#?", "''"])
    def test_texts_stay_texts(self, provider: DynamicsProvider, name: str) -> None:
        for one in (name, "somebody else"):
            provider.create("contact", {"lastname": one}, key=str(uuid4()))
        for operator in Operator:
            assert self._found(provider, Criterion("lastname", operator, name)) == [name]

    def test_wildcards_stand_for_themselves(self, provider: DynamicsProvider) -> None:
        for one in ("100% [sure]_", "1000 assured"):
            provider.create("contact", {"lastname": one}, key=str(uuid4()))
        for part in ("100%", "[sure]", "]_"):
            criterion = Criterion("lastname", Operator.CONTAINS, part)
            assert self._found(provider, criterion) == ["100% [sure]_"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("numberofchildren", 3),
            ("gendercode", "2"),
            ("donotemail", True),
            ("birthdate", "1815-12-10"),
            ("xk_interests", ["300"]),
            ("xk_venueid", VENUE),
            ("parentcustomerid", f"account:{VENUE}"),
        ],
    )
    def test_every_kind_is_searched_by_its_own_literals(
        self, provider: DynamicsProvider, field: str, value: Any
    ) -> None:
        provider.create("contact", {"lastname": "A", field: value}, key=str(uuid4()))
        provider.create("contact", {"lastname": "B"}, key=str(uuid4()))
        assert self._found(provider, Criterion(field, Operator.EQUALS, value)) == ["A"]
        assert self._found(provider, Criterion(field, Operator.EQUALS, None)) == ["B"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("numberofchildren", "1 or true"),
            ("xk_venueid", "x"),
            ("birthdate", "1815"),
            ("lastname eq 'x' or lastname", "x"),
            ("contactid", NOBODY),
        ],
    )
    def test_what_is_no_literal_is_not_sent(
        self, provider: DynamicsProvider, crm: DynamicsFake, field: str, value: str
    ) -> None:
        with pytest.raises(RejectedByCRM) as caught:
            self._found(provider, Criterion(field, Operator.EQUALS, value))
        assert [one.path for one in caught.value.errors] == [field]
        assert _paths(crm) == ["POST /api/data/v9.2/$batch"]

    def test_all_criteria_hold_and_the_newest_comes_first(self, provider: DynamicsProvider) -> None:
        for first, last in (("Ada", "A"), ("Ada", "B"), ("Bob", "C"), ("Ada", "D")):
            provider.create("contact", {"firstname": first, "lastname": last}, key=str(uuid4()))
        ada = Criterion("firstname", Operator.EQUALS, "Ada")
        assert self._found(provider, ada) == ["D", "B", "A"]
        assert self._found(provider, ada, Criterion("lastname", Operator.EQUALS, "b")) == ["B"]
