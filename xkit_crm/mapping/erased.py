"""The marker that stands where personal data was, and how to tell it.

`erasure.py` puts it into the log; `resolving.py` refuses a payload that was erased, so that the
marker can never reach a CRM. Plain data in, plain data out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: Nothing that a person would write.
ERASED: Final = "[erased by xkit_crm]"


def erased(value: Any) -> Any:
    """The value with the marker in place of every leaf; keys and shape stay."""
    if isinstance(value, Mapping):
        return {key: erased(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [erased(entry) for entry in value]
    return ERASED


def is_erased(value: Any) -> bool:
    """Whether `erased` made it. A value is erased as a whole, so its first leaf tells."""
    return bool(_first_leaf(value) == ERASED)


def _first_leaf(value: Any) -> Any:
    """The first leaf; None where there is none."""
    if not isinstance(value, Mapping | list):
        return value
    for entry in value.values() if isinstance(value, Mapping) else value:
        if isinstance(entry, str):
            return entry
        if not isinstance(entry, Mapping | list):
            return entry
        if (leaf := _first_leaf(entry)) is not None:
            return leaf
    return None
