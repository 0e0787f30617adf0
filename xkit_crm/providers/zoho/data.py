"""Zoho CRM's words and ours: fields, queries, answers and values; plain data in, plain data out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.mapping.conversion import as_datetime, as_text
from xkit_crm.providers.base import (
    Choice,
    Criterion,
    Operator,
    RemoteField,
    RemoteType,
    Workflow,
)
from xkit_crm.providers.http import Answer

_TYPES = {
    "text": RemoteType.STRING,
    "textarea": RemoteType.TEXT,
    "email": RemoteType.EMAIL,
    "phone": RemoteType.PHONE,
    "website": RemoteType.URL,
    "picklist": RemoteType.PICKLIST,
    "multiselectpicklist": RemoteType.MULTIPICKLIST,
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "integer": RemoteType.INTEGER,
    "double": RemoteType.NUMBER,
    "currency": RemoteType.NUMBER,
    "percent": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
    "lookup": RemoteType.REFERENCE,
    "ownerlookup": RemoteType.REFERENCE,
    "userlookup": RemoteType.REFERENCE,
    "bigint": RemoteType.STRING,  # of 18 digits: Zoho has them as texts
    "autonumber": RemoteType.STRING,
}
#: What Zoho computes has a type by its JSON. Of other kinds only texts mean anything to us: there
#: are subforms, files, tags, lists of lookups.
_JSON_TYPES = {
    "string": RemoteType.STRING,
    "integer": RemoteType.NUMBER,
    "double": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
}
_PICKS = (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
_LENGTHS = (RemoteType.STRING, RemoteType.TEXT, RemoteType.EMAIL, RemoteType.PHONE, RemoteType.URL)
_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)
#: Zoho knows no parts of a second, and no Z.
_UTC = re.compile(r"(\.\d+)?Z$", re.ASCII)
_PATH = re.compile(r"\$\.data(?:\[\d+\])?\.(\w+)(.*)", re.ASCII)


# -- descriptions ---------------------------------------------------------------------------------


def field_of(found: Mapping[str, Any], required: set[str]) -> RemoteField | None:
    """The field as we have it; None for what has no value of ours."""
    name, kind = found["api_name"], _TYPES.get(found.get("data_type", ""))
    lookup = (found.get("lookup") or {}).get("module") or {}
    target = lookup.get("api_name") if isinstance(lookup, dict) else None
    if kind is None and (kind := _JSON_TYPES.get(found.get("json_type", ""))) is None:
        return None
    allowed = found.get("operation_type") or {}
    computed = found.get("data_type") not in _TYPES or found.get("data_type") == "autonumber"
    # What can point to any module wants to be told which one beside the id.
    closed = computed or found.get("read_only") or found.get("field_read_only")
    closed = closed or target == "se_module"
    options = found.get("pick_list_values") or () if kind in _PICKS else ()
    return RemoteField(
        name=name,
        label=found.get("display_label") or found.get("field_label") or name,
        type=kind,
        required=bool(found.get("system_mandatory")) or name in required,
        createable=bool(allowed.get("api_create")) and not closed,
        updateable=bool(allowed.get("api_update")) and not closed,
        readable=found.get("visible") is not False,
        searchable=kind is not RemoteType.TEXT,
        choices=tuple(
            Choice(one["actual_value"], one.get("display_value") or one["actual_value"])
            for one in options
            if one.get("type") != "unused" and one["actual_value"] != "-None-"
        ),
        references=(target,) if kind is RemoteType.REFERENCE and target else (),
        max_length=found.get("length") if kind in _LENGTHS else None,
        unique=bool(found.get("unique")),
    )


def wanted_by(layout: Mapping[str, Any]) -> set[str]:
    return {
        field["api_name"]
        for section in layout.get("sections") or ()
        for field in section.get("fields") or ()
        if field.get("required")
    }


def is_by_hand(cadence: Mapping[str, Any]) -> bool:
    manual = str(cadence.get("type", "")).lower().startswith("manual")
    return bool(manual and cadence.get("active") and cadence.get("published"))


def workflow_of(cadence: Mapping[str, Any]) -> Workflow:
    module = cadence["module"]["api_name"]
    record = RemoteField(
        "record", f"Record of {module} to enrol", RemoteType.REFERENCE, references=(module,)
    )
    return Workflow(cadence["id"], cadence.get("name") or cadence["id"], (record,))


# -- queries --------------------------------------------------------------------------------------


def name_in_query(text: str) -> str:
    """A name as it stands in a query, which knows no way to write others."""
    if not _NAME.fullmatch(text):
        raise RejectedByCRM(
            f"Zoho CRM has nothing named {text!r}.", errors=[Problem(text, "is not a name")]
        )
    return text


def condition(one: Criterion, field: RemoteField | None) -> str:
    name = name_in_query(one.field)
    if one.operator is Operator.CONTAINS:
        return f"{name} like {quoted('%' + as_text(one.value) + '%', name)}"
    if one.value is None:
        return f"{name} is null"
    value = sent(one.value, field)
    if isinstance(value, dict):
        value = value["id"]
    if isinstance(value, bool | int | float):
        return f"{name} = {as_text(value)}"
    return f"{name} = {quoted(as_text(value), name)}"


def quoted(text: str, field: str = "") -> str:
    """A text in a query. Quotes are doubled; nobody says what a backslash does, so that none may
    stand before a quote."""
    if "\\" in text:
        problem = Problem(field, "Zoho CRM can't be asked for a text with a backslash")
        raise RejectedByCRM("A query takes no backslash.", errors=[problem])
    return "'" + text.replace("'", "''") + "'"


def together(where: Sequence[str]) -> str:
    """In pairs: Zoho wants brackets around each two."""
    return reduce(lambda one, other: f"({one} and {other})", where) if where else "id is not null"


# -- answers --------------------------------------------------------------------------------------


def items_of(answer: Answer) -> list[Mapping[str, Any]]:
    """What is said of each record; nothing where this isn't such an answer."""
    data = answer.body.get("data") if isinstance(answer.body, dict) else None
    found = data if isinstance(data, list) else []
    return [one for one in found if isinstance(one, dict) and {"code", "status"} <= one.keys()]


