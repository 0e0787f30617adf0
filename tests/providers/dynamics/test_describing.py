"""Dynamics 365: what it says of itself, and references."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.providers.dynamics.conftest import NOBODY, USER, VENUE, _fields, _paths
from xkit_crm.exceptions import (
    RejectedByCRM,
)
from xkit_crm.providers.base import (
    Edit,
    RemoteType,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.fakes.dynamics import DynamicsFake


class TestDescribing:
    def test_each_kind_of_column_is_told_as_what_it_is(self, provider: DynamicsProvider) -> None:
        kinds = {name: one.type for name, one in _fields(provider).items()}
        assert kinds == {
            "contactid": RemoteType.STRING,
            "firstname": RemoteType.STRING,
            "lastname": RemoteType.STRING,
            "emailaddress1": RemoteType.EMAIL,
            "telephone1": RemoteType.PHONE,
            "websiteurl": RemoteType.URL,
            "description": RemoteType.TEXT,
            "numberofchildren": RemoteType.INTEGER,
            "creditlimit": RemoteType.NUMBER,
            "xk_score": RemoteType.NUMBER,
            "birthdate": RemoteType.DATE,
            "lastusedincampaign": RemoteType.DATETIME,
            "donotemail": RemoteType.BOOLEAN,
            "gendercode": RemoteType.PICKLIST,
            "xk_interests": RemoteType.MULTIPICKLIST,
            "parentcustomerid": RemoteType.REFERENCE,
            "xk_venueid": RemoteType.REFERENCE,
            "masterid": RemoteType.REFERENCE,
            "ownerid": RemoteType.REFERENCE,
            "statecode": RemoteType.PICKLIST,
            "createdon": RemoteType.DATETIME,
            "xk_xkit_key": RemoteType.STRING,
        }

    def test_choices_lengths_targets_and_keys_are_told(self, provider: DynamicsProvider) -> None:
        fields = _fields(provider)
        gender = fields["gendercode"].choices
        assert [(one.value, one.label) for one in gender] == [("1", "Male"), ("2", "Female")]
        assert [one.value for one in fields["xk_interests"].choices] == ["100", "200", "300"]
        assert fields["lastname"].max_length == 200
        assert fields["parentcustomerid"].references == ("account", "contact")
        assert fields["xk_xkit_key"].unique
        assert not fields["lastname"].unique

    def test_what_dataverse_fills_is_not_required(self, provider: DynamicsProvider) -> None:
        assert [one.name for one in _fields(provider).values() if one.required] == []
        visit = _fields(provider, "xk_visit").values()
        assert [one.name for one in visit if one.required] == ["xk_name"]

    def test_ids_and_what_is_read_only_are_not_written(self, provider: DynamicsProvider) -> None:
        fields = _fields(provider)
        fixed = [one.name for one in fields.values() if not one.createable and not one.updateable]
        assert fixed == ["contactid", "masterid", "createdon"]

    def test_a_table_is_described_by_one_request(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        provider.describe_fields("contact")
        assert _paths(crm) == ["POST /api/data/v9.2/$batch"]

    def test_the_key_column_has_the_customers_prefix(self, provider: DynamicsProvider) -> None:
        assert provider.key_field("contact") == "xk_xkit_key"
        assert provider.finds_created("contact")
        assert not provider.finds_created("account")


class TestReferences:
    def test_an_id_alone_will_do_where_there_is_one_table(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        provider.create("contact", {"lastname": "A", "xk_venueid": VENUE}, key=str(uuid4()))
        assert crm.requests[-1].body["xk_VenueId@odata.bind"] == f"/accounts({VENUE})"

    @pytest.mark.parametrize("value", [VENUE, f"lead:{VENUE}", "account:1", "account:)/x"])
    def test_one_of_several_tables_has_to_be_named(
        self, provider: DynamicsProvider, value: str
    ) -> None:
        with pytest.raises(RejectedByCRM) as caught:
            provider.create("contact", {"parentcustomerid": value}, key=str(uuid4()))
        assert [one.path for one in caught.value.errors] == ["parentcustomerid"]
        assert "account:<id> or contact:<id>" in str(caught.value)

    def test_what_it_refers_to_and_is_gone_is_the_fields_fault(
        self, provider: DynamicsProvider
    ) -> None:
        values = {"lastname": "A", "xk_venueid": NOBODY}
        with pytest.raises(RejectedByCRM) as caught:
            provider.create("contact", values, key=str(uuid4()))
        assert [one.path for one in caught.value.errors] == ["xk_venueid"]
        ref = provider.create("contact", {"lastname": "A"}, key=str(uuid4()))
        with pytest.raises(RejectedByCRM):
            provider.update(ref, values)
        answers = provider.update_many([Edit(ref, values), Edit(ref, {"lastname": "B"})])
        assert isinstance(answers[0], RejectedByCRM)
        assert answers[1] is None

    def test_an_owner_is_a_user_or_a_team_by_one_property(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        values = {"lastname": "A", "ownerid": f"systemuser:{USER}"}
        ref = provider.create("contact", values, key=str(uuid4()))
        assert crm.requests[-1].body["ownerid@odata.bind"] == f"/systemusers({USER})"
        assert provider.get(ref, ["ownerid"]).values == {"ownerid": f"systemuser:{USER}"}
