"""Tryton: the conformance suite against a real server, and what is its own."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.conftest import need
from tests.factories import ConnectionFactory
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.models import Connection
from xkit_crm.providers.base import Access, Criterion, Draft, Edit, Operator, RecordRef
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.tryton import TrytonProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes import FakeCRM, Misbehaviour
from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import Response
from xkit_crm.testing.live.tryton import NotInstalled, Tryton, tryton

pytestmark = pytest.mark.service

PARTY, OPPORTUNITY = "party.party", "sale.opportunity"


class Between(FakeCRM):
    """Stands before the real one, hands on what is asked, and misbehaves when it is told to."""

    def __init__(self, server: Tryton) -> None:
        self.server = server
        self.renewals = 0
        self.requests: list[Request] = []
        self._faults: deque[Misbehaviour] = deque()
        self._said: deque[Any] = deque()
        self._seen: dict[str, str] = {}

    @property
    def credentials(self) -> dict[str, str]:
        return {**self.server.credentials, "url": self.url}

    def next_fault(self, request: Request) -> Misbehaviour | None:
        logs_in = request.body["method"] == "common.db.login"
        return self._faults.popleft() if self._faults and not logs_in else None

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        self.renewals += request.body["method"] == "common.db.login"
        self._seen = {k: v for k, v in request.headers.items() if k == "Authorization"}
        if self._said:
            return Response(200, self._said.popleft())
        return self._ask(request.path, request.body)

    def _ask(self, path: str, body: Any) -> Response:
        found = requests.post(f"{self.server.url}{path}", json=body, headers=self._seen, timeout=30)
        try:
            return Response(found.status_code, found.json())
        except ValueError:
            return Response(found.status_code, found.text)

    def too_many(self) -> Response:
        return Response(429, "<!doctype html><title>429 Too Many Requests</title>")

    def unauthorised(self) -> Response:
        raise AssertionError("the real one behind says so itself")

    def say(self, body: Any) -> None:
        """Answer the next request with this."""
        self._said.append(body)

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does to a party: the wizard "Replace"."""
        if remote_object != PARTY:
            return False
        (held,) = self.server.as_admin(f"model.{PARTY}.read", [int(kept)], ["name"], {})
        named = {"name": held["name"]}  # it warns of different names
        self.server.as_admin(f"model.{PARTY}.write", [int(merged)], named, {})
        wizard = "wizard.party.replace"
        number, first, _ = self.server.as_admin(f"{wizard}.create", {})
        said = {first: {"source": int(merged), "destination": int(kept)}}
        self.server.as_admin(f"{wizard}.execute", number, said, "replace", {})
        return True

    def expire(self) -> None:
        """End the session that was used last."""
        body = {"id": 1, "method": "common.db.logout", "params": []}
        assert self._ask(f"/{self.server.database}/rpc/", body).status == 200


@pytest.fixture(scope="session")
def server() -> Iterator[Tryton]:
    try:
        with tryton() as found:
            yield found
    except NotInstalled as error:
        need(False, f"Tryton: {error}")


@pytest.fixture
def crm(server: Tryton, settings: Any) -> Iterator[Between]:
    settings.XKIT_CRM = {**getattr(settings, "XKIT_CRM", {}), "PRIVATE_HOSTS": ["127.0.0.1"]}
    with Between(server) as between:
        yield between


@pytest.fixture(scope="session")
def session(server: Tryton) -> str:
    """One for all tests: to log in takes Tryton a while, on purpose."""
    body = {"id": 1, "method": "common.db.login", "params": []}
    body["params"] = [server.user, {"password": server.password}]
    found = requests.post(f"{server.url}/{server.database}/rpc/", json=body, timeout=30).json()
    number, token, _ = found["result"]
    return f"{number}:{token}"


class TrytonConformance(ProviderConformance):
    @pytest.fixture
    def make(self, crm: Between, session: str) -> Make:
        return lambda: TrytonProvider(Access("acme", {**crm.credentials, "session": session}))

    def test_a_token_that_has_ended_is_renewed_or_told(  # type: ignore[override]
        self, crm: Between
    ) -> None:
        provider = TrytonProvider(Access("acme", crm.credentials))
        ref = self._create(provider)
        assert crm.renewals == 1
        crm.expire()
        provider.get(ref, [self.subject.text])
        assert crm.renewals == 2


class TestParties(TrytonConformance):
    subject = Subject(
        remote_object=PARTY,
        text="name",
        values={
            "name": "Lovelace",
            "email": "ada@example.com",
            "phone": "+442079460000",
            "sale_invoice_method": "order",
            "active": True,
            "lang": "1",
        },
        changes={"name": "Byron", "sale_invoice_method": None, "active": False},
        long_text="name",
        refused={"sale_invoice_method": "whenever"},
        at_fault="sale_invoice_method",
    )


