"""Odoo: the conformance suite against its fake, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.providers.vendors import at_work
from xkit_crm.exceptions import (
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers.base import Access, Criterion, Edit, Operator, RecordRef
from xkit_crm.providers.http import Answer
from xkit_crm.providers.odoo.provider import OdooProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject
from xkit_crm.testing.fakes import Misbehaviour
from xkit_crm.testing.fakes.odoo import OdooFake

PARTNER, LEAD = "res.partner", "crm.lead"


@pytest.fixture
def crm(settings: Any) -> Iterator[OdooFake]:
    with at_work(OdooFake(), "odoo", settings) as fake:
        yield fake


@pytest.fixture
def provider(crm: OdooFake) -> OdooProvider:
    return OdooProvider(Access("acme", crm.credentials))


class TestContacts(ProviderConformance):
    subject = Subject(
        remote_object=PARTNER,
        text="name",
        values={
            "name": "Lovelace",
            "email": "ada@example.com",
            "phone": "+44 20 7946 0000",
            "comment": "<p>First line</p>\n<p>second line</p>",
            "color": 4,
            "partner_latitude": 51.5,
            "is_company": False,
            "type": "other",
            "category_id": ["1", "3"],
            "x_birthday": "1815-12-10",
            "x_last_visit": "2026-11-02T08:15:30Z",
            "x_origin": "crm.lead,7",
        },
        changes={
            "email": None,
            "is_company": True,
            "category_id": ["2"],
            "x_birthday": None,
            "parent_id": "10001",
        },
        refused={"type": "imaginary"},
        at_fault="type",
        long_text="comment",
        workflow="502",
    )

    @pytest.fixture
    def make(self, crm: OdooFake) -> Make:
        return lambda: OdooProvider(Access("acme", crm.credentials))


class TestLeads(ProviderConformance):
    """Of a model without our field: a create of unknown outcome can't be looked up."""

    subject = Subject(
        remote_object=LEAD,
        text="name",
        values={"name": "Forty licences", "expected_revenue": 1234.5, "partner_id": "3"},
        changes={"expected_revenue": 99, "partner_id": None},
        refused={"name": None},
        at_fault="name",
        workflow="501",
    )

    @pytest.fixture
    def make(self, crm: OdooFake) -> Make:
        return lambda: OdooProvider(Access("acme", crm.credentials))


def partner(provider: OdooProvider, **values: Any) -> RecordRef:
    return provider.create(PARTNER, {"name": "Ada", **values}, key=str(uuid4()))


def asked(crm: OdooFake, method: str) -> list[Any]:
    """The bodies of the requests of this method."""
    return [one.body for one in crm.requests if one.path.endswith(f"/{method}")]


# -- the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["", "/", "/odoo", "/odoo/contacts/7?debug=1", "/web#id=7"])
def test_the_address_may_be_what_the_browser_shows(crm: OdooFake, shown: str) -> None:
    provider = OdooProvider(Access("acme", {**crm.credentials, "url": f" {crm.url}{shown} "}))
    provider.options = {}
    assert partner(provider)


def test_the_database_is_named_only_where_it_is_given(crm: OdooFake) -> None:
    given = {name: value for name, value in crm.credentials.items() if name != "database"}
    partner(OdooProvider(Access("acme", given)))
    assert not [one for one in crm.requests if "X-Odoo-Database" in one.headers]
    partner(OdooProvider(Access("acme", crm.credentials)))
    assert crm.requests[-1].headers["X-Odoo-Database"] == "acme"


def test_an_odoo_without_this_api_is_no_record_that_is_gone(crm: OdooFake) -> None:
    provider = OdooProvider(Access("acme", {**crm.credentials, "database": "another"}))
    with pytest.raises(CRMUnavailable, match="no JSON-2") as caught:
        provider.get(RecordRef(PARTNER, "1"), ["name"])
    assert not caught.value.outcome_unknown
    assert "19" in caught.value.hint


def test_texts_are_written_in_the_language_of_the_user(
    provider: OdooProvider, crm: OdooFake
) -> None:
    partner(provider)
    provider.describe_objects()
    assert crm.languages == {"en_GB"}


# -- describing -----------------------------------------------------------------------------------


def test_what_people_work_with_is_listed_and_odoo_itself_is_not(provider: OdooProvider) -> None:
    found = {one.name: one.label for one in provider.describe_objects()}
    assert found == {
        PARTNER: "Contact",
        LEAD: "Lead",
        "res.partner.category": "Partner Tags",
        "res.users": "User",
    }


