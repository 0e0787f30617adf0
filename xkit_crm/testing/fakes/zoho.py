"""Zoho CRM, as far as the adapter talks to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from html import escape
from typing import Any, ClassVar
from urllib.parse import urlencode

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response

#: Datetimes are answered in the zone of the person who signed in.
_ZONE = timezone(timedelta(hours=5, minutes=30))
#: The json_type of each data_type.
_JSON = {
    "integer": "integer",
    "double": "double",
    "currency": "double",
    "boolean": "boolean",
    "lookup": "jsonobject",
    "ownerlookup": "jsonobject",
    "multiselectpicklist": "jsonarray",
    "subform": "jsonarray",
    "formula": "double",
}
_NO = {"api_create": False, "api_update": False, "web_create": False, "web_update": False}


def _field(name: str, label: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "api_name": name,
        "field_label": label,
        "display_label": label,
        "data_type": kind,
        "json_type": _JSON.get(kind, "string"),
        "operation_type": dict.fromkeys(_NO, True),
        "system_mandatory": False,
        "read_only": False,
        "field_read_only": False,
        "visible": True,
        "custom_field": False,
        "type": "used",
        "length": 255,
        "unique": {},
        "lookup": {},
        "pick_list_values": [],
        **more,
    }


def _picks(*names: str) -> list[dict[str, Any]]:
    return [
        {"display_value": n, "actual_value": n, "id": n, "sequence_number": 1, "type": "used"}
        for n in ("-None-", *names)
    ]


def _to(module: str) -> dict[str, Any]:
    return {"module": {"api_name": module, "id": "1"}, "api_name": None, "id": "2"}


_KEY = _field("xkit_key", "xkit_key", custom_field=True, unique={"casesensitive": "1"}, length=36)
_COMMON = [
    _field("Owner", "Owner", "ownerlookup"),
    _field("Created_Time", "Created Time", "datetime", operation_type=_NO, read_only=True),
    _field("Tag", "Tag", "text", json_type="jsonarray", data_type="tag"),
]
_FIELDS: dict[str, list[dict[str, Any]]] = {
    "Leads": [
        _field("Last_Name", "Last Name", system_mandatory=True, length=80),
        _field("First_Name", "First Name", length=40),
        _field("Company", "Company", length=200),
        _field("Email", "Email", "email", length=100, unique={"casesensitive": "2"}),
        _field("Phone", "Phone", "phone", length=30),
        _field("Website", "Website", "website", length=450),
        _field("Description", "Description", "textarea", length=32_000),
        _field("No_of_Employees", "No. of Employees", "integer", length=9),
        _field("Annual_Revenue", "Annual Revenue", "currency", length=16),
        _field("Email_Opt_Out", "Email Opt Out", "boolean"),
        _field("Birthday", "Birthday", "date"),
        _field("Last_Visit", "Last Visit", "datetime"),
        _field(
            "Lead_Source",
            "Lead Source",
            "picklist",
            pick_list_values=[
                *_picks("Trade Show", "Web Research"),
                {"display_value": "Old", "actual_value": "Old", "id": "9", "type": "unused"},
            ],
        ),
        _field(
            "Interests",
            "Interests",
            "multiselectpicklist",
            pick_list_values=_picks("CRM", "Billing", "Support"),
        ),
        _field("Referred_By", "Referred By", "lookup", lookup=_to("Accounts")),
        _field("Score", "Score", "formula", operation_type=_NO),
        _field("Visits", "Visits", "subform"),
        _KEY,
        *_COMMON,
    ],
    "Accounts": [
        _field("Account_Name", "Account Name", system_mandatory=True, length=200),
        *_COMMON,
    ],
    "Deals": [
        _field("Deal_Name", "Deal Name", system_mandatory=True, length=120),
        _field("Amount", "Amount", "currency", length=16),
        _KEY,
        *_COMMON,
    ],
    "Tasks": [
        _field("Subject", "Subject", system_mandatory=True),
        _field("What_Id", "Related To", "lookup", lookup=_to("se_module")),
        *_COMMON,
    ],
    "Surveys": [
        _field("Name", "Name", system_mandatory=True, length=120),
        *(_field(f"Answer_{n}", f"Answer {n}") for n in range(1, 61)),
        _KEY,
        *_COMMON,
    ],
}
#: What each layout of a module wants.
_LAYOUTS = {
    "Leads": [{"Company", "Last_Name"}],
    "Deals": [{"Deal_Name", "Amount"}, {"Deal_Name"}],
}
#: Id, name, module, type and whether it is active.
_CADENCES = [
    ("501", "Welcome", "Leads", "Manual enrollment", True),
    ("502", "Retired", "Leads", "Manual enrollment", False),
    ("503", "By view", "Leads", "Custom view", True),
    ("504", "Win back", "Deals", "Manual enrollment", True),
]
_USERS = ("4711", "4712")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "double": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "currency": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "date": lambda v: isinstance(v, str) and _DATE.fullmatch(v),
    "datetime": lambda v: isinstance(v, str) and _DATETIME.fullmatch(v),
    "email": lambda v: isinstance(v, str) and _EMAIL.fullmatch(v),
    "lookup": lambda v: isinstance(v, dict),
    "ownerlookup": lambda v: isinstance(v, dict),
    "multiselectpicklist": lambda v: isinstance(v, list),
}


class ZohoFake(FakeCRM):
    contract_file = "zoho.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"consent", "give_token"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _FIELDS}
        #: Ids of leads that were converted, and of records that somebody has locked.
        self.converted: set[str] = set()
        self.locked: set[str] = set()
        #: Which record was enrolled in which cadence.
        self.enrolled: list[tuple[str, str]] = []
        #: What is sent along with each answer, such as how many credits are left.
        self.said: dict[str, str] = {}
        self.refuse_token = ""

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "authorize_url": f"{self.url}/oauth/v2/auth",
            "token_url": f"{self.url}/oauth/v2/token",
            "client_id": "a-client",
            "client_secret": "a-client-secret",
        }

    @property
    def credentials(self) -> Mapping[str, Any]:
        """As after signing in."""
        return {
            "access_token": self.token,
            "refresh_token": self.refresh_token,
            "api_domain": self.url,
            "location": "eu",
            "accounts-server": "https://accounts.zoho.eu",
        }

    def is_authorised(self, request: Request) -> bool:
        said = next((v for k, v in request.headers.items() if k.lower() == "authorization"), "")
        return said == f"Zoho-oauthtoken {self.token}"

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does: the other one is gone."""
        del self.records[remote_object][merged]
        return True

    def answer(self, request: Request) -> Response:
        found = super().answer(request)
        return Response(found.status, found.body, {**self.said, **found.headers})

    # -- the vendor's words -------------------------------------------------------------------

    def unauthorised(self) -> Response:
        return Response(401, _flat("INVALID_TOKEN", "invalid oauth token"))

    def too_many(self) -> Response:
        return Response(429, _flat("TOO_MANY_REQUESTS", "too many requests fired concurrently"))

    def not_allowed(self, violations: list[str]) -> Response:
        return Response(400, _flat("INVALID_DATA", "; ".join(violations)))

    # -- signing in ---------------------------------------------------------------------------

    def consent(self, request: Request) -> Response:
        """The person comes back with the data centre that they are at home in."""
        found = super().consent(request)
        home = escape(urlencode({"location": "eu", "accounts-server": self.url}))
        page = str(found.body).replace("?code=", f"?{home}&amp;code=")
        return Response(found.status, page, found.headers)

    def give_token(self, request: Request) -> Response:
        """What goes wrong is told with status 200, or 400."""
        if self.refuse_token:
            return Response(400, {"error": self.refuse_token, "status": "failure"})
        if request.body["client_id"] != self.options["client_id"]:
            return Response(200, {"error": "invalid_client"})
        if request.body["client_secret"] != self.options["client_secret"]:
            return Response(200, {"error": "invalid_client_secret"})
        is_new = request.body["grant_type"] == "authorization_code"
        known = request.body.get("refresh_token") == self.refresh_token
        if not (self.takes_code(request.body) if is_new else known):
            return Response(200, {"error": "invalid_code"})
        self.expire()
        self.renewals += 1
        body = {
            "access_token": self.token,
            "api_domain": self.url,
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return Response(200, body | ({"refresh_token": self.refresh_token} if is_new else {}))

    # -- describing ---------------------------------------------------------------------------

    def list_modules(self, request: Request) -> Response:
        shown = [
            {
                "api_name": name,
                "singular_label": name.rstrip("s"),
                "plural_label": name,
                "api_supported": True,
                "viewable": True,
                "generated_type": "custom" if name == "Surveys" else "default",
            }
            for name in _FIELDS
        ]
        hidden = [
            {"api_name": "Home", "api_supported": False, "viewable": True},
            {"api_name": "Invoices", "api_supported": True, "viewable": False},
            {"api_name": None, "api_supported": True, "viewable": True},
        ]
        return Response(200, {"modules": [*shown, *hidden]})

    def list_fields(self, request: Request) -> Response:
        found = _FIELDS.get(request.query["module"])
        return Response(200, {"fields": found}) if found else _no_module()

    def list_layouts(self, request: Request) -> Response:
        module = request.query["module"]
        if module not in _FIELDS:
            return _no_module()
        if module == "Tasks":
            return Response(400, _flat("NOT_SUPPORTED", "the module has no layouts"))
        layouts = [
            {"id": "1", "visible": True, "sections": [{"fields": _shown_in(module, wanted)}]}
            for wanted in _LAYOUTS.get(module, ())
        ]
        gone = {"id": "2", "visible": False, "sections": [{"fields": []}]}
        return Response(200, {"layouts": [*layouts, gone]}) if layouts else Response(204)

    def list_cadences(self, request: Request) -> Response:
        page = int(request.query.get("page", "1"))
        some = _CADENCES[2 * page - 2 : 2 * page]
        found = [
            {
                "id": number,
                "name": name,
                "module": {"api_name": module},
                "type": kind,
                "active": active,
                "published": True,
            }
            for number, name, module, kind, active in some
        ]
        more = 2 * page < len(_CADENCES)
        info = {"per_page": 2, "count": len(found), "page": page, "more_records": more}
        return Response(200, {"cadences": found, "info": info})

    # -- records ------------------------------------------------------------------------------

    def create(self, request: Request, module: str) -> Response:
        return self._each(request, module, self._create_one, 201)

    def update(self, request: Request, module: str) -> Response:
        return self._each(request, module, self._update_one, 200)

    def _each(self, request: Request, module: str, do: Any, status: int) -> Response:
        if module not in self.records:
            wrong = _wrong("INVALID_MODULE", "the module name given seems to be invalid")
            return Response(400, {"data": [wrong | {"details": {"resource_path_index": 0}}]})
        said = [do(module, n, one) for n, one in enumerate(request.body["data"])]
        return _together(said, status)

    def _create_one(self, module: str, n: int, values: Mapping[str, Any]) -> dict[str, Any]:
        if wrong := self._refusal(module, n, values, None):
            return wrong
        number = self.new_id()
        now = datetime.now(_ZONE).isoformat(timespec="seconds")
        held = {"id": number, "Owner": {"id": _USERS[0], "name": "Ada"}, "Created_Time": now}
        self.records[module][number] = held
        return self._keep(module, number, values, "record added")

    def _update_one(self, module: str, n: int, values: Mapping[str, Any]) -> dict[str, Any]:
        number = values["id"]
        at_fault = {"api_name": "id", "json_path": f"$.data[{n}].id"}
        if number not in self.records[module]:
            return _wrong("INVALID_DATA", "the id given seems to be invalid", at_fault)
        if number in self.locked:
            return _wrong("RECORD_LOCKED", "the record is locked", at_fault)
        if wrong := self._refusal(module, n, values, number):
            return wrong
        return self._keep(module, number, values, "record updated")

    def _keep(
        self, module: str, number: str, values: Mapping[str, Any], message: str
    ) -> dict[str, Any]:
        kinds = {one["api_name"]: one for one in _FIELDS[module]}
        for name, value in values.items():
            if name in kinds and kinds[name]["operation_type"]["api_update"]:
                self.records[module][number][name] = _held(value, kinds[name]["data_type"])
        details = {"id": number, "Modified_Time": self.records[module][number]["Created_Time"]}
        return {"code": "SUCCESS", "status": "success", "message": message, "details": details}

    def remove(self, request: Request, module: str) -> Response:
        if module not in self.records:
            return _no_module()
        said = []
        for number in request.query["ids"].split(","):
            if self.records[module].pop(number, None) is None:
                said.append(_wrong("INVALID_DATA", "record not deleted", {"id": number}))
            else:
                message, details = "record deleted", {"id": number}
                said.append(
                    {"code": "SUCCESS", "status": "success", "message": message, "details": details}
                )
        said.reverse()  # each names its record, in no order that is promised
        return _together(said, 200)

    def read(self, request: Request, module: str, record_id: str) -> Response:
        if module not in self.records:
            return _no_module()
        found = self.records[module].get(record_id)
        names = request.query["fields"].split(",")
        return Response(200, {"data": [_shown(found, names)]}) if found else Response(204)

    def read_many(self, request: Request, module: str) -> Response:
        if module not in self.records:
            return _no_module()
        names, asked = request.query["fields"].split(","), request.query["ids"].split(",")
        hidden = () if request.query.get("converted") == "both" else self.converted
        held = self.records[module]
        found = [_shown(held[one], names) for one in asked if one in held and one not in hidden]
        found.reverse()  # newest first, whatever was asked for
        info = {"per_page": 200, "count": len(found), "page": 1, "more_records": False}
        return Response(200, {"data": found, "info": info}) if found else Response(204)

    def query(self, request: Request) -> Response:
        try:
            found = list(_Query(request.body["select_query"]).run(self.records))
        except _Refused as error:
            return Response(400, error.args[0])
        info = {"count": len(found), "more_records": False}
        return Response(200, {"data": found, "info": info}) if found else Response(204)

    def enrol(self, request: Request, module: str) -> Response:
        (cadence,), (number,) = request.body["cadences_ids"], request.body["ids"]
        if (cadence, module) not in {(number, where) for number, _, where, _, _ in _CADENCES}:
            details = {"api_name": "cadences_ids", "json_path": "$.cadences_ids"}
            return Response(400, _flat("INVALID_DATA", "the given id seems to be invalid", details))
        if number not in self.records[module]:
            details = {"api_name": "ids", "json_path": "$.ids[0]"}
            said = _wrong("INVALID_DATA", "given id seems to be invalid", details)
            return Response(400, {"data": [said]})
        self.enrolled.append((cadence, number))
        said = {"code": "SUCCESS", "status": "success", "message": "records manually enrolled"}
        return Response(200, {"data": [said | {"details": {"id": number}}]})

    # -- what is refused ----------------------------------------------------------------------

    def _refusal(
        self, module: str, n: int, values: Mapping[str, Any], number: str | None
    ) -> dict[str, Any] | None:
        problems = list(self._problems(module, n, values, number))
        if len(problems) > 1:
            several = {"errors": problems}
            return _wrong("MULTIPLE_OR_MULTI_ERRORS", "Multiple errors in the request", several)
        return problems[0] if problems else None

    def _problems(
        self, module: str, n: int, values: Mapping[str, Any], number: str | None
    ) -> Iterator[dict[str, Any]]:
        kinds = {one["api_name"]: one for one in _FIELDS[module]}
        wanted = set().union(*_LAYOUTS.get(module, [set()])[:1])
        wanted |= {name for name, kind in kinds.items() if kind["system_mandatory"]}
        for name in sorted(wanted):
            lacks = name not in values if number is None else name in values
            if lacks and not values.get(name):
                yield _wrong("MANDATORY_NOT_FOUND", "required field not found", _at(n, name))
        for name, value in values.items():
            kind = kinds.get(name)
            if kind is None:
                if name != "id":
                    message = "the field api name given seems to be invalid"
                    yield _wrong("INVALID_DATA", message, _at(n, name))
            elif value is not None and (wrong := self._problem(n, name, value, kind)):
                yield wrong
            elif kind["unique"] and value and (twin := self._twin(module, name, value, number)):
                details = {"duplicate_record": {"id": twin}, "id": twin, **_at(n, name)}
                yield _wrong("DUPLICATE_DATA", "duplicate data", details)

    def _problem(
        self, n: int, name: str, value: Any, kind: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        at, data_type = _at(n, name), kind["data_type"]
        fits = _CHECKS[data_type](value) if data_type in _CHECKS else isinstance(value, str)
        if not fits:
            return _wrong("INVALID_DATA", "invalid data", {"expected_data_type": data_type, **at})
        if isinstance(value, str) and len(value) > kind["length"]:
            return _wrong("INVALID_DATA", "invalid data", {"maximum_length": kind["length"], **at})
        if isinstance(value, dict):
            known = _USERS if data_type == "ownerlookup" else self.records["Accounts"]
            if value["id"] not in known:
                details = {"api_name": "id", "json_path": f"$.data[{n}].{name}.id"}
                details["parent_api_name"] = name
                return _wrong("INVALID_DATA", "the id given seems to be invalid", details)
        known_values = {one["actual_value"] for one in kind["pick_list_values"]}
        picked = set(value) if isinstance(value, list) else {value} if known_values else set()
        if not picked <= known_values:
            return _wrong("INVALID_DATA", "invalid data", at)
        return None

    def _twin(self, module: str, name: str, value: Any, number: str | None) -> str | None:
        held = self.records[module].values()
        return next((r["id"] for r in held if r.get(name) == value and r["id"] != number), None)


def _shown_in(module: str, wanted: set[str]) -> list[dict[str, Any]]:
    return [{**one, "required": one["api_name"] in wanted} for one in _FIELDS[module]]


def _at(n: int, name: str) -> dict[str, Any]:
    return {"api_name": name, "json_path": f"$.data[{n}].{name}"}


def _flat(code: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "status": "error", "details": dict(details or {})}


_wrong = _flat


def _no_module() -> Response:
    details = {"resource_path_index": 0}
    message = "the module name given seems to be invalid"
    return Response(400, _flat("INVALID_MODULE", message, details))


def _together(said: Sequence[Mapping[str, Any]], status: int) -> Response:
    """The status of all: 207 for good and bad ones, 400 where none was taken."""
    good = sum(one["status"] == "success" for one in said)
    return Response(status if good == len(said) else 207 if good else 400, {"data": list(said)})


def _held(value: Any, kind: str) -> Any:
    if isinstance(value, dict):
        return {"id": value["id"], "name": f"Record {value['id']}"}
    if kind == "datetime" and isinstance(value, str):
        moment = datetime.fromisoformat(value).astimezone(UTC)
        return moment.astimezone(_ZONE).isoformat(timespec="seconds")
    return [] if kind == "multiselectpicklist" and value is None else value


def _shown(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {"id": record["id"], **{name: record.get(name) for name in names}}


class _Refused(Exception):
    """A query that can't be run, with the vendor's answer."""


_QUERY = re.compile(
    r"select (?P<columns>\w+(?:, ?\w+)*) from (?P<module>\w+) where (?P<where>.+?)"
    r"(?P<order> order by id desc)? limit (?P<limit>\d+)",
    re.DOTALL,
)
_TOKEN = re.compile(r"\s*('(?:[^'\\]|'')*'|[(),]|!=|=|[\w.+-]+)")


class _Query:
    """One query. Quotes in a text are doubled, brackets stand around each two conditions; a
    backslash is understood by nobody."""

    def __init__(self, text: str) -> None:
        found = _QUERY.fullmatch(text)
        if found is None:
            raise _Refused(_flat("SYNTAX_ERROR", "error occured while parsing the query"))
        self.columns = [one.strip() for one in found["columns"].split(",")]
        self.module, self.limit = found["module"], int(found["limit"])
        self.newest_first = bool(found["order"])
        if len(self.columns) > 50 or not 0 < self.limit <= 2000:
            raise _Refused(_flat("LIMIT_EXCEEDED", "limit exceeded"))
        if self.module not in _FIELDS:
            raise _Refused(_flat("INVALID_MODULE", "the given module is not supported in api"))
        self.kinds = {one["api_name"]: one["data_type"] for one in _FIELDS[self.module]}
        for name in self.columns:
            self._column(name)
        self.tokens = list(self._tokens(found["where"]))
        self.where = self._condition()
        if self.tokens:
            raise self._unexpected()

    def run(self, records: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        held = sorted(records[self.module].values(), key=lambda one: int(one["id"]))
        if self.newest_first:
            held.reverse()
        found = [one for one in held if self.where(one)]
        for one in found[: self.limit]:
            yield _shown(one, self.columns)

    def _tokens(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._unexpected(text[at : at + 20])
            yield found[1]
            at = found.end()

    def _unexpected(self, near: str = "where") -> _Refused:
        return _Refused(_flat("SYNTAX_ERROR", "unexpected token", {"near": near}))

    def _take(self, wanted: str = "") -> str:
        token = self.tokens.pop(0) if self.tokens else ""
        if wanted and token != wanted:
            raise self._unexpected(token)
        return token

    def _column(self, name: str) -> str:
        if name != "id" and name not in self.kinds:
            details = {"column_name": name}
            raise _Refused(_flat("INVALID_QUERY", "column given seems to be invalid", details))
        return name

    def _condition(self) -> Any:
        if self.tokens[:1] != ["("]:
            return self._comparison()
        self._take("(")
        one = self._condition()
        self._take("and")
        other = self._condition()
        self._take(")")
        return lambda record: one(record) and other(record)

    def _comparison(self) -> Any:
        name = self._column(self._take())
        if self.kinds.get(name) == "textarea":
            details = {"column_name": name}
            raise _Refused(_flat("INVALID_QUERY", "unsupported column in criteria", details))
        match self._take():
            case "=":
                wanted = self._value()
                return lambda record: self._same(record.get(name), wanted)
            case "like":
                part = str(self._value()).casefold()
                part = part.removeprefix("%").removesuffix("%")
                return lambda record: part in str(record.get(name) or "").casefold()
            case "in":
                values = self._list()
                return lambda record: record.get(name) in values
            case "is":
                if self.tokens[:1] == ["not"]:
                    self._take("not")
                    self._take("null")
                    return lambda record: record.get(name) is not None
                self._take("null")
                return lambda record: record.get(name) is None
        raise self._unexpected()

    def _list(self) -> list[Any]:
        self._take("(")
        values = [self._value()]
        while self._take() == ",":
            values.append(self._value())
        if len(values) > 50:
            raise _Refused(_flat("LIMIT_EXCEEDED", "limit exceeded"))
        return values

    def _value(self) -> Any:
        said = self._take()
        if said.startswith("'"):
            return said[1:-1].replace("''", "'")
        if said in ("true", "false"):
            return said == "true"
        try:
            return float(said)
        except ValueError as error:
            raise self._unexpected(said) from error

    @staticmethod
    def _same(held: Any, wanted: Any) -> bool:
        held = held["id"] if isinstance(held, dict) else held
        if isinstance(held, str) and isinstance(wanted, str) and _DATETIME.fullmatch(wanted):
            return datetime.fromisoformat(held) == datetime.fromisoformat(wanted)
        if isinstance(held, str) and isinstance(wanted, str):
            return held.casefold() == wanted.casefold()
        return bool(held == wanted)
