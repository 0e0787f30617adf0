"""Pipedrive: API v2, and v1 for leads and notes, which it has nowhere else. OAuth or an API token.

A record's custom values are under `custom_fields`, by a code of 40 characters. What has parts, such
as an amount and its currency, or an address, is one field for the whole, `<code>`, and one for each
part, `<code>.currency`. There is no call for many records, and none that starts an automation.

The search index lags behind. So a create of unknown outcome is looked for among the newest records
first, which are never late, and only then searched for (`docs/crms/pipedrive.md`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any

from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import (
    AddressRefused,
    CRMError,
    Problem,
    RateLimited,
    RejectedByCRM,
    RemoteRecordNotFound,
)
from xkit_crm.mapping.conversion import as_text
from xkit_crm.providers.base import (
    CredentialField,
    Criterion,
    Limits,
    Operator,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
)
from xkit_crm.providers.http import DAY_USED_UP, Answer, part
from xkit_crm.providers.oauth import Endpoints, OAuthProvider
from xkit_crm.providers.pipedrive.objects import CODE, KINDS, Kind, described
from xkit_crm.providers.pipedrive.values import (
    has_parts,
    in_full,
    meets,
    read,
    source_of,
    with_first,
    written,
)

_DOMAIN = re.compile(r"(?:https://)?([a-z0-9][a-z0-9-]*)(?:\.pipedrive\.com)?/?")
#: How many custom fields a read can name, and records a list or a search gives.
_PICKED, _PAGE, _FOUND = 15, 500, 100
#: How many records are looked through for criteria that can't be asked.
_FARTHEST = 5_000
#: Seconds to leave it alone after it shut us out for not having done so.
_SHUT_OUT = 600.0


class PipedriveProvider(OAuthProvider):
    slug = "pipedrive"
    label = "Pipedrive"
    url = "https://api.pipedrive.com"
    credential_fields = (
        CredentialField(
            "token",
            _("API token"),
            _("In Pipedrive: your name, Company settings, Personal preferences, API."),
            secret=True,
        ),
        CredentialField(
            "domain",
            _("Company domain"),
            _("The acme in acme.pipedrive.com. With it Pipedrive answers faster."),
            required=False,
        ),
    )
    can_find_created = False  # but for objects with a custom field "xkit key"
    limits = Limits(calls=20, per=2.0)

    @classmethod
    def endpoints(cls, given: Mapping[str, Any]) -> Endpoints:
        # An app's scopes are chosen where it is registered, and not asked for here.
        return Endpoints(
            authorize="https://oauth.pipedrive.com/oauth/authorize",
            token="https://oauth.pipedrive.com/oauth/token",  # noqa: S106 - an address
            client="client_secret_basic",
        )

    @classmethod
    def learned(cls, token: Mapping[str, Any]) -> Mapping[str, Any]:
        domain = token.get("api_domain")
        return {"api_domain": str(domain).rstrip("/")} if domain else {}

    def authorisation(self) -> Mapping[str, str]:
        key = self.credentials.get("token")
        return {"x-api-token": str(key)} if key else super().authorisation()

    @property
    def base_url(self) -> str:
        return str(self.options.get("base_url") or self._company or self.url).rstrip("/")

    @property
    def _company(self) -> str:
        """The company's own address, which a sign-in tells and the holder of a token may."""
        if told := self.credentials.get("api_domain"):
            return str(told)
        if not (typed := str(self.credentials.get("domain") or "").strip().lower()):
            return ""
        if not (found := _DOMAIN.fullmatch(typed)):
            raise AddressRefused(
                f"{typed!r} is no company domain of Pipedrive.",
                hint="It is the acme in acme.pipedrive.com.",
            )
        return f"https://{found[1]}.pipedrive.com"

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        return [RemoteObject(name, kind.label, kind.plural) for name, kind in KINDS.items()]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        kind = _kind(remote_object)
        # The fields of notes are so few that they have no pages.
        asked = {} if remote_object == "notes" else {"limit": str(_PAGE)}
        return described(kind, self._pages(kind.fields, asked))

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        return self._record(ref.remote_object, self._held(ref, fields), fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        kind, known = _kind(remote_object), self.fields(remote_object)
        for one in criteria:
            if one.field not in known or not known[one.field].searchable:
                problem = Problem(one.field, "can't be searched")
                raise RejectedByCRM("Pipedrive can't search by this.", errors=[problem])
        narrowed = [
            one
            for one in criteria
            if one.field in kind.narrowed.split() and one.operator is Operator.EQUALS
        ]
        # A search takes one term, a list some ids: what neither is asked is looked at here.
        term = next((one for one in criteria if one not in narrowed), None)
        found = self._found(kind, term) if term else self._newest(kind, narrowed)
        names = [*fields, *(one.field for one in criteria)]
        records = (self._record(remote_object, one, names) for one in islice(found, _FARTHEST))
        left = [one for one in criteria if one is not term]
        met = (r for r in records if all(meets(r.values[one.field], one) for one in left))
        return [
            RemoteRecord(r.ref, {name: r.values[name] for name in fields})
            for r in islice(met, limit)
        ]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        kind, name = _kind(remote_object), self.key_field(remote_object)
        keyed = {**values, name: key} if name else values
        try:
            made = self.call("POST", kind.path, self._written(remote_object, keyed, {})).body
        except RemoteRecordNotFound as error:  # something that it refers to
            raise RejectedByCRM(error.message) from error
        return RecordRef(remote_object, str(made["data"]["id"]))

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        kind, name = _kind(remote_object), self.key_field(remote_object)
        yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        some = {"updated_since": yesterday} if kind.is_old else {"custom_fields": name}
        newest = islice(self._newest(kind, [], **some), _PAGE)
        # Asked in this order: what can be found among the newest needs no search.
        for one in chain(newest, self._found(kind, Criterion(name, Operator.EQUALS, key))):
            if source_of(one).get(name) == key:
                return RecordRef(remote_object, str(one["id"]))
        return None

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        kind, codes = _kind(ref.remote_object), {name.partition(".")[0] for name in values}
        # What is written as a whole is read first, so that the rest of it stays.
        known = self.fields(ref.remote_object)
        whole = any(code in kind.lists or has_parts(code, known) for code in codes)
        held = self._held(ref, sorted(codes)) if whole else {}
        body = self._written(ref.remote_object, values, held)
        method = "PUT" if ref.remote_object == "notes" else "PATCH"
        _alive(ref, self.call(method, _record_path(ref), body).body["data"])

    def delete(self, ref: RecordRef) -> None:
        self.call("DELETE", _record_path(ref))

    def record_url(self, ref: RecordRef) -> str:
        kind = KINDS.get(ref.remote_object)
        if not (kind and kind.page and self._company):
            return ""
        return f"{self._company}/{kind.page}/{part(ref.crm_id)}"

    # -- reading ------------------------------------------------------------------------------

    def _held(self, ref: RecordRef, fields: Sequence[str]) -> Mapping[str, Any]:
        codes = sorted({code for name in fields if CODE.fullmatch(code := name.partition(".")[0])})
        picked = _kind(ref.remote_object).picks and 0 < len(codes) <= _PICKED
        params = {"custom_fields": ",".join(codes)} if picked else {}
        return _alive(ref, self.call("GET", _record_path(ref), params=params).body["data"])

    def _newest(self, kind: Kind, criteria: Sequence[Criterion], **more: str) -> Iterator[Any]:
        """The records that meet the criteria, as the list gives them: newest first."""
        params = {one.field: as_text(one.value) for one in criteria} | more
        params["limit"] = str(_PAGE)
        if kind.entity != "lead":
            yield from self._pages(kind.path, {**params, **_newest_first(kind)})
        else:  # their order can't be reversed
            listed = islice(self._pages(kind.path, params), _FARTHEST)
            yield from sorted(listed, key=_added, reverse=True)

    def _found(self, kind: Kind, one: Criterion) -> Iterator[Any]:
        """The records that a search finds, newest first."""
        ids = list(islice(self._ids(kind, one), _FOUND))
        if kind.is_old:
            leads = [lead for crm_id in ids if (lead := self._lead(crm_id))]
            yield from sorted(leads, key=_added, reverse=True)
        elif ids:
            params = {"ids": ",".join(ids), "limit": str(_FOUND)}
            yield from self._pages(kind.path, {**params, **_newest_first(kind)})

    def _ids(self, kind: Kind, one: Criterion) -> Iterator[str]:
        exact = one.operator is Operator.EQUALS
        params = {"term": as_text(one.value), "limit": str(_FOUND)}
        if one.field in ("emails", "phones"):  # of several, so that only this search finds them
            path = f"{kind.path}/search"
            params |= {"fields": one.field[:-1], "exact_match": "true" if exact else "false"}
        else:
            path = "/api/v2/itemSearch/field"
            params |= {"entity_type": kind.entity, "field": one.field}
            params["match"] = "exact" if exact else "middle"
        for found in self._pages(path, params):
            yield str((found.get("item") or found)["id"])

    def _lead(self, crm_id: str) -> Mapping[str, Any] | None:
        try:
            return self._held(RecordRef("leads", crm_id), [])
        except RemoteRecordNotFound:  # the index knows it still
            return None

    def _pages(self, path: str, params: Mapping[str, str]) -> Iterator[Any]:
        """What all pages list: they are asked for as they are needed."""
        while True:
            body = self.call("GET", path, params=params).body
            data = body.get("data") or ()
            yield from data["items"] if isinstance(data, dict) else data
            more = body.get("additional_data") or {}
            paging = more.get("pagination") or more
            if cursor := more.get("next_cursor"):
                params = {**params, "cursor": cursor}
            elif paging.get("more_items_in_collection"):
                start = paging.get("next_start") or paging["start"] + paging["limit"]
                params = {**params, "start": str(start)}
            else:
                return

    def _record(
        self, remote_object: str, data: Mapping[str, Any], fields: Iterable[str]
    ) -> RemoteRecord:
        kind, known, source = _kind(remote_object), self.fields(remote_object), source_of(data)
        values = {name: read(kind, name, source, known.get(name)) for name in fields}
        return RemoteRecord(RecordRef(remote_object, str(data["id"])), values)

    # -- writing ------------------------------------------------------------------------------

    def _written(
        self, remote_object: str, values: Mapping[str, Any], held: Mapping[str, Any]
    ) -> dict[str, Any]:
        kind, known = _kind(remote_object), self.fields(remote_object)
        parts: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            code, _, part = name.partition(".")
            parts.setdefault(code, {})[part] = written(kind, name, value, known.get(name))
        body: dict[str, Any] = {}
        for code, given in parts.items():
            if code in kind.lists:
                name, inner = kind.lists[code]
                body[name] = with_first(held.get(name) or (), inner, given[""])
            elif has_parts(code, known):
                body[code] = in_full(kind, code, given, source_of(held).get(code), known)
            else:
                body[code] = given[""]
        if kind.is_old:
            return body
        custom = {code: body.pop(code) for code in list(body) if CODE.fullmatch(code)}
        return {**body, "custom_fields": custom} if custom else body

    # -- what it says of itself ---------------------------------------------------------------

    def note(self, answer: Answer) -> None:
        said, usage, now = answer.headers, self.usage, datetime.now(UTC)
        if (left := _count(said.get("x-ratelimit-remaining"))) is not None:
            usage.left = left
            usage.resets_at = now + timedelta(seconds=_count(said.get("x-ratelimit-reset")) or 2)
        if (left := _count(said.get("x-daily-ratelimit-token-remaining"))) is not None:
            usage.quota = _count(said.get("x-daily-ratelimit-token-limit"))
            usage.quota_left = left

    def refusal(self, answer: Answer) -> CRMError | None:
        message = f"Pipedrive answered {answer.status}: {self.words(answer)[0]}"
        if answer.status == 429:
            if _count(answer.headers.get("x-daily-ratelimit-token-remaining")) == 0:
                # The day ends at midnight where its server stands, which it doesn't say.
                return RateLimited(message, retry_after=DAY_USED_UP)
            reset = _count(answer.headers.get("x-ratelimit-reset"))
            return RateLimited(message, retry_after=answer.retry_after or reset)
        if answer.status == 403 and not isinstance(answer.body, dict):
            # A page for people: it is shown to those who went on after a 429.
            return RateLimited(message, retry_after=answer.retry_after or _SHUT_OUT)
        if answer.ok and isinstance(answer.body, dict) and answer.body.get("success") is False:
            return RejectedByCRM(message, errors=self.words(answer)[1])
        return None

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        if not isinstance(answer.body, dict):
            return super().words(answer)
        body = answer.body
        said, info = str(body.get("error") or ""), str(body.get("error_info") or "")
        problems = tuple(_problems(said))
        if problems:
            return "it doesn't take these values", problems
        return " ".join(filter(None, (said, info))), ()


def _kind(remote_object: str) -> Kind:
    if remote_object not in KINDS:
        raise RejectedByCRM(f"Pipedrive has no object {remote_object!r}.")
    return KINDS[remote_object]


def _record_path(ref: RecordRef) -> str:
    # All but leads are numbered: anything else would be no address of theirs.
    if ref.remote_object != "leads" and not (ref.crm_id.isascii() and ref.crm_id.isdigit()):
        raise RemoteRecordNotFound(f"Pipedrive has no record {ref}.")
    return f"{_kind(ref.remote_object).path}/{part(ref.crm_id)}"


def _alive(ref: RecordRef, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record, unless it is one of those that are kept for thirty days more."""
    if data.get("is_deleted") or data.get("active_flag") is False:
        raise RemoteRecordNotFound(f"Pipedrive's record {ref} is deleted.")
    return data


def _added(record: Mapping[str, Any]) -> str:
    return str(record.get("add_time"))


def _newest_first(kind: Kind) -> Mapping[str, str]:
    if kind.is_old:
        return {"sort": "add_time DESC"}
    return {"sort_by": "id", "sort_direction": "desc"}


# -- words ----------------------------------------------------------------------------------------

_FAILED = "Validation failed: "
_QUOTED = re.compile(r"'([\w.]+)'")
_OLD = re.compile(r'"(\w+)" ')


def _problems(said: str) -> Iterator[Problem]:
    """The fields at fault. v2 lists them behind their paths; v1 begins with one in quotes."""
    _, failed, listed = said.partition(_FAILED)
    if not failed:
        if found := _OLD.match(said):
            yield Problem(found[1], said[found.end() :])
        return
    for one in listed.split("; "):
        path, _, text = one.partition(": ")
        if code := CODE.search(one):
            yield Problem(code[0], text or one)
        elif path == "custom_fields" and (names := _QUOTED.findall(text)):
            yield Problem(names[-1], text)
        else:
            name = re.split(r"[.\[]", path)[0]
            yield Problem("person_id" if name == "participants" else name, text or one)


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None