def each_of(answer: Answer, count: int) -> list[Mapping[str, Any] | None]:
    """One for each record that was sent, in order; None where nothing is said of it."""
    found = items_of(answer)
    if len(found) == 1 < count and not is_good(found[0]):
        # It is about the call, such as a module that is none.
        raise failure(found[0], about_one=False)
    return [found[n] if n < len(found) else None for n in range(count)]


def is_good(said: Mapping[str, Any]) -> bool:
    return said.get("status") == "success"


def id_of(said: Mapping[str, Any]) -> str:
    return str((said.get("details") or {}).get("id") or "")


def twin_of(said: Mapping[str, Any], field: str) -> str:
    """The record that has our key already: an earlier try of this create made it."""
    for one in _errors_in(said):
        details = one.get("details") or {}
        if one.get("code") == "DUPLICATE_DATA" and details.get("api_name") == field != "":
            return str((details.get("duplicate_record") or {}).get("id") or id_of(one))
    return ""


def failure(said: Mapping[str, Any], *, about_one: bool = True) -> CRMError:
    """The typed error of what is said of a record or a call. `about_one`: of a record that was
    there before, which may be gone."""
    code = str(said.get("code", ""))
    message = f"Zoho CRM answered {code}: {said.get('message', '')}"
    if about_one and code == "INVALID_DATA" and _is_about_the_id(said):
        return RemoteRecordNotFound(message)
    if code == "RECORD_LOCKED":
        return RecordLocked(message)
    if code in ("INVALID_TOKEN", "AUTHENTICATION_FAILURE"):
        return CRMUnauthorized(message)
    if code == "TOO_MANY_REQUESTS":
        return RateLimited(message)
    if code == "INTERNAL_ERROR":
        return CRMUnavailable(message, outcome_unknown=True)
    return RejectedByCRM(message, errors=tuple(problems_of(said)))


def _is_about_the_id(said: Mapping[str, Any]) -> bool:
    """Of the record itself, and not of one that it refers to."""
    details = said.get("details") or {}
    if found := _PATH.fullmatch(str(details.get("json_path", ""))):
        return found[1] == "id"
    if "api_name" in details:
        return bool(details["api_name"] == "id" and "parent_api_name" not in details)
    return "id" in details or details.get("resource_path_index") == 1


def problems_of(said: Mapping[str, Any]) -> Iterator[Problem]:
    """The fields at fault."""
    for one in _errors_in(said):
        details = one.get("details") or {}
        path = _PATH.fullmatch(str(details.get("json_path", "")))
        name = path[1] if path else details.get("parent_api_name") or details.get("api_name")
        name = name or details.get("column_name") or details.get("param_name")
        if isinstance(name, str) and name:
            yield Problem(name, str(one.get("message", "")) + _more(details))


def _errors_in(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What is said, or the several errors that it consists of."""
    several = (said.get("details") or {}).get("errors")
    if not isinstance(several, list):
        yield said
        return
    for one in several:
        yield from _errors_in(one)


def _more(details: Mapping[str, Any]) -> str:
    if kind := details.get("expected_data_type"):
        return f" (it takes: {kind})"
    if length := details.get("maximum_length"):
        return f" (at most {length} characters)"
    values = details.get("supported_values")
    return f" (one of {', '.join(map(str, values))})" if isinstance(values, list) else ""


# -- values ---------------------------------------------------------------------------------------


def sent(value: Any, field: RemoteField | None) -> Any:
    """A value as Zoho takes it."""
    if field is None or not isinstance(value, str):
        return value
    if field.type is RemoteType.REFERENCE:
        return {"id": value} if value else None
    if field.type is RemoteType.DATETIME:
        return _UTC.sub("+00:00", value)
    return value


def value_of(value: Any, field: RemoteField | None) -> Any:
    """What Zoho's value says: it has datetimes in the zone of the person who signed in."""
    if isinstance(value, dict) and "id" in value:
        return value["id"]
    if field is not None and field.type is RemoteType.DATETIME:
        return as_datetime(value)
    return value
