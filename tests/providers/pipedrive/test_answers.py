"""Pipedrive: what it says, and how often it may be asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.providers.pipedrive.conftest import make
from xkit_crm.exceptions import (
    RateLimited,
    RejectedByCRM,
)
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.pipedrive.provider import PipedriveProvider
from xkit_crm.testing.fakes.pipedrive import PipedriveFake, code_of
from xkit_crm.testing.fakes.server import Response


def refused(provider: PipedriveProvider, remote_object: str, **values: Any) -> RejectedByCRM:
    with pytest.raises(RejectedByCRM) as caught:
        make(provider, remote_object, **values)
    return caught.value


def test_each_value_that_is_refused_is_named(provider: PipedriveProvider) -> None:
    wrong = {"name": "", code_of("Shoe size"): "large", code_of("Rank"): "13"}
    error = refused(provider, "persons", **wrong)
    assert {problem.path for problem in error.errors} == set(wrong)
    assert "Validation failed" not in str(error)
    assert "Expected 'number'" in str(error)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("Validation failed: emails.0.value: is not an email", "emails"),
        ("Validation failed: participants[0].person_id: must be a number", "person_id"),
        ("Validation failed: custom_fields: Unknown key 'colour'", "colour"),
        ("Validation failed: title: is too long; value: is no number", "title"),
        ('"title" is required', "title"),
    ],
)
def test_the_field_at_fault_is_read_from_the_words(
    provider: PipedriveProvider,
    crm: PipedriveFake,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    path: str,
) -> None:
    answer = Response(400, {"success": False, "error": said, "code": "ERR"})
    monkeypatch.setattr(crm, "create_deal", lambda request: answer)
    assert refused(provider, "deals", title="A").errors[0].path == path


def test_words_without_a_field_are_told(provider: PipedriveProvider) -> None:
    assert "must be linked" in str(refused(provider, "leads", title="A"))


def test_a_create_that_refers_to_what_is_not_there_is_refused(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Response(404, {"success": False, "error": "Person not found"})
    monkeypatch.setattr(crm, "create_deal", lambda request: answer)
    assert "Person not found" in str(refused(provider, "deals", title="A", person_id="99"))


def test_a_good_status_does_not_hide_a_failure(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Response(200, {"success": False, "error": "Not now", "data": None})
    monkeypatch.setattr(crm, "create_deal", lambda request: answer)
    assert "Not now" in str(refused(provider, "deals", title="A"))


def answer_with(crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch, answer: Response) -> None:
    monkeypatch.setattr(crm, "read_deal", lambda request, **named: answer)


def test_a_burst_that_is_too_large_is_over_when_the_header_says(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(crm, monkeypatch, crm.too_many())
    with pytest.raises(RateLimited) as caught:
        provider.get(RecordRef("deals", "1"), ["title"])
    assert caught.value.retry_after == 2
    assert provider.usage.left == 0


def test_after_a_day_without_tokens_left_it_is_asked_by_the_hour_whether_another_has_begun(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(crm, monkeypatch, Response(429, {"success": False, "error": "over limit"}))
    crm.tokens = 1
    with pytest.raises(RateLimited) as caught:
        provider.get(RecordRef("deals", "1"), ["title"])
    assert caught.value.retry_after == 3600
    assert (provider.usage.quota_left, provider.usage.quota_resets_at) == (0, None)


def test_a_page_that_shuts_us_out_is_waited_out(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(crm, monkeypatch, Response(403, "<h1>You have been blocked</h1>"))
    with pytest.raises(RateLimited) as caught:
        provider.get(RecordRef("deals", "1"), ["title"])
    assert caught.value.retry_after == 600


def test_a_403_in_words_is_a_refusal(
    provider: PipedriveProvider, crm: PipedriveFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"success": False, "error": "Limit reached", "code": "feature_capping_deals_limit"}
    answer_with(crm, monkeypatch, Response(403, body))
    with pytest.raises(RejectedByCRM, match="Limit reached"):
        provider.get(RecordRef("deals", "1"), ["title"])


def test_what_is_left_of_the_quota_is_noted(
    provider: PipedriveProvider, crm: PipedriveFake
) -> None:
    make(provider, "deals", title="A")
    assert provider.usage.left == 19
    assert provider.usage.quota == 30_000
    assert provider.usage.quota_left == crm.tokens
