"""Salesforce, as far as the adapter talks to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response

_VERSION = "v68.0"
#: So few rows come with one page of a query that paging is needed.
_PAGE = 2
_PREFIXES = {"Contact": "003", "Opportunity": "006", "Lead": "00Q", "Order__c": "a01"}


def _field(name: str, label: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": kind,
        "length": 255 if kind == "string" else 0,
        "createable": True,
        "updateable": True,
        "nillable": kind != "boolean",
        "defaultedOnCreate": kind == "boolean",
        "filterable": True,
        "unique": False,
        "externalId": False,
        "idLookup": False,
        "custom": name.endswith("__c"),
        "calculated": False,
        "restrictedPicklist": False,
        "picklistValues": [],
        "referenceTo": [],
        **more,
    }


def _picks(*values: str, inactive: str = "") -> list[dict[str, Any]]:
    return [
        {"active": one != inactive, "defaultValue": False, "label": one.title(), "value": one}
        for one in (*values, *filter(None, [inactive]))
    ]


_READ_ONLY = {"createable": False, "updateable": False, "nillable": False}
_ID = _field("Id", "Record ID", "id", length=18, idLookup=True, **_READ_ONLY)
_CREATED = _field("CreatedDate", "Created Date", "datetime", **_READ_ONLY)
_OWNER = _field(
    "OwnerId",
    "Owner ID",
    "reference",
    length=18,
    nillable=False,
    defaultedOnCreate=True,
    referenceTo=["Group", "User"],
)
_KEY = _field(
    "xkit_key__c", "Xkit key", "string", length=36, unique=True, externalId=True, idLookup=True
)
_LAST_NAME = _field("LastName", "Last Name", "string", length=80, nillable=False)
_FIELDS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "Contact": [
        _ID,
        _LAST_NAME,
        _field("FirstName", "First Name", "string", length=40),
        _field("Name", "Full Name", "string", length=121, **_READ_ONLY),
        _field("Email", "Email", "email", length=80, idLookup=True),
        _field("Phone", "Business Phone", "phone", length=40),
        _field("Website__c", "Website", "url", length=255),
        _field("Notes__c", "Notes", "textarea", length=131_072, filterable=False),
        _field("Visits__c", "Visits", "double"),
        _field("Rank__c", "Rank", "int"),
        _field("Budget__c", "Budget", "currency"),
        _field("Birthdate", "Birthdate", "date"),
        _field("Last_Visit__c", "Last Visit", "datetime"),
        _field("Newsletter__c", "Newsletter", "boolean"),
        _field(
            "LeadSource",
            "Lead Source",
            "picklist",
            restrictedPicklist=True,
            picklistValues=_picks("web", "phone", "partner", inactive="fax"),
        ),
        _field(
            "Interests__c",
            "Interests",
            "multipicklist",
            restrictedPicklist=True,
            picklistValues=_picks("crm", "billing", "support"),
        ),
        _field("ReportsToId", "Reports To ID", "reference", length=18, referenceTo=["Contact"]),
        _field("MailingAddress", "Mailing Address", "address", **_READ_ONLY),
        _OWNER,
        _KEY,
        _CREATED,
    ],
    "Opportunity": [
        _ID,
        _field("Name", "Name", "string", length=120, nillable=False),
        _field("Amount", "Amount", "currency"),
        _OWNER,
        _CREATED,
    ],
    "Lead": [_ID, _LAST_NAME, _OWNER, _CREATED, {**_KEY, "createable": False}],
    "Order__c": [_ID, _field("Name", "Name", "string", length=80), _KEY],
}
_OBJECTS = [
    ("Contact", "Contact", "Contacts", {}),
    ("Opportunity", "Opportunity", "Opportunities", {}),
    ("Lead", "Lead", "Leads", {}),
    ("Order__c", "Order", "Orders", {}),
    ("ContactHistory", "Contact History", "Contact History", {"createable": False}),
    ("Keys__c", "Keys", "Keys", {"customSetting": True}),
    ("OldThing", "Old thing", "Old things", {"deprecatedAndHidden": True}),
    ("ContactChangeEvent", "Change", "Changes", {"queryable": False}),
]


def _parameter(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "description": None,
        "type": kind,
        "required": False,
        "maxOccurs": 1,
        "byteLength": 0,
        "sobjectType": None,
        "picklistValues": None,
        **more,
    }


_FLOWS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "Welcome": [
        _parameter("email", "STRING", required=True),
        _parameter("score", "NUMBER"),
        _parameter("tags", "STRING", maxOccurs=2000),
        _parameter("recordId", "STRING"),
        _parameter("xkit_key", "STRING"),
        _parameter("contact", "SOBJECT", sobjectType="Contact"),
    ],
    "Won": [_parameter("name", "STRING", required=True)],
    "Broken": [],
}


class SalesforceFake(FakeCRM):
    contract_file = "salesforce.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"give_token"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _FIELDS}
        self.deleted: set[str] = set()
        #: Records that somebody else writes to at the moment, by their ids.
        self.locked: set[str] = set()
        #: Which flow ran with which inputs.
        self.ran: list[tuple[str, Mapping[str, Any]]] = []
        #: Flows that are no longer active, and still listed where somebody remembers them.
        self.inactive: set[str] = set()
        #: Whether a refresh token is good for one use only.
        self.rotates = True
        #: What the next token request is refused with, and why.
        self.token_refusal: tuple[str, str] | None = None
        self.allowed_a_day = 15_000
        self.clock = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
        self._cursors: dict[str, list[dict[str, Any]]] = {}

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "base_url": self.url,
            "authorize_url": f"{self.url}/services/oauth2/authorize",
            "token_url": f"{self.url}/services/oauth2/token",
            "client_id": "a-client",
            "client_secret": "a-client-secret",
        }

    @property
    def credentials(self) -> Mapping[str, Any]:
        """Credentials as after an OAuth sign-in."""
        return {
            "access_token": self.token,
            "refresh_token": self.refresh_token,
            "instance_url": "https://acme.my.salesforce.com",
        }

    def answer(self, request: Request) -> Response:
        response = super().answer(request)
        if "/services/data/" not in request.path:
            return response
        usage = f"api-usage={len(self.requests)}/{self.allowed_a_day}; per-app-api-usage=1/250"
        return Response(response.status, response.body, {"Sforce-Limit-Info": usage})

    # -- the vendor's words -------------------------------------------------------------------

    def unauthorised(self) -> Response:
        return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def too_many(self) -> Response:
        return _error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    def not_allowed(self, violations: list[str]) -> Response:
        return _error(400, "JSON_PARSER_ERROR", "; ".join(violations))

    # -- operations ---------------------------------------------------------------------------

    def give_token(self, request: Request) -> Response:
        form = request.body
        if self.token_refusal:
            return _oauth_error(*self.token_refusal)
        if form["client_id"] != "a-client":
            return _oauth_error("invalid_client_id", "client identifier invalid")
        if form.get("client_secret") != "a-client-secret":
            return _oauth_error("invalid_client", "invalid client credentials")
        given = form.get("refresh_token") or form.get("code")
        if given not in (self.refresh_token, "a-code"):
            return _oauth_error("invalid_grant", "expired access/refresh token")
        self.expire()
        self.renewals += 1
        token = {
            "access_token": self.token,
            "signature": "a-signature",
            "scope": "refresh_token api",
            "instance_url": "https://acme.my.salesforce.com",
            "id": "https://login.salesforce.com/id/00D000000000001AAA/005000000000001AAA",
            "token_type": "Bearer",
            "issued_at": "1793525400000",
        }
        if self.rotates:
            self.refresh_token = f"refresh-{self.new_id()}"
        if self.rotates or form["grant_type"] == "authorization_code":
            token["refresh_token"] = self.refresh_token
        return Response(200, token)

    def list_objects(self, request: Request) -> Response:
        found = [
            {
                "name": name,
                "label": label,
                "labelPlural": plural,
                "keyPrefix": _PREFIXES.get(name),
                "queryable": True,
                "createable": True,
                "updateable": more.get("createable", True),
                "deletable": True,
                "customSetting": False,
                "deprecatedAndHidden": False,
                **more,
            }
            for name, label, plural, more in _OBJECTS
        ]
        return Response(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": found})

    def describe(self, request: Request, sobject: str) -> Response:
        if sobject not in _FIELDS:
            return _no_resource()
        return Response(200, {"name": sobject, "fields": _FIELDS[sobject]})

    def outline(self, request: Request, sobject: str) -> Response:
        if sobject not in _FIELDS:
            return _no_resource()
        described = {"name": sobject, "keyPrefix": _PREFIXES[sobject]}
        return Response(200, {"objectDescribe": described, "recentItems": []})

    def create(self, request: Request, sobject: str) -> Response:
        if sobject not in _FIELDS:
            return _no_resource()
        if unread := self._unreadable(sobject, [request.body]):
            return unread
        result = self._insert(sobject, request.body)
        return _single(result) or Response(201, result)

    def read(self, request: Request, sobject: str, record_id: str) -> Response:
        found = self._find(sobject, record_id)
        if found is None:
            return _missing(record_id in self.deleted)
        names = request.query.get("fields", "Id").split(",")
        return self._no_column(sobject, names) or Response(200, _shown(sobject, found, names))

    def update(self, request: Request, sobject: str, record_id: str) -> Response:
        if self._find(sobject, record_id) is None:
            return _missing(record_id in self.deleted)
        if unread := self._unreadable(sobject, [request.body]):
            return unread
        return _single(self._change(sobject, record_id, request.body)) or Response(204)

    def delete(self, request: Request, sobject: str, record_id: str) -> Response:
        if self._find(sobject, record_id) is None:
            return _missing(record_id in self.deleted)
        return _single(self._remove(record_id)) or Response(204)

    def create_collection(self, request: Request) -> Response:
        return self._collection(request, lambda sobject, one: self._insert(sobject, one))

    def update_collection(self, request: Request) -> Response:
        return self._collection(
            request, lambda sobject, one: self._change(sobject, one.pop("id"), one)
        )

    def delete_collection(self, request: Request) -> Response:
        ids = request.query["ids"].split(",")
        return Response(200, [self._remove(one) for one in ids])

    def read_collection(self, request: Request, sobject: str) -> Response:
        if sobject not in _FIELDS:
            return _no_resource()
        names = request.body["fields"]
        if wrong := self._no_column(sobject, names):
            return wrong
        found = [self._find(sobject, one) for one in request.body["ids"]]
        return Response(200, [one and _shown(sobject, one, names) for one in found])

    def query(self, request: Request) -> Response:
        try:
            query = _Query(request.query["q"])
        except _Malformed as error:
            return _error(400, "MALFORMED_QUERY", str(error))
        if query.sobject not in _FIELDS:
            said = f"sObject type '{query.sobject}' is not supported."
            return _error(400, "INVALID_TYPE", said)
        asked = [*query.fields, *query.order, *(name for name, _ in query.conditions)]
        if wrong := self._no_column(query.sobject, asked):
            return wrong
        rows = [
            row
            for row in self.records[query.sobject].values()
            if all(meets(row.get(name)) for name, meets in query.conditions)
        ]
        rows.sort(key=lambda row: tuple(str(row.get(name)) for name in query.order), reverse=True)
        shown = [_shown(query.sobject, row, query.fields) for row in rows[: query.limit]]
        return self._page(shown, len(shown))

    def query_more(self, request: Request, locator: str) -> Response:
        rows = self._cursors.pop(locator, None)
        if rows is None:
            return _error(404, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(rows, len(rows))

    def list_flows(self, request: Request) -> Response:
        active = [name for name in _FLOWS if name not in self.inactive]
        return Response(
            200, {"actions": [{"name": n, "label": f"{n} flow", "type": "FLOW"} for n in active]}
        )

    def describe_flow(self, request: Request, name: str) -> Response:
        if name not in _FLOWS:
            return _no_resource()
        if name == "Broken":
            return _error(400, "INVALID_INPUT", "The flow can't be described.")
        return Response(
            200,
            {"name": name, "label": f"{name} flow", "type": "FLOW", "inputs": _FLOWS[name]},
        )

    def run_flow(self, request: Request, name: str) -> Response:
        if name not in _FLOWS or name in self.inactive:
            return _no_resource()
        results = [self._run(name, given) for given in request.body["inputs"]]
        failed = any(not one["isSuccess"] for one in results)
        return Response(400 if failed else 200, results)

    # -- flows --------------------------------------------------------------------------------

    def _run(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        known = {one["name"]: one for one in _FLOWS[name]}
        wrong = [one for one in given if one not in known]
        wrong += [n for n, one in known.items() if one["required"] and n not in given]
        result = {"actionName": name, "sortOrder": -1, "version": 1, "invocationId": None}
        if wrong:
            error = {
                "statusCode": "REQUIRED_FIELD_MISSING",
                "message": f"Missing or unknown input: {wrong[0]}",
                "fields": wrong,
            }
            return {**result, "isSuccess": False, "errors": [error], "outputValues": None}
        self.ran.append((name, given))
        outputs: dict[str, Any] = {"Flow__InterviewStatus": "Finished"}
        if name == "Won":
            made = self._insert("Opportunity", {"Name": given["name"]})
            record = self.records["Opportunity"][made["id"]]
            outputs["opportunity"] = _shown("Opportunity", record, ["Id", "Name"])
        return {**result, "isSuccess": True, "errors": None, "outputValues": outputs}

    # -- records ------------------------------------------------------------------------------

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does: the other one goes to the recycle bin."""
        self.records[remote_object].pop(merged)
        self.deleted.add(merged)
        return True

    def new_record_id(self, sobject: str) -> str:
        """Fifteen characters, and three that tell which of them are capitals."""
        short = f"{_PREFIXES[sobject]}{int(self.new_id()):012d}"
        return short + "".join(_checksum(short[n : n + 5]) for n in (0, 5, 10))

    def _find(self, sobject: str, record_id: str) -> dict[str, Any] | None:
        held = self.records.get(sobject, {})
        return next((row for one, row in held.items() if one[:15] == record_id[:15]), None)

    def _collection(
        self, request: Request, save: Callable[[str, dict[str, Any]], dict[str, Any]]
    ) -> Response:
        records = [dict(one) for one in request.body["records"]]
        kinds = [one.pop("attributes")["type"] for one in records]
        for kind, record in zip(kinds, records, strict=True):
            if kind not in _FIELDS:
                return _error(400, "INVALID_TYPE", f"sObject type '{kind}' is not supported.")
            if unread := self._unreadable(kind, [record]):
                return unread
        return Response(200, [save(*one) for one in zip(kinds, records, strict=True)])

    def _unreadable(self, sobject: str, records: Sequence[Mapping[str, Any]]) -> Response | None:
        """A value of a wrong JSON type or a field that there isn't spoils the whole request."""
        fields = {one["name"]: one["type"] for one in _FIELDS[sobject]}
        for record in records:
            for name, value in record.items():
                if name == "id":
                    continue
                if name not in fields:
                    return self._no_column(sobject, [name])
                if not _is_readable(fields[name], value):
                    said = f"Cannot deserialize instance of {fields[name]} from {value!r}"
                    return _error(400, "JSON_PARSER_ERROR", f"{said} at [line:1, column:9]")
        return None

    def _no_column(self, sobject: str, names: Sequence[str]) -> Response | None:
        known = {one["name"] for one in _FIELDS.get(sobject, ())}
        for name in names:
            if name not in known:
                said = f"No such column '{name}' on sobject of type {sobject}"
                return _error(400, "INVALID_FIELD", said)
        return None

    def _insert(self, sobject: str, values: Mapping[str, Any]) -> dict[str, Any]:
        needed = [
            one["name"]
            for one in _FIELDS[sobject]
            if one["createable"] and not (one["nillable"] or one["defaultedOnCreate"])
        ]
        missing = [name for name in needed if not values.get(name)]
        if missing:
            listed = ", ".join(missing)
            return _failed(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{listed}]", missing
            )
        if error := self._refusal(sobject, values, "createable"):
            return error
        self.clock += timedelta(seconds=1)
        record_id = self.new_record_id(sobject)
        row: dict[str, Any] = {
            one["name"]: False for one in _FIELDS[sobject] if one["type"] == "boolean"
        }
        row |= {"Id": record_id, "CreatedDate": _moment(self.clock)}
        self.records[sobject][record_id] = row | _held(sobject, values)
        return {"id": record_id, "success": True, "errors": []}

    def _change(self, sobject: str, record_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
        found = self._find(sobject, record_id)
        if found is None:
            return _lost(record_id in self.deleted)
        if found["Id"] in self.locked:
            return _failed("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if error := self._refusal(sobject, values, "updateable", found):
            return error
        found |= _held(sobject, values)
        return {"id": found["Id"], "success": True, "errors": []}

    def _remove(self, record_id: str) -> dict[str, Any]:
        for held in self.records.values():
            for one in list(held):
                if one[:15] == record_id[:15]:
                    if one in self.locked:
                        return _failed("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access")
                    del held[one]
                    self.deleted.add(one)
                    return {"id": one, "success": True, "errors": []}
        return _lost(record_id in self.deleted)

    def _refusal(
        self,
        sobject: str,
        values: Mapping[str, Any],
        may: str,
        known: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        fields = {one["name"]: one for one in _FIELDS[sobject]}
        for name, value in values.items():
            field = fields[name]
            if not field[may]:
                said = f"Unable to create/update fields: {name}. Please check the security settings"
                return _failed("INVALID_FIELD_FOR_INSERT_UPDATE", said, [name])
            if value in (None, ""):
                continue
            if error := _wrong(field, value):
                return _failed(*error, [name])
            if field["type"] == "reference" and value in self.deleted:
                return _failed("ENTITY_IS_DELETED", "entity is deleted", [name])
            if field["unique"]:
                for row in self.records[sobject].values():
                    if row is not known and row.get(name) == value:
                        said = f"{name} duplicates value on record with id: {row['Id']}"
                        return _failed("DUPLICATE_VALUE", f"duplicate value found: {said}")
        return None

    def _page(self, rows: list[dict[str, Any]], total: int) -> Response:
        body: dict[str, Any] = {"totalSize": total, "done": True, "records": rows[:_PAGE]}
        if rest := rows[_PAGE:]:
            locator = f"01g{self.new_id()}AAA-{len(rows)}"
            self._cursors[locator] = rest
            body |= {"done": False, "nextRecordsUrl": f"/services/data/{_VERSION}/query/{locator}"}
        return Response(200, body)


# -- what it says ---------------------------------------------------------------------------------


def _error(status: int, code: str, message: str, fields: Sequence[str] = ()) -> Response:
    error: dict[str, Any] = {"message": message, "errorCode": code}
    return Response(status, [error | ({"fields": list(fields)} if fields else {})])


def _oauth_error(error: str, description: str) -> Response:
    return Response(400, {"error": error, "error_description": description})


def _no_resource() -> Response:
    return _error(404, "NOT_FOUND", "The requested resource does not exist")


def _missing(was_deleted: bool) -> Response:
    if was_deleted:
        return _error(404, "ENTITY_IS_DELETED", "entity is deleted")
    said = "Provided external ID field does not exist or is not accessible: Id"
    return _error(404, "NOT_FOUND", said)


def _lost(was_deleted: bool) -> dict[str, Any]:
    if was_deleted:
        return _failed("ENTITY_IS_DELETED", "entity is deleted")
    return _failed("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")


def _failed(code: str, message: str, fields: Sequence[str] = ()) -> dict[str, Any]:
    error = {"statusCode": code, "message": message, "fields": list(fields)}
    return {"success": False, "errors": [error]}


def _single(result: Mapping[str, Any]) -> Response | None:
    """The same failure, as the resource of one record says it."""
    if result["success"]:
        return None
    (error,) = result["errors"]
    return _error(400, error["statusCode"], error["message"], error["fields"])


# -- values ---------------------------------------------------------------------------------------


def _checksum(five: str) -> str:
    bits = sum(1 << n for n, character in enumerate(five) if character.isupper())
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits]


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _is_readable(kind: str, value: Any) -> bool:
    if value is None:
        return kind != "boolean"
    if kind == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if kind in ("double", "int", "currency"):
        return isinstance(value, int | float) or bool(re.fullmatch(r"-?\d+(\.\d+)?", value))
    if kind == "date":
        return bool(_parsed(date.fromisoformat, value))
    if kind == "datetime":
        return "T" in str(value) and bool(_parsed(datetime.fromisoformat, value))
    return isinstance(value, str)


def _parsed(parse: Callable[[str], Any], value: Any) -> Any:
    try:
        return parse(value)
    except (TypeError, ValueError):
        return None


def _wrong(field: Mapping[str, Any], value: Any) -> tuple[str, str] | None:
    name, kind = field["name"], field["type"]
    if isinstance(value, str) and field["length"] and len(value) > field["length"]:
        said = f"{field['label']}: data value too large: (max length={field['length']})"
        return "STRING_TOO_LONG", said
    if kind == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        return "INVALID_EMAIL_ADDRESS", f"{field['label']}: invalid email address: {value}"
    if kind in ("picklist", "multipicklist"):
        known = {one["value"] for one in field["picklistValues"] if one["active"]}
        if not set(str(value).split(";")) <= known:
            said = f"{field['label']}: bad value for restricted picklist field: {value}"
            return "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", said
    if kind == "reference" and not re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", value):
        return "MALFORMED_ID", f"{field['label']}: id value of incorrect type: {name}"
    return None


def _held(sobject: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """As they are kept: numbers with a fraction, moments in the one spelling."""
    fields = {one["name"]: one["type"] for one in _FIELDS[sobject]}
    held: dict[str, Any] = {}
    for name, value in values.items():
        kind = fields[name]
        if value == "":
            value = None
        elif value is not None and kind in ("double", "currency"):
            value = float(value)
        elif value is not None and kind == "datetime":
            value = _moment(datetime.fromisoformat(value).astimezone(UTC))
        held[name] = value
    return held


def _shown(sobject: str, row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    url = f"/services/data/{_VERSION}/sobjects/{sobject}/{row['Id']}"
    return {
        "attributes": {"type": sobject, "url": url},
        **{name: row.get(name) for name in names},
        **({"Id": row["Id"]} if "Id" in names else {}),
    }


# -- SOQL -----------------------------------------------------------------------------------------


class _Malformed(Exception):
    pass


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^'\\]|\\.)*')
    | (?P<moment>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<word>[A-Za-z]\w*)
    | (?P<sign>[=(),])
    )""",
    re.X | re.ASCII,
)
_ESCAPE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class _Query:
    """One SELECT, of the few forms that are asked here; anything else is malformed."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._take("SELECT")
        self.fields = self._names()
        self._take("FROM")
        self.sobject = self._word()
        self.conditions: list[tuple[str, Callable[[Any], bool]]] = []
        if self._skip("WHERE"):
            self.conditions.append(self._condition())
            while self._skip("AND"):
                self.conditions.append(self._condition())
        self.order: list[str] = []
        if self._skip("ORDER"):
            self._take("BY")
            self.order = [self._ordered()]
            while self._skip(","):
                self.order.append(self._ordered())
        self.limit = int(self._any("number")) if self._skip("LIMIT") else None
        if self._tokens:
            raise _Malformed(f"unexpected token: '{self._tokens[0][1]}'")

    def _any(self, kind: str) -> str:
        if not self._tokens or self._tokens[0][0] != kind:
            raise _Malformed(f"expecting a {kind}, found {self._tokens[:1]}")
        return self._tokens.pop(0)[1]

    def _word(self) -> str:
        return self._any("word")

    def _skip(self, token: str) -> bool:
        if self._tokens and self._tokens[0] in (("word", token), ("sign", token)):
            self._tokens.pop(0)
            return True
        return False

    def _take(self, token: str) -> None:
        if not self._skip(token):
            raise _Malformed(f"expecting {token}, found {self._tokens[:1]}")

    def _names(self) -> list[str]:
        names = [self._word()]
        while self._skip(","):
            names.append(self._word())
        if len(set(names)) != len(names):
            raise _Malformed("duplicate field selected")
        return names

    def _ordered(self) -> str:
        name = self._word()
        self._take("DESC")
        return name

    def _condition(self) -> tuple[str, Callable[[Any], bool]]:
        name = self._word()
        if self._skip("="):
            return name, _equals(self._tokens.pop(0) if self._tokens else ("", ""))
        if self._skip("LIKE"):
            pattern = _like(self._any("text"))
            return name, lambda held: held is not None and bool(pattern.fullmatch(str(held)))
        if self._skip("INCLUDES"):
            wanted = self._list()
            return name, lambda held: any(
                set(one.split(";")) <= set(str(held or "").split(";")) for one in wanted
            )
        self._take("IN")
        wanted = self._list()
        return name, lambda held: held in wanted

    def _list(self) -> list[str]:
        self._take("(")
        found = [_unescaped(self._any("text"))]
        while self._skip(","):
            found.append(_unescaped(self._any("text")))
        self._take(")")
        return found


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise _Malformed(f"unexpected token: '{text[at : at + 20]}'")
        at = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]


def _unescaped(literal: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPE.get(found[1], found[1]), literal[1:-1])


def _like(literal: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|[^\\]", literal[1:-1], re.S)
    wild = {"%": ".*", "_": "."}
    pattern = "".join(wild.get(one) or re.escape(_unescaped(f"'{one}'")) for one in parts)
    return re.compile(pattern, re.S | re.I)


def _equals(token: tuple[str, str]) -> Callable[[Any], bool]:
    kind, said = token
    if kind == "text":
        wanted = _unescaped(said)
        return lambda held: isinstance(held, str) and held.casefold() == wanted.casefold()
    if kind == "number":
        return lambda held: held is not None and float(held) == float(said)
    if kind == "moment":
        wanted = _moment(datetime.fromisoformat(said).astimezone(UTC))
        return lambda held: held == wanted
    if kind == "date":
        return lambda held: held == said
    if kind == "word" and said in ("null", "true", "false"):
        value = {"null": None, "true": True, "false": False}[said]
        return lambda held: held is value
    raise _Malformed(f"unexpected token: '{said}'")
