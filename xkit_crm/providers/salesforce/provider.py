"""Salesforce: sObjects over REST, many at once by sObject Collections, flows by invocable actions.

Describing tells everything: what is required, what this user may write, which object a reference
points to. A text field `xkit_key__c`, unique and an external id, on each object that is created,
lets a create of unknown outcome be looked up by SOQL, which is consistent at once
(`docs/crms/salesforce.md`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import (
    AddressRefused,
    ConfigurationError,
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
    Workflow,
    outcome_of,
)
from xkit_crm.providers.http import KEY_FIELD, Answer, part
from xkit_crm.providers.oauth import Endpoints, OAuthProvider
from xkit_crm.providers.salesforce import soql
from xkit_crm.providers.salesforce.errors import (
    error_of,
    errors_in,
    known_error,
    problems_in,
    sentence,
)
from xkit_crm.providers.salesforce.fields import (
    COMPOUND,
    RECORD_INPUTS,
    field_of,
    fits,
    handed,
    input_of,
    spelt,
    value_of,
)

_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?", re.ASCII)
_USAGE = re.compile(r"(?:^|[;,\s])api-usage=(\d+)/(\d+)", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9-]+\.)+salesforce\.(?:com|mil)", re.ASCII)


class SalesforceProvider(OAuthProvider):
    slug = "salesforce"
    label = "Salesforce"
    option_names = ("version",)
    #: Of the API; the operator's option of this name goes before it.
    version: ClassVar[str] = "v68.0"
    sign_in_fields = (
        CredentialField(
            "domain",
            _("Salesforce address"),
            _("Your My Domain, such as acme.my.salesforce.com; test.salesforce.com for a sandbox."),
            required=False,
        ),
    )
    tells_expiry = False
    can_find_created = False  # but for objects with the field `xkit_key__c`
    batch_size = 200
    #: Calls are counted by the day, and each answer tells how many are left.
    limits = Limits()

    @classmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        there = f"https://{_host(given)}/services/oauth2"
        return Endpoints(f"{there}/authorize", f"{there}/token", ("api", "refresh_token"))

    @classmethod
    def learned(cls, token: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"instance_url": token["instance_url"]} if token.get("instance_url") else {}

    @classmethod
    def token_refusal(cls, code: str, message: str) -> XkitError | None:
        if code == "invalid_client_id":
            return ConfigurationError(message, hint="Correct client_id.")
        # The second of these comes with invalid_grant, where another one asks at the same time.
        if code == "unknown_error" or "token request is already being processed" in message:
            return CRMUnavailable(message)
        return None

    @property
    def base_url(self) -> str:
        there = self.options.get("base_url") or self.credentials.get("instance_url")
        return str(there or f"https://{_host(self.credentials)}").rstrip("/")

    def _path(self, *parts: str) -> str:
        version = str(self.options.get("version") or self.version).removeprefix("v")
        return "/".join(["/services/data", f"v{version}", *map(part, parts)])

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        found = self.call("GET", self._path("sobjects")).body["sobjects"]
        return [
            RemoteObject(one["name"], one["label"] or one["name"], one.get("labelPlural") or "")
            for one in found
            if one["queryable"]
            and (one["createable"] or one["updateable"])
            and not (one.get("deprecatedAndHidden") or one.get("customSetting"))
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        path = self._path("sobjects", soql.object_name(remote_object), "describe")
        found = self.call("GET", path).body["fields"]
        return [field_of(one) for one in found if one["type"] not in COMPOUND]

    def key_field(self, remote_object: str) -> str:
        """Nobody can be sure of a key that this user may not write or search by."""
        name = super().key_field(remote_object)
        field = self.fields(remote_object).get(name)
        return name if field and field.createable and field.searchable else ""

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        asked = {"fields": ",".join(_with_id(fields))}
        body = self.call("GET", self._record_path(ref), params=asked).body
        return self._record(ref.remote_object, body, fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        kinds = self.fields(remote_object)
        query = soql.select(
            remote_object,
            _with_id(fields),
            [soql.condition(one, kinds.get(one.field)) for one in criteria],
            order=["CreatedDate", "Id"] if "CreatedDate" in kinds else ["Id"],
            limit=limit,
        )
        return [self._record(remote_object, row, fields) for row in self._rows(query)]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        path = self._path("sobjects", soql.object_name(remote_object))
        try:
            made = self.call("POST", path, self._written(remote_object, values, key)).body
        except RemoteRecordNotFound as error:
            raise _refused(error) from error
        return RecordRef(remote_object, made["id"])

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        found = self.find_created_many(remote_object, [key])[0]
        if isinstance(found, XkitError):
            raise found
        return found

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        self.call("PATCH", self._record_path(ref), self._sent(ref.remote_object, values))

    def delete(self, ref: RecordRef) -> None:
        self.call("DELETE", self._record_path(ref))

    def _record_path(self, ref: RecordRef) -> str:
        return self._path("sobjects", soql.object_name(ref.remote_object), _id(ref))

    def _rows(self, query: str) -> list[Mapping[str, Any]]:
        """What a query finds, page by page."""
        page = self.call("GET", self._path("query"), params={"q": query}).body
        rows = list(page["records"])
        while not page["done"]:
            locator = str(page["nextRecordsUrl"]).rpartition("/")[2]
            page = self.call("GET", self._path("query", locator)).body
            rows += page["records"]
        return rows

    # -- many at once -------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        self.fields(remote_object)  # what goes wrong here befalls them all
        records = [outcome_of(self._written, remote_object, d.values, d.key) for d in drafts]

        def ask(some: Sequence[Any]) -> Iterator[RecordRef | XkitError]:
            for result in self._save("POST", [_typed(remote_object, one) for one in some]):
                error = error_of(result)
                yield _refused(error) if error else RecordRef(remote_object, result["id"])

        return _each(records, ask)

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | XkitError | None]:
        field = self.key_field(remote_object)
        query = soql.select(remote_object, ["Id", field], [soql.one_of(field, keys)])
        made = {row[field]: row["Id"] for row in self._rows(query)}
        return [RecordRef(remote_object, made[key]) if key in made else None for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        remote_object = edits[0].ref.remote_object
        self.fields(remote_object)
        records = [outcome_of(self._edited, edit) for edit in edits]

        def ask(some: Sequence[Any]) -> list[XkitError | None]:
            results = self._save("PATCH", [_typed(remote_object, one) for one in some])
            return [error_of(result) for result in results]

        return _each(records, ask)

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        # This call takes ids of any object, so that of another one would be deleted as well.
        prefix = self._id_prefix(refs[0].remote_object)

        def ask(ids: Sequence[str]) -> list[XkitError | None]:
            asked = {"ids": ",".join(ids), "allOrNone": "false"}
            answer = self.call("DELETE", self._path("composite", "sobjects"), params=asked)
            return [error_of(result) for result in _results(answer, len(ids))]

        return _each([outcome_of(_id, ref, prefix) for ref in refs], ask)

    def _id_prefix(self, remote_object: str) -> str:
        """What every id of this object begins with, remembered."""
        known = f"prefix {remote_object}"
        if known not in self.described:
            path = self._path("sobjects", soql.object_name(remote_object))
            self.described[known] = self.call("GET", path).body["objectDescribe"]["keyPrefix"]
        return str(self.described[known] or "")

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        remote_object = refs[0].remote_object
        path = self._path("composite", "sobjects", soql.object_name(remote_object))

        def ask(ids: Sequence[str]) -> list[RemoteRecord | XkitError]:
            body = {"ids": list(ids), "fields": _with_id(fields)}
            # Those that aren't there are nulls. The first 15 characters are the whole id.
            rows = filter(None, self.call("POST", path, body, writes=False).body)
            found = {row["Id"][:15]: self._record(remote_object, row, fields) for row in rows}
            return [found.get(one[:15]) or _no_record(RecordRef(remote_object, one)) for one in ids]

        return _each([outcome_of(_id, ref) for ref in refs], ask)

    def _save(self, method: str, records: Sequence[Any]) -> list[Mapping[str, Any]]:
        body = {"allOrNone": False, "records": list(records)}
        return _results(self.call(method, self._path("composite", "sobjects"), body), len(records))

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Workflow]:
        """The active autolaunched flows."""
        found = self.call("GET", self._path("actions", "custom", "flow")).body["actions"]
        inputs = {one["name"]: outcome_of(self._inputs, one["name"]) for one in found}
        for one in inputs.values():
            # A flow that was just deactivated, or can't be described, hides no other.
            if isinstance(one, XkitError) and not _is_of_this_one(one):
                raise one
        return [
            Workflow(one["name"], one["label"] or one["name"], inputs[one["name"]])
            for one in found
            if not isinstance(inputs[one["name"]], XkitError)
        ]

    def _inputs(self, flow: str) -> tuple[RemoteField, ...]:
        found = self.call("GET", self._path("actions", "custom", "flow", flow)).body["inputs"]
        return tuple(
            input_of(one) for one in found if one["type"].lower() not in ("sobject", "apex")
        )

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        """A flow that has an input `xkit_key` is given the key, and so can tell a second run; one
        that has `recordId` is given the record's."""
        flow = descriptions.workflow(self, name)
        if flow is None:
            raise RejectedByCRM(f"Salesforce has no active autolaunched flow {name!r}.")
        kinds = {one.name: one for one in flow.inputs}
        given = {n: handed(v, kinds.get(n)) for n, v in inputs.items() if v is not None}
        if KEY_FIELD in kinds:
            given.setdefault(KEY_FIELD, key)
        for one in RECORD_INPUTS:
            if ref is not None and one in kinds:
                given.setdefault(one, ref.crm_id)
        path = self._path("actions", "custom", "flow", name)
        try:
            answer = self.call("POST", path, {"inputs": [given]})
        except RemoteRecordNotFound as error:
            raise _refused(error) from error
        return _record_made(_results(answer, 1)[0].get("outputValues") or {})

    def record_url(self, ref: RecordRef) -> str:
        there = str(self.credentials.get("instance_url") or "").rstrip("/")
        if not there:
            return ""
        return f"{there}/lightning/r/{part(ref.remote_object)}/{part(ref.crm_id)}/view"

    # -- what it says of itself ---------------------------------------------------------------

    def note(self, answer: Answer) -> None:
        if used := _USAGE.search(answer.headers.get("Sforce-Limit-Info") or ""):
            self.usage.quota = int(used[2])
            self.usage.quota_left = max(int(used[2]) - int(used[1]), 0)

    def refusal(self, answer: Answer) -> CRMError | None:
        errors = errors_in(answer.body)
        if not errors or answer.status >= 500 or (answer.ok and not _is_failed_run(answer.body)):
            return None
        said, problems = self.words(answer)
        message = f"Salesforce answered {answer.status}: {said}"
        if known := known_error(message, errors):
            return known
        if answer.ok or (answer.status == 404 and problems):
            return RejectedByCRM(message, errors=problems)
        return None

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        if errors := errors_in(answer.body):
            return sentence(errors), tuple(problems_in(errors))
        return super().words(answer)

    # -- values -------------------------------------------------------------------------------

    def _written(self, remote_object: str, values: Mapping[str, Any], key: str) -> dict[str, Any]:
        field = self.key_field(remote_object)
        return self._sent(remote_object, values) | ({field: key} if field else {})

    def _edited(self, edit: Edit) -> dict[str, Any]:
        return {"id": _id(edit.ref), **self._sent(edit.ref.remote_object, edit.values)}

    def _sent(self, remote_object: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """As Salesforce takes them. Of a value of another type it says only that the whole request
        can't be read, without the field, and of many at once it then takes none."""
        kinds = self.fields(remote_object)
        if problems := [
            Problem(name, f"The value is no {kinds[name].type}.")
            for name, value in values.items()
            if name in kinds and not fits(value, kinds[name].type)
        ]:
            raise RejectedByCRM("Salesforce takes no such values.", errors=problems)
        return {name: spelt(value, kinds.get(name)) for name, value in values.items()}

    def _record(
        self, remote_object: str, row: Mapping[str, Any], fields: Sequence[str]
    ) -> RemoteRecord:
        kinds = self.fields(remote_object)
        values = {name: value_of(row.get(name), kinds.get(name)) for name in fields}
        return RemoteRecord(RecordRef(remote_object, row["Id"]), values)


# -- names ----------------------------------------------------------------------------------------


def _host(given: Mapping[str, Any]) -> str:
    """Where to sign in. The product's secret goes there, so it has to be Salesforce's own. What
    people see in their browser is understood as well: its host has an ending of its own."""
    said = str(given.get("domain") or "login.salesforce.com").strip().lower()
    host = said.removeprefix("https://").partition("/")[0]
    host = host if "." in host else f"{host}.my.salesforce.com"
    for ending in (".lightning.force.com", ".my.salesforce-setup.com"):
        host = f"{host.removesuffix(ending)}.my.salesforce.com" if host.endswith(ending) else host
    if not _HOST.fullmatch(host):
        raise AddressRefused(
            f"{said!r} is no address of Salesforce.",
            hint="Use your My Domain, such as acme.my.salesforce.com, or test.salesforce.com.",
        )
    return host


def _id(ref: RecordRef, prefix: str = "") -> str:
    """Its id, which may stand in an address or a list."""
    if not (_ID.fullmatch(ref.crm_id) and ref.crm_id.startswith(prefix)):
        raise _no_record(ref)
    return ref.crm_id


def _with_id(fields: Sequence[str]) -> list[str]:
    return ["Id", *(one for one in fields if one != "Id")]


def _no_record(ref: RecordRef) -> RemoteRecordNotFound:
    return RemoteRecordNotFound(f"Salesforce has no record {ref}.")


# -- answers --------------------------------------------------------------------------------------


def _each(items: Sequence[Any], ask: Callable[[list[Any]], Any]) -> list[Any]:
    """One answer for each. What is an error already isn't asked for."""
    good = [one for one in items if not isinstance(one, XkitError)]
    answers = iter(ask(good) if good else ())
    return [one if isinstance(one, XkitError) else next(answers) for one in items]


def _typed(remote_object: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": {"type": remote_object}, **values}


def _results(answer: Answer, count: int) -> list[Mapping[str, Any]]:
    """The results of so many items, in their order."""
    found = answer.body
    if not isinstance(found, list) or len(found) != count:
        raise CRMError("Salesforce didn't answer for each of these.", outcome_unknown=True)
    return found


def _refused(error: CRMError) -> CRMError:
    """Of a record that is being made: what isn't there is something that its values name."""
    if isinstance(error, RemoteRecordNotFound):
        return RejectedByCRM(error.message, errors=error.errors)
    return error


def _is_of_this_one(error: XkitError) -> bool:
    return isinstance(error, RejectedByCRM | RemoteRecordNotFound)


def _is_failed_run(body: Any) -> bool:
    return any(isinstance(one, Mapping) and one.get("isSuccess") is False for one in body)


def _record_made(outputs: Mapping[str, Any]) -> RecordRef | None:
    """The record that a flow gives back, where one of its outputs is a record."""
    for value in outputs.values():
        if isinstance(value, Mapping) and value.get("Id") and "attributes" in value:
            return RecordRef(value["attributes"]["type"], value["Id"])
    return None
