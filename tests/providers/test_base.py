"""The contract of providers: the plain data that travels, and what an adapter gets for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from xkit_crm.exceptions import RejectedByCRM, UnknownRecord
from xkit_crm.providers.base import (
    Access,
    Criterion,
    Provider,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
)


class Smallest(Provider):
    """The least that an adapter has to say."""

    slug = "smallest"
    label = "Smallest CRM"

    def describe_objects(self) -> Sequence[RemoteObject]:
        return []

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        return []

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        return RemoteRecord(ref)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        return []

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        return RecordRef(remote_object, key)

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        return None

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None: ...

    def delete(self, ref: RecordRef) -> None: ...


@pytest.mark.parametrize(
    ("record_id", "remote_object", "crm_id"),
    [
        ("Opportunity:09876", "Opportunity", "09876"),
        ("Deal__c:a0B5g00000XyZ", "Deal__c", "a0B5g00000XyZ"),
        ("contacts:urn:li:501", "contacts", "urn:li:501"),
    ],
)
def test_a_record_id_is_read_up_to_its_first_colon_and_written_back_the_same(
    record_id: str, remote_object: str, crm_id: str
) -> None:
    ref = RecordRef.parse(record_id)
    assert (ref.remote_object, ref.crm_id) == (remote_object, crm_id)
    assert str(ref) == record_id


@pytest.mark.parametrize("text", ["", ":", "09876", "Opportunity", "Opportunity:", ":09876"])
def test_what_is_no_record_id_is_told_with_an_example(text: str) -> None:
    with pytest.raises(UnknownRecord) as raised:
        RecordRef.parse(text)
    assert repr(text) in raised.value.message
    assert "Opportunity:09876" in raised.value.hint


def test_what_travels_can_not_be_changed_on_its_way() -> None:
    ref = RecordRef("Opportunity", "09876")
    with pytest.raises(FrozenInstanceError):
        ref.crm_id = "1"  # type: ignore[misc]
    assert {ref, RecordRef("Opportunity", "09876")} == {ref}


def test_a_field_is_optional_and_open_unless_the_crm_says_otherwise() -> None:
    field = RemoteField("Name", "Name", RemoteType.STRING)
    assert (field.required, field.choices, field.references, field.max_length) == (
        False,
        (),
        (),
        None,
    )
    assert field.createable
    assert field.updateable
    assert field.readable
    assert field.searchable


def test_credentials_do_not_show_when_an_access_is_printed() -> None:
    assert "very-secret" not in repr(Access("acme", {"token": "very-secret"}))


def test_an_adapter_that_says_no_more_has_no_workflows_and_no_pages() -> None:
    provider = Smallest(Access("acme"))
    assert provider.can_find_created
    assert list(provider.list_workflows()) == []
    assert provider.record_url(RecordRef("Opportunity", "1")) == ""
    with pytest.raises(RejectedByCRM, match="Smallest CRM has no workflow named 'welcome'"):
        provider.run_workflow("welcome", {}, key="k", ref=None)


def test_an_adapter_that_leaves_something_out_can_not_be_made() -> None:
    class Unfinished(Provider):
        slug = "unfinished"
        label = "Unfinished"

    with pytest.raises(TypeError, match="abstract"):
        Unfinished(Access("acme"))  # type: ignore[abstract]
