"""HubSpot, as far as the adapter talks to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response

_NOW = "2026-11-01T09:30:00.000Z"


def _property(name: str, label: str, kind: str, editor: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": kind,
        "fieldType": editor,
        "groupName": "info",
        "description": "",
        "options": [],
        "archived": False,
        "hidden": False,
        "calculated": False,
        "hasUniqueValue": False,
        "modificationMetadata": {
            "archivable": True,
            "readOnlyDefinition": True,
            "readOnlyValue": False,
        },
        **more,
    }


def _options(*names: str) -> list[dict[str, Any]]:
    return [{"label": n.title(), "value": n, "hidden": False, "displayOrder": 1} for n in names]


_KEY = _property("xkit_key", "Xkit key", "string", "text", hasUniqueValue=True)
_READ_ONLY = {"archivable": False, "readOnlyDefinition": True, "readOnlyValue": True}
_COMMON = [
    _property("hs_object_id", "Record ID", "number", "number", modificationMetadata=_READ_ONLY),
    _property("createdate", "Create Date", "datetime", "date", modificationMetadata=_READ_ONLY),
]
_PROPERTIES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "contacts": [
        _property("email", "Email", "string", "text", hasUniqueValue=True),
        _property("firstname", "First Name", "string", "text"),
        _property("lastname", "Last Name", "string", "text"),
        _property("phone", "Phone Number", "string", "phonenumber"),
        _property("message", "Message", "string", "textarea"),
        _property("numemployees_guess", "Employees", "number", "number"),
        _property("annual_budget", "Annual Budget", "number", "number", showCurrencySymbol=True),
        _property("birthday", "Birthday", "date", "date"),
        _property("last_visit", "Last visit", "datetime", "date"),
        _property(
            "newsletter", "Newsletter", "bool", "booleancheckbox", options=_options("true", "false")
        ),
        _property(
            "lifecyclestage",
            "Lifecycle Stage",
            "enumeration",
            "radio",
            options=_options("lead", "customer", "other"),
        ),
        _property(
            "interests",
            "Interests",
            "enumeration",
            "checkbox",
            options=_options("crm", "billing", "support"),
        ),
        _property(
            "hubspot_owner_id",
            "Contact owner",
            "enumeration",
            "select",
            referencedObjectType="OWNER",
            externalOptions=True,
        ),
        _property("hs_score", "Score", "number", "number", calculated=True),
        _KEY,
        *_COMMON,
    ],
    "companies": [
        _property("name", "Company name", "string", "text"),
        _property("domain", "Company Domain Name", "string", "text"),
        *_COMMON,
    ],
    "deals": [
        _property("dealname", "Deal Name", "string", "text"),
        _property("amount", "Amount", "number", "number"),
        _KEY,
        *_COMMON,
    ],
    "p7_cars": [
        _property("plate", "Plate", "string", "text"),
        _property("seats", "Seats", "number", "number"),
        _KEY,
        *_COMMON,
    ],
}
_SCHEMAS = [
    {
        "id": "77",
        "name": "cars",
        "objectTypeId": "2-77",
        "fullyQualifiedName": "p7_cars",
        "labels": {"singular": "Car", "plural": "Cars"},
        "requiredProperties": ["plate"],
        "searchableProperties": ["plate"],
        "secondaryDisplayProperties": [],
        "properties": [],
        "associations": [],
        "archived": False,
        "allowsSensitiveProperties": False,
    }
]
_FLOWS = [
    {"id": "501", "name": "Welcome", "objectTypeId": "0-1", "isEnabled": True},
    {"id": "502", "name": "Retired", "objectTypeId": "0-1", "isEnabled": False},
    {"id": "503", "name": "Deal won", "objectTypeId": "0-3", "isEnabled": True},
]
#: Flows have other ids in the API that enrols.
_WORKFLOWS = {"501": 9501, "502": 9502}
_CHECKS = {
    "number": (re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?"), "INVALID_NUMBER"),
    "date": (re.compile(r"\d{4}-\d\d-\d\d|\d{10,}"), "INVALID_DATE"),
    "datetime": (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:?\d\d)|\d{10,}"), "INVALID_DATE"),
    "bool": (re.compile(r"true|false"), "INVALID_BOOLEAN"),
}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LONGEST = 65_536


class HubSpotFake(FakeCRM):
    contract_file = "hubspot.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"consent", "give_token"})

    def __init__(self) -> None:
        super().__init__()
        #: What each object has; a test may take some away or add some.
        self.properties = {name: list(found) for name, found in _PROPERTIES.items()}
        self.records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _PROPERTIES}
        #: Who was enrolled in which workflow.
        self.enrolled: list[tuple[str, str]] = []

    @property
    def options(self) -> Mapping[str, Any]:
        return {"base_url": self.url, **self.signing_in("/oauth/authorize", "/oauth/2026-09/token")}

    @property
    def signed_in(self) -> Mapping[str, Any]:
        """Credentials as after an OAuth sign-in."""
        return {
            "access_token": self.token,
            "refresh_token": self.refresh_token,
            "hub_id": "7",
        }

    # -- the vendor's words -------------------------------------------------------------------

    def unauthorised(self) -> Response:
        return _error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")

    def too_many(self) -> Response:
        return Response(
            429,
            {
                "status": "error",
                "message": "You have reached your ten_secondly_rolling limit.",
                "errorType": "RATE_LIMIT",
                "category": "RATE_LIMITS",
                "policyName": "TEN_SECONDLY_ROLLING",
            },
        )

    def not_allowed(self, violations: list[str]) -> Response:
        return _error(400, "VALIDATION_ERROR", f"Invalid input JSON: {'; '.join(violations)}")

    # -- operations ---------------------------------------------------------------------------

    def give_token(self, request: Request) -> Response:
        if request.body.get("client_secret") != "a-client-secret":
            return Response(400, {"error": "invalid_client", "error_description": "unknown client"})
        is_new = request.body["grant_type"] == "authorization_code"
        known = request.body.get("refresh_token") == self.refresh_token
        if not (self.takes_code(request.body) if is_new else known):
            return Response(400, {"error": "invalid_grant", "error_description": "not valid"})
        self.expire()
        self.renewals += 1
        return Response(
            200,
            {
                "token_type": "bearer",
                "access_token": self.token,
                "refresh_token": self.refresh_token,
                "expires_in": 1800,
                "hub_id": 7,
            },
        )

    def list_schemas(self, request: Request) -> Response:
        return Response(200, {"results": _SCHEMAS})

    def get_schema(self, request: Request, object_type: str) -> Response:
        found = [one for one in _SCHEMAS if one["fullyQualifiedName"] == object_type]
        return Response(200, found[0]) if found else _not_found()

    def list_properties(self, request: Request, object_type: str) -> Response:
        if object_type not in self.properties:
            return _error(400, "VALIDATION_ERROR", f"Unable to infer object type: {object_type}")
        return Response(200, {"results": self.properties[object_type]})

    def create(self, request: Request, object_type: str) -> Response:
        if wrong := self._refusal(object_type, request.body["properties"]):
            return wrong
        return Response(201, self._make(object_type, request.body["properties"]))

    def read(self, request: Request, object_type: str, object_id: str) -> Response:
        found = self._find(object_type, object_id, request.query.get("idProperty"))
        names = request.query.get("properties", "").split(",")
        return Response(200, _shown(found, names)) if found else _not_found()

    def update(self, request: Request, object_type: str, object_id: str) -> Response:
        found = self._find(object_type, object_id, request.query.get("idProperty"))
        if not found:
            return _not_found()
        if wrong := self._refusal(object_type, request.body["properties"], found):
            return wrong
        found["properties"] |= request.body["properties"]
        return Response(200, _shown(found, []))

    def archive(self, request: Request, object_type: str, object_id: str) -> Response:
        self.records[object_type].pop(object_id, None)
        return Response(204)

    def batch_create(self, request: Request, object_type: str) -> Response:
        inputs = request.body["inputs"]
        for one in inputs:  # one that is not valid spoils them all
            if wrong := self._refusal(object_type, one["properties"]):
                return wrong
        made = [
            self._make(object_type, one["properties"])
            | {"objectWriteTraceId": one.get("objectWriteTraceId")}
            for one in inputs
        ]
        return Response(201, _batch(list(reversed(made))))  # in no order

    def batch_read(self, request: Request, object_type: str) -> Response:
        body = request.body
        asked = [one["id"] for one in body["inputs"]]
        found = {one: self._find(object_type, one, body.get("idProperty")) for one in asked}
        results = [_shown(one, body["properties"]) for one in found.values() if one]
        return _partly(results, [one for one in asked if not found[one]])

    def batch_update(self, request: Request, object_type: str) -> Response:
        inputs, results, missing = request.body["inputs"], [], []
        for one in inputs:
            if wrong := self._refusal(object_type, one["properties"]):
                return wrong
        for one in inputs:
            if found := self._find(object_type, one["id"], one.get("idProperty")):
                found["properties"] |= one["properties"]
                results.append(_shown(found, []))
            else:
                missing.append(one["id"])
        return _partly(results, missing)

    def batch_archive(self, request: Request, object_type: str) -> Response:
        for one in request.body["inputs"]:
            self.records[object_type].pop(one["id"], None)
        return Response(204)

    def search(self, request: Request, object_type: str) -> Response:
        body, found = request.body, []
        for record in self.records[object_type].values():
            groups = body["filterGroups"] or [{"filters": []}]
            if any(all(_meets(record, f) for f in group["filters"]) for group in groups):
                found.append(record)
        found.sort(key=lambda one: int(one["id"]), reverse="-hs_object_id" in body["sorts"])
        shown = [_shown(one, body["properties"]) for one in found[: body["limit"]]]
        return Response(200, {"total": len(found), "results": shown})

    def list_flows(self, request: Request) -> Response:
        after = int(request.query.get("after", "0"))
        some = {"results": _FLOWS[after : after + 2]}
        if after + 2 < len(_FLOWS):
            some["paging"] = {"next": {"after": str(after + 2)}}  # type: ignore[assignment]
        return Response(200, some)

    def map_flows(self, request: Request) -> Response:
        ids = [one["flowId"] for one in request.body["inputs"]]
        found = [
            {"flowId": int(one), "workflowId": _WORKFLOWS[one]} for one in ids if one in _WORKFLOWS
        ]
        return Response(200, _batch(found))

    def enrol(self, request: Request, workflow_id: str, email: str) -> Response:
        if int(workflow_id) not in _WORKFLOWS.values():
            return _not_found()
        self.enrolled.append((workflow_id, email))
        return Response(204)

    # -- records ------------------------------------------------------------------------------

    def merge(self, object_type: str, kept: str, merged: str) -> bool:
        """What a person does: the other one's id leads to the one that is kept."""
        self.records[object_type][merged] = self.records[object_type][kept]
        return True

    def _find(self, object_type: str, value: str, by: str | None) -> dict[str, Any] | None:
        held = self.records.get(object_type, {})
        if by is None:
            return held.get(value)
        return next((r for r in held.values() if r["properties"].get(by) == value), None)

    def _make(self, object_type: str, properties: Mapping[str, str]) -> dict[str, Any]:
        number = self.new_id()
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {
            "id": number,
            "properties": {"hs_object_id": number, "createdate": now, **properties},
            "createdAt": now,
            "updatedAt": now,
            "archived": False,
        }
        self.records[object_type][number] = record
        return dict(record)

    def _refusal(
        self,
        object_type: str,
        properties: Mapping[str, str],
        known: Mapping[str, Any] | None = None,
    ) -> Response | None:
        """What HubSpot says to values that it doesn't take."""
        if object_type not in self.records:
            return _error(400, "VALIDATION_ERROR", f"Unable to infer object type: {object_type}")
        fields = {one["name"]: one for one in self.properties[object_type]}
        problems = []
        for name, text in properties.items():
            if error := _problem(fields.get(name), name, text):
                problems.append(error)
        email = properties.get("email")
        taken = email and self._find(object_type, email, "email")
        if taken and taken is not known:
            return _error(409, "CONFLICT", f"Contact already exists. Existing ID: {taken['id']}")
        return _invalid(problems) if problems else None


