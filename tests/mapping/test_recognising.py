"""By which fields a person recognises a record."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.mapping.recognising import Features, features
from xkit_crm.providers.base import RemoteField, RemoteType

T = RemoteType
#: The fields of a contact, as several vendors call them.
FIELDS = [
    RemoteField("Id", "Record ID", T.STRING),
    RemoteField("FirstName", "First Name", T.STRING),
    RemoteField("LastName", "Last Name", T.STRING),
    RemoteField("AccountName", "Account Name", T.STRING),
    RemoteField("Name", "Full Name", T.STRING),
    RemoteField("Email", "Email", T.EMAIL),
    RemoteField("OtherEmail", "Other Email", T.EMAIL),
    RemoteField("Phone", "Phone", T.PHONE),
    RemoteField("Secret", "Secret Name", T.STRING, readable=False),
]


def of(*fields: RemoteField, written: tuple[str, ...] = (), own: tuple[str, ...] = ()) -> Features:
    return features(fields or FIELDS, written=written, own=own)


def names(found: tuple[RemoteField, ...]) -> list[str]:
    return [field.name for field in found]


def test_a_record_is_recognised_by_its_name_and_its_email() -> None:
    found = of()
    assert names(found.names) == ["LastName", "Name"]
    assert names(found.emails) == ["Email"]
    assert found.others == ()


def test_what_the_mapping_writes_comes_first_and_is_shown() -> None:
    found = of(written=("OtherEmail", "Name", "Phone"))
    assert names(found.names) == ["Name", "LastName"]
    assert names(found.all) == ["Name", "LastName", "OtherEmail", "Phone"]


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("Name", "Opportunity Name"),
        ("dealname", "Deal Name"),
        ("title", "Title"),
        ("Subject", "Betreff"),
    ],
)
def test_a_name_is_found_under_other_words(field: str, label: str) -> None:
    other = RemoteField("NextStep", "Next Step", T.STRING)
    found = of(other, RemoteField(field, label, T.STRING), own=("opportunity", "Opportunity"))
    assert names(found.names) == [field]


def test_without_a_name_it_is_what_the_mapping_writes() -> None:
    fields = (RemoteField("description", "Beschreibung", T.STRING), RemoteField("x", "X", T.STRING))
    assert names(of(*fields, written=("description",)).names) == ["description"]
    assert of(*fields).all == ()


def test_what_can_not_be_read_shows_nothing() -> None:
    field = RemoteField("Name", "Name", T.STRING, readable=False)
    assert of(field, written=("Name",)).all == ()


@pytest.mark.parametrize(
    ("text", "searched"),
    [("Ada", ["LastName", "Name"]), ("ada@", ["Email"]), ("@example.com", ["Email"])],
)
def test_a_text_is_looked_for_where_it_may_be(text: str, searched: list[str]) -> None:
    assert names(of().searched_for(text)) == searched


def test_a_text_is_looked_for_only_where_the_crm_can_search() -> None:
    hidden: dict[str, Any] = {"searchable": False}
    fields = (RemoteField("Name", "Name", T.STRING, **hidden), RemoteField("E", "Email", T.EMAIL))
    found = of(*fields)
    assert names(found.searched_for("Ada")) == []
    assert names(found.searched_for("ada@example.com")) == ["E"]
