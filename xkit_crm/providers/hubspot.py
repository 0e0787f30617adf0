"""HubSpot: CRM objects, date-versioned paths (2026-09), OAuth or a service key.

All values are texts there. A property `xkit_key` with unique values, on each object that is
created, lets a create of unknown outcome be looked up by `idProperty`, which is consistent at once;
a search is not (`docs/crms/hubspot.md`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import (
    CRMError,
    CRMUnavailable,
    Problem,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.mapping.conversion import as_text
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
)
from xkit_crm.providers.http import DAY_USED_UP, Answer, part
from xkit_crm.providers.oauth import Endpoints, OAuthProvider

VERSION = "2026-09"

#: What every account has: name, type id (for addresses), labels. No operation lists these.
_STANDARD = {
    "contacts": ("0-1", "Contact", "Contacts"),
    "companies": ("0-2", "Company", "Companies"),
    "deals": ("0-3", "Deal", "Deals"),
    "tickets": ("0-5", "Ticket", "Tickets"),
    "leads": ("0-136", "Lead", "Leads"),
    "products": ("0-7", "Product", "Products"),
    "line_items": ("0-8", "Line item", "Line items"),
    "quotes": ("0-14", "Quote", "Quotes"),
    "tasks": ("0-27", "Task", "Tasks"),
    "notes": ("0-46", "Note", "Notes"),
    "calls": ("0-48", "Call", "Calls"),
    "meetings": ("0-47", "Meeting", "Meetings"),
    "emails": ("0-49", "Email", "Emails"),
}
#: What a create needs: only custom objects say so themselves.
_REQUIRED = {"tasks": {"hs_timestamp"}, "notes": {"hs_timestamp"}, "calls": {"hs_timestamp"}}

_TYPES = {
    "number": RemoteType.NUMBER,
    "bool": RemoteType.BOOLEAN,
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "phone_number": RemoteType.PHONE,
}
#: An enumeration or a text is told more of by the field that edits it.
_FIELD_TYPES = {
    "booleancheckbox": RemoteType.BOOLEAN,
    "checkbox": RemoteType.MULTIPICKLIST,
    "select": RemoteType.PICKLIST,
    "radio": RemoteType.PICKLIST,
    "textarea": RemoteType.TEXT,
    "html": RemoteType.TEXT,
    "phonenumber": RemoteType.PHONE,
}

_SCOPES = (
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.schemas.contacts.read",
    "crm.schemas.companies.read",
    "crm.schemas.deals.read",
)


class HubSpotProvider(OAuthProvider):
    slug = "hubspot"
    label = "HubSpot"
    url = "https://api.hubapi.com"
    credential_fields = (
        CredentialField(
            "token",
            _("Access token"),
            _("Of a service key or private app of your HubSpot account."),
            secret=True,
        ),
    )
    can_find_created = False  # but for objects with the property `xkit_key`
    batch_size = 100
    limits = Limits(calls=100, per=10.0)

    @classmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        return Endpoints(
            authorize="https://app.hubspot.com/oauth/authorize",
            token=f"{cls.url}/oauth/{VERSION}/token",
            scopes=_SCOPES,
        )

    @classmethod
    def learned(cls, token: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"hub_id": str(token["hub_id"])} if token.get("hub_id") else {}

    def authorisation(self) -> Mapping[str, str]:
        # A service key is no OAuth token, and doesn't end.
        key = self.credentials.get("token")
        return self.bearer(str(key)) if key else super().authorisation()

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        standard = [RemoteObject(n, label, many) for n, (_, label, many) in _STANDARD.items()]
        return standard + [
            RemoteObject(
                found["fullyQualifiedName"],
                found["labels"].get("singular") or found["name"],
                found["labels"].get("plural") or "",
            )
            for found in self.call("GET", f"/crm-object-schemas/{VERSION}/schemas").body["results"]
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        found = self.call("GET", f"/crm/properties/{VERSION}/{part(remote_object)}").body
        required = self._required(remote_object)
        return [_field(one, required) for one in found["results"] if not one.get("archived")]

    def _required(self, remote_object: str) -> set[str]:
        if remote_object in _STANDARD:
            return _REQUIRED.get(remote_object, set())
        path = f"/crm-object-schemas/{VERSION}/schemas/{part(remote_object)}"
        return set(self.call("GET", path).body["requiredProperties"])

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        asked = {"properties": ",".join(fields)} if fields else {}
        body = self.call("GET", _record_path(ref), params=asked).body
        return self._record(ref.remote_object, body, fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        body = {
            "filterGroups": [{"filters": [_filter(one) for one in criteria]}] if criteria else [],
            "properties": list(fields),
            "limit": min(limit, 200),
            "after": "0",
            "sorts": ["-hs_object_id"],
        }
        found = self.call("POST", f"{_path(remote_object)}/search", body, writes=False).body
        return [self._record(remote_object, one, fields) for one in found["results"]]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        body = {"properties": self._written(remote_object, values, key), "associations": []}
        made = self.call("POST", _path(remote_object), body).body
        return RecordRef(remote_object, made["id"])

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        path = f"{_path(remote_object)}/{part(key)}"
        field = self.key_field(remote_object)
        try:
            found = self.call("GET", path, params={"idProperty": field}).body
        except RemoteRecordNotFound:
            return None
        return RecordRef(remote_object, found["id"])

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        self.call("PATCH", _record_path(ref), {"properties": _texts(values)})

    def delete(self, ref: RecordRef) -> None:
        self.call("DELETE", _record_path(ref))

    # -- many at once -------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        inputs = [
            {
                "properties": self._written(remote_object, draft.values, draft.key),
                "associations": [],
                "objectWriteTraceId": draft.key,
            }
            for draft in drafts
        ]
        results, errors = self._batch(remote_object, "create", {"inputs": inputs})
        made = {one.get("objectWriteTraceId"): one["id"] for one in results}
        return [
            RecordRef(remote_object, made[draft.key])
            if draft.key in made
            else errors.get(draft.key) or _unanswered(writes=True)
            for draft in drafts
        ]

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | XkitError | None]:
        field = self.key_field(remote_object)
        results, _ = self._read(remote_object, keys, [field], by=field)
        made = {one["properties"].get(field): one["id"] for one in results}
        return [RecordRef(remote_object, made[key]) if key in made else None for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        inputs = [{"id": e.ref.crm_id, "properties": _texts(e.values)} for e in edits]
        results, errors = self._batch(edits[0].ref.remote_object, "update", {"inputs": inputs})
        written = {one["id"] for one in results}
        return [
            None
            if edit.ref.crm_id in written
            else errors.get(edit.ref.crm_id) or _unanswered(writes=True)
            for edit in edits
        ]

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        # It says nothing of those that are gone already, which is as good.
        inputs = [{"id": ref.crm_id} for ref in refs]
        self._batch(refs[0].remote_object, "archive", {"inputs": inputs})
        return [None] * len(refs)

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        remote_object = refs[0].remote_object
        results, errors = self._read(remote_object, [ref.crm_id for ref in refs], fields)
        found = {one["id"]: self._record(remote_object, one, fields) for one in results}
        return [
            found.get(ref.crm_id)
            or errors.get(ref.crm_id)
            or RemoteRecordNotFound(f"HubSpot has no record {ref}.")
            for ref in refs
        ]

    def _read(
        self,
        remote_object: str,
        ids: Sequence[str],
        fields: Sequence[str],
        *,
        by: str | None = None,
    ) -> tuple[list[Any], dict[str, CRMError]]:
        body: dict[str, Any] = {
            "inputs": [{"id": one} for one in ids],
            "properties": list(fields),
            "propertiesWithHistory": [],
        }
        if by:
            body["idProperty"] = by
        return self._batch(remote_object, "read", body, writes=False)

    def _batch(
        self, remote_object: str, what: str, body: Any, *, writes: bool = True
    ) -> tuple[list[Any], dict[str, CRMError]]:
        """The results, and what went wrong by the id or trace id of each input. 207 says that some
        did."""
        path = f"{_path(remote_object)}/batch/{what}"
        answer = self.call("POST", path, body, writes=writes).body or {}
        errors: dict[str, CRMError] = {}
        for said in answer.get("errors", ()):
            context = said.get("context") or {}
            for name in ("objectWriteTraceId", "ids", "id"):
                errors |= {one: self._said(said) for one in context.get(name, ())}
        return answer.get("results", []), errors

    def _said(self, said: Mapping[str, Any]) -> CRMError:
        message = f"HubSpot answered: {said.get('message', '')}"
        if said.get("category") == "OBJECT_NOT_FOUND":
            return RemoteRecordNotFound(message)
        return RejectedByCRM(message, errors=tuple(_problems(said)))

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Workflow]:
        """Those that enrol contacts: HubSpot has no way to enrol anything else. Other objects start
        one by a property that is its trigger."""
        found, after = [], ""
        while True:
            params = {"limit": "100", **({"after": after} if after else {})}
            page = self.call("GET", "/automation/v4/flows", params=params).body
            found += [
                Workflow(one["id"], one.get("name") or one["id"], (_EMAIL,))
                for one in page["results"]
                if one.get("isEnabled") and one.get("objectTypeId") == _STANDARD["contacts"][0]
            ]
            after = ((page.get("paging") or {}).get("next") or {}).get("after", "")
            if not after:
                return found

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        email = inputs.get("email")
        if not email and ref is not None and ref.remote_object == "contacts":
            email = self.get(ref, ["email"]).values.get("email")
        if not email:
            raise RejectedByCRM(
                "HubSpot enrols contacts by their email, and there is none.",
                errors=[Problem("email", "is needed")],
            )
        path = f"/automation/v2/workflows/{self._workflow_id(name)}/enrollments/contacts"
        self.call("POST", f"{path}/{part(str(email))}")
        return ref

    def _workflow_id(self, flow: str) -> str:
        """Enrolling has an older API, with ids of its own."""
        inputs = [{"flowId": flow, "type": "FLOW_ID"}]
        path = "/automation/v4/workflow-id-mappings/batch/read"
        found = self.call("POST", path, {"inputs": inputs}, writes=False).body["results"]
        if not found:
            raise RejectedByCRM(f"HubSpot has no workflow {flow!r}.")
        return str(found[0]["workflowId"])

    def record_url(self, ref: RecordRef) -> str:
        hub = self.credentials.get("hub_id")
        kind = _STANDARD.get(ref.remote_object, (ref.remote_object,))[0]
        return f"https://app.hubspot.com/contacts/{hub}/record/{kind}/{ref.crm_id}" if hub else ""

    # -- what it says of itself ---------------------------------------------------------------

    def note(self, answer: Answer) -> None:
        said, usage, now = answer.headers, self.usage, datetime.now(UTC)
        if (left := _number(said.get("X-HubSpot-RateLimit-Remaining"))) is not None:
            interval = _number(said.get("X-HubSpot-RateLimit-Interval-Milliseconds")) or 10_000
            window = timedelta(milliseconds=min(interval, 60_000))
            usage.left, usage.resets_at = left, now + window
        if (left := _number(said.get("X-HubSpot-RateLimit-Daily-Remaining"))) is not None:
            usage.quota, usage.quota_left = _number(said.get("X-HubSpot-RateLimit-Daily")), left

    def refusal(self, answer: Answer) -> CRMError | None:
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 429 and body.get("policyName") == "DAILY":
            # The day ends at midnight in the account's own time zone, which it doesn't say.
            told = f"HubSpot answered 429: {body.get('message', '')}"
            return RateLimited(told, retry_after=DAY_USED_UP)
        if answer.status == 477:  # the account is being moved
            return CRMUnavailable("HubSpot answered 477.", retry_after=answer.retry_after)
        return None

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        if not isinstance(answer.body, dict):
            return super().words(answer)
        problems = tuple(_problems(answer.body))
        said = str(answer.body.get("message", ""))
        return (said.partition(": [")[0] if problems else said), problems

    # -- values -------------------------------------------------------------------------------

    def _written(self, remote_object: str, values: Mapping[str, Any], key: str) -> dict[str, str]:
        field = self.key_field(remote_object)
        return _texts(values) | ({field: key} if field else {})

    def _record(self, remote_object: str, body: Any, fields: Sequence[str]) -> RemoteRecord:
        held, kinds = body["properties"], self.fields(remote_object)
        values = {name: _value(held.get(name), kinds.get(name)) for name in fields}
        return RemoteRecord(RecordRef(remote_object, body["id"]), values)


#: What a workflow of contacts is told.
_EMAIL = RemoteField("email", "Email of the contact to enrol", RemoteType.EMAIL)


def _path(remote_object: str) -> str:
    return f"/crm/objects/{VERSION}/{part(remote_object)}"


def _record_path(ref: RecordRef) -> str:
    return f"{_path(ref.remote_object)}/{part(ref.crm_id)}"


def _field(found: Mapping[str, Any], required: set[str]) -> RemoteField:
    name, read_only = found["name"], bool(found.get("calculated"))
    read_only |= bool((found.get("modificationMetadata") or {}).get("readOnlyValue"))
    points_to = found.get("referencedObjectType")
    kind = RemoteType.REFERENCE if points_to else _type(found)
    picks = kind in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
    options = found.get("options", ()) if picks else ()
    return RemoteField(
        name=name,
        label=found.get("label") or name,
        type=kind,
        required=name in required,
        createable=not read_only,
        updateable=not read_only,
        unique=bool(found.get("hasUniqueValue")),
        choices=tuple(Choice(o["value"], o["label"]) for o in options if not o.get("hidden")),
        references=(str(points_to).lower(),) if points_to else (),
    )


def _type(found: Mapping[str, Any]) -> RemoteType:
    name, kind = found["name"], _TYPES.get(found["type"])
    if kind is None:
        kind = _FIELD_TYPES.get(found.get("fieldType", ""), RemoteType.STRING)
    if kind is RemoteType.STRING and name == "email":
        return RemoteType.EMAIL
    return kind


def _filter(one: Criterion) -> dict[str, str]:
    value = _text(one.value)
    if one.operator is Operator.CONTAINS:
        return {"propertyName": one.field, "operator": "CONTAINS_TOKEN", "value": f"*{value}*"}
    return {"propertyName": one.field, "operator": "EQ", "value": value}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    """As HubSpot holds it: nothing is an empty text, several are joined by semicolons."""
    if value is None:
        return ""
    return ";".join(map(as_text, value)) if isinstance(value, list) else as_text(value)


def _value(text: Any, field: RemoteField | None) -> Any:
    """What such a text says."""
    if not isinstance(text, str) or field is None:
        return text
    if not text:
        return None
    match field.type:
        case RemoteType.BOOLEAN:
            return {"true": True, "false": False}.get(text, text)
        case RemoteType.MULTIPICKLIST:
            return text.split(";")
        case RemoteType.NUMBER:
            try:
                return float(text) if "." in text or "e" in text.lower() else int(text)
            except ValueError:
                return text
    return text


def _problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    """The properties at fault: in `errors`, or as JSON at the end of the message."""
    seen = set()
    for said in body.get("errors") or ():
        for name in (said.get("context") or {}).get("propertyName", ()):
            seen.add(name)
            yield Problem(name, str(said.get("message", "")))
    _, start, listed = str(body.get("message", "")).partition(": [")
    try:
        found = json.loads(f"[{listed}") if start else []
    except ValueError:
        return
    for one in found:
        name = one.get("name") if isinstance(one, dict) else None
        if name and name not in seen:
            yield Problem(name, str(one.get("localizedErrorMessage") or one.get("message") or ""))


def _unanswered(*, writes: bool) -> CRMError:
    return CRMError("HubSpot said nothing of this one.", outcome_unknown=writes)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None
