"""Dynamics 365: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.providers import oauth
from xkit_crm.providers.base import (
    Access,
    Criterion,
    Draft,
    Edit,
    Operator,
    RecordRef,
    RemoteField,
    RemoteType,
)
from xkit_crm.providers.dynamics.provider import DynamicsProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes import Misbehaviour
from xkit_crm.testing.fakes.dynamics import WELCOME, DynamicsFake

VENUE = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0001"
USER = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0002"
NOBODY = "6f1de1a5-7f3e-4b52-8b1b-0d8f0a6f0003"


@pytest.fixture
def crm(settings: Any) -> Iterator[DynamicsFake]:
    fake = DynamicsFake()
    fake.records["account"][VENUE] = {"accountid": VENUE, "name": "Contoso"}
    fake.records["systemuser"][USER] = {"systemuserid": USER, "fullname": "Ada"}
    with at_work(fake, "dynamics", settings):
        yield fake


class TestSignedIn(ProviderConformance):
    subject = Subject(
        remote_object="contact",
        text="lastname",
        values={
            "lastname": "Lovelace",
            "emailaddress1": "ada@example.com",
            "telephone1": "+44 20 7946 0000",
            "websiteurl": "https://example.com/ada?x=1&y=2",
            "description": "First line\nsecond line",
            "numberofchildren": 3,
            "creditlimit": 1234.5,
            "xk_score": 0.25,
            "birthdate": "1815-12-10",
            "lastusedincampaign": "2026-11-02T08:15:30Z",
            "donotemail": True,
            "gendercode": "2",
            "xk_interests": ["100", "300"],
            "parentcustomerid": f"account:{VENUE}",
            "xk_venueid": VENUE,
            "ownerid": f"systemuser:{USER}",
        },
        changes={
            "firstname": "Ada",
            "donotemail": False,
            "xk_interests": ["200"],
            "description": None,
            "gendercode": None,
            "birthdate": None,
            "parentcustomerid": None,
            "xk_venueid": None,
        },
        refused={"numberofchildren": "many"},
        at_fault="numberofchildren",
        long_text="description",
        no_such_id=NOBODY,
        workflow=WELCOME,
    )

    @pytest.fixture
    def make(self, crm: DynamicsFake) -> Make:
        return lambda: DynamicsProvider(Access("acme", crm.signed_in))


@pytest.fixture
def provider(crm: DynamicsFake) -> DynamicsProvider:
    # A connection that nothing is remembered of.
    return DynamicsProvider(Access(str(uuid4()), crm.signed_in))


def _fields(provider: DynamicsProvider, table: str = "contact") -> dict[str, RemoteField]:
    return {one.name: one for one in provider.describe_fields(table)}


def _draft(**values: Any) -> Draft:
    return Draft({"lastname": "Lovelace", **values}, str(uuid4()))


def _paths(crm: DynamicsFake) -> list[str]:
    return [f"{one.method} {one.path}" for one in crm.requests]


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


class TestWorkflows:
    def test_every_page_is_read_and_only_of_this_crm(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        crm.pages_at = "https://elsewhere.example"
        labels = [one.label for one in provider.list_workflows()]
        assert labels == ["Welcome", "Call back", "Visit over", "Invite somebody"]
        assert _paths(crm).count("GET /api/data/v9.2/workflows") == 2

    def test_a_workflow_runs_for_the_events_record_or_the_one_named(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        refs = [provider.create("contact", {"lastname": "A"}, key=str(uuid4())) for _ in range(2)]
        provider.run_workflow(WELCOME, {}, key="k", ref=refs[0])
        provider.run_workflow(WELCOME, {"EntityId": str(refs[1])}, key="k", ref=None)
        assert crm.started == [(WELCOME, refs[0].crm_id), (WELCOME, refs[1].crm_id)]

    @pytest.mark.parametrize("record", ["", NOBODY])
    def test_a_workflow_without_its_record_is_refused(
        self, provider: DynamicsProvider, record: str
    ) -> None:
        with pytest.raises(RejectedByCRM) as caught:
            provider.run_workflow(WELCOME, {"EntityId": record}, key="k", ref=None)
        assert [one.path for one in caught.value.errors] == ["EntityId"]

    def test_a_custom_api_is_called_with_its_inputs(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        found = {one.name: one for one in provider.list_workflows()}["xk_Invite"]
        assert [(one.name, one.type, one.required) for one in found.inputs] == [
            ("Email", RemoteType.STRING, True),
            ("Seats", RemoteType.INTEGER, False),
        ]
        inputs = {"Email": "ada@example.com", "Seats": 2}
        provider.run_workflow("xk_Invite", inputs, key="k", ref=None)
        assert crm.started == [("xk_Invite", inputs)]

    def test_an_action_that_is_not_listed_is_not_called(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        with pytest.raises(RejectedByCRM):
            provider.run_workflow("xk_Import", {}, key="k", ref=None)
        assert all(one.method == "GET" for one in crm.requests)


class TestLimits:
    def test_what_is_left_is_noted(self, provider: DynamicsProvider, crm: DynamicsFake) -> None:
        crm.left = 4711
        provider.list_workflows()
        assert provider.usage.left == crm.left

    def test_no_time_left_is_nothing_left(
        self, provider: DynamicsProvider, crm: DynamicsFake
    ) -> None:
        crm.seconds_left = "0.00"
        provider.list_workflows()
        assert provider.usage.left == 0


class TestSigningIn:
    GIVEN: Mapping[str, str] = {"url": "https://Contoso.crm4.dynamics.com/main.aspx?appid=1#x"}

    def test_a_person_is_asked_for_their_organisation_alone(self, settings: Any) -> None:
        options = {"dynamics": {"client_id": "a-client", "client_secret": "s"}}
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": options}
        url = oauth.sign_in_url(
            DynamicsProvider,
            self.GIVEN,
            redirect_uri="https://site.example/oauth/callback",
            state="s",
            verifier="v" * 43,
        )
        parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
        assert parts.netloc == "login.microsoftonline.com"
        assert parts.path == "/organizations/oauth2/v2.0/authorize"
        assert query["scope"] == ["https://contoso.crm4.dynamics.com/.default offline_access"]
        assert query["code_challenge_method"] == ["S256"]

    @pytest.mark.parametrize(
        ("url", "login"),
        [
            ("contoso.crm.dynamics.com", "login.microsoftonline.com"),
            ("https://contoso.api.crm11.dynamics.com/", "login.microsoftonline.com"),
            ("https://contoso.crm.microsoftdynamics.us", "login.microsoftonline.us"),
            ("https://contoso.crm.dynamics.cn", "login.partner.microsoftonline.cn"),
        ],
    )
    def test_each_cloud_has_its_own_sign_in(self, settings: Any, url: str, login: str) -> None:
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {}}
        endpoints = DynamicsProvider.endpoints({"url": url})
        assert urlsplit(endpoints.authorize).netloc == urlsplit(endpoints.token).netloc == login
        host = url.removeprefix("https://").rstrip("/").replace(".api", "")
        assert endpoints.scopes == (f"https://{host}/.default", "offline_access")

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "https://dynamics.com",
            "https://crm4.dynamics.com",
            "https://contoso.crm4.dynamics.com.evil.example",
            "https://evil.example/contoso.crm4.dynamics.com",
            "https://evil.example#.crm4.dynamics.com",
            "https://evildynamics.com",
            "https://contoso.crm4.dynamics.com:8443",
            "https://a.b.crm4.dynamics.com",
            "https://[::1",
        ],
    )
    def test_nobody_elses_host_is_an_organisation(
        self, crm: DynamicsFake, settings: Any, url: str
    ) -> None:
        settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {"dynamics": {}}}
        with pytest.raises(ConfigurationError):
            DynamicsProvider.endpoints({"url": url})
        provider = DynamicsProvider(Access("acme", {**crm.signed_in, "url": url}))
        with pytest.raises(ConfigurationError):
            provider.describe_objects()

    def test_a_code_gives_credentials_and_each_renewal_a_new_refresh_token(
        self, crm: DynamicsFake
    ) -> None:
        known = oauth.exchanged(
            DynamicsProvider,
            self.GIVEN,
            code="a-code",
            redirect_uri="https://site.example/oauth/callback",
            verifier="v" * 43,
        )
        assert known["access_token"] == crm.token
        assert known["url"] == self.GIVEN["url"]
        renewed = oauth.refreshed(DynamicsProvider, known)
        assert renewed["refresh_token"] == crm.refresh_token != known["refresh_token"]
        assert renewed["access_token"] == crm.token != known["access_token"]
