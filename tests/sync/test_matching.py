"""Which fields tell a customer's records apart, and which are too weak to go by."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.mapping.transformations import parse_action
from xkit_crm.providers.base import Criterion, Operator, RemoteField, RemoteType
from xkit_crm.sync import matching

E, S = RemoteType.EMAIL, RemoteType.STRING


def proposed(*fields: RemoteField, kind: str = "direct") -> matching.Keys:
    named: list[dict[str, Any]] = [
        {"field": field.name, "kind": kind, "key": "key", "value": "x"} for field in fields
    ]
    action = parse_action({"action": "create", "transformations": named})
    return matching.propose(action, {field.name: field for field in fields})


@pytest.mark.parametrize(
    ("name", "label", "type_"),
    [
        ("Email", "Email", E),
        ("EMAIL", "E-Mail", E),
        ("email_address", "Primary Email Address", E),
        ("ExternalId", "External ID", S),
        ("External_Id__c", "Reference", S),
        ("external-id", "External id", RemoteType.INTEGER),
        ("uuid", "UUID", S),
    ],
)
def test_an_external_id_and_the_records_own_email_tell_records_apart(
    name: str, label: str, type_: RemoteType
) -> None:
    assert proposed(RemoteField(name, label, type_)).keys == ((name,),)


@pytest.mark.parametrize(
    ("name", "label", "type_"),
    [
        ("Owner_Email__c", "Owner's Email", E),
        ("Email__c", "Email of the manager", E),
        ("Name", "Opportunity Name", S),
        ("External_Id__c", "External ID", RemoteType.TEXT),
        ("ExternalSystem", "External system", S),
        ("Email", "Email", S),
    ],
)
def test_what_several_records_may_share_is_too_weak(
    name: str, label: str, type_: RemoteType
) -> None:
    keys = proposed(RemoteField(name, label, type_))
    assert (keys.keys, keys.weak) == ((), (name,))


def test_the_external_id_goes_before_the_email() -> None:
    keys = proposed(RemoteField("Email", "Email", E), RemoteField("ExternalId", "External ID", S))
    assert str(keys) == "ExternalId, else Email"


def test_what_can_not_be_searched_by_and_what_is_the_same_for_every_row_is_no_key() -> None:
    assert proposed(RemoteField("Email", "Email", E, searchable=False)).keys == ()
    assert proposed(RemoteField("Email", "Email", E), kind="static").keys == ()


def test_a_row_is_looked_up_only_where_it_has_a_value_of_every_field() -> None:
    key = ("Name", "City")
    assert matching.criteria(key, {"Name": "Ada", "City": ""}) == []
    assert matching.criteria(key, {"Name": "Ada"}) == []
    assert matching.criteria(key, {"Name": "Ada", "City": "Rome"}) == [
        Criterion("Name", Operator.EQUALS, "Ada"),
        Criterion("City", Operator.EQUALS, "Rome"),
    ]
