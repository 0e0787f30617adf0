"""From a schema to its validator, once per content.

The catalogue keeps what `compile` gives; `validate` is for callers with a schema at hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from xkit_crm.exceptions import DefinitionInvalid, Problem
from xkit_crm.schema.checking import check
from xkit_crm.schema.translation import json_schema
from xkit_crm.schema.validator import Validator


def compile(schema: Mapping[str, Any]) -> Validator:  # noqa: A001 - reads well qualified
    """The validator of payloads; the same one for the same content.

    Raises `DefinitionInvalid` with every problem where it isn't a schema.
    """
    try:
        content = json.dumps(schema, default=str)
    except (TypeError, ValueError, RecursionError):
        raise _invalid(check(schema) or [Problem("payloadSchema", "is not JSON")]) from None
    return _compiled(content)


def validate(schema: Mapping[str, Any], payload: Any, *, path: str = "payload") -> list[Problem]:
    """Every violation in a payload, with paths such as `payload.tags[0].name`.

    Raises `DefinitionInvalid` where the schema isn't one. Reading the schema costs more than the
    payload: whoever validates often keeps what `compile` gives.
    """
    return compile(schema).validate(payload, path=path)


@lru_cache(maxsize=1024)
def _compiled(content: str) -> Validator:
    schema = json.loads(content)
    if problems := check(schema):
        raise _invalid(problems)
    return Validator(json_schema(schema))


def _invalid(problems: list[Problem]) -> DefinitionInvalid:
    return DefinitionInvalid(
        "The payload schema has mistakes.", hint="Correct every path listed.", errors=problems
    )
