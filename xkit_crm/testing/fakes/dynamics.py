"""Dataverse, as far as the adapter of Dynamics 365 talks to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response

_API = "/api/data/v9.2"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOTHING = "00000000-0000-0000-0000-000000000000"
_LEADS_TO = "@Microsoft.Dynamics.CRM.lookuplogicalname"
#: How many rows of a list stand on a page.
_PAGE = 2
#: How many requests a batch takes.
_MOST = 1000


def _label(text: str | None) -> dict[str, Any]:
    said = {"Label": text, "LanguageCode": 1033} if text else None
    return {"LocalizedLabels": [said] if said else [], "UserLocalizedLabel": said}


def _column(name: str, label: str | None, kind: str, **more: Any) -> dict[str, Any]:
    """`more` is what the column says only as one of its kind; `level` and `writes` are of all."""
    writes = more.pop("writes", True)
    return {
        "LogicalName": name,
        "DisplayName": _label(label),
        "AttributeTypeName": {"Value": f"{kind}Type"},
        "AttributeOf": more.pop("part_of", None),
        "RequiredLevel": {"Value": more.pop("level", "None"), "CanBeChanged": True},
        "IsValidForCreate": writes,
        "IsValidForUpdate": writes,
        "IsValidForRead": True,
        "more": more,
    }


def _options(**labels: int) -> dict[str, Any]:
    return {"Options": [{"Value": v, "Label": _label(n.title())} for n, v in labels.items()]}


def _text(name: str, label: str, most: int = 100, kind: str = "Text") -> dict[str, Any]:
    return _column(name, label, "String", MaxLength=most, FormatName={"Value": kind})


_CREATED = _column(
    "createdon", "Created On", "DateTime", writes=False, DateTimeBehavior={"Value": "UserLocal"}
)
_STATE = _column("statecode", "Status", "State", OptionSet=_options(active=0, inactive=1))
_KEY = _text("xk_xkit_key", "Xkit key", 36)
_ATTRIBUTES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "contact": [
        _column("contactid", "Contact", "Uniqueidentifier", level="SystemRequired"),
        _text("firstname", "First Name", 50),
        _text("lastname", "Last Name", 200),
        _text("emailaddress1", "Email", kind="Email"),
        _text("telephone1", "Business Phone", 50, kind="Phone"),
        _text("websiteurl", "Website", 200, kind="Url"),
        _column("description", "Description", "Memo", MaxLength=200_000),
        _column("numberofchildren", "No. of Children", "Integer"),
        _column("creditlimit", "Credit Limit", "Money"),
        _column("xk_score", "Score", "Decimal"),
        _column("birthdate", "Birthday", "DateTime", DateTimeBehavior={"Value": "DateOnly"}),
        _column(
            "lastusedincampaign",
            "Last Visit",
            "DateTime",
            DateTimeBehavior={"Value": "UserLocal"},
        ),
        _column("donotemail", "Do not allow Emails", "Boolean"),
        _column("donotemailname", None, "Virtual", part_of="donotemail", writes=False),
        _column("gendercode", "Gender", "Picklist", OptionSet=_options(male=1, female=2)),
        _column(
            "xk_interests",
            "Interests",
            "MultiSelectPicklist",
            OptionSet=None,
            GlobalOptionSet=_options(crm=100, billing=200, support=300),
        ),
        _column("parentcustomerid", "Company", "Customer", Targets=["account", "contact"]),
        _column("parentcustomeridname", None, "String", part_of="parentcustomerid"),
        _column("xk_venueid", "Venue", "Lookup", Targets=["account"]),
        _column("masterid", "Master ID", "Lookup", writes=False, Targets=["contact"]),
        _column(
            "ownerid", "Owner", "Owner", level="SystemRequired", Targets=["systemuser", "team"]
        ),
        _column("address1_addressid", "Address 1: ID", "Uniqueidentifier"),
        _column("entityimage", "Entity Image", "Virtual"),
        _STATE,
        _CREATED,
        _KEY,
    ],
    "account": [
        _column("accountid", "Account", "Uniqueidentifier", level="SystemRequired"),
        _text("name", "Account Name", 160),
        _STATE,
        _CREATED,
    ],
    "xk_visit": [
        _column("xk_visitid", "Visit", "Uniqueidentifier", level="SystemRequired"),
        _column(
            "xk_name",
            "Name",
            "String",
            level="SystemRequired",
            MaxLength=100,
            FormatName={"Value": "Text"},
        ),
        _KEY,
    ],
    "systemuser": [
        _column("systemuserid", "User", "Uniqueidentifier", level="SystemRequired"),
        _text("fullname", "Full Name", 200),
    ],
}
_SETS = {
    "contact": "contacts",
    "account": "accounts",
    "xk_visit": "xk_visits",
    "systemuser": "systemusers",
}
_LABELS = {
    "contact": ("Contact", "Contacts"),
    "account": ("Account", "Accounts"),
    "xk_visit": ("Visit", "Visits"),
    "systemuser": ("User", "Users"),
}
_KEYS = {"contact": ["xk_xkit_key"], "xk_visit": ["xk_xkit_key"]}
#: Table, column, the table that it leads to, and the navigation property that writes it.
_RELATIONS = [
    ("contact", "parentcustomerid", "account", "parentcustomerid_account"),
    ("contact", "parentcustomerid", "contact", "parentcustomerid_contact"),
    ("contact", "xk_venueid", "account", "xk_VenueId"),
    ("contact", "masterid", "contact", "masterid"),
    ("contact", "ownerid", "owner", "ownerid"),
]
WELCOME = "0f0c3b6a-5f0e-4c53-9d43-3d2f2f1b7a01"
_WORKFLOWS = [
    {"workflowid": WELCOME, "name": "Welcome", "primaryentity": "contact"},
    {"workflowid": str(uuid4()), "name": "Call back", "primaryentity": "contact"},
    {"workflowid": str(uuid4()), "name": "Visit over", "primaryentity": "xk_visit"},
]
_CUSTOM_APIS = [
    {
        "uniquename": "xk_Invite",
        "displayname": "Invite somebody",
        "CustomAPIRequestParameters": [
            {"uniquename": "Email", "displayname": "Email", "type": 10, "isoptional": False},
            {"uniquename": "Seats", "displayname": "Seats", "type": 7, "isoptional": True},
            {"uniquename": "Guests", "displayname": "Guests", "type": 4, "isoptional": True},
        ],
    },
    {
        "uniquename": "xk_Import",
        "displayname": "Import rows",
        "CustomAPIRequestParameters": [
            {"uniquename": "Rows", "displayname": "Rows", "type": 4, "isoptional": False}
        ],
    },
]
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
_HELP = "https://go.microsoft.com/fwlink/?linkid=2195293"


class DynamicsFake(FakeCRM):
    contract_file = "dynamics.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"give_token"})

    def __init__(self) -> None:
        super().__init__()
        #: By table and id; references as `_column_value` beside the table they lead to.
        self.records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _ATTRIBUTES}
        #: What was started: the workflow and its record, or the custom API and its inputs.
        self.started: list[tuple[str, Any]] = []
        self.left = 6000
        self.seconds_left = "1,200.00"
        #: Where the links to further pages lead; nothing: here.
        self.pages_at = ""
        #: Everything of a batch after so many of its requests is left unanswered.
        self.answers_at_most = _MOST

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "base_url": self.url,
            "authorize_url": f"{self.url}/organizations/oauth2/v2.0/authorize",
            "token_url": f"{self.url}/organizations/oauth2/v2.0/token",
            "client_id": "a-client",
            "client_secret": "a-client-secret",
        }

    @property
    def signed_in(self) -> Mapping[str, Any]:
        """Credentials as after an OAuth sign-in."""
        return {
            "url": "https://contoso.crm4.dynamics.com",
            "access_token": self.token,
            "refresh_token": self.refresh_token,
        }

    def add(self, table: str, **values: Any) -> str:
        """A record that has been there all along."""
        record_id = str(uuid4())
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.records[table][record_id] = {
            f"{table}id": record_id,
            "createdon": now,
            "statecode": 0,
            **values,
        }
        return record_id

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        record = self.records[remote_object][merged]
        record |= {"_masterid_value": kept, f"_masterid_value{_LEADS_TO}": remote_object}
        record["statecode"] = 1
        return True

    # -- the vendor's words -------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        answered = super().answer(request)
        self.left -= 1
        said = {
            "OData-Version": "4.0",
            "x-ms-ratelimit-burst-remaining-xrm-requests": str(self.left),
            "x-ms-ratelimit-time-remaining-xrm-requests": self.seconds_left,
        }
        return Response(answered.status, answered.body, {**said, **answered.headers})

    def unauthorised(self) -> Response:
        where = "https://login.microsoftonline.com/common/oauth2/authorize"
        return Response(401, None, {"WWW-Authenticate": f"Bearer authorization_uri={where}"})

    def too_many(self) -> Response:
        message = "Number of requests exceeded the limit of 6000 over time window of 300 seconds."
        refused = _error(429, "0x80072322", message)
        return Response(429, refused.body, {"Retry-After": "7"})

    def not_allowed(self, violations: list[str]) -> Response:
        return _error(400, "0x80060888", "; ".join(violations))

    # -- signing in ---------------------------------------------------------------------------

    def give_token(self, request: Request) -> Response:
        if request.body.get("client_secret") != "a-client-secret":
            return Response(401, {"error": "invalid_client", "error_description": "AADSTS7000215"})
        given = request.body.get("refresh_token") or request.body.get("code")
        if given not in (self.refresh_token, "a-code"):
            return Response(400, {"error": "invalid_grant", "error_description": "AADSTS70008"})
        self.expire()
        self.renewals += 1
        self.refresh_token = f"refresh-{uuid4()}"
        return Response(
            200,
            {
                "token_type": "Bearer",
                "scope": "https://contoso.crm4.dynamics.com/.default",
                "expires_in": 3599,
                "ext_expires_in": 3599,
                "access_token": self.token,
                "refresh_token": self.refresh_token,
            },
        )

    # -- definitions --------------------------------------------------------------------------

    def list_entities(self, request: Request) -> Response:
        rows = [
            {
                "LogicalName": name,
                "EntitySetName": entity_set,
                "DisplayName": _label(_LABELS[name][0]),
                "DisplayCollectionName": _label(_LABELS[name][1]),
            }
            for name, entity_set in _SETS.items()
        ]
        return _rows([_selected(row, request) for row in rows])

    def get_entity(self, request: Request, name: str) -> Response:
        if name not in _ATTRIBUTES:
            return _no_entity(name)
        own = {"EntitySetName": _SETS[name], "PrimaryIdAttribute": f"{name}id"}
        return Response(200, _selected(own, request))

    def list_attributes(self, request: Request, name: str) -> Response:
        if name not in _ATTRIBUTES:
            return _no_entity(name)
        return _rows([_selected(one, request) for one in _ATTRIBUTES[name]])

    def list_keys(self, request: Request, name: str) -> Response:
        if name not in _ATTRIBUTES:
            return _no_entity(name)
        keys = [
            {"KeyAttributes": [key], "EntityKeyIndexStatus": "Active"}
            for key in _KEYS.get(name, ())
        ]
        return _rows([_selected(key, request) for key in keys])

    def list_relationships(self, request: Request, name: str) -> Response:
        if name not in _ATTRIBUTES:
            return _no_entity(name)
        rows = [
            {
                "ReferencingAttribute": column,
                "ReferencedEntity": leads_to,
                "ReferencingEntityNavigationPropertyName": navigation,
            }
            for table, column, leads_to, navigation in _RELATIONS
            if table == name
        ]
        return _rows([_selected(row, request) for row in rows])

    def cast_attributes(self, request: Request, name: str, kind: str) -> Response:
        if name not in _ATTRIBUTES:
            return _no_entity(name)
        kinds = {"Lookup", "Customer", "Owner"} if kind == "Lookup" else {kind}
        expanded = re.findall(r"(\w+)\(", request.query.get("$expand", ""))
        rows = []
        for one in _ATTRIBUTES[name]:
            if _kind(one) in kinds:
                row = _selected({**one, **one["more"]}, request)
                rows.append(row | {more: one["more"].get(more) for more in expanded})
        return _rows(rows)

    # -- records ------------------------------------------------------------------------------

    def list_records(self, request: Request, entity_set: str) -> Response:
        table = _table(entity_set)
        if table is None:
            return _no_segment(entity_set)
        query = request.query
        conditions = list(_conditions(query.get("$filter", "")))
        found = [
            one for one in self.records[table].values() if all(meets(one) for meets in conditions)
        ]
        by = query.get("$orderby", "").partition(" ")[0]
        found.sort(key=lambda one: str(one.get(by, "")), reverse=True)
        return _rows([_shown(one, request) for one in found[: int(query["$top"])]])

    def read(self, request: Request, entity_set: str, record_id: str) -> Response:
        table = _table(entity_set)
        if table is None:
            return _no_segment(entity_set)
        found = self.records[table].get(record_id)
        return Response(200, _shown(found, request)) if found else _missing(table, record_id)

    def create(self, request: Request, entity_set: str) -> Response:
        table = _table(entity_set)
        if table is None:
            return _no_segment(entity_set)
        values, refused = self._values(table, request.body, None)
        if refused:
            return refused
        record_id = self.add(table, **values)
        where = f"{self.url}{_API}/{entity_set}({record_id})"
        return Response(204, None, {"OData-EntityId": where, "Location": where})

    def update(self, request: Request, entity_set: str, record_id: str) -> Response:
        table = _table(entity_set)
        if table is None:
            return _no_segment(entity_set)
        found = self.records[table].get(record_id)
        if found is None:
            return _missing(table, record_id)
        values, refused = self._values(table, request.body, found)
        if refused:
            return refused
        found |= values
        if _header(request, "Prefer") == "return=representation":
            return Response(200, _shown(found, request))
        return Response(204)

    def remove(self, request: Request, entity_set: str, record_id: str) -> Response:
        table = _table(entity_set)
        if table is None:
            return _no_segment(entity_set)
        found = self.records[table].pop(record_id, None)
        return Response(204) if found else _missing(table, record_id)

    def _values(
        self, table: str, body: Mapping[str, Any], known: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], Response | None]:
        """What a body means to a record, or why Dataverse doesn't take it."""
        columns = {one["LogicalName"]: one for one in _ATTRIBUTES[table]}
        navigation = {one[3]: one for one in _RELATIONS if one[0] == table}
        values: dict[str, Any] = {}
        for name, value in body.items():
            bound = name.removesuffix("@odata.bind")
            if bound in navigation and (bound != name or value is None):
                refused = self._bind(table, navigation[bound], value, values)
            elif name not in columns or "Targets" in columns[name]["more"]:
                refused = _payload(
                    table,
                    f"Microsoft.Crm.CrmException: Invalid property '{bound}' was found in entity "
                    f"'Microsoft.Dynamics.CRM.{table}'. ---> Microsoft.OData.ODataException: "
                    "Does not support untyped value in non-open type.",
                )
            else:
                values[name] = value
                refused = _refusal(table, columns[name], value)
            if refused:
                return {}, refused
        for key in _KEYS.get(table, ()):
            taken = [r for r in self.records[table].values() if r.get(key) == values.get(key, 0)]
            if taken and taken[0] is not known:
                return {}, _error(
                    412,
                    "0x80060892",
                    "Entity Key Xkit key violated. A record with the same value for Xkit key "
                    "already exists. A duplicate record cannot be created. Select one or more "
                    "unique values and try again.",
                )
        return values, None

    def _bind(
        self, table: str, relation: tuple[str, str, str, str], value: Any, values: dict[str, Any]
    ) -> Response | None:
        column, leads_to = relation[1], relation[2]
        if value is None:
            values[f"_{column}_value"] = None
            return None
        entity_set, record_id = value.strip("/)").split("(")
        there = _table(entity_set)
        if there is None or leads_to not in (there, "owner"):
            said = f"Microsoft.OData.ODataException: '{entity_set}' is not of '{column}'."
            return _payload(table, said)
        if record_id not in self.records[there]:
            return _missing(there, record_id)
        values[f"_{column}_value"] = record_id
        values[f"_{column}_value{_LEADS_TO}"] = there
        return None

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self, request: Request) -> Response:
        return self._page(request, _WORKFLOWS)

    def list_custom_apis(self, request: Request) -> Response:
        return self._page(request, _CUSTOM_APIS)

    def _page(self, request: Request, rows: Sequence[Mapping[str, Any]]) -> Response:
        start = int(request.query.get("$skiptoken", "0"))
        page: dict[str, Any] = {"value": rows[start : start + _PAGE]}
        if start + _PAGE < len(rows):
            asked = "&".join(f"{n}={v}" for n, v in request.query.items() if n != "$skiptoken")
            asked = asked.replace(" ", "%20")
            there = f"{self.pages_at or self.url}{request.path}?{asked}&$skiptoken={start + _PAGE}"
            page["@odata.nextLink"] = there
        return Response(200, page)

    def execute(self, request: Request, workflow_id: str) -> Response:
        found = [one for one in _WORKFLOWS if one["workflowid"] == workflow_id]
        if not found:
            return _missing("workflow", workflow_id)
        record_id = request.body["EntityId"]
        if record_id not in self.records[found[0]["primaryentity"]]:
            return _missing(found[0]["primaryentity"], record_id)
        self.started.append((workflow_id, record_id))
        return Response(200, {"asyncoperationid": str(uuid4())})

    def invite(self, request: Request) -> Response:
        self.started.append(("xk_Invite", request.body))
        return Response(204)

    # -- batches ------------------------------------------------------------------------------

    def batch(self, request: Request) -> Response:
        boundary = _header(request, "Content-Type").partition("boundary=")[2].strip('"')
        sections = request.body.split(f"--{boundary}")[1:-1]
        if len(sections) > _MOST or "\n" in request.body.replace("\r\n", ""):
            return _error(400, "0x80048d19", "Stream was not readable.")
        mine = f"batchresponse_{uuid4()}"
        lines: list[str] = []
        done = [self._answer_part(_inner(section)) for section in sections]
        for answered in done[: self.answers_at_most]:
            lines += [f"--{mine}", "Content-Type: application/http"]
            lines += ["Content-Transfer-Encoding: binary", "", f"HTTP/1.1 {answered.status} Said"]
            lines += [f"{name}: {value}" for name, value in answered.headers.items()]
            if answered.body is not None:
                lines.append("Content-Type: application/json; odata.metadata=minimal")
            lines.append("OData-Version: 4.0")
            said = "" if answered.body is None else json.dumps(answered.body, ensure_ascii=False)
            lines += ["", said]
        text = "\r\n".join([*lines, f"--{mine}--", ""])
        return Response(200, text, {"Content-Type": f"multipart/mixed; boundary={mine}"})

    def _answer_part(self, request: Request) -> Response:
        """Held to the same contract as a request of its own; only who calls is said once."""
        found = self.contract.find(request)
        if found is None:
            self.violations.append(f"{request.method} {request.path}: there is no such operation")
            return _no_segment(request.path)
        operation, named = found
        if violations := list(operation.violations(request)):
            self.violations += [f"{operation.id}: {one}" for one in violations]
            return self.not_allowed(violations)
        answered: Response = getattr(self, operation.id)(request, **named)
        return answered


