"""What errors say. Their words have one source, which the docs repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xkit_crm import exceptions
from xkit_crm.exceptions import (
    Problem,
    RateLimited,
    XkitError,
    class_of,
    explained_codes,
    from_dict,
)

ERRORS = Path(__file__).parent.parent / "docs" / "errors.md"


def test_the_docs_say_of_each_error_what_the_console_says() -> None:
    written = ERRORS.read_text("utf-8")
    table = written.split("| code | means | what to do |\n| --- | --- | --- |\n")[1].split("\n\n")[
        0
    ]
    assert table.splitlines() == [
        f"| `{code}` | {class_of(code).meaning} | {class_of(code).remedy} |"
        for code in explained_codes()
    ]


def test_the_docs_name_every_code_that_the_api_answers_with() -> None:
    written = ERRORS.read_text("utf-8")
    ours = [one for one in vars(exceptions).values() if isinstance(one, type)]
    errors = [one for one in ours if issubclass(one, XkitError) and one.status != 500]
    assert [one.code for one in errors if f"`{one.code}`" not in written] == []


def test_what_has_no_words_of_its_own_is_told_in_general_ones() -> None:
    assert class_of("nobody_knows") is XkitError
    assert class_of("in_progress").remedy == XkitError.remedy


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        ("payload.name", "is required", "payload.name: is required"),
        ("", "is required", "is required"),
        ("Amount", "Amount: value too large", "Amount: value too large"),
        ("amount", "Amount: value too large", "Amount: value too large"),
        ("Amount", "Amounts: too many", "Amount: Amounts: too many"),
    ],
)
def test_a_problem_says_once_where_it_is(path: str, error: str, told: str) -> None:
    assert str(Problem(path, error)) == told


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (2.5, 2.5),
        (0, 0),
        (-3, 0),
        (1e300, 86_400),
        (10**400, 86_400),
        (float("inf"), 86_400),
        (float("nan"), None),
        ("soon", None),
    ],
)
def test_nobody_is_left_alone_for_longer_than_can_be_waited(said: Any, meant: float | None) -> None:
    assert RateLimited("Slow down.", retry_after=said).retry_after == meant
    assert from_dict({"code": "rate_limited", "retry_after": said}).retry_after == meant
