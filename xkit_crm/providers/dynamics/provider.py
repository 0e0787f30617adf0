"""Dynamics 365: the tables of Dataverse, by its Web API v9.2 (OData 4), signed in at Entra.

Objects and fields are known by their logical names; addresses have the name of the entity set, and
references are written by the name of a navigation property, so a table's description holds all
three. Many records at once go as one `$batch` without change sets, where each fails alone. A column
`<publisher>_xkit_key` lets a create of unknown outcome be looked up (`docs/crms/dynamics.md`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from django.utils.translation import gettext_lazy as _

from xkit_crm.conf import settings
from xkit_crm.exceptions import (
    CRMError,
    CRMUnavailable,
    Problem,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    CredentialField,
    Criterion,
    Draft,
    Edit,
    Limits,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
    Workflow,
    outcome_of,
)
from xkit_crm.providers.dynamics.odata import GUID, Part, multipart, parts_of, query_of, quoted
from xkit_crm.providers.dynamics.organisations import address_of, login_of
from xkit_crm.providers.dynamics.tables import (
    TARGETS,
    Table,
    at_fault,
    condition_of,
    custom_api_of,
    deleting,
    label_of,
    merged_into,
    navigation_of,
    path_of,
    questions,
    reading,
    record_of,
    selected,
    table_of,
    unfit,
    workflow_of,
    written,
)
from xkit_crm.providers.http import KEY_FIELD, Answer, part
from xkit_crm.providers.oauth import Endpoints, OAuthProvider

API = "/api/data/v9.2"

_ODATA = {"OData-Version": "4.0", "OData-MaxVersion": "4.0"}


class DynamicsProvider(OAuthProvider):
    slug = "dynamics"
    label = "Dynamics 365"
    sign_in_fields = (
        CredentialField(
            "url",
            _("Address of your organisation"),
            _("As your browser shows it, such as https://contoso.crm4.dynamics.com."),
        ),
    )
    can_find_created = False  # but for tables with a column `<publisher>_xkit_key`
    #: It takes 1,000, one after the other, and gives up after two minutes: these are done by then
    #: even where plug-ins of the customer's take a second for each.
    batch_size = 100
    timeout = (5.0, 120.0)
    #: Of each user on each web server. A batch counts as one, and by how long it takes.
    limits = Limits(calls=6000, per=300.0)

    @classmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        organisation = cls._address(given)
        entra = f"https://{login_of(organisation)}/organizations/oauth2/v2.0"
        return Endpoints(
            authorize=f"{entra}/authorize",
            token=f"{entra}/token",
            scopes=(f"{organisation}/.default", "offline_access"),
        )

    @classmethod
    def _address(cls, given: Mapping[str, Any]) -> str:
        elsewhere = settings.PROVIDER_OPTIONS.get(cls.slug, {}).get("base_url")
        return str(elsewhere).rstrip("/") if elsewhere else address_of(given)

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
        query = {
            "$select": "LogicalName,DisplayName,DisplayCollectionName",
            "$filter": "IsPrivate eq false and IsIntersect eq false",
        }
        found = self._send("GET", f"EntityDefinitions?{query_of(query)}").body["value"]
        return [
            RemoteObject(
                one["LogicalName"],
                label_of(one.get("DisplayName")) or one["LogicalName"],
                label_of(one.get("DisplayCollectionName")),
            )
            for one in found
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        return tuple(self._described(remote_object).fields.values())

    def fields(self, remote_object: str) -> dict[str, RemoteField]:
        return dict(self._table(remote_object).fields)

    def _table(self, remote_object: str) -> Table:
        found = descriptions.remembered(
            self, f"table {remote_object}", lambda: [self._described(remote_object)]
        )
        return found[0]

    def _described(self, remote_object: str) -> Table:
        """All of a table in one batch: no single query tells all that there is to know."""
        asked = [Part("GET", path) for path in questions(remote_object)]
        answers = self._batch(asked, writes=False)
        return table_of(remote_object, [_good(answer).body for answer in answers])

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
        body = self._do(reading(table, ref, fields)).body
        if kept := merged_into(table, body):
            return self.get(kept, fields)
        return record_of(table, body, fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        table = self._table(remote_object)
        query = {"$select": selected(table, fields)}
        if criteria:
            query["$filter"] = " and ".join(condition_of(table, one) for one in criteria)
        if "createdon" in table.fields:
            query["$orderby"] = "createdon desc"
        path = f"{table.entity_set}?{query_of({**query, '$top': str(min(limit, 5000))})}"
        found = self._send("GET", path, headers=TARGETS).body["value"]
        return [record_of(table, one, fields) for one in found]

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
        if kept := merged_into(table, answer.body):
            self.update(kept, values)

    def delete(self, ref: RecordRef) -> None:
        self._do(deleting(self._table(ref.remote_object), ref))

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
            elif kept := merged_into(table, answer.body):
                outcomes.append(outcome_of(self.update, kept, edit.values))
            else:
                outcomes.append(None)
        return outcomes

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        table = self._table(refs[0].remote_object)
        answers = self._each([outcome_of(deleting, table, ref) for ref in refs])
        return [one if isinstance(one, XkitError) else None for one in answers]

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        table = self._table(refs[0].remote_object)
        parts = [outcome_of(reading, table, ref, fields) for ref in refs]
        found: list[RemoteRecord | XkitError] = []
        for answer in self._each(parts, writes=False):
            if isinstance(answer, XkitError):
                found.append(answer)
            elif kept := merged_into(table, answer.body):
                found.append(outcome_of(self.get, kept, fields))
            else:
                found.append(record_of(table, answer.body, fields))
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
        found = [workflow_of(one) for one in self._pages(f"workflows?{query_of(workflows)}")]
        asked = [custom_api_of(one) for one in self._pages(f"customapis?{query_of(apis)}")]
        return [*found, *(one for one in asked if one)]

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        # Only what is listed: an action of any other name might be one of Dataverse's own.
        if descriptions.workflow(self, name) is None:
            raise RejectedByCRM(f"{self.label} has no workflow named {name!r}.")
        if not GUID.fullmatch(name):
            self._send("POST", part(name), dict(inputs))
            return ref
        about = str(inputs.get("EntityId") or (ref.crm_id if ref else "")).rpartition(":")[2]
        if not GUID.fullmatch(about):
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
        return f"{self.base_url}/main.aspx?{query_of(page)}"

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

    def _do(self, part: Part) -> Answer:
        return self._send(part.method, part.path, part.body, headers=part.headers)

    def _pages(self, path: str) -> Iterator[Mapping[str, Any]]:
        while path:
            body = self._send("GET", path).body
            yield from body["value"]
            # Behind our own address: the token goes nowhere else.
            path = str(body.get("@odata.nextLink") or "").partition(f"{API}/")[2]

    def _each(
        self, parts: Sequence[Part | XkitError], *, writes: bool = True
    ) -> Sequence[Answer | XkitError]:
        """The answer to each part in a batch, or why there is none; those that can't be asked for
        are left out of it."""
        sent = [one for one in parts if isinstance(one, Part)]
        answers = iter(self._batch(sent, writes=writes) if sent else ())
        return [next(answers) if isinstance(one, Part) else one for one in parts]

    def _batch(self, parts: Sequence[Part], *, writes: bool) -> list[Answer | XkitError]:
        boundary = f"batch_{uuid4()}"
        headers = {
            "Content-Type": f'multipart/mixed; boundary="{boundary}"',
            "Prefer": "odata.continue-on-error",
        }
        body = multipart(parts, boundary, root=API)
        answer = self._send("POST", "$batch", body, headers=headers, writes=writes)
        answers = parts_of(answer)
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

    def _creating(self, table: Table, values: Mapping[str, Any], key: str) -> Part:
        column = self.key_field(table.name)
        given = {name: value for name, value in values.items() if value is not None}
        body = self._body(table, {**given, **({column: key} if column else {})})
        return Part("POST", table.entity_set, body)

    def _finding(self, table: Table, key: str) -> Part:
        condition = f"{self.key_field(table.name)} eq {quoted(key)}"
        query = {"$select": table.key, "$filter": condition, "$top": "1"}
        return Part("GET", f"{table.entity_set}?{query_of(query)}")

    def _writing(self, table: Table, ref: RecordRef, values: Mapping[str, Any]) -> Part:
        path, headers = path_of(table, ref), {"If-Match": "*"}  # without it, a PATCH creates
        if table.merges:
            # It takes a write to a record that was merged away: have it say so.
            path += f"?{query_of({'$select': f'{table.key},_masterid_value'})}"
            headers["Prefer"] = "return=representation"
        return Part("PATCH", path, self._body(table, values), headers)

    def _body(self, table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for name, value in values.items():
            column = table.fields.get(name)
            if column is not None and column.type is RemoteType.REFERENCE:
                body |= self._reference(table, column, value)
            else:
                body[name] = written(column, value)
        return body

    def _reference(self, table: Table, column: RemoteField, value: Any) -> dict[str, Any]:
        """By its navigation property. An id alone will do where there is one table to lead to."""
        if value is None:
            leads_to = column.references[0] if column.references else ""
            return {navigation_of(table, column.name, leads_to): None}
        said, _, crm_id = str(value).rpartition(":")
        leads_to = said or (column.references[0] if len(column.references) == 1 else "")
        entity_set = self._entity_set(leads_to) if leads_to in column.references else ""
        if not entity_set or not GUID.fullmatch(crm_id):
            wanted = " or ".join(f"{one}:<id>" for one in column.references)
            raise unfit(column.name, f"{value!r} is no reference; it is written as {wanted}.")
        name = navigation_of(table, column.name, leads_to)
        return {f"{name}@odata.bind": f"/{entity_set}({crm_id.lower()})"}


# -- answers --------------------------------------------------------------------------------------


def _good(answer: Answer | XkitError) -> Answer:
    if isinstance(answer, XkitError):
        raise answer
    return answer


def _made(table: Table, answer: Answer) -> RecordRef:
    found = GUID.search(answer.headers.get("OData-EntityId", "").rpartition("(")[2])
    if found is None:
        raise CRMUnavailable("Dynamics 365 didn't say what it has made.", outcome_unknown=True)
    return RecordRef(table.name, found[0].lower())


def _first(table: Table, answer: Answer) -> RecordRef | None:
    found = answer.body["value"]
    return RecordRef(table.name, found[0][table.key]) if found else None


def _number(said: str | None) -> float | None:
    try:
        return float((said or "").replace(",", ""))
    except ValueError:
        return None


# -- what went wrong -------------------------------------------------------------------------------


def _sentence(message: str) -> str:
    """What is for people in a message that also tells where in the program it happened."""
    said = message.rpartition("InnerException :")[2].partition("\r\n")[0].partition(" ---> ")[0]
    return re.sub(r"^\s*[\w.]+Exception:\s*", "", said).strip()


def _blamed(
    error: XkitError, table: Table, values: Mapping[str, Any], ref: RecordRef | None = None
) -> XkitError:
    """The error with the fields at fault. A record that is referred to and isn't there comes with
    the same status as one that is written to and isn't there."""
    said = error.message
    if isinstance(error, RemoteRecordNotFound):
        # What it writes to is there where what it refers to is not.
        if ref is not None and ref.crm_id.lower() in said.lower():
            return error
        missing = [
            name
            for name, value in values.items()
            if (crm_id := GUID.search(str(value))) and crm_id[0].lower() in said.lower()
        ]
        if not missing and ref is not None:
            return error
        return RejectedByCRM(said, errors=[Problem(name, said) for name in missing])
    if isinstance(error, RejectedByCRM) and not error.errors:
        error.errors = tuple(Problem(name, said) for name in at_fault(said, table, values))
    return error
