"""The sandbox misbehaves when it is told to, and only then and there."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.providers.sandbox.conftest import add_flow, ref_of
from xkit_crm.exceptions import CRMUnauthorized, CRMUnavailable, RateLimited, XkitError
from xkit_crm.providers.base import Access
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.standard import ensure_org

pytestmark = pytest.mark.django_db
Kind = Misbehaviour.Kind


def misbehave(org: Org, kind: str, **attributes: Any) -> Misbehaviour:
    return Misbehaviour.objects.create(org=org, kind=kind, **attributes)


def create(provider: SandboxProvider) -> None:
    provider.create("Account", {"Name": "Acme"}, key="k")


@pytest.fixture
def requests(provider: SandboxProvider, deal: Record) -> dict[str, Callable[[], Any]]:
    """One request of each operation, all on opportunities where they are on an object."""
    ref = ref_of(deal)
    add_flow(deal.object.org, "note", {"object_name": "Account", "values": {"Name": "Noted"}})
    return {
        "describe": lambda: provider.describe_fields("Opportunity"),
        "get": lambda: provider.get(ref, ["Name"]),
        "search": lambda: provider.search("Opportunity", [], [], limit=1),
        "create": lambda: provider.create("Opportunity", {"Name": "x"}, key="k"),
        "update": lambda: provider.update(ref, {"Name": "y"}),
        "workflow": lambda: provider.run_workflow("note", {}, key="w", ref=None),
        "delete": lambda: provider.delete(ref),
    }


def struck(requests: dict[str, Callable[[], Any]]) -> set[str]:
    """The operations that fail; each is tried once."""
    failed = set()
    for operation, request in requests.items():
        try:
            request()
        except XkitError:
            failed.add(operation)
    return failed


WRITES = {"create", "update", "delete", "workflow"}


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (Kind.RATE_LIMIT, RateLimited, "429"),
        (Kind.UNAVAILABLE, CRMUnavailable, "503"),
        (Kind.TIMEOUT_BEFORE, CRMUnavailable, "did not answer in time"),
        (Kind.EXPIRED_TOKEN, CRMUnauthorized, "401: the token has expired"),
        (Kind.LOCKED_RECORD, CRMUnavailable, "could not lock the Account record"),
    ],
)
def test_each_kind_fails_in_its_own_way_and_writes_nothing(
    org: Org, provider: SandboxProvider, kind: str, error: type[XkitError], words: str
) -> None:
    misbehave(org, kind, retry_after=7)
    with pytest.raises(error, match=words) as raised:
        create(provider)
    told = kind in (Kind.RATE_LIMIT, Kind.UNAVAILABLE, Kind.LOCKED_RECORD)
    assert raised.value.retry_after == (7 if told else None)
    assert raised.value.retryable is (error is not CRMUnauthorized)
    assert raised.value.outcome_unknown is (kind == Kind.TIMEOUT_BEFORE)
    assert not Record.objects.exists()


def test_a_rate_limit_always_says_when_to_come_back(org: Org, provider: SandboxProvider) -> None:
    misbehave(org, Kind.RATE_LIMIT)
    with pytest.raises(RateLimited) as raised:
        create(provider)
    assert raised.value.retry_after == 1


def test_nobody_can_tell_from_a_timeout_whether_it_was_written(
    org: Org, provider: SandboxProvider
) -> None:
    told = []
    for kind, records in ((Kind.TIMEOUT_BEFORE, 0), (Kind.TIMEOUT_AFTER, 1)):
        row = misbehave(org, kind)
        with pytest.raises(CRMUnavailable) as raised:
            create(provider)
        row.delete()
        told.append(raised.value.as_dict())
        assert Record.objects.count() == records
    assert told[0] == told[1]
    assert told[0]["outcome"] == "unknown"


@pytest.mark.parametrize("kind", [Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER])
def test_a_timeout_is_doubtful_for_what_writes_and_not_for_what_reads(
    org: Org, requests: dict[str, Callable[[], Any]], kind: str
) -> None:
    misbehave(org, kind)
    for operation, request in requests.items():
        with pytest.raises(CRMUnavailable) as raised:
            request()
        assert raised.value.outcome_unknown is (operation in WRITES)


def test_after_a_timeout_that_wrote_every_write_has_happened(
    org: Org, deal: Record, requests: dict[str, Callable[[], Any]]
) -> None:
    misbehave(org, Kind.TIMEOUT_AFTER)
    assert struck(requests) == set(requests)
    deal.refresh_from_db()
    assert deal.values["Name"] == "y"
    assert deal.deleted_at is not None
    made = Record.objects.exclude(pk=deal.pk).values_list("object__name", flat=True)
    assert sorted(made) == ["Account", "Opportunity"]


# -- where and how often --------------------------------------------------------------------------


def test_it_strikes_every_request_where_nothing_narrows_it(
    org: Org, requests: dict[str, Callable[[], Any]]
) -> None:
    misbehave(org, Kind.UNAVAILABLE)
    assert struck(requests) == set(requests)


@pytest.mark.parametrize(
    "operation", ["describe", "get", "search", "create", "update", "delete", "workflow"]
)
def test_it_can_strike_one_operation(
    org: Org, requests: dict[str, Callable[[], Any]], operation: str
) -> None:
    misbehave(org, Kind.UNAVAILABLE, operation=operation)
    assert struck(requests) == {operation}


def test_it_can_strike_one_object_or_one_operation_on_it(
    org: Org, provider: SandboxProvider, requests: dict[str, Callable[[], Any]]
) -> None:
    row = misbehave(org, Kind.UNAVAILABLE, object_name="Opportunity", operation="create")
    assert struck(requests) == {"create"}
    create(provider)
    row.operation = ""
    row.save()
    assert struck(requests) == set(requests) - {"workflow"}
    create(provider)


def test_looking_for_what_was_created_is_a_search(org: Org, provider: SandboxProvider) -> None:
    misbehave(org, Kind.UNAVAILABLE, operation="search")
    with pytest.raises(CRMUnavailable):
        provider.find_created("Account", key="k")


def test_it_ends_by_itself_after_the_times_left(org: Org, provider: SandboxProvider) -> None:
    row = misbehave(org, Kind.UNAVAILABLE, remaining=2)
    for left in (1, 0):
        with pytest.raises(CRMUnavailable):
            create(provider)
        row.refresh_from_db()
        assert row.remaining == left
    create(provider)
    row.refresh_from_db()
    assert (row.remaining, row.active) == (0, True)


def test_requests_that_it_does_not_concern_take_none_of_the_times_left(
    org: Org, provider: SandboxProvider
) -> None:
    row = misbehave(org, Kind.UNAVAILABLE, remaining=1, operation="delete")
    create(provider)
    row.refresh_from_db()
    assert row.remaining == 1


def test_at_rate_0_it_never_happens_and_at_rate_1_always(
    org: Org, provider: SandboxProvider
) -> None:
    row = misbehave(org, Kind.UNAVAILABLE, rate=0, remaining=5)
    for _ in range(20):
        provider.describe_objects()
    row.refresh_from_db()
    assert row.remaining == 5
    Misbehaviour.objects.update(rate=1, remaining=None)
    for _ in range(20):
        with pytest.raises(CRMUnavailable):
            provider.describe_objects()


def test_in_between_it_happens_to_about_that_share_of_the_requests(
    org: Org, provider: SandboxProvider
) -> None:
    random.seed(1)
    misbehave(org, Kind.UNAVAILABLE, rate=0.25)
    failed = sum(bool(struck({"describe": provider.describe_objects})) for _ in range(200))
    assert 30 < failed < 70


def test_one_that_is_off_and_one_of_another_organisation_do_nothing(
    org: Org, provider: SandboxProvider
) -> None:
    row = misbehave(org, Kind.UNAVAILABLE, active=False)
    create(provider)
    Misbehaviour.objects.filter(pk=row.pk).update(active=True, org=ensure_org("globex"))
    create(provider)
    with pytest.raises(CRMUnavailable):
        create(SandboxProvider(Access("globex")))


def test_several_happen_one_after_the_other(org: Org, provider: SandboxProvider) -> None:
    misbehave(org, Kind.RATE_LIMIT, remaining=1)
    misbehave(org, Kind.EXPIRED_TOKEN, remaining=1)
    with pytest.raises(RateLimited):
        create(provider)
    with pytest.raises(CRMUnauthorized):
        create(provider)
    create(provider)