def _inner(section: str) -> Request:
    """The request that is a part of a batch."""
    _, head, content = section.split("\r\n\r\n", 2)
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    body = json.loads(content) if content.strip() else None
    return Request(method, parts.path, query, headers, body)


def _header(request: Request, name: str) -> str:
    return next((v for k, v in request.headers.items() if k.lower() == name.lower()), "")


def _table(entity_set: str) -> str | None:
    return next((name for name, known in _SETS.items() if known == entity_set), None)


def _kind(column: Mapping[str, Any]) -> str:
    return str(column["AttributeTypeName"]["Value"]).removesuffix("Type")


def _refusal(table: str, column: Mapping[str, Any], value: Any) -> Response | None:
    """What Dataverse says to a value that it doesn't take."""
    if value is None:
        return None
    name, kind, more = column["LogicalName"], _kind(column), column["more"]
    if kind == "DateTime":
        is_date = more["DateTimeBehavior"]["Value"] == "DateOnly"
        edm, pattern = ("Edm.Date", _DATE) if is_date else ("Edm.DateTimeOffset", _MOMENT)
        fits = isinstance(value, str) and bool(pattern.fullmatch(value))
    else:
        edm, test = _JSON[kind]
        fits = test(value)
    if not fits:
        return _payload(
            table,
            f"Microsoft.OData.ODataException: Cannot convert the literal '{value}' to the expected "
            f"type '{edm}'. ---> System.FormatException: Input string was not in a correct "
            "format.\r\n   at System.Number.StringToNumber(String str)",
        )
    if len(str(value)) > more.get("MaxLength", len(str(value))):
        return _error(
            400,
            "0x80044331",
            f"A validation error occurred.  The length of the '{name}' attribute of the '{table}' "
            f"entity exceeded the maximum allowed length of '{more['MaxLength']}'.",
        )
    options = more.get("OptionSet") or more.get("GlobalOptionSet")
    if options:
        accepted = [str(one["Value"]) for one in options["Options"]]
        if not set(str(value).split(",")) <= set(accepted):
            return _error(
                400,
                "0x8004431a",
                f"A validation error occurred. The value {value} of '{name}' on record of type "
                f"'{table}' is outside the valid range. Accepted Values: {','.join(accepted)}",
            )
    return None