def test_a_required_field_that_odoo_fills_is_not_asked_for(provider: OdooProvider) -> None:
    found = {one.name: one for one in provider.describe_fields(LEAD)}
    assert [one.name for one in found.values() if one.required] == ["name"]
    assert [choice.value for choice in found["type"].choices] == ["lead", "opportunity"]


def test_defaults_that_cannot_be_asked_for_are_none(
    provider: OdooProvider, crm: OdooFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = lambda request, model: crm.not_allowed(["missing a required argument"])  # noqa: E731
    monkeypatch.setattr(crm, "default_get", refuse)
    found = provider.describe_fields(LEAD)
    assert [one.name for one in found if one.required] == ["name", "type"]


def test_tags_are_picked_by_their_names_and_other_lists_left_out(provider: OdooProvider) -> None:
    found = {one.name: one for one in provider.describe_fields(PARTNER)}
    labels = {choice.value: choice.label for choice in found["category_id"].choices}
    assert labels == {"1": "customer", "2": "supplier", "3": "partner"}
    assert not found.keys() & {"child_ids", "image_1920"}
    assert (found["contact_address"].createable, found["contact_address"].searchable) == (
        False,
        False,
    )
    assert found["x_origin"].references == (PARTNER, LEAD)


# -- values ---------------------------------------------------------------------------------------


def test_nothing_is_false_and_false_is_nothing_but_for_a_truth(
    provider: OdooProvider, crm: OdooFake
) -> None:
    ref = partner(provider, email="ada@example.com", parent_id="1", category_id=["1"])
    cleared = {"email": None, "parent_id": None, "category_id": None, "x_last_visit": None}
    provider.update(ref, cleared)
    assert asked(crm, "write")[-1]["vals"] == {
        "email": False,
        "parent_id": False,
        "category_id": [[6, 0, []]],
        "x_last_visit": False,
    }
    names = ["email", "parent_id", "category_id", "x_last_visit", "is_company"]
    assert provider.get(ref, names).values == {
        "email": None,
        "parent_id": None,
        "category_id": [],
        "x_last_visit": None,
        "is_company": False,
    }


@pytest.mark.parametrize(
    "said", ["2026-11-02T08:15:30Z", "2026-11-02T10:15:30+02:00", "2026-11-02T08:15:30.9Z"]
)
def test_a_moment_is_sent_in_utc_without_saying_so(
    provider: OdooProvider, crm: OdooFake, said: str
) -> None:
    ref = partner(provider, x_last_visit=said)
    assert asked(crm, "create")[-1]["vals_list"][0]["x_last_visit"] == "2026-11-02 08:15:30"
    assert provider.get(ref, ["x_last_visit"]).values == {"x_last_visit": "2026-11-02T08:15:30Z"}


def test_a_reference_is_an_id_or_a_record_id(provider: OdooProvider) -> None:
    parent = partner(provider)
    for said in (parent.crm_id, str(parent)):
        ref = partner(provider, parent_id=said, x_origin=str(parent))
        held = provider.get(ref, ["parent_id", "x_origin"]).values
        assert held == {"parent_id": parent.crm_id, "x_origin": f"{PARTNER},{parent.crm_id}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("color", "many"),
        ("color", 1.5),
        ("partner_latitude", True),
        ("x_birthday", "soon"),
        ("x_birthday", 5),
        ("parent_id", "Ada"),
        ("parent_id", "crm.lead:7"),
        ("x_origin", "7"),
        ("category_id", ["customer"]),
    ],
)
def test_a_value_that_cannot_be_said_names_its_field_and_is_not_sent(
    provider: OdooProvider, crm: OdooFake, name: str, value: Any
) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        partner(provider, **{name: value})
    assert [problem.path for problem in caught.value.errors] == [name]
    assert asked(crm, "create") == []