class TestOpportunities(TrytonConformance):
    subject = Subject(
        remote_object=OPPORTUNITY,
        text="description",
        values={
            "description": "Forty licences",
            "reference": "A-1",
            "comment": "First line\nsecond line",
            "amount": 1234.5,
            "conversion_probability": 0.25,
            "end_date": "2026-12-31",
            "party": "1",
            "currency": "1",
        },
        changes={"amount": None, "conversion_probability": 1, "end_date": "2027-01-31"},
        refused={"conversion_probability": 2},
        at_fault="conversion_probability",
        long_text="comment",
        workflow="sale.opportunity.lost",
    )


@pytest.fixture
def provider(crm: Between, session: str) -> TrytonProvider:
    return TrytonProvider(Access("acme", {**crm.credentials, "session": session}))


def party(provider: TrytonProvider, **values: Any) -> RecordRef:
    return provider.create(PARTY, {"name": "Ada", **values}, key=str(uuid4()))


def opportunity(provider: TrytonProvider, **values: Any) -> RecordRef:
    given = {"description": "Forty licences", "party": "1", "employee": "1", **values}
    return provider.create(OPPORTUNITY, given, key=str(uuid4()))


def asked(crm: Between, method: str) -> list[Any]:
    """What the requests of this method were given."""
    found = [one.body for one in crm.requests]
    return [one["params"] for one in found if one["method"].endswith(method)]


# -- the connection -------------------------------------------------------------------------------


def test_tryton_is_a_process_beside_and_never_imported(server: Tryton) -> None:
    assert not [name for name in sys.modules if name.split(".")[0] == "trytond"]


@pytest.mark.django_db(transaction=True)
def test_one_login_serves_whoever_comes_after(crm: Between, settings: Any) -> None:
    path = "xkit_crm.providers.tryton.TrytonProvider"
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDERS": {"tryton": path}}
    connection = ConnectionFactory.create(
        id="acme", provider="tryton", credentials=dict(crm.credentials)
    )
    for _ in range(3):
        found = provider_for(Connection.objects.get(pk=connection.pk))
        found.create(PARTY, {"name": "Ada"}, key=str(uuid4()))
    assert crm.renewals == 1
    connection.refresh_from_db()
    assert connection.credentials.keys() == {*crm.credentials, "session"}


def test_a_wrong_password_is_told_without_it(crm: Between) -> None:
    given = {**crm.credentials, "password": "not the password"}
    with pytest.raises(CRMUnauthorized) as caught:
        TrytonProvider(Access("acme", given)).describe_objects()
    assert given["password"] not in str(caught.value)
    assert len(crm.requests) == 1, "Tryton slows down who tries again"


def test_a_database_that_is_not_there_is_no_record_that_is_gone(crm: Between) -> None:
    given = {**crm.credentials, "database": "other"}
    with pytest.raises(CRMUnavailable, match="no such database"):
        TrytonProvider(Access("acme", given)).get(RecordRef(PARTY, "1"), ["name"])
    assert crm.requests[-1].path == "/other/rpc/"


def test_the_address_may_be_what_the_browser_shows(crm: Between, session: str) -> None:
    given = {**crm.credentials, "url": f" {crm.url}/#crm/model/party.party ", "session": session}
    assert party(TrytonProvider(Access("acme", given)))


def test_an_address_that_is_none_is_told(crm: Between) -> None:
    with pytest.raises(ConfigurationError):
        TrytonProvider(Access("acme", {**crm.credentials, "url": "my server"})).describe_objects()


def test_who_needs_more_than_a_password_is_told(crm: Between) -> None:
    crm.say({"id": 1, "error": ["LoginException", ["sms_code", "Code", "char"]]})
    with pytest.raises(CRMUnauthorized, match="more than"):
        TrytonProvider(Access("acme", crm.credentials)).describe_objects()


# -- describing -----------------------------------------------------------------------------------


def test_what_people_work_with_is_listed_and_tryton_itself_is_not(provider: Any) -> None:
    found = {one.name: one.label for one in provider.describe_objects()}
    assert found[PARTY] == "Party"
    assert found[OPPORTUNITY] == "Sale Opportunity"
    assert "ir.note" in found
    assert not found.keys() & {"ir.cron", "res.user", "account.move", "sale.reporting.main"}


def test_fields_are_described_as_the_form_has_them(provider: Any) -> None:
    found = {one.name: one for one in provider.describe_fields(PARTY)}
    kinds = {"name": "string", "email": "email", "phone": "phone", "website": "url"}
    assert {name: found[name].type.value for name in kinds} == kinds
    assert found["lang"].references == ("ir.lang",)
    methods = [choice.value for choice in found["sale_invoice_method"].choices]
    assert methods == ["manual", "order", "fulfillment"]
    # A form for a new party takes an email, a later one doesn't.
    assert (found["email"].createable, found["email"].updateable) == (True, False)
    assert (found["create_date"].createable, found["create_date"].updateable) == (False, False)


def test_what_tryton_fills_in_itself_is_not_required(provider: Any) -> None:
    found = {one.name: one for one in provider.describe_fields(OPPORTUNITY)}
    assert not [one.name for one in found.values() if one.required]
    assert not found["number"].createable
    contacts = provider.describe_fields("party.contact_mechanism")
    assert {one.name for one in contacts if one.required} == {"party", "value"}


