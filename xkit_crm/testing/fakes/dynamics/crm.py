"""The fake Dataverse: its records, and the operations of its contract."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.dynamics import answers, objects, odata
from xkit_crm.testing.fakes.dynamics.values import refusal
from xkit_crm.testing.fakes.server import FakeCRM, Response

_API = "/api/data/v9.2"
#: How many rows of a list stand on a page.
_PAGE = 2
#: How many requests a batch takes.
_MOST = 1000


class DynamicsFake(FakeCRM):
    contract_file = "dynamics.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"give_token"})

    def __init__(self) -> None:
        super().__init__()
        #: By table and id; references as `_column_value` beside the table they lead to.
        self.records: dict[str, dict[str, dict[str, Any]]] = {
            name: {} for name in objects.ATTRIBUTES
        }
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
        doors = "/organizations/oauth2/v2.0"
        return {"base_url": self.url, **self.signing_in(f"{doors}/authorize", f"{doors}/token")}

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
        record |= {"_masterid_value": kept, f"_masterid_value{odata.LEADS_TO}": remote_object}
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
        refused = answers.error(429, "0x80072322", message)
        return Response(429, refused.body, {"Retry-After": "7"})

    def not_allowed(self, violations: list[str]) -> Response:
        return answers.error(400, "0x80060888", "; ".join(violations))

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
                "DisplayName": objects.label(objects.LABELS[name][0]),
                "DisplayCollectionName": objects.label(objects.LABELS[name][1]),
            }
            for name, entity_set in objects.SETS.items()
        ]
        return answers.rows([odata.selected(row, request) for row in rows])

    def get_entity(self, request: Request, name: str) -> Response:
        if name not in objects.ATTRIBUTES:
            return answers.no_entity(name)
        own = {"EntitySetName": objects.SETS[name], "PrimaryIdAttribute": f"{name}id"}
        return Response(200, odata.selected(own, request))

    def list_attributes(self, request: Request, name: str) -> Response:
        if name not in objects.ATTRIBUTES:
            return answers.no_entity(name)
        return answers.rows([odata.selected(one, request) for one in objects.ATTRIBUTES[name]])

    def list_keys(self, request: Request, name: str) -> Response:
        if name not in objects.ATTRIBUTES:
            return answers.no_entity(name)
        keys = [
            {"KeyAttributes": [key], "EntityKeyIndexStatus": "Active"}
            for key in objects.KEYS.get(name, ())
        ]
        return answers.rows([odata.selected(key, request) for key in keys])

    def list_relationships(self, request: Request, name: str) -> Response:
        if name not in objects.ATTRIBUTES:
            return answers.no_entity(name)
        rows = [
            {
                "ReferencingAttribute": column,
                "ReferencedEntity": leads_to,
                "ReferencingEntityNavigationPropertyName": navigation,
            }
            for table, column, leads_to, navigation in objects.RELATIONS
            if table == name
        ]
        return answers.rows([odata.selected(row, request) for row in rows])

    def cast_attributes(self, request: Request, name: str, kind: str) -> Response:
        if name not in objects.ATTRIBUTES:
            return answers.no_entity(name)
        kinds = {"Lookup", "Customer", "Owner"} if kind == "Lookup" else {kind}
        expanded = re.findall(r"(\w+)\(", request.query.get("$expand", ""))
        rows = []
        for one in objects.ATTRIBUTES[name]:
            if objects.kind(one) in kinds:
                row = odata.selected({**one, **one["more"]}, request)
                rows.append(row | {more: one["more"].get(more) for more in expanded})
        return answers.rows(rows)

    # -- records ------------------------------------------------------------------------------

    def list_records(self, request: Request, entity_set: str) -> Response:
        table = objects.table(entity_set)
        if table is None:
            return answers.no_segment(entity_set)
        query = request.query
        conditions = list(odata.conditions(query.get("$filter", "")))
        found = [
            one for one in self.records[table].values() if all(meets(one) for meets in conditions)
        ]
        by = query.get("$orderby", "").partition(" ")[0]
        found.sort(key=lambda one: str(one.get(by, "")), reverse=True)
        return answers.rows([odata.shown(one, request) for one in found[: int(query["$top"])]])

    def read(self, request: Request, entity_set: str, record_id: str) -> Response:
        table = objects.table(entity_set)
        if table is None:
            return answers.no_segment(entity_set)
        found = self.records[table].get(record_id)
        return (
            Response(200, odata.shown(found, request))
            if found
            else answers.missing(table, record_id)
        )

    def create(self, request: Request, entity_set: str) -> Response:
        table = objects.table(entity_set)
        if table is None:
            return answers.no_segment(entity_set)
        values, refused = self._values(table, request.body, None)
        if refused:
            return refused
        record_id = self.add(table, **values)
        where = f"{self.url}{_API}/{entity_set}({record_id})"
        return Response(204, None, {"OData-EntityId": where, "Location": where})

    def update(self, request: Request, entity_set: str, record_id: str) -> Response:
        table = objects.table(entity_set)
        if table is None:
            return answers.no_segment(entity_set)
        found = self.records[table].get(record_id)
        if found is None:
            return answers.missing(table, record_id)
        values, refused = self._values(table, request.body, found)
        if refused:
            return refused
        found |= values
        if odata.header(request, "Prefer") == "return=representation":
            return Response(200, odata.shown(found, request))
        return Response(204)

    def remove(self, request: Request, entity_set: str, record_id: str) -> Response:
        table = objects.table(entity_set)
        if table is None:
            return answers.no_segment(entity_set)
        found = self.records[table].pop(record_id, None)
        return Response(204) if found else answers.missing(table, record_id)

    def _values(
        self, table: str, body: Mapping[str, Any], known: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], Response | None]:
        """What a body means to a record, or why Dataverse doesn't take it."""
        columns = {one["LogicalName"]: one for one in objects.ATTRIBUTES[table]}
        navigation = {one[3]: one for one in objects.RELATIONS if one[0] == table}
        values: dict[str, Any] = {}
        for name, value in body.items():
            bound = name.removesuffix("@odata.bind")
            if bound in navigation and (bound != name or value is None):
                refused = self._bind(table, navigation[bound], value, values)
            elif name not in columns or "Targets" in columns[name]["more"]:
                refused = answers.payload(
                    table,
                    f"Microsoft.Crm.CrmException: Invalid property '{bound}' was found in entity "
                    f"'Microsoft.Dynamics.CRM.{table}'. ---> Microsoft.OData.ODataException: "
                    "Does not support untyped value in non-open type.",
                )
            else:
                values[name] = value
                refused = refusal(table, columns[name], value)
            if refused:
                return {}, refused
        for key in objects.KEYS.get(table, ()):
            taken = [r for r in self.records[table].values() if r.get(key) == values.get(key, 0)]
            if taken and taken[0] is not known:
                return {}, answers.error(
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
        there = objects.table(entity_set)
        if there is None or leads_to not in (there, "owner"):
            said = f"Microsoft.OData.ODataException: '{entity_set}' is not of '{column}'."
            return answers.payload(table, said)
        if record_id not in self.records[there]:
            return answers.missing(there, record_id)
        values[f"_{column}_value"] = record_id
        values[f"_{column}_value{odata.LEADS_TO}"] = there
        return None

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self, request: Request) -> Response:
        return self._page(request, objects.WORKFLOWS)

    def list_custom_apis(self, request: Request) -> Response:
        return self._page(request, objects.CUSTOM_APIS)

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
        found = [one for one in objects.WORKFLOWS if one["workflowid"] == workflow_id]
        if not found:
            return answers.missing("workflow", workflow_id)
        record_id = request.body["EntityId"]
        if record_id not in self.records[found[0]["primaryentity"]]:
            return answers.missing(found[0]["primaryentity"], record_id)
        self.started.append((workflow_id, record_id))
        return Response(200, {"asyncoperationid": str(uuid4())})

    def invite(self, request: Request) -> Response:
        self.started.append(("xk_Invite", request.body))
        return Response(204)

    # -- batches ------------------------------------------------------------------------------

    def batch(self, request: Request) -> Response:
        boundary = odata.header(request, "Content-Type").partition("boundary=")[2].strip('"')
        sections = request.body.split(f"--{boundary}")[1:-1]
        if len(sections) > _MOST or "\n" in request.body.replace("\r\n", ""):
            return answers.error(400, "0x80048d19", "Stream was not readable.")
        mine = f"batchresponse_{uuid4()}"
        lines: list[str] = []
        done = [self._answer_part(odata.inner(section)) for section in sections]
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
            return answers.no_segment(request.path)
        operation, named = found
        if violations := list(operation.violations(request)):
            self.violations += [f"{operation.id}: {one}" for one in violations]
            return self.not_allowed(violations)
        answered: Response = getattr(self, operation.id)(request, **named)
        return answered
