"""The fake Salesforce: its records, and the operations of its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.salesforce import answers, objects, soql
from xkit_crm.testing.fakes.salesforce.values import checksum, held, is_readable, moment, wrong
from xkit_crm.testing.fakes.server import FakeCRM, Response

#: So few rows come with one page of a query that paging is needed.
_PAGE = 2


class SalesforceFake(FakeCRM):
    contract_file = "salesforce.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"give_token"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in objects.FIELDS}
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
        doors = "/services/oauth2"
        return {"base_url": self.url, **self.signing_in(f"{doors}/authorize", f"{doors}/token")}

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
        return answers.error(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def too_many(self) -> Response:
        return answers.error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    def not_allowed(self, violations: list[str]) -> Response:
        return answers.error(400, "JSON_PARSER_ERROR", "; ".join(violations))

    # -- operations ---------------------------------------------------------------------------

    def give_token(self, request: Request) -> Response:
        form = request.body
        if self.token_refusal:
            return answers.oauth_error(*self.token_refusal)
        if form["client_id"] != "a-client":
            return answers.oauth_error("invalid_client_id", "client identifier invalid")
        if form.get("client_secret") != "a-client-secret":
            return answers.oauth_error("invalid_client", "invalid client credentials")
        given = form.get("refresh_token") or form.get("code")
        if given not in (self.refresh_token, "a-code"):
            return answers.oauth_error("invalid_grant", "expired access/refresh token")
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
                "keyPrefix": objects.PREFIXES.get(name),
                "queryable": True,
                "createable": True,
                "updateable": more.get("createable", True),
                "deletable": True,
                "customSetting": False,
                "deprecatedAndHidden": False,
                **more,
            }
            for name, label, plural, more in objects.OBJECTS
        ]
        return Response(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": found})

    def describe(self, request: Request, sobject: str) -> Response:
        if sobject not in objects.FIELDS:
            return answers.no_resource()
        return Response(200, {"name": sobject, "fields": objects.FIELDS[sobject]})

    def outline(self, request: Request, sobject: str) -> Response:
        if sobject not in objects.FIELDS:
            return answers.no_resource()
        described = {"name": sobject, "keyPrefix": objects.PREFIXES[sobject]}
        return Response(200, {"objectDescribe": described, "recentItems": []})

    def create(self, request: Request, sobject: str) -> Response:
        if sobject not in objects.FIELDS:
            return answers.no_resource()
        if unread := self._unreadable(sobject, [request.body]):
            return unread
        result = self._insert(sobject, request.body)
        return answers.single(result) or Response(201, result)

    def read(self, request: Request, sobject: str, record_id: str) -> Response:
        found = self._find(sobject, record_id)
        if found is None:
            return answers.missing(record_id in self.deleted)
        names = request.query.get("fields", "Id").split(",")
        return self._no_column(sobject, names) or Response(
            200, answers.shown(sobject, found, names)
        )

    def update(self, request: Request, sobject: str, record_id: str) -> Response:
        if self._find(sobject, record_id) is None:
            return answers.missing(record_id in self.deleted)
        if unread := self._unreadable(sobject, [request.body]):
            return unread
        return answers.single(self._change(sobject, record_id, request.body)) or Response(204)

    def delete(self, request: Request, sobject: str, record_id: str) -> Response:
        if self._find(sobject, record_id) is None:
            return answers.missing(record_id in self.deleted)
        return answers.single(self._remove(record_id)) or Response(204)

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
        if sobject not in objects.FIELDS:
            return answers.no_resource()
        names = request.body["fields"]
        if wrong := self._no_column(sobject, names):
            return wrong
        found = [self._find(sobject, one) for one in request.body["ids"]]
        return Response(200, [one and answers.shown(sobject, one, names) for one in found])

    def query(self, request: Request) -> Response:
        try:
            query = soql.Query(request.query["q"])
        except soql.Malformed as error:
            return answers.error(400, "MALFORMED_QUERY", str(error))
        if query.sobject not in objects.FIELDS:
            said = f"sObject type '{query.sobject}' is not supported."
            return answers.error(400, "INVALID_TYPE", said)
        asked = [*query.fields, *query.order, *(name for name, _ in query.conditions)]
        if wrong := self._no_column(query.sobject, asked):
            return wrong
        rows = [
            row
            for row in self.records[query.sobject].values()
            if all(meets(row.get(name)) for name, meets in query.conditions)
        ]
        rows.sort(key=lambda row: tuple(str(row.get(name)) for name in query.order), reverse=True)
        shown = [answers.shown(query.sobject, row, query.fields) for row in rows[: query.limit]]
        return self._page(shown, len(shown))

    def query_more(self, request: Request, locator: str) -> Response:
        rows = self._cursors.pop(locator, None)
        if rows is None:
            return answers.error(404, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(rows, len(rows))

    def list_flows(self, request: Request) -> Response:
        active = [name for name in objects.FLOWS if name not in self.inactive]
        return Response(
            200, {"actions": [{"name": n, "label": f"{n} flow", "type": "FLOW"} for n in active]}
        )

    def describe_flow(self, request: Request, name: str) -> Response:
        if name not in objects.FLOWS:
            return answers.no_resource()
        if name == "Broken":
            return answers.error(400, "INVALID_INPUT", "The flow can't be described.")
        return Response(
            200,
            {"name": name, "label": f"{name} flow", "type": "FLOW", "inputs": objects.FLOWS[name]},
        )

    def run_flow(self, request: Request, name: str) -> Response:
        if name not in objects.FLOWS or name in self.inactive:
            return answers.no_resource()
        results = [self._run(name, given) for given in request.body["inputs"]]
        failed = any(not one["isSuccess"] for one in results)
        return Response(400 if failed else 200, results)

    # -- flows --------------------------------------------------------------------------------

    def _run(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        known = {one["name"]: one for one in objects.FLOWS[name]}
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
            outputs["opportunity"] = answers.shown("Opportunity", record, ["Id", "Name"])
        return {**result, "isSuccess": True, "errors": None, "outputValues": outputs}

    # -- records ------------------------------------------------------------------------------

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does: the other one goes to the recycle bin."""
        self.records[remote_object].pop(merged)
        self.deleted.add(merged)
        return True

    def new_record_id(self, sobject: str) -> str:
        """Fifteen characters, and three that tell which of them are capitals."""
        short = f"{objects.PREFIXES[sobject]}{int(self.new_id()):012d}"
        return short + "".join(checksum(short[n : n + 5]) for n in (0, 5, 10))

    def _find(self, sobject: str, record_id: str) -> dict[str, Any] | None:
        held = self.records.get(sobject, {})
        return next((row for one, row in held.items() if one[:15] == record_id[:15]), None)

    def _collection(
        self, request: Request, save: Callable[[str, dict[str, Any]], dict[str, Any]]
    ) -> Response:
        records = [dict(one) for one in request.body["records"]]
        kinds = [one.pop("attributes")["type"] for one in records]
        for kind, record in zip(kinds, records, strict=True):
            if kind not in objects.FIELDS:
                return answers.error(
                    400, "INVALID_TYPE", f"sObject type '{kind}' is not supported."
                )
            if unread := self._unreadable(kind, [record]):
                return unread
        return Response(200, [save(*one) for one in zip(kinds, records, strict=True)])

    def _unreadable(self, sobject: str, records: Sequence[Mapping[str, Any]]) -> Response | None:
        """A value of a wrong JSON type or a field that there isn't spoils the whole request."""
        fields = {one["name"]: one["type"] for one in objects.FIELDS[sobject]}
        for record in records:
            for name, value in record.items():
                if name == "id":
                    continue
                if name not in fields:
                    return self._no_column(sobject, [name])
                if not is_readable(fields[name], value):
                    said = f"Cannot deserialize instance of {fields[name]} from {value!r}"
                    return answers.error(400, "JSON_PARSER_ERROR", f"{said} at [line:1, column:9]")
        return None

    def _no_column(self, sobject: str, names: Sequence[str]) -> Response | None:
        known = {one["name"] for one in objects.FIELDS.get(sobject, ())}
        for name in names:
            if name not in known:
                said = f"No such column '{name}' on sobject of type {sobject}"
                return answers.error(400, "INVALID_FIELD", said)
        return None

    def _insert(self, sobject: str, values: Mapping[str, Any]) -> dict[str, Any]:
        needed = [
            one["name"]
            for one in objects.FIELDS[sobject]
            if one["createable"] and not (one["nillable"] or one["defaultedOnCreate"])
        ]
        missing = [name for name in needed if not values.get(name)]
        if missing:
            listed = ", ".join(missing)
            return answers.failed(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{listed}]", missing
            )
        if error := self._refusal(sobject, values, "createable"):
            return error
        self.clock += timedelta(seconds=1)
        record_id = self.new_record_id(sobject)
        row: dict[str, Any] = {
            one["name"]: False for one in objects.FIELDS[sobject] if one["type"] == "boolean"
        }
        row |= {"Id": record_id, "CreatedDate": moment(self.clock)}
        self.records[sobject][record_id] = row | held(sobject, values)
        return {"id": record_id, "success": True, "errors": []}

    def _change(self, sobject: str, record_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
        found = self._find(sobject, record_id)
        if found is None:
            return answers.lost(record_id in self.deleted)
        if found["Id"] in self.locked:
            return answers.failed(
                "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"
            )
        if error := self._refusal(sobject, values, "updateable", found):
            return error
        found |= held(sobject, values)
        return {"id": found["Id"], "success": True, "errors": []}

    def _remove(self, record_id: str) -> dict[str, Any]:
        for rows in self.records.values():
            for one in list(rows):
                if one[:15] == record_id[:15]:
                    if one in self.locked:
                        return answers.failed(
                            "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"
                        )
                    del rows[one]
                    self.deleted.add(one)
                    return {"id": one, "success": True, "errors": []}
        return answers.lost(record_id in self.deleted)

    def _refusal(
        self,
        sobject: str,
        values: Mapping[str, Any],
        may: str,
        known: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        fields = {one["name"]: one for one in objects.FIELDS[sobject]}
        for name, value in values.items():
            field = fields[name]
            if not field[may]:
                said = f"Unable to create/update fields: {name}. Please check the security settings"
                return answers.failed("INVALID_FIELD_FOR_INSERT_UPDATE", said, [name])
            if value in (None, ""):
                continue
            if error := wrong(field, value):
                return answers.failed(*error, [name])
            if field["type"] == "reference" and value in self.deleted:
                return answers.failed("ENTITY_IS_DELETED", "entity is deleted", [name])
            if field["unique"]:
                for row in self.records[sobject].values():
                    if row is not known and row.get(name) == value:
                        said = f"{name} duplicates value on record with id: {row['Id']}"
                        return answers.failed("DUPLICATE_VALUE", f"duplicate value found: {said}")
        return None

    def _page(self, rows: list[dict[str, Any]], total: int) -> Response:
        body: dict[str, Any] = {"totalSize": total, "done": True, "records": rows[:_PAGE]}
        if rest := rows[_PAGE:]:
            locator = f"01g{self.new_id()}AAA-{len(rows)}"
            self._cursors[locator] = rest
            body |= {
                "done": False,
                "nextRecordsUrl": f"/services/data/{answers.VERSION}/query/{locator}",
            }
        return Response(200, body)