def _problem(field: Mapping[str, Any] | None, name: str, text: str) -> dict[str, str] | None:
    if field is None:
        return _wrong(name, f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST")
    if field["calculated"] or field["modificationMetadata"]["readOnlyValue"]:
        return _wrong(name, f'"{name}" is a read only property', "READ_ONLY_VALUE")
    if not text:
        return None
    if len(text) > _LONGEST:
        return _wrong(name, f"{name} is too long", "INVALID_LENGTH")
    if field["type"] in _CHECKS and not _CHECKS[field["type"]][0].fullmatch(text):
        return _wrong(name, f"{text} was not a valid {field['type']}.", _CHECKS[field["type"]][1])
    if name == "email" and not _EMAIL.fullmatch(text):
        return _wrong(name, f"Email address {text} is invalid", "INVALID_EMAIL")
    known = {option["value"] for option in field["options"]}
    if field["type"] == "enumeration" and known and not set(text.split(";")) <= known:
        return _wrong(name, f"{text} was not one of the allowed options", "INVALID_OPTION")
    return None


def _wrong(name: str, message: str, code: str) -> dict[str, str]:
    return {"name": name, "message": message, "code": code}


def _invalid(problems: Sequence[Mapping[str, str]]) -> Response:
    body = {
        "status": "error",
        "message": "Property values were not valid",
        "correlationId": "a-correlation",
        "category": "VALIDATION_ERROR",
        "errors": [
            {
                "message": one["message"],
                "code": one["code"],
                "context": {"propertyName": [one["name"]]},
            }
            for one in problems
        ],
        "context": {},
        "links": {},
    }
    return Response(400, body)


def _error(status: int, category: str, message: str) -> Response:
    body = {"status": "error", "message": message, "category": category, "correlationId": "c"}
    return Response(status, body)


def _not_found() -> Response:
    return _error(404, "OBJECT_NOT_FOUND", "resource not found")


def _shown(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The properties that were asked for, and those that are always there."""
    held = record["properties"]
    wanted = {"hs_object_id", "createdate", *filter(None, names)}
    return {**record, "properties": {name: held.get(name) for name in wanted}}


def _batch(results: Sequence[Any]) -> dict[str, Any]:
    return {"status": "COMPLETE", "startedAt": _NOW, "completedAt": _NOW, "results": list(results)}


def _partly(results: Sequence[Any], missing: Sequence[str]) -> Response:
    if not missing:
        return Response(200, _batch(results))
    error = {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some objects, they may be deleted or not exist.",
        "context": {"ids": list(missing)},
    }
    return Response(207, {**_batch(results), "numErrors": 1, "errors": [error]})


def _meets(record: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    held = str(record["properties"].get(one["propertyName"]) or "").casefold()
    wanted = str(one.get("value", "")).casefold()
    if one["operator"] == "CONTAINS_TOKEN":
        return wanted.strip("*") in held
    return held == wanted
