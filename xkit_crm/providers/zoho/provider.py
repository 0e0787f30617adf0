"""Zoho CRM: modules and their records, API v8, OAuth in the customer's own data centre.

A call takes 100 records and answers for each, whatever its status says of the whole. A unique field
`xkit_key`, on each module that records are created in, lets a create of unknown outcome be looked
up by a query (COQL), and refuses to make a record twice (`docs/crms/zoho.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

from xkit_crm.conf import settings
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Criterion,
    Draft,
    Edit,
    Limits,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    Workflow,
    only,
)
from xkit_crm.providers.http import Answer, part
from xkit_crm.providers.oauth import Endpoints, OAuthProvider
from xkit_crm.providers.zoho.data import (
    condition,
    each_of,
    failure,
    field_of,
    id_of,
    is_by_hand,
    is_good,
    items_of,
    name_in_query,
    problems_of,
    quoted,
    sent,
    together,
    twin_of,
    value_of,
    wanted_by,
    workflow_of,
)

_Given = TypeVar("_Given")

#: The accounts server of each data centre, by the `location` that a person comes back with.
_ACCOUNTS = {
    "us": "accounts.zoho.com",
    "eu": "accounts.zoho.eu",
    "in": "accounts.zoho.in",
    "au": "accounts.zoho.com.au",
    "jp": "accounts.zoho.jp",
    "ca": "accounts.zohocloud.ca",
    "sa": "accounts.zoho.sa",
    "uk": "accounts.zoho.uk",
    "ae": "accounts.zoho.ae",
    "cn": "accounts.zoho.com.cn",
}
_SCOPES = (
    "ZohoCRM.modules.ALL",
    "ZohoCRM.settings.modules.READ",
    "ZohoCRM.settings.fields.READ",
    "ZohoCRM.settings.layouts.READ",
    "ZohoCRM.settings.cadences.READ",
    "ZohoCRM.coql.READ",
)
#: More than so many fields are refused, and more values than so many in a query's list.
_FIELDS = 50
_LISTED = 50
#: A query gives so many records at most.
_FOUND = 2000

#: Under which name the pages of a module stand. Those of customers' own modules have a number
#: there.
_TABS = {
    **{name: name for name in ("Leads", "Contacts", "Accounts", "Campaigns", "Products")},
    **{name: name for name in ("Vendors", "Quotes", "Invoices", "Cases", "Solutions")},
    "Deals": "Potentials",
    "Sales_Orders": "SalesOrders",
    "Purchase_Orders": "PurchaseOrders",
    "Price_Books": "PriceBooks",
}


class ZohoProvider(OAuthProvider):
    slug = "zoho"
    label = "Zoho CRM"
    option_names = ("trigger",)
    url = "https://www.zohoapis.com"
    can_find_created = False  # but for modules with the field `xkit_key`
    batch_size = 100
    # Credits are counted by the day, and how many an edition has differs. Of calls at one time the
    # smallest edition takes five.
    limits = Limits(calls=10, per=1.0, burst=5)

    # -- signing in ---------------------------------------------------------------------------

    @classmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        """Everybody is sent to one data centre, and comes back with the address of their own."""
        server = f"https://{cls._accounts(given)}"
        return Endpoints(
            authorize=f"{server}/oauth/v2/auth",
            token=f"{server}/oauth/v2/token",
            scopes=_SCOPES,
            separator=",",
            # Without these there is no refresh token.
            extra={"access_type": "offline", "prompt": "consent"},
        )

    @classmethod
    def _accounts(cls, given: Mapping[str, Any]) -> str:
        """The host of their accounts server. It comes from the person's browser, and is sent our
        secret: none but Zoho's own is believed. It doesn't matter where the operator named one."""
        known = _ACCOUNTS.get(str(given.get("location", "us")).lower(), _ACCOUNTS["us"])
        named = str(given.get("accounts-server") or "")
        if not named or settings.PROVIDER_OPTIONS.get(cls.slug, {}).get("token_url"):
            return known
        parts = urlsplit(named)
        if parts.scheme != "https" or parts.netloc.lower() not in _ACCOUNTS.values():
            raise CRMUnauthorized(f"{named[:100]!r} is no accounts server of Zoho.")
        return parts.netloc.lower()

    @classmethod
    def learned(cls, token: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"api_domain": token["api_domain"]} if token.get("api_domain") else {}

    @classmethod
    def token_refusal(cls, code: str, message: str) -> XkitError | None:
        if code == "Access Denied":  # too many tokens in ten minutes
            return RateLimited(message, retry_after=600.0)
        if code == "invalid_client_secret":
            return ConfigurationError(
                message,
                hint="Correct client_secret, and let Zoho's API console use the same one for all "
                "data centres.",
            )
        return None

    @property
    def base_url(self) -> str:
        own = self.options.get("base_url") or self.credentials.get("api_domain") or self.url
        return str(own).rstrip("/")

    def bearer(self, token: str) -> Mapping[str, str]:
        return {"Authorization": f"Zoho-oauthtoken {token}"}

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        found = self.call("GET", "/crm/v8/settings/modules").body or {}
        return [
            RemoteObject(
                one["api_name"],
                one.get("singular_label") or one["api_name"],
                one.get("plural_label") or "",
            )
            for one in found.get("modules", ())
            if one.get("api_name") and one.get("api_supported") and one.get("viewable", True)
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        asked = {"module": remote_object}
        found = self.call("GET", "/crm/v8/settings/fields", params=asked).body
        if not found:
            raise RejectedByCRM(f"Zoho CRM says nothing of a module {remote_object!r}.")
        required = self._required(remote_object)
        described = (field_of(one, required) for one in found["fields"])
        return [field for field in described if field]

    def _required(self, remote_object: str) -> set[str]:
        """What every layout wants: which one a record gets isn't known before."""
        asked = {"module": remote_object}
        try:
            found = self.call("GET", "/crm/v8/settings/layouts", params=asked).body or {}
        except RejectedByCRM:  # a module without layouts
            return set()
        wanted = [
            wanted_by(one) for one in found.get("layouts", ()) if one.get("visible") is not False
        ]
        return set.intersection(*wanted) if wanted else set()

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        if not _ids([ref]):
            raise _no_record(ref)
        held: dict[str, Any] = {}
        for some in _parts(fields or ["id"], _FIELDS):
            path = f"{_path(ref.remote_object)}/{ref.crm_id}"
            body = self.call("GET", path, params={"fields": ",".join(some)}).body or {}
            if not body.get("data"):
                raise _no_record(ref)
            held |= body["data"][0]
        return self._record(ref.remote_object, {**held, "id": ref.crm_id}, fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        kinds = self.fields(remote_object)
        where = [condition(one, kinds.get(one.field)) for one in criteria]
        columns = ["id", *(name for name in fields if name != "id")]
        rows = self._query(remote_object, columns[:_FIELDS], where, max(1, min(limit, _FOUND)))
        if len(columns) <= _FIELDS:
            return [self._record(remote_object, row, fields) for row in rows]
        refs = [RecordRef(remote_object, row["id"]) for row in rows]
        read = [
            one for some in _parts(refs, self.batch_size) for one in self.get_many(some, fields)
        ]
        return [one for one in read if isinstance(one, RemoteRecord)]

    def _query(
        self, remote_object: str, columns: Sequence[str], where: Sequence[str], limit: int
    ) -> list[Any]:
        what = f"{', '.join(map(name_in_query, columns))} from {name_in_query(remote_object)}"
        query = f"select {what} where {together(where)} order by id desc limit {limit}"
        body = self.call("POST", "/crm/v8/coql", {"select_query": query}, writes=False).body or {}
        found: list[Any] = body.get("data") or []
        return found

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        return only(self.create_many(remote_object, [Draft(values, key)]))

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        return only(self.find_created_many(remote_object, [key]))

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        only(self.update_many([Edit(ref, values)]))

    def delete(self, ref: RecordRef) -> None:
        only(self.delete_many([ref]))

    # -- many at once -------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        field = self.key_field(remote_object)
        data = [
            self._sent(remote_object, draft.values) | ({field: draft.key} if field else {})
            for draft in drafts
        ]
        said = self._write("POST", remote_object, data)
        return [self._made(remote_object, one, field) for one in said]

    def _made(
        self, remote_object: str, said: Mapping[str, Any] | None, field: str
    ) -> RecordRef | XkitError:
        if said is None:
            return _unanswered()
        if made := id_of(said) if is_good(said) else twin_of(said, field):
            return RecordRef(remote_object, made)
        return failure(said, about_one=False)

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | XkitError | None]:
        field, made = self.key_field(remote_object), {}
        for some in _parts(keys, _LISTED):
            where = f"{name_in_query(field)} in ({', '.join(map(quoted, some))})"
            for row in self._query(remote_object, ["id", field], [where], _FOUND):
                made[row.get(field)] = RecordRef(remote_object, row["id"])
        return [made.get(key) for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        remote_object = edits[0].ref.remote_object
        data = [{**self._sent(remote_object, e.values), "id": e.ref.crm_id} for e in edits]
        return [_done(one) for one in self._write("PUT", remote_object, data)]

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        asked = _ids(refs)
        if not asked:
            return [_no_record(ref) for ref in refs]
        params = {"ids": ",".join(asked)}
        if self._trigger == []:
            params["wf_trigger"] = "false"
        answer = self.call("DELETE", _path(refs[0].remote_object), params=params)
        said = dict(zip(asked, each_of(answer, len(asked)), strict=True))
        said |= {found: one for one in said.values() if one and (found := id_of(one)) in said}
        return [_done(said[r.crm_id]) if r.crm_id in said else _no_record(r) for r in refs]

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        remote_object, asked = refs[0].remote_object, _ids(refs)
        held: dict[str, dict[str, Any]] = {}
        for some in _parts(fields or ["id"], _FIELDS) if asked else ():
            params = {"ids": ",".join(asked), "fields": ",".join(some)}
            if remote_object == "Leads":  # one that was converted is there, but isn't listed
                params["converted"] = "both"
            body = self.call("GET", _path(remote_object), params=params).body or {}
            for row in body.get("data") or ():
                held.setdefault(row["id"], {}).update(row)
        return [
            self._record(remote_object, held[ref.crm_id], fields)
            if ref.crm_id in held
            else _no_record(ref)
            for ref in refs
        ]

    def _write(
        self, method: str, remote_object: str, data: Sequence[Any]
    ) -> list[Mapping[str, Any] | None]:
        """What is said of each record."""
        body: dict[str, Any] = {"data": list(data)}
        if self._trigger is not None:
            body["trigger"] = self._trigger
        return each_of(self.call(method, _path(remote_object), body), len(data))

    @property
    def _trigger(self) -> list[str] | None:
        """Which of the customer's automations a write starts: `workflow`, `approval`, `blueprint`.
        None: all of them."""
        own = self.credentials.get("trigger", self.options.get("trigger"))
        if isinstance(own, str):
            own = [name.strip() for name in own.split(",") if name.strip()]
        return None if own is None else list(own)

    def _ask(self, *args: Any, **options: Any) -> Answer:
        """An answer that says something of each record is a good one: 400 means that none of them
        was taken, and not that the call was wrong."""
        answer = super()._ask(*args, **options)
        return replace(answer, status=200) if answer.status == 400 and items_of(answer) else answer

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Workflow]:
        """The cadences that records are enrolled in by hand. Rules start by themselves, at a
        record's change."""
        found: list[Workflow] = []
        path = "/crm/v8/settings/automation/cadences"
        for page in count(1):
            params = {"page": str(page)} if page > 1 else None
            try:
                body = self.call("GET", path, params=params).body or {}
            except RejectedByCRM:  # not of this edition, or not for this person
                break
            found += [workflow_of(one) for one in body.get("cadences", ()) if is_by_hand(one)]
            if not (body.get("info") or {}).get("more_records"):
                break
        return found

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        cadence = descriptions.workflow(self, name)
        if cadence is None:
            raise RejectedByCRM(f"Zoho CRM has no cadence {name!r} that records are enrolled in.")
        module = cadence.inputs[0].references[0]
        chosen = inputs.get("record")
        if chosen:
            ref = RecordRef(module, str(chosen))
        if ref is None or ref.remote_object != module:
            raise RejectedByCRM(
                f"The cadence {cadence.label!r} is for records of {module}.",
                errors=[Problem("record", "is needed")],
            )
        body = {"cadences_ids": [name], "ids": [ref.crm_id]}
        path = f"{_path(module)}/actions/enrol_in_cadences"
        for said in items_of(self.call("POST", path, body)):
            if not is_good(said):
                raise failure(said, about_one=False)
        return ref

    def record_url(self, ref: RecordRef) -> str:
        tab, domain = _TABS.get(ref.remote_object), str(self.credentials.get("api_domain") or "")
        if not tab or "//sandbox." in domain or "//developer." in domain:
            return ""
        host = self._accounts(self.credentials).removeprefix("accounts.")
        return f"https://crm.{host}/crm/tab/{tab}/{part(ref.crm_id)}"

    # -- what it says of itself ---------------------------------------------------------------

    def note(self, answer: Answer) -> None:
        # Told once half of the day's credits are used. The day is the last 24 hours, at any time.
        left = answer.headers.get("X-API-CREDITS-REMAINING", "")
        if left.isdecimal():
            self.usage.quota_left = int(left)

    def refusal(self, answer: Answer) -> CRMError | None:
        said = answer.body
        if not isinstance(said, dict) or said.get("status") != "error":
            return None
        return failure(said) if answer.ok or answer.status in (400, 403) else None

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        if not isinstance(answer.body, dict):
            return super().words(answer)
        said = answer.body
        return f"{said.get('code', '')}: {said.get('message', '')}", tuple(problems_of(said))

    # -- values -------------------------------------------------------------------------------

    def _sent(self, remote_object: str, values: Mapping[str, Any]) -> dict[str, Any]:
        kinds = self.fields(remote_object)
        return {name: sent(value, kinds.get(name)) for name, value in values.items()}

    def _record(
        self, remote_object: str, row: Mapping[str, Any], fields: Sequence[str]
    ) -> RemoteRecord:
        kinds = self.fields(remote_object)
        values = {name: value_of(row.get(name), kinds.get(name)) for name in fields}
        return RemoteRecord(RecordRef(remote_object, str(row["id"])), values)


# -- addresses ------------------------------------------------------------------------------------


def _path(remote_object: str) -> str:
    return f"/crm/v8/{part(remote_object)}"


def _ids(refs: Sequence[RecordRef]) -> list[str]:
    """Those that are ids: with a comma within one would become two, with a slash another thing."""
    return [ref.crm_id for ref in refs if ref.crm_id.isascii() and ref.crm_id.isdecimal()]


def _parts(given: Sequence[_Given], size: int) -> Iterator[Sequence[_Given]]:
    for start in range(0, len(given), size):
        yield given[start : start + size]


def _done(said: Mapping[str, Any] | None) -> XkitError | None:
    if said is None:
        return _unanswered()
    return None if is_good(said) else failure(said)


def _unanswered() -> CRMUnavailable:
    return CRMUnavailable("Zoho CRM said nothing of this record.", outcome_unknown=True)


def _no_record(ref: RecordRef) -> RemoteRecordNotFound:
    return RemoteRecordNotFound(f"Zoho CRM has no record {ref}.")
