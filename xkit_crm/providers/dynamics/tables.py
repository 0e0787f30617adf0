"""What Dataverse says of its tables and workflows, and how values are written, read and sought."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xkit_crm.exceptions import Problem, RejectedByCRM, RemoteRecordNotFound
from xkit_crm.mapping.conversion import as_text
from xkit_crm.providers.base import (
    Choice,
    Criterion,
    Operator,
    RecordRef,
    RemoteField,
    RemoteRecord,
    RemoteType,
    Workflow,
)
from xkit_crm.providers.dynamics.odata import GUID, Part, in_path, query_of, quoted

_TYPES = {
    "StringType": RemoteType.STRING,
    "MemoType": RemoteType.TEXT,
    "IntegerType": RemoteType.INTEGER,
    "BigIntType": RemoteType.INTEGER,
    "DecimalType": RemoteType.NUMBER,
    "DoubleType": RemoteType.NUMBER,
    "MoneyType": RemoteType.NUMBER,
    "BooleanType": RemoteType.BOOLEAN,
    "DateTimeType": RemoteType.DATETIME,
    "PicklistType": RemoteType.PICKLIST,
    "StateType": RemoteType.PICKLIST,
    "StatusType": RemoteType.PICKLIST,
    "MultiSelectPicklistType": RemoteType.MULTIPICKLIST,
    "LookupType": RemoteType.REFERENCE,
    "CustomerType": RemoteType.REFERENCE,
    "OwnerType": RemoteType.REFERENCE,
    "UniqueidentifierType": RemoteType.STRING,
}
_FORMATS = {
    "Email": RemoteType.EMAIL,
    "Phone": RemoteType.PHONE,
    "Url": RemoteType.URL,
    "TextArea": RemoteType.TEXT,
}
#: What Dataverse fills by itself, however much it is required.
_FILLED = frozenset(
    {"BooleanType", "PicklistType", "StateType", "StatusType", "OwnerType", "UniqueidentifierType"}
)
#: What each kind of column says beside what all do; a query has to ask for each kind apart.
_MORE = {
    "String": "$select=LogicalName,MaxLength,FormatName",
    "Memo": "$select=LogicalName,MaxLength",
    "DateTime": "$select=LogicalName,DateTimeBehavior",
    "Lookup": "$select=LogicalName,Targets",
    **dict.fromkeys(
        ("Picklist", "MultiSelectPicklist", "State", "Status"),
        "$select=LogicalName&$expand=OptionSet($select=Options),GlobalOptionSet($select=Options)",
    ),
}
_COLUMNS = (
    "$select=LogicalName,DisplayName,AttributeTypeName,AttributeOf,RequiredLevel,"
    "IsValidForCreate,IsValidForUpdate,IsValidForRead"
)
_NUMBERS = frozenset({RemoteType.INTEGER, RemoteType.NUMBER, RemoteType.PICKLIST})
_LITERALS = {
    **dict.fromkeys(_NUMBERS, re.compile(r"-?\d+(\.\d+)?")),
    RemoteType.BOOLEAN: re.compile(r"true|false"),
    RemoteType.DATE: re.compile(r"\d{4}-\d\d-\d\d"),
    RemoteType.DATETIME: re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
}
#: Which table a reference leads to, where it may be one of several.
TARGETS = {"Prefer": 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"'}
_LEADS_TO = "@Microsoft.Dynamics.CRM.lookuplogicalname"


@dataclass(frozen=True, slots=True)
class Table:
    """What a table is called where, and its columns."""

    name: str
    entity_set: str
    key: str
    fields: Mapping[str, RemoteField]
    #: How a reference is written: the navigation property by column and the table it leads to.
    navigation: Mapping[tuple[str, str], str]

    @property
    def merges(self) -> bool:
        """Whether a record of it can be merged into another, which it names from then on."""
        return "masterid" in self.fields


# -- what a table says of itself -------------------------------------------------------------------


def questions(name: str) -> list[str]:
    """What has to be asked of a table, for `table_of`."""
    about = f"EntityDefinitions(LogicalName={in_path(name)})"
    related = "ReferencingAttribute,ReferencedEntity,ReferencingEntityNavigationPropertyName"
    cast = "Microsoft.Dynamics.CRM"
    return [
        f"{about}?$select=EntitySetName,PrimaryIdAttribute",
        f"{about}/Attributes?{_COLUMNS}",
        f"{about}/Keys?$select=KeyAttributes,EntityKeyIndexStatus",
        f"{about}/ManyToOneRelationships?$select={related}",
        *(f"{about}/Attributes/{cast}.{kind}AttributeMetadata?{_MORE[kind]}" for kind in _MORE),
    ]


def table_of(name: str, answers: Sequence[Any]) -> Table:
    """What the answers to the `questions` say, in their order."""
    own, (columns, keys, relations, *kinds) = answers[0], [one["value"] for one in answers[1:]]
    more = {one["LogicalName"]: one for kind in kinds for one in kind}
    unique = {
        key["KeyAttributes"][0]
        for key in keys
        if len(key["KeyAttributes"]) == 1 and key["EntityKeyIndexStatus"] == "Active"
    }
    fields = [
        _field(one, more.get(one["LogicalName"], {}), unique)
        for one in columns
        if _is_told(one, own["PrimaryIdAttribute"])
    ]
    navigation = {
        (one["ReferencingAttribute"], one["ReferencedEntity"]): one[
            "ReferencingEntityNavigationPropertyName"
        ]
        for one in relations
    }
    by_name = {one.name: one for one in fields}
    return Table(name, own["EntitySetName"], own["PrimaryIdAttribute"], by_name, navigation)


def label_of(found: Any) -> str:
    said = (found or {}).get("UserLocalizedLabel") or {}
    return str(said.get("Label") or "")


def _is_told(found: Mapping[str, Any], key: str) -> bool:
    """Whether a column is one of its own, with values that we know."""
    kind = (found.get("AttributeTypeName") or {}).get("Value")
    is_id = kind == "UniqueidentifierType" and found["LogicalName"] != key
    return kind in _TYPES and not found.get("AttributeOf") and not is_id


def _field(found: Mapping[str, Any], more: Mapping[str, Any], unique: set[str]) -> RemoteField:
    name, kind = found["LogicalName"], found["AttributeTypeName"]["Value"]
    is_id = kind == "UniqueidentifierType"
    creates = bool(found.get("IsValidForCreate")) and not is_id
    level = (found.get("RequiredLevel") or {}).get("Value")
    return RemoteField(
        name=name,
        label=label_of(found.get("DisplayName")) or name,
        type=_type(kind, more),
        # What is merely required by an app's forms is not asked for here.
        required=level == "SystemRequired" and creates and kind not in _FILLED,
        createable=creates,
        updateable=bool(found.get("IsValidForUpdate")) and not is_id,
        readable=bool(found.get("IsValidForRead", True)),
        searchable=bool(found.get("IsValidForRead", True)) and not is_id,
        choices=tuple(_choices(more)),
        references=tuple(more.get("Targets") or ()),
        max_length=more.get("MaxLength"),
        unique=name in unique or is_id,
    )


def _type(kind: str, more: Mapping[str, Any]) -> RemoteType:
    if kind == "StringType":
        return _FORMATS.get(str((more.get("FormatName") or {}).get("Value")), RemoteType.STRING)
    if kind == "DateTimeType" and (more.get("DateTimeBehavior") or {}).get("Value") == "DateOnly":
        return RemoteType.DATE
    return _TYPES[kind]


def _choices(more: Mapping[str, Any]) -> Iterator[Choice]:
    options = more.get("OptionSet") or more.get("GlobalOptionSet") or {}
    for one in options.get("Options") or ():
        value = str(one["Value"])
        yield Choice(value, label_of(one.get("Label")) or value)


# -- values ----------------------------------------------------------------------------------------


def written(column: RemoteField | None, value: Any) -> Any:
    """As Dataverse takes it: choices are numbers, and several of them one text."""
    if column is None or value is None:
        return value
    if column.type is RemoteType.MULTIPICKLIST:
        values = value if isinstance(value, list) else [value]
        return ",".join(map(as_text, values)) or None
    if column.type is RemoteType.PICKLIST and isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d+", value) else value
    return value


def record_of(table: Table, body: Mapping[str, Any], fields: Sequence[str]) -> RemoteRecord:
    values = {name: _value(table.fields.get(name), body) for name in fields}
    return RemoteRecord(RecordRef(table.name, body[table.key]), values)


def _value(column: RemoteField | None, body: Mapping[str, Any]) -> Any:
    if column is None:
        return None
    name = _property(column)
    value = body.get(name)
    if value is None:
        return None
    match column.type:
        case RemoteType.MULTIPICKLIST:
            return str(value).split(",")
        case RemoteType.PICKLIST:
            return str(value)
        case RemoteType.REFERENCE if len(column.references) > 1:
            return f"{body.get(f'{name}{_LEADS_TO}', '')}:{value}"
    return value


def merged_into(table: Table, body: Any) -> RecordRef | None:
    """The record that this one was merged into."""
    found = body.get("_masterid_value") if table.merges and isinstance(body, dict) else None
    return RecordRef(table.name, found) if found else None


# -- queries ---------------------------------------------------------------------------------------


def _property(column: RemoteField) -> str:
    return f"_{column.name}_value" if column.type is RemoteType.REFERENCE else column.name


def navigation_of(table: Table, name: str, leads_to: str) -> str:
    # An owner is a user or a team, by one property for both.
    known = table.navigation
    return known.get((name, leads_to)) or known.get((name, "owner")) or name


def selected(table: Table, fields: Sequence[str]) -> str:
    """What there is of the asked fields; never nothing, for that would be all."""
    columns = [table.fields[name] for name in fields if name in table.fields]
    names = [_property(column) for column in columns if column.readable]
    return ",".join(dict.fromkeys([table.key, *names]))


def condition_of(table: Table, one: Criterion) -> str:
    column = table.fields.get(one.field)
    if column is None or not column.searchable:
        raise unfit(one.field, "There is no such field to search by.")
    name, value = _property(column), one.value
    if value is None:
        return f"{name} eq null"
    text = as_text(value)
    if column.type is RemoteType.REFERENCE:
        text = text.rpartition(":")[2]
        return f"{name} eq {_literal(column.name, text, GUID)}"
    if column.type is RemoteType.MULTIPICKLIST:
        values = value if isinstance(value, list) else [value]
        listed = ",".join(quoted(as_text(each)) for each in values)
        function = "Microsoft.Dynamics.CRM.ContainValues"
        return f"{function}(PropertyName={quoted(name)},PropertyValues=[{listed}])"
    if pattern := _LITERALS.get(column.type):
        return f"{name} eq {_literal(column.name, text, pattern)}"
    if one.operator is Operator.CONTAINS:
        # Its wildcards stand for themselves in brackets.
        literal = re.sub(r"[%_[]", r"[\g<0>]", text)
        return f"contains({name},{quoted(literal)})"
    return f"{name} eq {quoted(text)}"


def _literal(name: str, text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise unfit(name, f"{text!r} can't be searched for.")
    return text


# -- errors ----------------------------------------------------------------------------------------


def unfit(name: str, error: str) -> RejectedByCRM:
    return RejectedByCRM("Dynamics 365 can't take this.", errors=[Problem(name, error)])


def at_fault(said: str, table: Table, values: Mapping[str, Any]) -> list[str]:
    """The fields that a sentence is about: it quotes them, or else the value that it can't read."""
    if literal := re.search(r"literal '([^']*)' to", said):
        return [name for name, value in values.items() if as_text(value) == literal[1]]
    quoted = set(re.findall(r"'([^']*)'", said))
    by_navigation = {nav: name for (name, _), nav in table.navigation.items()}
    quoted |= {by_navigation[one] for one in quoted if one in by_navigation}
    if named := [name for name in table.fields if name in quoted]:
        return named
    # A key that would be there twice is called by its columns' labels.
    labels = {table.fields[name].label: name for name in values if name in table.fields}
    return [name for label, name in labels.items() if f"value for {label} " in said]