def test_what_depends_on_values_nobody_knows_is_as_it_is_without_them(provider: Any) -> None:
    found = {one.name: one for one in provider.describe_fields("sale.line")}
    assert found["sale"].required
    assert found["sale"].createable
    assert not found["product"].required


# -- values ---------------------------------------------------------------------------------------


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


# -- what it refuses ------------------------------------------------------------------------------


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


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1 OR 1=1", str(2**31), "9" * 40, "१"])
def test_an_id_that_none_has_is_not_found_and_not_sent(
    provider: TrytonProvider, crm: Between, number: str
) -> None:
    ref = RecordRef(OPPORTUNITY, number)
    for do in (
        lambda: provider.get(ref, ["number"]),
        lambda: provider.update(ref, {"comment": "x"}),
        lambda: provider.delete(ref),
    ):
        with pytest.raises(RemoteRecordNotFound):
            do()
    assert asked(crm, ".write") == asked(crm, ".delete") == []


# -- many at once ---------------------------------------------------------------------------------


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


@pytest.mark.parametrize("remote_object", [PARTY, OPPORTUNITY])
def test_a_batch_that_was_made_without_an_answer_is_found_by_its_keys(
    provider: TrytonProvider, crm: Between, remote_object: str
) -> None:
    text = "name" if remote_object == PARTY else "description"
    drafts = [Draft({text: f"Lost {n}"}, str(uuid4())) for n in range(3)]
    provider.fields(remote_object)
    crm.misbehave(Misbehaviour.LOST)
    with pytest.raises(CRMUnavailable) as caught:
        provider.create_many(remote_object, drafts)
    assert caught.value.outcome_unknown
    found = provider.find_created_many(remote_object, [*(one.key for one in drafts), "none"])
    assert found[3] is None
    read = provider.get_many([ref for ref in found if ref], [text])
    assert [getattr(one, "values", one) for one in read] == [one.values for one in drafts]


def test_a_record_that_was_put_away_is_found_by_its_key(provider: TrytonProvider) -> None:
    key = str(uuid4())
    ref = provider.create(PARTY, {"name": "Ada"}, key=key)
    provider.update(ref, {"active": False})
    assert provider.find_created(PARTY, key=key) == ref


def test_what_has_no_place_for_a_key_says_so(provider: TrytonProvider) -> None:
    assert provider.finds_created(PARTY)
    assert provider.finds_created(OPPORTUNITY)
    assert provider.finds_created("sale.sale")
    assert not provider.finds_created("party.address")


def test_a_chain_of_merged_parties_is_followed(provider: TrytonProvider, crm: Between) -> None:
    first, second, third = (party(provider) for _ in range(3))
    crm.merge(PARTY, second.crm_id, first.crm_id)
    crm.merge(PARTY, third.crm_id, second.crm_id)
    provider.update(first, {"name": "Byron"})
    assert provider.get(third, ["name"]).values == {"name": "Byron"}
    assert provider.get(second, ["name"]).values == {"name": "Byron"}
    assert provider.get(first, ["name"]).ref == third


# -- searching ------------------------------------------------------------------------------------


def test_a_text_that_is_searched_for_is_no_pattern(provider: TrytonProvider) -> None:
    tag = uuid4().hex
    name = rf"{tag} 100% of_it \ 'quoted'"
    ref = party(provider, name=name)
    party(provider, name=name.replace("%", "0 %").replace("_", "-"))
    for operator in (Operator.EQUALS, Operator.CONTAINS):
        found = provider.search(PARTY, [Criterion("name", operator, name)], [], limit=9)
        assert [one.ref for one in found] == [ref]


def test_a_party_is_found_by_any_of_its_emails(provider: TrytonProvider) -> None:
    address = f"{uuid4().hex}@example.com"
    ref = party(provider, email="first@example.com")
    values = {"party": ref.crm_id, "type": "email", "value": address}
    provider.create("party.contact_mechanism", values, key="k")
    for operator, text in [(Operator.EQUALS, address), (Operator.CONTAINS, address[:20])]:
        found = provider.search(PARTY, [Criterion("email", operator, text)], ["email"], limit=9)
        assert [one.ref for one in found] == [ref]
    assert provider.search(PARTY, [Criterion("phone", Operator.EQUALS, address)], [], limit=9) == []


def test_the_newest_is_found_first(provider: TrytonProvider) -> None:
    name = uuid4().hex
    refs = [party(provider, name=name) for _ in range(3)]
    found = provider.search(PARTY, [Criterion("name", Operator.EQUALS, name)], [], limit=2)
    assert [one.ref for one in found] == [refs[2], refs[1]]


# -- deleting, and workflows ----------------------------------------------------------------------


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


def test_the_address_of_a_record_is_that_of_the_web_client(provider: TrytonProvider) -> None:
    url = provider.record_url(RecordRef(PARTY, "7"))
    assert url == f"{provider.access.credentials['url']}/#crm/model/party.party/7"
