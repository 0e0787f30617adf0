"""The fake Zoho CRM: its records, and the operations of its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, ClassVar
from urllib.parse import urlencode

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response
from xkit_crm.testing.fakes.zoho import answers, coql, objects
from xkit_crm.testing.fakes.zoho.values import CHECKS, ZONE, held


class ZohoFake(FakeCRM):
    contract_file = "zoho.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"consent", "give_token"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in objects.FIELDS}
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
        return self.signing_in("/oauth/v2/auth", "/oauth/v2/token")

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
        return Response(401, answers.flat("INVALID_TOKEN", "invalid oauth token"))

    def too_many(self) -> Response:
        return Response(
            429, answers.flat("TOO_MANY_REQUESTS", "too many requests fired concurrently")
        )

    def not_allowed(self, violations: list[str]) -> Response:
        return Response(400, answers.flat("INVALID_DATA", "; ".join(violations)))

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
            for name in objects.FIELDS
        ]
        hidden = [
            {"api_name": "Home", "api_supported": False, "viewable": True},
            {"api_name": "Invoices", "api_supported": True, "viewable": False},
            {"api_name": None, "api_supported": True, "viewable": True},
        ]
        return Response(200, {"modules": [*shown, *hidden]})

    def list_fields(self, request: Request) -> Response:
        found = objects.FIELDS.get(request.query["module"])
        return Response(200, {"fields": found}) if found else answers.no_module()

    def list_layouts(self, request: Request) -> Response:
        module = request.query["module"]
        if module not in objects.FIELDS:
            return answers.no_module()
        if module == "Tasks":
            return Response(400, answers.flat("NOT_SUPPORTED", "the module has no layouts"))
        layouts = [
            {"id": "1", "visible": True, "sections": [{"fields": objects.shown_in(module, wanted)}]}
            for wanted in objects.LAYOUTS.get(module, ())
        ]
        gone = {"id": "2", "visible": False, "sections": [{"fields": []}]}
        return Response(200, {"layouts": [*layouts, gone]}) if layouts else Response(204)

    def list_cadences(self, request: Request) -> Response:
        page = int(request.query.get("page", "1"))
        some = objects.CADENCES[2 * page - 2 : 2 * page]
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
        more = 2 * page < len(objects.CADENCES)
        info = {"per_page": 2, "count": len(found), "page": page, "more_records": more}
        return Response(200, {"cadences": found, "info": info})

    # -- records ------------------------------------------------------------------------------

    def create(self, request: Request, module: str) -> Response:
        return self._each(request, module, self._create_one, 201)

    def update(self, request: Request, module: str) -> Response:
        return self._each(request, module, self._update_one, 200)

    def _each(self, request: Request, module: str, do: Any, status: int) -> Response:
        if module not in self.records:
            wrong = answers.wrong("INVALID_MODULE", "the module name given seems to be invalid")
            return Response(400, {"data": [wrong | {"details": {"resource_path_index": 0}}]})
        said = [do(module, n, one) for n, one in enumerate(request.body["data"])]
        return answers.together(said, status)

    def _create_one(self, module: str, n: int, values: Mapping[str, Any]) -> dict[str, Any]:
        if wrong := self._refusal(module, n, values, None):
            return wrong
        number = self.new_id()
        now = datetime.now(ZONE).isoformat(timespec="seconds")
        held = {"id": number, "Owner": {"id": objects.USERS[0], "name": "Ada"}, "Created_Time": now}
        self.records[module][number] = held
        return self._keep(module, number, values, "record added")

    def _update_one(self, module: str, n: int, values: Mapping[str, Any]) -> dict[str, Any]:
        number = values["id"]
        at_fault = {"api_name": "id", "json_path": f"$.data[{n}].id"}
        if number not in self.records[module]:
            return answers.wrong("INVALID_DATA", "the id given seems to be invalid", at_fault)
        if number in self.locked:
            return answers.wrong("RECORD_LOCKED", "the record is locked", at_fault)
        if wrong := self._refusal(module, n, values, number):
            return wrong
        return self._keep(module, number, values, "record updated")

    def _keep(
        self, module: str, number: str, values: Mapping[str, Any], message: str
    ) -> dict[str, Any]:
        kinds = {one["api_name"]: one for one in objects.FIELDS[module]}
        for name, value in values.items():
            if name in kinds and kinds[name]["operation_type"]["api_update"]:
                self.records[module][number][name] = held(value, kinds[name]["data_type"])
        details = {"id": number, "Modified_Time": self.records[module][number]["Created_Time"]}
        return {"code": "SUCCESS", "status": "success", "message": message, "details": details}

    def remove(self, request: Request, module: str) -> Response:
        if module not in self.records:
            return answers.no_module()
        said = []
        for number in request.query["ids"].split(","):
            if self.records[module].pop(number, None) is None:
                said.append(answers.wrong("INVALID_DATA", "record not deleted", {"id": number}))
            else:
                message, details = "record deleted", {"id": number}
                said.append(
                    {"code": "SUCCESS", "status": "success", "message": message, "details": details}
                )
        said.reverse()  # each names its record, in no order that is promised
        return answers.together(said, 200)

    def read(self, request: Request, module: str, record_id: str) -> Response:
        if module not in self.records:
            return answers.no_module()
        found = self.records[module].get(record_id)
        names = request.query["fields"].split(",")
        return Response(200, {"data": [answers.shown(found, names)]}) if found else Response(204)

    def read_many(self, request: Request, module: str) -> Response:
        if module not in self.records:
            return answers.no_module()
        names, asked = request.query["fields"].split(","), request.query["ids"].split(",")
        hidden = () if request.query.get("converted") == "both" else self.converted
        held = self.records[module]
        found = [
            answers.shown(held[one], names) for one in asked if one in held and one not in hidden
        ]
        found.reverse()  # newest first, whatever was asked for
        info = {"per_page": 200, "count": len(found), "page": 1, "more_records": False}
        return Response(200, {"data": found, "info": info}) if found else Response(204)

    def query(self, request: Request) -> Response:
        try:
            found = list(coql.Query(request.body["select_query"]).run(self.records))
        except coql.Refused as error:
            return Response(400, error.args[0])
        info = {"count": len(found), "more_records": False}
        return Response(200, {"data": found, "info": info}) if found else Response(204)

    def enrol(self, request: Request, module: str) -> Response:
        (cadence,), (number,) = request.body["cadences_ids"], request.body["ids"]
        if (cadence, module) not in {
            (number, where) for number, _, where, _, _ in objects.CADENCES
        }:
            details = {"api_name": "cadences_ids", "json_path": "$.cadences_ids"}
            return Response(
                400, answers.flat("INVALID_DATA", "the given id seems to be invalid", details)
            )
        if number not in self.records[module]:
            details = {"api_name": "ids", "json_path": "$.ids[0]"}
            said = answers.wrong("INVALID_DATA", "given id seems to be invalid", details)
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
            return answers.wrong(
                "MULTIPLE_OR_MULTI_ERRORS", "Multiple errors in the request", several
            )
        return problems[0] if problems else None

    def _problems(
        self, module: str, n: int, values: Mapping[str, Any], number: str | None
    ) -> Iterator[dict[str, Any]]:
        kinds = {one["api_name"]: one for one in objects.FIELDS[module]}
        wanted = set().union(*objects.LAYOUTS.get(module, [set()])[:1])
        wanted |= {name for name, kind in kinds.items() if kind["system_mandatory"]}
        for name in sorted(wanted):
            lacks = name not in values if number is None else name in values
            if lacks and not values.get(name):
                yield answers.wrong(
                    "MANDATORY_NOT_FOUND", "required field not found", answers.at(n, name)
                )
        for name, value in values.items():
            kind = kinds.get(name)
            if kind is None:
                if name != "id":
                    message = "the field api name given seems to be invalid"
                    yield answers.wrong("INVALID_DATA", message, answers.at(n, name))
            elif value is not None and (wrong := self._problem(n, name, value, kind)):
                yield wrong
            elif kind["unique"] and value and (twin := self._twin(module, name, value, number)):
                details = {"duplicate_record": {"id": twin}, "id": twin, **answers.at(n, name)}
                yield answers.wrong("DUPLICATE_DATA", "duplicate data", details)

    def _problem(
        self, n: int, name: str, value: Any, kind: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        at, data_type = answers.at(n, name), kind["data_type"]
        fits = CHECKS[data_type](value) if data_type in CHECKS else isinstance(value, str)
        if not fits:
            return answers.wrong(
                "INVALID_DATA", "invalid data", {"expected_data_type": data_type, **at}
            )
        if isinstance(value, str) and len(value) > kind["length"]:
            return answers.wrong(
                "INVALID_DATA", "invalid data", {"maximum_length": kind["length"], **at}
            )
        if isinstance(value, dict):
            known = objects.USERS if data_type == "ownerlookup" else self.records["Accounts"]
            if value["id"] not in known:
                details = {"api_name": "id", "json_path": f"$.data[{n}].{name}.id"}
                details["parent_api_name"] = name
                return answers.wrong("INVALID_DATA", "the id given seems to be invalid", details)
        known_values = {one["actual_value"] for one in kind["pick_list_values"]}
        picked = set(value) if isinstance(value, list) else {value} if known_values else set()
        if not picked <= known_values:
            return answers.wrong("INVALID_DATA", "invalid data", at)
        return None

    def _twin(self, module: str, name: str, value: Any, number: str | None) -> str | None:
        held = self.records[module].values()
        return next((r["id"] for r in held if r.get(name) == value and r["id"] != number), None)
