"""Dynamics 365: writing, alone and many at once; addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from tests.providers.dynamics.conftest import NOBODY, _draft
from xkit_crm.exceptions import (
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers.base import (
    Access,
    Edit,
    RecordRef,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.fakes import Misbehaviour
from xkit_crm.testing.fakes.dynamics import DynamicsFake


class TestWriting:
    def test_an_update_never_creates(self, provider: DynamicsProvider, crm: DynamicsFake) -> None:
        # The contract of the fake asks for it in each part of a batch, too.
        ref = RecordRef("contact", NOBODY)
        with pytest.raises(RemoteRecordNotFound):
            provider.update(ref, {"lastname": "B"})
        assert crm.requests[-1].headers["If-Match"] == "*"
        assert isinstance(
            provider.update_many([Edit(ref, {"lastname": "B"})])[0], RemoteRecordNotFound
        )

    def test_choices_go_as_numbers(self, provider: DynamicsProvider, crm: DynamicsFake) -> None:
        values = {"gendercode": "1", "xk_interests": ["100", "300"]}
        provider.create("contact", values, key="k")
        body = {"gendercode": 1, "xk_interests": "100,300", "xk_xkit_key": "k"}
        assert crm.requests[-1].body == body

    def test_none_and_no_choices_clear(self, provider: DynamicsProvider, crm: DynamicsFake) -> None:
        ref = provider.create("contact", {"lastname": "A"}, key=str(uuid4()))
        provider.update(ref, {"xk_interests": [], "parentcustomerid": None, "birthdate": None})
        cleared = {"xk_interests": None, "parentcustomerid_account": None, "birthdate": None}
        assert crm.requests[-1].body == cleared

    @pytest.mark.parametrize(
        ("values", "at_fault", "said"),
        [
            ({"lastname": "x" * 201}, "lastname", "maximum allowed length of '200'"),
            ({"gendercode": "9"}, "gendercode", "outside the valid range"),
            ({"gendercode": "other"}, "gendercode", "literal 'other'"),
            ({"creditlimit": "much", "lastname": "A"}, "creditlimit", "Edm.Decimal"),
            ({"birthdate": "tomorrow"}, "birthdate", "Edm.Date"),
        ],
    )
    def test_a_refusal_names_the_field(
        self, provider: DynamicsProvider, values: Mapping[str, Any], at_fault: str, said: str
    ) -> None:
        with pytest.raises(RejectedByCRM) as caught:
            provider.create("contact", values, key=str(uuid4()))
        assert [one.path for one in caught.value.errors] == [at_fault]
        assert said in caught.value.message
        assert "InnerException" not in str(caught.value)
        assert "   at " not in str(caught.value)

    def test_a_column_that_is_gone_is_named_as_well(self, provider: DynamicsProvider) -> None:
        with pytest.raises(RejectedByCRM, match="Invalid property 'xk_gone'"):
            provider.create("contact", {"xk_gone": "A"}, key=str(uuid4()))

    def test_a_key_that_is_there_already_is_the_key_columns_fault(
        self, provider: DynamicsProvider
    ) -> None:
        ref = provider.create("contact", {"lastname": "A"}, key="once")
        with pytest.raises(RejectedByCRM, match="already exists"):
            provider.create("contact", {"lastname": "B"}, key="once")
        assert provider.find_created("contact", key="once") == ref

    def test_a_write_to_what_was_merged_away_goes_to_what_was_kept(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        kept, merged = (
            provider.create("contact", {"lastname": "A"}, key=str(uuid4())) for _ in range(2)
        )
        crm.merge("contact", kept.crm_id, merged.crm_id)
        provider.update(merged, {"lastname": "B"})
        assert provider.get(kept, ["lastname"]).values == {"lastname": "B"}
        assert provider.update_many([Edit(merged, {"lastname": "C"})]) == [None]
        assert provider.get_many([merged], ["lastname"])[0] == provider.get(kept, ["lastname"])
        assert provider.get(merged, ["lastname"]).values == {"lastname": "C"}

    def test_a_table_without_merging_is_written_as_it_stands(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        ref = provider.create("account", {"name": "Contoso"}, key=str(uuid4()))
        provider.update(ref, {"name": "Fabrikam"})
        assert crm.requests[-1].query == {}
        assert provider.get(ref, ["name"]).values == {"name": "Fabrikam"}


class TestAddresses:
    @pytest.mark.parametrize("crm_id", ["1", "x)/y", "00000000-0000-0000-0000-00000000000'"])
    def test_what_is_no_id_is_asked_for_nowhere(
        self, provider: DynamicsProvider, crm: DynamicsFake, crm_id: str
    ) -> None:
        ref = RecordRef("contact", crm_id)
        provider.fields("contact")
        before = len(crm.requests)
        with pytest.raises(RemoteRecordNotFound):
            provider.get(ref, ["lastname"])
        with pytest.raises(RemoteRecordNotFound):
            provider.delete(ref)
        assert isinstance(provider.get_many([ref], ["lastname"])[0], RemoteRecordNotFound)
        assert isinstance(provider.delete_many([ref])[0], RemoteRecordNotFound)
        assert len(crm.requests) == before

    def test_a_name_of_a_table_stays_within_its_quotes(self, provider: DynamicsProvider) -> None:
        with pytest.raises(RemoteRecordNotFound, match="contact'\\)/Keys"):
            provider.describe_fields("contact')/Keys")

    def test_a_records_page_is_one_of_the_organisation(
        self, crm: DynamicsFake, settings: Any
    ) -> None:
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {"dynamics": {}}}
        provider = DynamicsProvider(Access("acme", crm.signed_in))
        parts = urlsplit(provider.record_url(RecordRef("contact", NOBODY)))
        assert (parts.netloc, parts.path) == ("contoso.crm4.dynamics.com", "/main.aspx")
        assert parse_qs(parts.query) == {
            "pagetype": ["entityrecord"],
            "etn": ["contact"],
            "id": [NOBODY],
        }


class TestManyAtOnce:
    def test_what_is_left_unanswered_is_in_doubt_and_nothing_else(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        provider.fields("contact")
        crm.answers_at_most = 1
        drafts = [_draft(), _draft()]
        made, doubtful = provider.create_many("contact", drafts)
        assert isinstance(made, RecordRef)
        assert isinstance(doubtful, CRMUnavailable)
        assert doubtful.outcome_unknown
        read = provider.get_many([made, made], ["lastname"])
        assert isinstance(read[1], CRMUnavailable)
        assert not read[1].outcome_unknown
        crm.answers_at_most = 100
        found = provider.find_created_many("contact", [one.key for one in drafts])
        assert found[0] == made
        assert isinstance(found[1], RecordRef)

    def test_one_that_can_not_even_be_written_down_spoils_no_other(
        self, provider: DynamicsProvider
    ) -> None:
        drafts = [_draft(), _draft(parentcustomerid="nobody"), _draft(lastname="B")]
        answers = provider.create_many("contact", drafts)
        assert isinstance(answers[1], RejectedByCRM)
        refs = [one for one in answers if isinstance(one, RecordRef)]
        values = [provider.get(one, ["lastname"]).values["lastname"] for one in refs]
        assert values == ["Lovelace", "B"]

    def test_where_none_can_be_asked_for_nothing_is_sent(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        provider.fields("contact")
        before = len(crm.requests)
        assert isinstance(
            provider.delete_many([RecordRef("contact", "1")])[0], RemoteRecordNotFound
        )
        assert len(crm.requests) == before

    def test_a_batch_that_is_refused_says_when_to_come_back(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        provider.fields("contact")
        crm.misbehave(Misbehaviour.RATE_LIMIT)
        with pytest.raises(RateLimited) as caught:
            provider.create_many("contact", [_draft()])
        assert caught.value.retry_after == 7
        assert "6000 over time window" in caught.value.message