def _error(status: int, code: str, message: str) -> Response:
    return Response(status, {"error": {"code": code, "message": message}})


def _payload(table: str, inner: str) -> Response:
    said = (
        f"Error identified in Payload provided by the user for Entity :'{_SETS[table]}', For more "
        f"information on this error please follow this help link {_HELP}  ---->  InnerException : "
    )
    return _error(400, "0x80048d19", said + inner)


def _missing(table: str, record_id: str) -> Response:
    return _error(404, "0x80040217", f"{table} With Id = {record_id} Does Not Exist")


def _no_entity(name: str) -> Response:
    said = name.replace("''", "'")
    message = f"Could not find an entity with name {said} and id {_NOTHING}."
    return _error(404, "0x80060888", message)


def _no_segment(name: str) -> Response:
    return _error(404, "0x8006088a", f"Resource not found for the segment '{name}'.")


def _rows(rows: Sequence[Any]) -> Response:
    return Response(200, {"value": list(rows)})


def _selected(row: Mapping[str, Any], request: Request) -> dict[str, Any]:
    names = request.query["$select"].split(",")
    return {"MetadataId": str(uuid4()), **{name: row.get(name) for name in names}}


def _shown(record: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """The columns that were asked for, and where references lead where that was asked, too."""
    names = request.query["$select"].split(",")
    shown = {"@odata.etag": 'W/"1"', **{name: record.get(name) for name in names}}
    if "lookuplogicalname" in _header(request, "Prefer"):
        told = {f"{name}{_LEADS_TO}" for name in names if record.get(name) is not None}
        shown |= {name: record[name] for name in told if name in record}
    return shown


_CONDITION = re.compile(
    r"contains\((?P<part_of>\w+),'(?P<part>(?:[^']|'')*)'\)"
    r"|Microsoft\.Dynamics\.CRM\.ContainValues\(PropertyName='(?P<picks>\w+)',"
    r"PropertyValues=\[(?P<picked>'\d+'(?:,'\d+')*)\]\)"
    r"|(?P<name>\w+) eq (?:'(?P<text>(?:[^']|'')*)'|(?P<literal>[\w.:-]+))"
)


def _conditions(said: str) -> Iterator[Callable[[Mapping[str, Any]], bool]]:
    """What a `$filter` asks of a record; a `ValueError` where it is none."""
    while said:
        found = _CONDITION.match(said)
        if found is None:
            raise ValueError(f"There is an unterminated literal in {said!r}.")
        yield _meeting(found)
        said = said[found.end() :]
        if said and not said.startswith(" and "):
            raise ValueError(f"Syntax error in {said!r}.")
        said = said.removeprefix(" and ")


def _meeting(found: re.Match[str]) -> Callable[[Mapping[str, Any]], bool]:
    if found["part_of"]:
        like = re.compile(_like(found["part"].replace("''", "'")), re.IGNORECASE | re.DOTALL)
        return lambda record: bool(like.search(str(record.get(found["part_of"]) or "")))
    if found["picks"]:
        picked = set(re.findall(r"\d+", found["picked"]))
        return lambda record: bool(picked & set(str(record.get(found["picks"]) or "").split(",")))
    if found["text"] is not None:
        text = found["text"].replace("''", "'").casefold()
        return lambda record: str(record.get(found["name"]) or "").casefold() == text
    return lambda record: json.dumps(record.get(found["name"])).strip('"') == found["literal"]


def _like(pattern: str) -> str:
    """A regular expression for a pattern of SQL."""
    pieces = re.findall(r"\[[^\]]+\]|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return "".join(
        one.replace("\\", r"\\").replace("[[]", r"\[")
        if len(one) > 1
        else wild.get(one) or re.escape(one)
        for one in pieces
    )
