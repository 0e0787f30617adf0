"""Sentences that are English for the API and the log, and that a page can say in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self


class Phrase(str):
    """A sentence in English that knows how it was made, so that it can be translated where it is
    shown: `Phrase(gettext_noop("%(field)s is required by the CRM"), field="Amount")`."""

    __slots__ = ("pattern", "values")

    pattern: str
    values: Mapping[str, Any]

    def __new__(cls, pattern: str, **values: Any) -> Self:
        made = super().__new__(cls, pattern % values if values else pattern)
        made.pattern, made.values = pattern, values
        return made
