"""Which values Dataverse takes, and what it says to others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from xkit_crm.testing.fakes.dynamics import answers, objects
from xkit_crm.testing.fakes.server import Response

#: What JSON a column of each kind takes, and what its type is called.
_JSON: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "String": ("Edm.String", lambda v: isinstance(v, str)),
    "Memo": ("Edm.String", lambda v: isinstance(v, str)),
    "Integer": ("Edm.Int32", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "Picklist": ("Edm.Int32", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "State": ("Edm.Int32", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "Money": ("Edm.Decimal", lambda v: isinstance(v, int | float) and not isinstance(v, bool)),
    "Decimal": ("Edm.Decimal", lambda v: isinstance(v, int | float) and not isinstance(v, bool)),
    "Boolean": ("Edm.Boolean", lambda v: isinstance(v, bool)),
    "MultiSelectPicklist": ("Edm.String", lambda v: isinstance(v, str)),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def refusal(table: str, column: Mapping[str, Any], value: Any) -> Response | None:
    """What Dataverse says to a value that it doesn't take."""
    if value is None:
        return None
    name, kind, more = column["LogicalName"], objects.kind(column), column["more"]
    if kind == "DateTime":
        is_date = more["DateTimeBehavior"]["Value"] == "DateOnly"
        edm, pattern = ("Edm.Date", _DATE) if is_date else ("Edm.DateTimeOffset", _MOMENT)
        fits = isinstance(value, str) and bool(pattern.fullmatch(value))
    else:
        edm, test = _JSON[kind]
        fits = test(value)
    if not fits:
        return answers.payload(
            table,
            f"Microsoft.OData.ODataException: Cannot convert the literal '{value}' to the expected "
            f"type '{edm}'. ---> System.FormatException: Input string was not in a correct "
            "format.\r\n   at System.Number.StringToNumber(String str)",
        )
    if len(str(value)) > more.get("MaxLength", len(str(value))):
        return answers.error(
            400,
            "0x80044331",
            f"A validation error occurred.  The length of the '{name}' attribute of the '{table}' "
            f"entity exceeded the maximum allowed length of '{more['MaxLength']}'.",
        )
    options = more.get("OptionSet") or more.get("GlobalOptionSet")
    if options:
        accepted = [str(one["Value"]) for one in options["Options"]]
        if not set(str(value).split(",")) <= set(accepted):
            return answers.error(
                400,
                "0x8004431a",
                f"A validation error occurred. The value {value} of '{name}' on record of type "
                f"'{table}' is outside the valid range. Accepted Values: {','.join(accepted)}",
            )
    return None
