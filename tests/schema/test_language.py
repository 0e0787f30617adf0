"""Labels, and the one spelling of a schema."""

from __future__ import annotations

import pytest

from xkit_crm import schema


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("name", "Name"),
        ("updated_at", "Updated at"),
        ("updatedAt", "Updated at"),
        ("externalID", "External ID"),
        ("close-date", "Close date"),
        ("_private", "Private"),
        ("__", "__"),
    ],
)
def test_a_key_is_made_readable(key: str, label: str) -> None:
    assert schema.label_for(key) == label


def test_a_label_of_its_own_is_what_customers_see() -> None:
    assert schema.label_for("updated_at", {"type": "string", "label": "Last change"}) == (
        "Last change"
    )
    assert schema.label_for("updated_at", {"type": "string", "label": ""}) == "Updated at"


def test_date_time_is_written_as_datetime_at_every_depth() -> None:
    moment = {"type": "string", "format": "date-time"}
    given = {
        "at": moment,
        "list": {"type": "array", "items": moment},
        "inner": {"type": "object", "properties": {"at": moment}},
    }

    normal = schema.normalise(given)

    wanted = {"type": "string", "format": "datetime"}
    assert normal == {
        "at": wanted,
        "list": {"type": "array", "items": wanted},
        "inner": {"type": "object", "properties": {"at": wanted}},
    }
    assert moment["format"] == "date-time"
