"""What not everybody may see is taken out of words: values that a CRM quotes."""

from __future__ import annotations

from typing import Any

import pytest

from xkit_crm.redaction import mask

LONG = "The lease of the second floor of the house at the harbour"


@pytest.mark.parametrize(
    ("text", "payload", "masked"),
    [
        ("'Ada' is no name", {"name": "Ada"}, "'•••' is no name"),
        ("ADA is no name", {"name": "ada"}, "••• is no name"),
        ("adamant and canada", {"name": "ada"}, "adamant and canada"),
        ("Ada, Ada and Ada", {"name": "Ada"}, "•••, ••• and •••"),
        ("ada@example.com is taken", {"email": "ada@example.com"}, "••• is taken"),
        ("12.5 is too much, not 125", {"amount": 12.5}, "••• is too much, not 125"),
        ("nested 7 and Zoë", {"a": {"b": [7, {"c": "Zoë"}]}}, "nested ••• and •••"),
        ("Ada Lovelace, Ada", {"a": "Ada", "b": "Ada Lovelace"}, "•••, •••"),
        ("'The lease of the second fl…' is too long", {"t": LONG}, "'•••…' is too long"),
        ("İ before Ada", {"name": "Ada"}, "İ before •••"),
        ("True is true", {"flag": True, "none": None, "empty": " "}, "True is true"),
        ("nothing to hide", {}, "nothing to hide"),
    ],
)
def test_values_of_a_payload_are_masked(text: str, payload: Any, masked: str) -> None:
    assert mask(text, [payload]) == masked


def test_values_of_several_payloads_are_masked_by_what_is_wanted() -> None:
    assert mask("Ada owes 5", [{"n": "Ada"}, {"n": 5}, None], by="…") == "… owes …"