# -- workflows -------------------------------------------------------------------------------------

#: The inputs that a custom API may have, by the number of their type: others have no values here.
_INPUTS = {
    0: RemoteType.BOOLEAN,
    1: RemoteType.DATETIME,
    2: RemoteType.NUMBER,
    6: RemoteType.NUMBER,
    7: RemoteType.INTEGER,
    8: RemoteType.NUMBER,
    9: RemoteType.INTEGER,
    10: RemoteType.STRING,
    12: RemoteType.STRING,
}


def workflow_of(found: Mapping[str, Any]) -> Workflow:
    about = found["primaryentity"]
    record = RemoteField("EntityId", "Record", RemoteType.REFERENCE, references=(about,))
    return Workflow(found["workflowid"], found.get("name") or found["workflowid"], (record,))


def custom_api_of(found: Mapping[str, Any]) -> Workflow | None:
    """None for one that wants what we have no values for."""
    asked = found.get("CustomAPIRequestParameters") or ()
    if any(one["type"] not in _INPUTS and not one.get("isoptional") for one in asked):
        return None
    inputs = tuple(
        RemoteField(
            one["uniquename"],
            one.get("displayname") or one["uniquename"],
            _INPUTS[one["type"]],
            required=not one.get("isoptional"),
        )
        for one in asked
        if one["type"] in _INPUTS
    )
    return Workflow(found["uniquename"], found.get("displayname") or found["uniquename"], inputs)


# -- requests about a record -----------------------------------------------------------------------


def path_of(table: Table, ref: RecordRef) -> str:
    if not GUID.fullmatch(ref.crm_id):
        raise RemoteRecordNotFound(f"Dynamics 365 has no record {ref}.")
    return f"{table.entity_set}({ref.crm_id.lower()})"


def reading(table: Table, ref: RecordRef, fields: Sequence[str]) -> Part:
    names = [*fields, "masterid"] if table.merges else fields
    query = query_of({"$select": selected(table, names)})
    return Part("GET", f"{path_of(table, ref)}?{query}", None, TARGETS)


def deleting(table: Table, ref: RecordRef) -> Part:
    return Part("DELETE", path_of(table, ref))
