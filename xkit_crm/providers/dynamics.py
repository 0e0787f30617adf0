"""Dynamics 365: the tables of Dataverse, by its Web API v9.2 (OData 4), signed in at Entra.

Objects and fields are known by their logical names; addresses have the name of the entity set, and
references are written by the name of a navigation property, so a table's description holds all
three. Many records at once go as one `$batch` without change sets, where each fails alone. A column
`<publisher>_xkit_key` lets a create of unknown outcome be looked up (`docs/crms/dynamics.md`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from requests.structures import CaseInsensitiveDict

from xkit_crm.conf import settings
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnavailable,
    Problem,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.mapping.conversion import as_text
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Choice,
    CredentialField,
    Criterion,
    Draft,
    Edit,
    Limits,
    Operator,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
    Workflow,
    outcome_of,
)
from xkit_crm.providers.http import KEY_FIELD, Answer
from xkit_crm.providers.oauth import Endpoints, OAuthProvider

API = "/api/data/v9.2"

#: Where organisations are, and where people sign in to each of Microsoft's clouds.
_LOGIN = "login.microsoftonline.com"
_CLOUDS = {
    ".dynamics.com": _LOGIN,
    ".microsoftdynamics.us": "login.microsoftonline.us",
    ".appsplatform.us": "login.microsoftonline.us",
    ".dynamics.cn": "login.partner.microsoftonline.cn",
}
_ORGANISATION = re.compile(r"[a-z0-9][a-z0-9-]*(\.api)?\.crm\d*")
_ODATA = {"OData-Version": "4.0", "OData-MaxVersion": "4.0"}
#: Which table a reference leads to, where it may be one of several.
_TARGETS = {"Prefer": 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"'}
_LEADS_TO = "@Microsoft.Dynamics.CRM.lookuplogicalname"

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
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LITERALS = {
    **dict.fromkeys(_NUMBERS, re.compile(r"-?\d+(\.\d+)?")),
    RemoteType.BOOLEAN: re.compile(r"true|false"),
    RemoteType.DATE: re.compile(r"\d{4}-\d\d-\d\d"),
    RemoteType.DATETIME: re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
}
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


@dataclass(frozen=True, slots=True)
class _Table:
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


@dataclass(frozen=True, slots=True)
class _Part:
    """One request of a batch."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class DynamicsProvider(OAuthProvider):
    slug = "dynamics"
    label = "Dynamics 365"
    sign_in_fields = (
        CredentialField(
            "url",
            "Address of your organisation",
            "As your browser shows it, such as https://contoso.crm4.dynamics.com.",
        ),
    )
    can_find_created = False  # but for tables with a column `<publisher>_xkit_key`
    #: It takes 1,000, one after the other: more than these may not be done within the `timeout`.
    batch_size = 100
    #: Of each user on each web server. A batch counts as one, and by how long it takes.
    limits = Limits(calls=6000, per=300.0)

    @classmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        organisation = cls._address(given)
        hosts = (login for end, login in _CLOUDS.items() if organisation.endswith(end))
        entra = f"https://{next(hosts, _LOGIN)}/organizations/oauth2/v2.0"
        return Endpoints(
            authorize=f"{entra}/authorize",
            token=f"{entra}/token",
            scopes=(f"{organisation}/.default", "offline_access"),
        )

    @classmethod
    def _address(cls, given: Mapping[str, Any]) -> str:
        elsewhere = settings.PROVIDER_OPTIONS.get(cls.slug, {}).get("base_url")
        return str(elsewhere).rstrip("/") if elsewhere else _organisation(given)

    @property
    def base_url(self) -> str:
        # Looked at each time: a token goes to Microsoft's hosts only.
        return self._address(self.credentials)

    def key_field(self, remote_object: str) -> str:
        """The column that holds our key: customers' columns begin with a publisher's prefix."""
        for name in self.fields(remote_object):
            if name == KEY_FIELD or name.endswith(f"_{KEY_FIELD}"):
                return name
        return super().key_field(remote_object)

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        query = (
            "$select=LogicalName,DisplayName,DisplayCollectionName"
            "&$filter=IsPrivate eq false and IsIntersect eq false"
        )
        found = self._send("GET", f"EntityDefinitions?{query}").body["value"]
        return [
            RemoteObject(
                one["LogicalName"],
                _label(one.get("DisplayName")) or one["LogicalName"],
                _label(one.get("DisplayCollectionName")),
            )
            for one in found
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        return tuple(self._described(remote_object).fields.values())

    def fields(self, remote_object: str) -> dict[str, RemoteField]:
        return dict(self._table(remote_object).fields)

    def _table(self, remote_object: str) -> _Table:
        found = descriptions.remembered(
            self, f"table {remote_object}", lambda: [self._described(remote_object)]
        )
        return found[0]

    def _described(self, remote_object: str) -> _Table:
        """All of a table in one batch: no single query tells all that there is to know."""
        about = f"EntityDefinitions(LogicalName={_text(remote_object)})"
        cast = "Microsoft.Dynamics.CRM"
        asked = [
            f"{about}?$select=EntitySetName,PrimaryIdAttribute",
            f"{about}/Attributes?{_COLUMNS}",
            f"{about}/Keys?$select=KeyAttributes,EntityKeyIndexStatus",
            f"{about}/ManyToOneRelationships?$select=ReferencingAttribute,ReferencedEntity,"
            "ReferencingEntityNavigationPropertyName",
            *(f"{about}/Attributes/{cast}.{kind}AttributeMetadata?{_MORE[kind]}" for kind in _MORE),
        ]
        answers = self._batch([_Part("GET", path) for path in asked], writes=False)
        bodies = [_good(answer).body for answer in answers]
        own, columns, keys, relations = bodies[0], *(body["value"] for body in bodies[1:4])
        more = {one["LogicalName"]: one for body in bodies[4:] for one in body["value"]}
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
        return _Table(
            name=remote_object,
            entity_set=own["EntitySetName"],
            key=own["PrimaryIdAttribute"],
            fields={one.name: one for one in fields},
            navigation={
                (one["ReferencingAttribute"], one["ReferencedEntity"]): one[
                    "ReferencingEntityNavigationPropertyName"
                ]
                for one in relations
            },
        )

    def _entity_set(self, remote_object: str) -> str:
        """The name in addresses of a table that a reference leads to."""
        found = descriptions.remembered(self, "entity sets", lambda: [self._entity_sets()])[0]
        return found.get(remote_object, "")

    def _entity_sets(self) -> dict[str, str]:
        found = self._send("GET", "EntityDefinitions?$select=LogicalName,EntitySetName").body
        return {one["LogicalName"]: one["EntitySetName"] for one in found["value"]}

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        table = self._table(ref.remote_object)
        body = self._do(_reading(table, ref, fields)).body
        if kept := _kept(table, body):
            return self.get(kept, fields)
        return _record(table, body, fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        table = self._table(remote_object)
        query = {"$select": _selected(table, fields)}
        if criteria:
            query["$filter"] = " and ".join(_condition(table, one) for one in criteria)
        if "createdon" in table.fields:
            query["$orderby"] = "createdon desc"
        path = f"{table.entity_set}?{_query({**query, '$top': str(limit)})}"
        found = self._send("GET", path, headers=_TARGETS).body["value"]
        return [_record(table, one, fields) for one in found]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        table = self._table(remote_object)
        try:
            answer = self._do(self._creating(table, values, key))
        except CRMError as error:
            raise _blamed(error, table, values) from None
        return _made(table, answer)

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        table = self._table(remote_object)
        return _first(table, self._do(self._finding(table, key)))

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        table = self._table(ref.remote_object)
        try:
            answer = self._do(self._writing(table, ref, values))
        except CRMError as error:
            raise _blamed(error, table, values, ref) from None
        if kept := _kept(table, answer.body):
            self.update(kept, values)

    def delete(self, ref: RecordRef) -> None:
        self._do(_deleting(self._table(ref.remote_object), ref))

    # -- many at once -------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        table = self._table(remote_object)
        parts = [outcome_of(self._creating, table, one.values, one.key) for one in drafts]
        return [
            _blamed(answer, table, draft.values)
            if isinstance(answer, XkitError)
            else outcome_of(_made, table, answer)
            for draft, answer in zip(drafts, self._each(parts), strict=True)
        ]

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | XkitError | None]:
        table = self._table(remote_object)
        answers = self._each([self._finding(table, key) for key in keys], writes=False)
        return [one if isinstance(one, XkitError) else _first(table, one) for one in answers]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        table = self._table(edits[0].ref.remote_object)
        parts = [outcome_of(self._writing, table, one.ref, one.values) for one in edits]
        outcomes: list[XkitError | None] = []
        for edit, answer in zip(edits, self._each(parts), strict=True):
            if isinstance(answer, XkitError):
                outcomes.append(_blamed(answer, table, edit.values, edit.ref))
            elif kept := _kept(table, answer.body):
                outcomes.append(outcome_of(self.update, kept, edit.values))
            else:
                outcomes.append(None)
        return outcomes

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        table = self._table(refs[0].remote_object)
        answers = self._each([outcome_of(_deleting, table, ref) for ref in refs])
        return [one if isinstance(one, XkitError) else None for one in answers]

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        table = self._table(refs[0].remote_object)
        parts = [outcome_of(_reading, table, ref, fields) for ref in refs]
        found: list[RemoteRecord | XkitError] = []
        for answer in self._each(parts, writes=False):
            if isinstance(answer, XkitError):
                found.append(answer)
            elif kept := _kept(table, answer.body):
                found.append(outcome_of(self.get, kept, fields))
            else:
                found.append(_record(table, answer.body, fields))
        return found

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Workflow]:
        """Classic workflows that are started on demand, of a record; and the customer's own custom
        APIs, which have inputs. A cloud flow has no way to be started from outside."""
        workflows = {
            "$select": "name,primaryentity",
            "$filter": "category eq 0 and type eq 1 and statecode eq 1 and ondemand eq true",
        }
        apis = {
            "$select": "uniquename,displayname",
            "$filter": "bindingtype eq 0 and isfunction eq false and isprivate eq false"
            " and ismanaged eq false",
            "$expand": "CustomAPIRequestParameters($select=uniquename,displayname,type,isoptional)",
        }
        found = [_workflow(one) for one in self._pages(f"workflows?{_query(workflows)}")]
        asked = [_custom_api(one) for one in self._pages(f"customapis?{_query(apis)}")]
        return [*found, *(one for one in asked if one)]

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        # Only what is listed: an action of any other name might be one of Dataverse's own.
        if descriptions.workflow(self, name) is None:
            raise RejectedByCRM(f"{self.label} has no workflow named {name!r}.")
        if not _GUID.fullmatch(name):
            self._send("POST", quote(name, safe=""), dict(inputs))
            return ref
        about = str(inputs.get("EntityId") or (ref.crm_id if ref else "")).rpartition(":")[2]
        if not _GUID.fullmatch(about):
            raise RejectedByCRM(
                "A workflow of Dynamics 365 runs for a record, and there is none.",
                errors=[Problem("EntityId", "is needed")],
            )
        action = f"workflows({name})/Microsoft.Dynamics.CRM.ExecuteWorkflow"
        try:
            self._send("POST", action, {"EntityId": about.lower()})
        except RemoteRecordNotFound as error:
            raise RejectedByCRM(
                error.message, errors=[Problem("EntityId", error.message)]
            ) from None
        return ref

    def record_url(self, ref: RecordRef) -> str:
        page = {"pagetype": "entityrecord", "etn": ref.remote_object, "id": ref.crm_id}
        return f"{self.base_url}/main.aspx?{_query(page)}"

    # -- what it says of itself ---------------------------------------------------------------

    def note(self, answer: Answer) -> None:
        # The window slides, so there is no moment at which all is allowed again.
        left = _number(answer.headers.get("x-ms-ratelimit-burst-remaining-xrm-requests"))
        seconds = _number(answer.headers.get("x-ms-ratelimit-time-remaining-xrm-requests"))
        if left is not None:
            self.usage.left = 0 if seconds is not None and seconds <= 0 else int(left)

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        said = answer.body.get("error") if isinstance(answer.body, dict) else None
        if not isinstance(said, dict):
            return super().words(answer)
        return _sentence(str(said.get("message", ""))), ()

    # -- what is sent -------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        writes: bool | None = None,
    ) -> Answer:
        fresh = {"If-None-Match": "null"} if method == "GET" else {}
        said = {**_ODATA, **fresh, **(headers or {})}
        return self.call(method, f"{API}/{path}", body, headers=said, writes=writes)

    def _do(self, part: _Part) -> Answer:
        return self._send(part.method, part.path, part.body, headers=part.headers)

    def _pages(self, path: str) -> Iterator[Mapping[str, Any]]:
        while path:
            body = self._send("GET", path).body
            yield from body["value"]
            # Behind our own address: the token goes nowhere else.
            path = str(body.get("@odata.nextLink") or "").partition(f"{API}/")[2]

    def _each(
        self, parts: Sequence[_Part | XkitError], *, writes: bool = True
    ) -> Sequence[Answer | XkitError]:
        """The answer to each part in a batch, or why there is none; those that can't be asked for
        are left out of it."""
        sent = [one for one in parts if isinstance(one, _Part)]
        answers = iter(self._batch(sent, writes=writes) if sent else ())
        return [next(answers) if isinstance(one, _Part) else one for one in parts]

    def _batch(self, parts: Sequence[_Part], *, writes: bool) -> list[Answer | XkitError]:
        boundary = f"batch_{uuid4()}"
        headers = {
            "Content-Type": f'multipart/mixed; boundary="{boundary}"',
            "Prefer": "odata.continue-on-error",
        }
        body = _multipart(parts, boundary)
        answer = self._send("POST", "$batch", body, headers=headers, writes=writes)
        answers = _parts(answer)
        found = [self._judged(one, writes=writes) for one in answers[: len(parts)]]
        return found + [
            CRMUnavailable(f"{self.label} left out the answer.", outcome_unknown=writes)
            for _ in parts[len(found) :]
        ]

    def _judged(self, answer: Answer, *, writes: bool) -> Answer | XkitError:
        if answer.ok:
            return answer
        error = self.error(answer)
        error.outcome_unknown = error.outcome_unknown and writes
        return error

    def _creating(self, table: _Table, values: Mapping[str, Any], key: str) -> _Part:
        column = self.key_field(table.name)
        given = {name: value for name, value in values.items() if value is not None}
        body = self._body(table, {**given, **({column: key} if column else {})})
        return _Part("POST", table.entity_set, body)

    def _finding(self, table: _Table, key: str) -> _Part:
        condition = f"{self.key_field(table.name)} eq {_quoted(key)}"
        query = {"$select": table.key, "$filter": condition, "$top": "1"}
        return _Part("GET", f"{table.entity_set}?{_query(query)}")

    def _writing(self, table: _Table, ref: RecordRef, values: Mapping[str, Any]) -> _Part:
        path, headers = _path(table, ref), {"If-Match": "*"}  # without it, a PATCH creates
        if table.merges:
            # It takes a write to a record that was merged away: have it say so.
            path += f"?{_query({'$select': f'{table.key},_masterid_value'})}"
            headers["Prefer"] = "return=representation"
        return _Part("PATCH", path, self._body(table, values), headers)

    def _body(self, table: _Table, values: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for name, value in values.items():
            column = table.fields.get(name)
            if column is not None and column.type is RemoteType.REFERENCE:
                body |= self._reference(table, column, value)
            else:
                body[name] = _written(column, value)
        return body

    def _reference(self, table: _Table, column: RemoteField, value: Any) -> dict[str, Any]:
        """By its navigation property. An id alone will do where there is one table to lead to."""
        if value is None:
            leads_to = column.references[0] if column.references else ""
            return {_navigation(table, column.name, leads_to): None}
        said, _, crm_id = str(value).rpartition(":")
        leads_to = said or (column.references[0] if len(column.references) == 1 else "")
        entity_set = self._entity_set(leads_to) if leads_to in column.references else ""
        if not entity_set or not _GUID.fullmatch(crm_id):
            wanted = " or ".join(f"{one}:<id>" for one in column.references)
            raise _unfit(column.name, f"{value!r} is no reference; it is written as {wanted}.")
        name = _navigation(table, column.name, leads_to)
        return {f"{name}@odata.bind": f"/{entity_set}({crm_id.lower()})"}


# -- where an organisation is ---------------------------------------------------------------------


def _organisation(given: Mapping[str, Any]) -> str:
    """The address without what stands behind the host; raises `ConfigurationError` where it is
    none of Microsoft's, so that no token is sent to anybody else."""
    said = str(given.get("url", "")).strip()
    try:
        parts = urlsplit(said if "//" in said else f"https://{said}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port = "", None
    end = next((end for end in _CLOUDS if host.endswith(end)), "")
    known = end and _ORGANISATION.fullmatch(host.removesuffix(end))
    if not known or port not in (None, 443):
        raise ConfigurationError(
            f"{said!r} is no address of a Dynamics 365 organisation.",
            hint="It is such as https://contoso.crm4.dynamics.com.",
        )
    return f"https://{host}"


# -- addresses and queries ------------------------------------------------------------------------


def _query(given: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())


def _quoted(text: str) -> str:
    """A text of the query language, where a quote is doubled."""
    return "'" + text.replace("'", "''") + "'"


def _text(text: str) -> str:
    """The same in a path."""
    return quote(_quoted(text), safe="'")


def _path(table: _Table, ref: RecordRef) -> str:
    if not _GUID.fullmatch(ref.crm_id):
        raise RemoteRecordNotFound(f"Dynamics 365 has no record {ref}.")
    return f"{table.entity_set}({ref.crm_id.lower()})"


def _reading(table: _Table, ref: RecordRef, fields: Sequence[str]) -> _Part:
    names = [*fields, "masterid"] if table.merges else fields
    return _Part(
        "GET", f"{_path(table, ref)}?{_query({'$select': _selected(table, names)})}", None, _TARGETS
    )


def _deleting(table: _Table, ref: RecordRef) -> _Part:
    return _Part("DELETE", _path(table, ref))


def _selected(table: _Table, fields: Sequence[str]) -> str:
    """What there is of the asked fields; never nothing, for that would be all."""
    names = [_property(table.fields[name]) for name in fields if name in table.fields]
    return ",".join(dict.fromkeys([table.key, *names]))


def _property(column: RemoteField) -> str:
    return f"_{column.name}_value" if column.type is RemoteType.REFERENCE else column.name


def _navigation(table: _Table, name: str, leads_to: str) -> str:
    # An owner is a user or a team, by one property for both.
    known = table.navigation
    return known.get((name, leads_to)) or known.get((name, "owner")) or name


def _condition(table: _Table, one: Criterion) -> str:
    column = table.fields.get(one.field)
    if column is None or not column.searchable:
        raise _unfit(one.field, "There is no such field to search by.")
    name, value = _property(column), one.value
    if value is None:
        return f"{name} eq null"
    text = as_text(value)
    if column.type is RemoteType.REFERENCE:
        text = text.rpartition(":")[2]
        return f"{name} eq {_literal(column.name, text, _GUID)}"
    if column.type is RemoteType.MULTIPICKLIST:
        values = value if isinstance(value, list) else [value]
        listed = ",".join(_quoted(as_text(each)) for each in values)
        function = "Microsoft.Dynamics.CRM.ContainValues"
        return f"{function}(PropertyName={_quoted(name)},PropertyValues=[{listed}])"
    if pattern := _LITERALS.get(column.type):
        return f"{name} eq {_literal(column.name, text, pattern)}"
    if one.operator is Operator.CONTAINS:
        # Its wildcards stand for themselves in brackets.
        literal = re.sub(r"[%_[]", r"[\g<0>]", text)
        return f"contains({name},{_quoted(literal)})"
    return f"{name} eq {_quoted(text)}"


def _literal(name: str, text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise _unfit(name, f"{text!r} can't be searched for.")
    return text


def _unfit(name: str, error: str) -> RejectedByCRM:
    return RejectedByCRM("Dynamics 365 can't take this.", errors=[Problem(name, error)])


# -- batches --------------------------------------------------------------------------------------


def _multipart(parts: Sequence[_Part], boundary: str) -> bytes:
    """Each request in full, in a part of its own. Lines have to end with both characters."""
    lines: list[str] = []
    for part in parts:
        lines += [f"--{boundary}", "Content-Type: application/http"]
        lines += ["Content-Transfer-Encoding: binary", ""]
        lines.append(f"{part.method} {API}/{part.path.replace(' ', '%20')} HTTP/1.1")
        lines += [f"{name}: {value}" for name, value in part.headers.items()]
        if part.body is not None:
            lines += ["Content-Type: application/json; type=entry", "", json.dumps(part.body)]
        else:
            lines += ["Accept: application/json", "", ""]
    return "\r\n".join([*lines, f"--{boundary}--", ""]).encode()


def _parts(answer: Answer) -> list[Answer]:
    """What stands in an answer of several parts: those that are whole, in order."""
    said = re.search(r'boundary="?([^";]+)', answer.headers.get("Content-Type", ""))
    if said is None or not isinstance(answer.body, str):
        return []
    found = answer.body.split(f"--{said[1].strip()}")[1:-1]
    return [_part_answer(one) for one in found]


def _part_answer(text: str) -> Answer:
    sections = re.split(r"\r?\n\r?\n", text.lstrip(), maxsplit=2)
    status, *lines = sections[1].splitlines()
    headers = CaseInsensitiveDict(
        (name.strip(), value.strip()) for name, _, value in (one.partition(":") for one in lines)
    )
    content = sections[2].strip() if len(sections) > 2 else ""
    return Answer(int(status.split()[1]), headers, json.loads(content) if content else None)


def _good(answer: Answer | XkitError) -> Answer:
    if isinstance(answer, XkitError):
        raise answer
    return answer


# -- what a table says of its columns -------------------------------------------------------------


def _label(found: Any) -> str:
    said = (found or {}).get("UserLocalizedLabel") or {}
    return str(said.get("Label") or "")


def _is_told(found: Mapping[str, Any], key: str) -> bool:
    """Whether a column is one of its own, with values that we know."""
    kind = (found.get("AttributeTypeName") or {}).get("Value")
    is_id = kind == "UniqueidentifierType" and found["LogicalName"] != key
    return kind in _TYPES and not found.get("AttributeOf") and not is_id


def _field(
    found: Mapping[str, Any], more: Mapping[str, Any], unique: frozenset[str] | set[str]
) -> RemoteField:
    name, kind = found["LogicalName"], found["AttributeTypeName"]["Value"]
    is_id = kind == "UniqueidentifierType"
    creates = bool(found.get("IsValidForCreate")) and not is_id
    level = (found.get("RequiredLevel") or {}).get("Value")
    return RemoteField(
        name=name,
        label=_label(found.get("DisplayName")) or name,
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
        return _FORMATS.get((more.get("FormatName") or {}).get("Value"), RemoteType.STRING)
    if kind == "DateTimeType" and (more.get("DateTimeBehavior") or {}).get("Value") == "DateOnly":
        return RemoteType.DATE
    return _TYPES[kind]


def _choices(more: Mapping[str, Any]) -> Iterator[Choice]:
    options = more.get("OptionSet") or more.get("GlobalOptionSet") or {}
    for one in options.get("Options") or ():
        value = str(one["Value"])
        yield Choice(value, _label(one.get("Label")) or value)


def _workflow(found: Mapping[str, Any]) -> Workflow:
    about = found["primaryentity"]
    record = RemoteField("EntityId", "Record", RemoteType.REFERENCE, references=(about,))
    return Workflow(found["workflowid"], found.get("name") or found["workflowid"], (record,))


def _custom_api(found: Mapping[str, Any]) -> Workflow | None:
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


# -- values ---------------------------------------------------------------------------------------


def _written(column: RemoteField | None, value: Any) -> Any:
    """As Dataverse takes it: choices are numbers, and several of them one text."""
    if column is None or value is None:
        return value
    if column.type is RemoteType.MULTIPICKLIST:
        values = value if isinstance(value, list) else [value]
        return ",".join(map(as_text, values)) or None
    if column.type is RemoteType.PICKLIST and isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d+", value) else value
    return value


def _record(table: _Table, body: Mapping[str, Any], fields: Sequence[str]) -> RemoteRecord:
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


def _kept(table: _Table, body: Any) -> RecordRef | None:
    """The record that this one was merged into."""
    found = body.get("_masterid_value") if table.merges and isinstance(body, dict) else None
    return RecordRef(table.name, found) if found else None


def _made(table: _Table, answer: Answer) -> RecordRef:
    found = _GUID.search(answer.headers.get("OData-EntityId", "").rpartition("(")[2])
    if found is None:
        raise CRMUnavailable("Dynamics 365 didn't say what it has made.", outcome_unknown=True)
    return RecordRef(table.name, found[0].lower())


def _first(table: _Table, answer: Answer) -> RecordRef | None:
    found = answer.body["value"]
    return RecordRef(table.name, found[0][table.key]) if found else None


def _number(said: str | None) -> float | None:
    try:
        return float((said or "").replace(",", ""))
    except ValueError:
        return None


# -- what went wrong ------------------------------------------------------------------------------


def _sentence(message: str) -> str:
    """What is for people in a message that also tells where in the program it happened."""
    said = message.rpartition("InnerException :")[2].partition("\r\n")[0].partition(" ---> ")[0]
    return re.sub(r"^\s*[\w.]+Exception:\s*", "", said).strip()


def _blamed(
    error: XkitError, table: _Table, values: Mapping[str, Any], ref: RecordRef | None = None
) -> XkitError:
    """The error with the fields at fault: Dataverse quotes them in its sentence, or else the value
    that it can't read."""
    said = error.message
    if isinstance(error, RemoteRecordNotFound):
        # What it writes to is there where what it refers to is not.
        if ref is not None and ref.crm_id.lower() in said.lower():
            return error
        missing = [
            name
            for name, value in values.items()
            if (crm_id := _GUID.search(str(value))) and crm_id[0].lower() in said.lower()
        ]
        if not missing and ref is not None:
            return error
        return RejectedByCRM(said, errors=[Problem(name, said) for name in missing])
    if isinstance(error, RejectedByCRM) and not error.errors:
        error.errors = tuple(Problem(name, said) for name in _at_fault(said, table, values))
    return error


def _at_fault(said: str, table: _Table, values: Mapping[str, Any]) -> list[str]:
    quoted = set(re.findall(r"'([^']*)'", said))
    by_navigation = {nav: name for (name, _), nav in table.navigation.items()}
    quoted |= {by_navigation[one] for one in quoted if one in by_navigation}
    if named := [name for name in table.fields if name in quoted]:
        return named
    if literal := re.search(r"literal '([^']*)'", said):
        return [name for name, value in values.items() if as_text(value) == literal[1]]
    # A key that would be there twice is called by its columns' labels.
    labels = {table.fields[name].label: name for name in values if name in table.fields}
    return [name for label, name in labels.items() if f"value for {label} " in said]
