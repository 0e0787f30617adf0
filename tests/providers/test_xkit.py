"""The app itself as a CRM: the conformance suite against a live server, and what is its own."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

import xkit_crm
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.models import APIKey, Connection, EventAction, Invocation
from xkit_crm.providers import xkit
from xkit_crm.providers.base import (
    Access,
    Criterion,
    Operator,
    RecordRef,
    RemoteType,
)
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record
from xkit_crm.providers.xkit import XkitProvider
from xkit_crm.testing.conformance import Make, ProviderConformance, Subject

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS: dict[str, Any] = {
    "name": {"type": "string", "label": "Opportunity Name", "maxLength": 120},
    "amount": {"type": "number", "label": "Amount"},
    "stage": {
        "type": "string",
        "label": "Stage",
        "enum": ["Prospecting", {"value": "Proposal", "label": "A proposal"}],
    },
    "close_date": {"type": "string", "format": "date", "label": "Close Date"},
    "probability": {"type": "integer", "label": "Probability (%)"},
    "description": {"type": "string", "format": "text", "label": "Description"},
    "tags": {"type": "array", "label": "Tags", "items": {"type": "string"}},
}
NAME = {**FIELDS["name"], "required": True, "nullable": False}
OBJECTS: dict[str, Any] = {
    "opportunity": {
        "label": "Opportunity",
        "fields": FIELDS,
        "events": {
            "deal_opened": {
                "type": "create",
                "label": "Deal opened",
                "payloadSchema": {"name": NAME, "amount": FIELDS["amount"]},
            },
            "deal_created": {
                "type": "create",
                "label": "Deal created",
                "payloadSchema": {**FIELDS, "name": NAME},
            },
            "deal_updated": {
                "type": "update",
                "label": "Deal updated",
                "payloadSchema": {**FIELDS, "updated_at": {"type": "string", "format": "datetime"}},
            },
            "deal_deleted": {"type": "delete", "label": "Deal deleted", "payloadSchema": {}},
            "find_deals": {
                "type": "search",
                "label": "Find deals",
                "payloadSchema": {"name": FIELDS["name"], "limit": {"type": "integer"}},
            },
        },
    },
    "visit": {
        "label": "Visit",
        "fields": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
        "events": {
            "visited": {
                "type": "create",
                "label": "Visited",
                "payloadSchema": {
                    "place": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "label": "City"},
                            "code": {"type": "string", "nullable": False},
                        },
                    },
                    "anything": {"type": "object"},
                    "marks": {"type": "array", "items": {"type": "number"}},
                },
            },
        },
    },
}


@pytest.fixture
def credentials(live_server: Any, settings: Any) -> dict[str, Any]:
    """Of a connection in the deployment that is called: this very one."""
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PRIVATE_HOSTS": ["localhost", "127.0.0.1"]}
    xkit_crm.define(OBJECTS)
    xkit_crm.connect("acme", provider="sandbox")
    key, secret = APIKey.objects.issue("another deployment")
    return {
        "url": f"{live_server.url}/api/v1",
        "connection": "acme",
        "publishable_key": key.publishable_key,
        "secret_key": secret,
        "objects": json.dumps(OBJECTS),
    }


class TestAnotherDeployment(ProviderConformance):
    subject = Subject(
        remote_object="opportunity",
        text="name",
        values={
            "name": "A deal",
            "amount": 12.5,
            "stage": "Proposal",
            "close_date": "2026-12-24",
            "probability": 40,
            "description": "First line\nsecond line",
            "tags": ["New", "Upsell"],
        },
        changes={"amount": None, "stage": "Prospecting", "tags": ["Renewal"], "description": "x"},
        refused={"amount": "many"},
        at_fault="amount",
        long_text="description",
        no_such_id="Opportunity:99999",
        finds_parts=False,
    )

    @pytest.fixture
    def make(self, credentials: dict[str, Any]) -> Make:
        return lambda: XkitProvider(Access("ours", credentials))


@pytest.fixture
def provider(credentials: dict[str, Any]) -> XkitProvider:
    return XkitProvider(Access("ours", credentials))


def create(provider: XkitProvider, key: str = "", **values: Any) -> RecordRef:
    return provider.create("opportunity", {"name": "A deal", **values}, key=key or str(uuid4()))


def misbehave(kind: str, operation: str = "create") -> None:
    org = Org.objects.get(slug="acme")
    Misbehaviour.objects.create(org=org, kind=kind, operation=operation, remaining=1)


# -- describing -----------------------------------------------------------------------------------


def test_payload_keys_are_fields(provider: XkitProvider) -> None:
    found = provider.fields("opportunity")
    assert found["name"].required
    assert found["name"].max_length == 120
    assert found["name"].searchable
    assert not found["amount"].searchable
    assert found["stage"].type is RemoteType.PICKLIST
    assert [(one.value, one.label) for one in found["stage"].choices] == [
        ("Prospecting", "Prospecting"),
        ("Proposal", "A proposal"),
    ]
    updated = found["updated_at"]
    assert (updated.createable, updated.updateable, updated.readable) == (False, True, False)


def test_what_is_inside_of_objects_is_a_field_and_what_holds_anything_is_not(
    provider: XkitProvider,
) -> None:
    assert set(provider.fields("visit")) == {"place.city", "place.code"}
    assert provider.fields("visit")["place.city"].label == "City"


@pytest.mark.parametrize("given", ["", "{", "{}", '{"opportunity": {"events": 1}}', "[]"])
def test_without_a_good_objects_document_nothing_is_known(
    credentials: dict[str, Any], given: str
) -> None:
    provider = XkitProvider(Access("ours", {**credentials, "objects": given}))
    with pytest.raises(ConfigurationError, match="xkit_dump"):
        provider.describe_objects()


def test_the_objects_document_may_be_in_the_settings(
    credentials: dict[str, Any], settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDER_OPTIONS": {"xkit": {"objects": OBJECTS}}}
    provider = XkitProvider(Access("ours", {**credentials, "objects": ""}))
    assert [one.name for one in provider.describe_objects()] == ["opportunity", "visit"]


@pytest.mark.parametrize("wrong", [{"secret_key": "xsk_wrong"}, {"connection": "nobody"}])
def test_a_connection_that_cannot_work_is_told_when_it_is_made(
    credentials: dict[str, Any], wrong: dict[str, str]
) -> None:
    provider = XkitProvider(Access("ours", {**credentials, **wrong}))
    with pytest.raises(CRMError) as caught:
        provider.describe_objects()
    assert not isinstance(caught.value, RemoteRecordNotFound)
    assert isinstance(caught.value, CRMUnauthorized) == ("secret_key" in wrong)
    assert credentials["secret_key"] not in str(caught.value)


# -- writing --------------------------------------------------------------------------------------


def test_the_event_that_carries_all_values_is_fired(provider: XkitProvider) -> None:
    create(provider, amount=1)
    create(provider, amount=1, probability=5)
    fired = list(Invocation.objects.order_by("id").values_list("event__slug", flat=True))
    assert fired == ["deal_opened", "deal_created"]


def test_what_no_event_carries_is_refused_by_name(provider: XkitProvider) -> None:
    with pytest.raises(RejectedByCRM) as caught:
        create(provider, amount=1, colour="red")
    assert [one.path for one in caught.value.errors] == ["colour"]
    with pytest.raises(RejectedByCRM, match="no delete event"):
        provider.delete(RecordRef("visit", "Visit:1"))


def test_values_go_back_inside_of_their_objects_and_refused_nulls_are_left_out() -> None:
    event = OBJECTS["visit"]["events"]["visited"]
    values = {"place.city": None, "place.code": None}
    assert xkit._payload(event, values) == {"place": {"city": None}}


def test_a_create_is_never_doubled_by_its_key(provider: XkitProvider) -> None:
    key = str(uuid4())
    assert create(provider, key) == create(provider, key)
    assert Record.objects.count() == 1


def test_a_create_without_an_answer_is_sent_once_more(
    provider: XkitProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.describe_objects()
    ask, lost = provider._ask, []

    def losing(*args: Any, **options: Any) -> Any:
        answer = ask(*args, **options)
        if lost:
            return answer
        lost.append(answer)
        raise CRMUnavailable("no answer", outcome_unknown=True)

    monkeypatch.setattr(provider, "_ask", losing)
    ref = create(provider)
    assert ref.crm_id == lost[0].body["record"]["id"]
    assert Record.objects.count() == 1


def test_a_create_that_stays_in_doubt_is_told_as_such(
    provider: XkitProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any, **options: Any) -> Any:
        raise CRMUnavailable("no answer", outcome_unknown=True)

    monkeypatch.setattr(provider, "_ask", lost)
    with pytest.raises(CRMUnavailable) as caught:
        create(provider)
    assert caught.value.outcome_unknown
    assert not provider.finds_created("opportunity")


def test_a_write_in_doubt_behind_it_is_settled_there(provider: XkitProvider) -> None:
    misbehave("timeout_after")
    ref = create(provider)
    assert Record.objects.get().record_id == ref.crm_id


def test_an_event_that_takes_longer_is_waited_for(
    provider: XkitProvider, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(xkit, "_PAUSE", 0.0)
    ref = create(provider)
    done = Invocation.objects.get()
    pending = {"invocation": {"id": str(done.uuid), "status": "pending"}, "record": None}
    assert provider._ended(pending)["record"]["id"] == ref.crm_id
    Invocation.objects.update(status="running")
    with pytest.raises(CRMUnavailable) as caught:
        provider._ended(pending)
    assert caught.value.outcome_unknown
    wrong = {"code": "crm_unavailable", "message": "No answer.", "outcome": "unknown"}
    Invocation.objects.update(status="unknown", error_detail=wrong)
    with pytest.raises(CRMUnavailable, match="No answer") as caught:
        provider._ended(pending)
    assert caught.value.outcome_unknown, "though asking for it wrote nothing"


def test_an_event_that_makes_no_record_is_refused(provider: XkitProvider) -> None:
    EventAction.objects.filter(event__slug="deal_opened").update(action="noop")
    with pytest.raises(RejectedByCRM, match="skipped"):
        create(provider)


# -- what it says ---------------------------------------------------------------------------------


def test_what_the_crm_behind_it_says_comes_through(provider: XkitProvider) -> None:
    with pytest.raises(RejectedByCRM) as refused:
        create(provider, tags=["No such tag"])
    assert [one.path for one in refused.value.errors] == ["tags"]
    misbehave("unavailable")
    with pytest.raises(CRMUnavailable) as unavailable:
        create(provider)
    assert not unavailable.value.outcome_unknown
    assert unavailable.value.retry_after, "from the header"
    misbehave("rate_limit")
    with pytest.raises(RateLimited) as limited:
        create(provider)
    assert limited.value.retry_after


def test_a_connection_that_is_switched_off_there_has_to_be_made_again(
    provider: XkitProvider,
) -> None:
    Connection.objects.update(status="disabled")
    with pytest.raises(CRMUnauthorized):
        create(provider)


def test_a_key_at_work_leaves_the_outcome_open(provider: XkitProvider) -> None:
    error = xkit._typed(xkit.from_dict({"code": "in_progress", "message": "x", "retry_after": 1}))
    assert isinstance(error, CRMUnavailable)
    assert (error.outcome_unknown, error.retry_after) == (True, 1.0)


def test_ids_and_names_are_escaped(provider: XkitProvider) -> None:
    ref = create(provider)
    for crm_id in (f"{ref.crm_id}?x=y", f"{ref.crm_id}#x", f"../opportunity/{ref.crm_id}"):
        with pytest.raises(RemoteRecordNotFound):
            provider.get(RecordRef("opportunity", crm_id), ["name"])


def test_a_search_is_as_large_as_was_asked(provider: XkitProvider) -> None:
    for _ in range(3):
        create(provider)
    equal = [Criterion("name", Operator.EQUALS, "A deal")]
    assert len(provider.search("opportunity", equal, ["name"], limit=2)) == 2
    assert Invocation.objects.order_by("id").last().payload["limit"] == 2
    with pytest.raises(RejectedByCRM):
        provider.search("opportunity", [Criterion("amount", Operator.EQUALS, 1)], [], limit=2)