# -- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message", "at_fault"),
    [
        ("builtins.ValueError", "Wrong value for res.partner.type: 'x'", ["type"]),
        ("builtins.ValueError", "Invalid field 'nickname' in 'res.partner'", ["nickname"]),
        (
            "odoo.exceptions.ValidationError",
            "Ein Pflichtfeld fehlt\nModell: „Kontakt“ (res.partner)\nFeld „Name“ (name)",
            ["name"],
        ),
        (
            "odoo.exceptions.ValidationError",
            "The operation cannot be completed:\nModel: Contact (res.partner)\nField: Name (name)",
            ["name"],
        ),
        ("odoo.exceptions.UserError", "You cannot do this (yet).", []),
    ],
)
def test_the_field_at_fault_is_found_in_what_odoo_says(
    provider: OdooProvider, name: str, message: str, at_fault: list[str]
) -> None:
    status = 500 if name.startswith("builtins") else 422
    answer = Answer(status, {}, {"name": name, "message": message, "debug": "Traceback"})
    error = provider.refusal(answer) or provider.error(answer)
    assert isinstance(error, RejectedByCRM)
    assert [problem.path for problem in error.errors] == at_fault
    assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (401, "werkzeug.exceptions.Unauthorized", CRMUnauthorized),
        (403, "odoo.exceptions.AccessDenied", CRMUnauthorized),
        (403, "odoo.exceptions.AccessError", RejectedByCRM),
        (404, "odoo.exceptions.MissingError", RemoteRecordNotFound),
        (404, "werkzeug.exceptions.NotFound", RejectedByCRM),
        (409, "odoo.exceptions.LockError", RecordLocked),
        (500, "psycopg2.errors.SerializationFailure", CRMUnavailable),
        (500, "builtins.TypeError", RejectedByCRM),
    ],
)
def test_an_error_is_what_its_name_says(
    provider: OdooProvider, status: int, name: str, kind: type[XkitError]
) -> None:
    answer = Answer(status, {}, {"name": name, "message": "no"})
    error = provider.refusal(answer) or provider.error(answer)
    assert type(error) is kind
    assert not error.outcome_unknown, "what Odoo tells of was undone"


def test_a_server_that_breaks_without_words_leaves_the_outcome_open(
    provider: OdooProvider,
) -> None:
    error = provider.error(Answer(502, {}, "<html><h1>Bad Gateway</h1></html>"))
    assert isinstance(error, CRMUnavailable)
    assert error.outcome_unknown
    assert "<h1>" not in str(error)


def test_what_the_user_may_not_see_is_refused(provider: OdooProvider) -> None:
    with pytest.raises(RejectedByCRM, match="not allowed"):
        provider.describe_fields("account.move")


@pytest.mark.parametrize("number", ["abc", "0", "-1", "1 OR 1=1", str(2**31), "9" * 40, "१", ""])
def test_an_id_that_none_has_is_not_found_and_not_sent(
    provider: OdooProvider, crm: OdooFake, number: str
) -> None:
    ref = RecordRef(PARTNER, number)
    for do in (
        lambda: provider.get(ref, ["name"]),
        lambda: provider.update(ref, {"name": "x"}),
        lambda: provider.delete(ref),
    ):
        with pytest.raises(RemoteRecordNotFound):
            do()
    assert provider.update_many([Edit(ref, {"name": "x"})])[0] is not None
    assert asked(crm, "write") == asked(crm, "unlink") == []


# -- many at once ---------------------------------------------------------------------------------


def test_what_gets_the_same_values_is_written_in_one_call(
    provider: OdooProvider, crm: OdooFake
) -> None:
    refs = [partner(provider) for _ in range(4)]
    same = {"email": "a@example.com", "color": 1}
    edits = [Edit(refs[0], same), Edit(refs[1], {"color": 2}), Edit(refs[2], dict(same))]
    assert list(provider.update_many([*edits, Edit(refs[3], same)])) == [None] * 4
    ids = [int(ref.crm_id) for ref in refs]
    assert [one["ids"] for one in asked(crm, "write")] == [[ids[0], ids[2], ids[3]], [ids[1]]]


def test_a_refused_value_spoils_none_that_got_another(provider: OdooProvider) -> None:
    refs = [partner(provider) for _ in range(3)]
    edits = [
        Edit(refs[0], {"color": 1}),
        Edit(refs[1], {"type": "imaginary"}),
        Edit(refs[2], {"color": 1}),
    ]
    answers = provider.update_many(edits)
    assert (answers[0], answers[2]) == (None, None)
    assert isinstance(answers[1], RejectedByCRM)
    assert provider.get(refs[2], ["color"]).values == {"color": 1}


def test_once_it_is_too_much_no_more_is_sent(provider: OdooProvider, crm: OdooFake) -> None:
    refs = [partner(provider) for _ in range(4)]
    provider.fields(PARTNER)
    sent = len(crm.requests)
    crm.misbehave(Misbehaviour.RATE_LIMIT)
    answers = provider.update_many([Edit(ref, {"color": n}) for n, ref in enumerate(refs)])
    assert [type(one) for one in answers] == [RateLimited] * 4
    assert len(crm.requests) == sent, "the one that was refused got no further"


def test_only_what_was_sent_is_in_doubt(provider: OdooProvider, crm: OdooFake) -> None:
    refs = [partner(provider) for _ in range(3)]
    provider.fields(PARTNER)
    crm.misbehave(Misbehaviour.LOST)
    answers = provider.update_many([Edit(ref, {"color": n}) for n, ref in enumerate(refs)])
    assert [type(one) for one in answers] == [CRMUnavailable] * 3
    assert [one.outcome_unknown for one in answers if one] == [True, False, False]


def test_what_is_archived_is_read_but_not_found_by_a_search(provider: OdooProvider) -> None:
    key, name = str(uuid4()), uuid4().hex
    ref = provider.create(PARTNER, {"name": name, "active": False}, key=key)
    assert provider.get(ref, ["name"]).values == {"name": name}
    assert provider.find_created(PARTNER, key=key) == ref
    assert provider.search(PARTNER, [Criterion("name", Operator.EQUALS, name)], [], limit=9) == []


def test_the_newest_is_found_first(provider: OdooProvider) -> None:
    refs = [partner(provider, name="Twice") for _ in range(3)]
    found = provider.search(PARTNER, [Criterion("name", Operator.EQUALS, "Twice")], [], limit=2)
    assert [one.ref for one in found] == [refs[2], refs[1]]


def test_a_text_that_is_searched_for_is_no_pattern(provider: OdooProvider) -> None:
    name = r"100% of_it \ 'quoted'"
    ref = partner(provider, name=name)
    partner(provider, name=name.replace("%", "0 %").replace("_", "-"))
    for operator in (Operator.EQUALS, Operator.CONTAINS):
        found = provider.search(PARTNER, [Criterion("name", operator, name)], [], limit=9)
        assert [one.ref for one in found] == [ref]


def test_a_search_for_what_no_field_can_hold_finds_nothing(
    provider: OdooProvider, crm: OdooFake
) -> None:
    criteria = [Criterion("color", Operator.EQUALS, "red")]
    assert provider.search(PARTNER, criteria, [], limit=9) == []
    assert [one for one in asked(crm, "search_read") if one["domain"]] == []


def test_a_record_is_found_by_one_of_its_tags(provider: OdooProvider) -> None:
    ref = partner(provider, category_id=["1", "2"])
    partner(provider, category_id=["3"])
    found = provider.search(PARTNER, [Criterion("category_id", Operator.EQUALS, "2")], [], limit=9)
    assert [one.ref for one in found] == [ref]


# -- workflows ------------------------------------------------------------------------------------


def test_server_actions_are_listed_and_scheduled_ones_are_not(provider: OdooProvider) -> None:
    found = {one.name: (one.label, one.inputs[0].references) for one in provider.list_workflows()}
    assert found == {
        "501": ("Mark as lost (crm.lead)", (LEAD,)),
        "502": ("Make a lead (res.partner)", (PARTNER,)),
    }


def test_what_an_action_opens_is_what_it_made(provider: OdooProvider, crm: OdooFake) -> None:
    ref = partner(provider)
    made = provider.run_workflow("502", {"record": str(ref)}, key="k", ref=None)
    assert made is not None
    assert made.remote_object == LEAD
    assert crm.ran == [(502, PARTNER, int(ref.crm_id))]


def test_an_action_is_done_to_a_record_of_its_model(provider: OdooProvider, crm: OdooFake) -> None:
    ref = partner(provider)
    for inputs, about in [({}, None), ({}, ref), ({"record": str(ref)}, None)]:
        with pytest.raises(RejectedByCRM) as caught:
            provider.run_workflow("501", inputs, key="k", ref=about)
        assert [problem.path for problem in caught.value.errors] == ["record"]
    with pytest.raises(RemoteRecordNotFound):
        provider.run_workflow("502", {"record": "999999"}, key="k", ref=None)
    assert crm.ran == []


@pytest.mark.parametrize("name", ["503", "999", "Mark as lost"])
def test_only_what_is_listed_can_be_run(provider: OdooProvider, crm: OdooFake, name: str) -> None:
    with pytest.raises(RejectedByCRM, match="no server action"):
        provider.run_workflow(name, {}, key="k", ref=partner(provider))
    assert crm.ran == []


def test_a_record_has_an_address(provider: OdooProvider) -> None:
    assert provider.record_url(RecordRef(PARTNER, "7")).endswith("/odoo/res.partner/7")
    assert provider.record_url(RecordRef("x_car", "7")).endswith("/odoo/m-x_car/7")
