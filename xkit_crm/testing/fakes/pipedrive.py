"""Pipedrive, as far as the adapter talks to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any, ClassVar
from uuid import uuid4

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response

#: How many records and fields are on a page, whatever was asked for.
_PAGE = 3


def code_of(label: str) -> str:
    """The code of the custom field with this label."""
    return hashlib.sha1(label.encode(), usedforsecurity=False).hexdigest()


def _field(code: str, label: str, kind: str, *options: Any, **more: Any) -> dict[str, Any]:
    listed = [{"id": one, "label": str(one).title()} for one in options] or None
    return {
        "field_name": label,
        "field_code": code,
        "field_type": kind,
        "options": listed,
        "subfields": None,
        "is_custom_field": False,
        "is_optional_response_field": False,
        **more,
    }


def _custom(label: str, kind: str, *options: Any) -> dict[str, Any]:
    return _field(code_of(label), label, kind, *options, is_custom_field=True)


_COMMON = [
    _field("id", "ID", "int"),
    _field("owner_id", "Owner", "user"),
    _field("add_time", "Created", "date"),
    _field("visible_to", "Visible to", "visible_to", 1, 3, 5, 7),
    _field("next_activity_id", "Next activity", "activity", is_optional_response_field=True),
]
_FIELDS: Mapping[str, Sequence[dict[str, Any]]] = {
    "deal": [
        _field("title", "Title", "varchar"),
        _field("value", "Value", "monetary"),
        _field("status", "Status", "status", "open", "won", "lost"),
        _field("label_ids", "Labels", "set", 41, 42),
        _field("stage_id", "Stage", "stage"),
        *_COMMON,
        _custom("Xkit key", "varchar"),
        _custom("Region", "enum", 7, 8),
        _custom("Ends", "date"),
    ],
    "person": [
        _field("name", "Name", "varchar"),
        _field("email", "Email", "varchar"),
        _field("phones", "Phone", "phone"),
        _field("label_ids", "Labels", "set", 31, 32),
        *_COMMON,
        _custom("XKIT KEY", "varchar"),
        _custom("Story", "text"),
        _custom("Shoe size", "double"),
        _custom("Budget", "monetary"),
        _custom("Born", "date"),
        _custom("Holiday", "daterange"),
        _custom("Call at", "time"),
        _custom("Rank", "enum", 11, 12),
        _custom("Interests", "set", 21, 22, 23),
        _custom("Friend", "people"),
        _custom("Home", "address"),
        _custom("Fax", "phone"),
    ],
    "organization": [
        _field("name", "Name", "varchar"),
        _field("address", "Address", "address"),
        _field("website", "Website", "varchar"),
        *_COMMON,
    ],
    "product": [
        _field("name", "Name", "varchar"),
        _field("code", "Product code", "varchar"),
        _field("category", "Category", "enum", 51, 52),
        *_COMMON,
        _custom("Xkit key", "varchar"),
    ],
    "activity": [
        _field("subject", "Subject", "varchar"),
        _field("priority", "Priority", "enum", 263, 264),
        _field("note", "Note", "text"),
        *_COMMON,
    ],
}
#: v1 describes its own way, and each part of a field as a field.
_LEAD_FIELDS = [
    {"key": "title", "name": "Title", "field_type": "varchar", "active_flag": True},
    {"key": code_of("Xkit key"), "name": "Xkit key", "field_type": "varchar", "active_flag": True},
    {
        "key": code_of("Region"),
        "name": "Region",
        "field_type": "enum",
        "active_flag": True,
        "options": [{"id": 7, "label": "North"}, {"id": 8, "label": "South"}],
    },
    {
        "key": code_of("Tags"),
        "name": "Tags",
        "field_type": "set",
        "active_flag": True,
        "options": [{"id": 61, "label": "A"}, {"id": 62, "label": "B"}],
    },
    {"key": code_of("Gone"), "name": "Gone", "field_type": "varchar", "active_flag": False},
]
_NOTE_FIELDS = [
    {"id": 1, "key": "content", "name": "Content", "field_type": "text", "active_flag": True},
    {"id": 2, "key": "add_time", "name": "Created", "field_type": "date", "active_flag": True},
]
_ENTITIES = {
    "deals": "deal",
    "persons": "person",
    "organizations": "organization",
    "products": "product",
    "activities": "activity",
}
_REQUIRED = {"deals": "title", "persons": "name", "organizations": "name", "products": "name"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d:\d\d")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and bool(_DATE.fullmatch(value))


def _is_text(longest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= longest


def _is_object(check: Callable[[Any], bool], *parts: str) -> Callable[[Any], bool]:
    """Of a value, and perhaps some parts."""
    return lambda value: (
        isinstance(value, dict)
        and check(value.get("value"))
        and value.keys() <= {"value", *parts}
        and all(one is None or isinstance(one, str) for n, one in value.items() if n != "value")
    )


_ADDRESS = (
    *("country", "admin_area_level_1", "admin_area_level_2", "locality", "sublocality"),
    *("route", "street_number", "subpremise", "postal_code"),
)
#: By type: what a custom value has to be, and Pipedrive's name for it.
_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "varchar": (_is_text(255), "string", "text"),
    "text": (_is_text(65_535), "string", "large text"),
    "phone": (_is_text(255), "string", "phone"),
    "double": (_is_number, "number", "numeric"),
    "enum": (_is_number, "number", "single option"),
    "people": (_is_number, "number", "person"),
    "date": (_is_date, "date", "date"),
    "set": (lambda v: isinstance(v, list) and bool(v), "array", "multiple options"),
    "monetary": (_is_object(_is_number, "currency"), "object", "monetary"),
    "daterange": (_is_object(_is_date, "until"), "object", "date range"),
    "time": (
        _is_object(lambda v: isinstance(v, str) and bool(_TIME.fullmatch(v)), "timezone_name"),
        "object",
        "time",
    ),
    "address": (_is_object(_is_text(255), *_ADDRESS), "object", "address"),
}


class PipedriveFake(FakeCRM):
    contract_file = "pipedrive.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"give_token"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, dict[str, Any]]] = {
            name: {} for name in (*_ENTITIES, "leads", "notes")
        }
        #: Whether searches don't know yet what was made from now on.
        self.index_lags = False
        self._late: set[str] = set()
        #: Leads that are gone, though searches know them still.
        self.no_leads: set[str] = set()
        #: What is left of the day's tokens.
        self.tokens = 30_000

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "base_url": self.url,
            "authorize_url": f"{self.url}/oauth/authorize",
            "token_url": f"{self.url}/oauth/token",
            "client_id": "a-client",
            "client_secret": "a-client-secret",
        }

    @property
    def signed_in(self) -> Mapping[str, Any]:
        """Credentials as after an OAuth sign-in."""
        return {
            "access_token": self.token,
            "refresh_token": self.refresh_token,
            "api_domain": self.url,
        }

    def is_authorised(self, request: Request) -> bool:
        said = {name.lower(): value for name, value in request.headers.items()}
        return said.get("x-api-token") == self.token or super().is_authorised(request)

    def answer(self, request: Request) -> Response:
        response = super().answer(request)
        self.tokens -= 5 if request.method in ("POST", "PATCH", "PUT") else 1
        said = {
            "x-ratelimit-limit": "20",
            "x-ratelimit-remaining": "19",
            "x-ratelimit-reset": "2",
            "x-daily-ratelimit-token-limit": "30000",
            "x-daily-ratelimit-token-remaining": str(self.tokens),
        }
        return replace(response, headers={**said, **response.headers})

    def catch_up(self) -> None:
        """The search index does."""
        self._late.clear()

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        self.records[remote_object][merged]["is_deleted"] = True
        return True

    # -- the vendor's words -------------------------------------------------------------------

    def unauthorised(self) -> Response:
        body = {
            "success": False,
            "error": "unauthorized access",
            "errorCode": 401,
            "error_info": "Please check developers.pipedrive.com",
        }
        return Response(401, body)

    def too_many(self) -> Response:
        left = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}
        return replace(_error(429, "request over limit"), headers=left)

    def not_allowed(self, violations: list[str]) -> Response:
        return _invalid(f"body: {one}" for one in violations)

    # -- operations ---------------------------------------------------------------------------

    def give_token(self, request: Request) -> Response:
        given = request.body.get("refresh_token") or request.body.get("code")
        if given not in (self.refresh_token, "a-code"):
            return Response(400, {"success": False, "error": "invalid_grant"})
        self.expire()
        self.renewals += 1
        return Response(
            200,
            {
                "access_token": self.token,
                "token_type": "Bearer",
                "refresh_token": self.refresh_token,  # it doesn't rotate
                "scope": "base,deals:full,contacts:full,search:read",
                "expires_in": 3599,
                "api_domain": self.url,
            },
        )

    def list_fields(self, request: Request, entity: str) -> Response:
        return _page(request, _FIELDS[entity]) if entity in _FIELDS else _not_found(entity)

    def list_lead_fields(self, request: Request) -> Response:
        return _old_page(request, _LEAD_FIELDS)

    def list_note_fields(self, request: Request) -> Response:
        return Response(200, {"success": True, "data": _NOTE_FIELDS})

    def search_field(self, request: Request) -> Response:
        asked, name = request.query, request.query["field"]
        held = {**_ENTITIES, "leads": "lead"}
        kind = next(one for one, entity in held.items() if entity == asked["entity_type"])
        exact = asked.get("match") == "exact"
        if len(asked["term"]) < 2 - exact:
            return _error(400, "Search term must be at least 2 characters long.")
        found = [
            {"result_score": 0.5, "item": {"id": one["id"]}}
            for one in self._indexed(kind)
            if _matches(_text(_flat(one).get(name)), asked["term"], exact=exact)
        ]
        return _page(request, found)

    def search_persons(self, request: Request) -> Response:
        asked = request.query
        exact, term = asked.get("exact_match") == "true", asked["term"].casefold()
        found = [
            {"result_score": 0.5, "item": {"id": one["id"], "type": "person"}}
            for one in self._indexed("persons")
            for name in asked["fields"].split(",")
            if any(
                _matches(held["value"].casefold(), term, exact=exact)
                for held in one.get(f"{name}s", ())
            )
        ]
        page = _page(request, found).body
        return Response(200, {**page, "data": {"items": page["data"]}})

    def _list(self, request: Request, kind: str) -> Response:
        asked, found = request.query, self.records[kind].values()
        ids = asked.get("ids", "").split(",")
        own = set(asked) - {"ids", "sort_by", "sort_direction", "limit", "cursor", "custom_fields"}
        listed = [
            one
            for one in found
            if not one["is_deleted"]
            and ("ids" not in asked or str(one["id"]) in ids)
            and all(_text(one.get(name)) == asked[name] for name in own)
        ]
        listed.sort(key=lambda one: one["id"], reverse=asked.get("sort_direction") == "desc")
        return _page(request, [_picked(one, request) for one in listed])

    def _create(self, request: Request, kind: str) -> Response:
        if wrong := self._refusal(kind, request.body, creates=True):
            return wrong
        number = int(self.new_id())
        record = {"id": number, "is_deleted": False, "add_time": _now(), "custom_fields": {}}
        self._write(record, kind, request.body)
        self.records[kind][str(number)] = record
        self._index(str(number))
        return _data(record, 201 if kind == "products" else 200)

    def _read(self, request: Request, kind: str, id: str) -> Response:  # noqa: A002
        # One that is deleted can be read on, for thirty days.
        found = self.records[kind].get(id)
        return _data(_picked(found, request)) if found else _not_found(kind)

    def _update(self, request: Request, kind: str, id: str) -> Response:  # noqa: A002
        if (found := self.records[kind].get(id)) is None:
            return _not_found(kind)
        if wrong := self._refusal(kind, request.body, creates=False):
            return wrong
        self._write(found, kind, request.body)
        return _data(found)

    def delete(self, request: Request, object: str, id: str) -> Response:  # noqa: A002
        found = self.records.get(object, {}).get(id)
        if found is None or found["is_deleted"]:
            return _not_found(object)
        found["is_deleted"] = True
        return _data({"id": found["id"]})

    list_deals = partialmethod(_list, kind="deals")
    create_deal = partialmethod(_create, kind="deals")
    read_deal = partialmethod(_read, kind="deals")
    update_deal = partialmethod(_update, kind="deals")
    list_persons = partialmethod(_list, kind="persons")
    create_person = partialmethod(_create, kind="persons")
    read_person = partialmethod(_read, kind="persons")
    update_person = partialmethod(_update, kind="persons")
    list_organizations = partialmethod(_list, kind="organizations")
    create_organization = partialmethod(_create, kind="organizations")
    read_organization = partialmethod(_read, kind="organizations")
    update_organization = partialmethod(_update, kind="organizations")
    list_products = partialmethod(_list, kind="products")
    create_product = partialmethod(_create, kind="products")
    read_product = partialmethod(_read, kind="products")
    update_product = partialmethod(_update, kind="products")
    list_activities = partialmethod(_list, kind="activities")
    create_activity = partialmethod(_create, kind="activities")
    read_activity = partialmethod(_read, kind="activities")
    update_activity = partialmethod(_update, kind="activities")

    # -- leads and notes, of v1 ---------------------------------------------------------------

    def list_leads(self, request: Request) -> Response:
        return self._old_list(request, "leads")

    def list_notes(self, request: Request) -> Response:
        return self._old_list(request, "notes")

    def _old_list(self, request: Request, kind: str) -> Response:
        own = set(request.query) - {"start", "limit", "sort", "updated_since"}
        listed = [
            one
            for one in self.records[kind].values()
            if one.get("active_flag", True)
            and one["add_time"] >= request.query.get("updated_since", "")
            and all(_text(one.get(name)) == request.query[name] for name in own)
        ]
        if request.query.get("sort") == "add_time DESC":
            listed.reverse()
        return _old_page(request, listed)

    def create_lead(self, request: Request) -> Response:
        body = request.body
        if not body.get("title"):
            return _error(400, '"title" is required')
        if not (body.get("person_id") or body.get("organization_id")):
            return _error(400, "A lead must be linked to a person or an organization.")
        record = {"id": str(uuid4()), "add_time": _now(".551Z"), **body}
        self.records["leads"][record["id"]] = record
        self._index(record["id"])
        return _data(record, 201)

    def read_lead(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["leads"].get(id)
        return _data(found) if found and id not in self.no_leads else _no_lead()

    def update_lead(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["leads"].get(id)
        if found is None:
            return _no_lead()
        found |= request.body
        return _data(found)

    def delete_lead(self, request: Request, id: str) -> Response:  # noqa: A002
        return _data({"id": id}) if self.records["leads"].pop(id, None) else _no_lead()

    def create_note(self, request: Request) -> Response:
        body = request.body
        if not body.keys() & {"lead_id", "deal_id", "person_id", "org_id"}:
            return _error(400, "A note must be attached to something.")
        record = {"id": int(self.new_id()), "active_flag": True, "add_time": _now("", " "), **body}
        self.records["notes"][str(record["id"])] = record
        return _data(_note(record))

    def read_note(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["notes"].get(id)
        return _data(_note(found)) if found else _not_found("note")

    def update_note(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["notes"].get(id)
        if found is None:
            return _not_found("note")
        found |= request.body
        return _data(_note(found))

    def delete_note(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["notes"].get(id)
        if found is None:
            return _not_found("note")
        found["active_flag"] = False
        return _data(True)

    # -- records ------------------------------------------------------------------------------

    def _index(self, number: str) -> None:
        if self.index_lags:
            self._late.add(number)

    def _indexed(self, kind: str) -> Iterator[dict[str, Any]]:
        """What searches know: those that are deleted too, for a while."""
        for number, one in self.records[kind].items():
            if number not in self._late:
                yield one

    def _write(self, record: dict[str, Any], kind: str, body: Mapping[str, Any]) -> None:
        given = dict(body)
        record["custom_fields"] |= given.pop("custom_fields", {})
        for name in ("emails", "phones"):
            if name in given:
                given[name] = _contacts(given[name])
        if "participants" in given:
            first = [one for one in given["participants"] if one.get("primary")]
            given["person_id"] = first[0]["person_id"] if first else None
        for one in given.get("prices", ()):
            one["product_id"] = record["id"]
        for name in ("address", "location", "postal_address"):
            if given.get(name):  # what isn't named is none
                given[name] = dict.fromkeys(_ADDRESS) | given[name]
        record |= given

    def _refusal(self, kind: str, body: Mapping[str, Any], *, creates: bool) -> Response | None:
        problems = []
        required = _REQUIRED.get(kind)
        if required and ((creates and required not in body) or body.get(required) == ""):
            problems.append(f"{required}: {required.title()} must not be empty")
        for name in ("emails", "phones"):
            if sum(one.get("primary", False) for one in body.get(name, ())) > 1:
                problems.append(f"{name}: Only one can be primary")
        described = {one["field_code"]: one for one in _FIELDS[_ENTITIES[kind]]}
        for code, value in body.get("custom_fields", {}).items():
            if error := _problem(described.get(code), code, value):
                problems.append(f"custom_fields: {error}")
        return _invalid(problems) if problems else None


def _problem(field: Mapping[str, Any] | None, code: str, value: Any) -> str | None:
    if field is None or not field["is_custom_field"]:
        return f"Unknown key '{code}'"
    if value is None:
        return None
    check, wanted, name = _CHECKS[field["field_type"]]
    if not check(value):
        return f"Expected '{wanted}' as value for {name} custom field '{code}'"
    known = {one["id"] for one in field["options"] or ()}
    picked = value if isinstance(value, list) else [value]
    if known and not set(picked) <= known:
        return f"Option ID '{value}' is not valid for custom field '{code}'"
    return None


def _contacts(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One is the primary one, always."""
    found = [{"label": "work", "primary": False, **one} for one in given]
    if found and not any(one["primary"] for one in found):
        found[0]["primary"] = True
    return found


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    return {**record.get("custom_fields", {}), **record}


def _picked(record: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """With the custom fields that were asked for, and only such as have a value."""
    held = {n: v for n, v in record["custom_fields"].items() if v is not None}
    if asked := request.query.get("custom_fields"):
        held = {name: held[name] for name in asked.split(",") if name in held}
    return {**record, "custom_fields": held}


def _note(record: Mapping[str, Any]) -> dict[str, Any]:
    flags = {n: bool(v) for n, v in record.items() if n.startswith("pinned_to_")}
    return {**record, **flags}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _matches(held: str, term: str, *, exact: bool) -> bool:
    return held == term if exact else term in held


def _now(end: str = "Z", between: str = "T") -> str:
    return datetime.now(UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S") + end


# -- answers --------------------------------------------------------------------------------------


def _data(data: Any, status: int = 200) -> Response:
    return Response(status, {"success": True, "data": data})


def _page(request: Request, listed: Sequence[Any]) -> Response:
    size = min(int(request.query.get("limit", _PAGE)), _PAGE)
    start = int(request.query.get("cursor", "+0").removeprefix("+"))
    end = start + size
    # A plus: it has to be escaped to come back as it was.
    cursor = f"+{end}" if end < len(listed) else None
    return Response(
        200,
        {
            "success": True,
            "data": list(listed[start:end]),
            "additional_data": {"next_cursor": cursor},
        },
    )


def _old_page(request: Request, listed: Sequence[Any]) -> Response:
    size = min(int(request.query.get("limit", _PAGE)), _PAGE)
    start = int(request.query.get("start", 0))
    more = start + size < len(listed)
    paging = {"start": start, "limit": size, "more_items_in_collection": more}
    if more:
        paging["next_start"] = start + size
    data = list(listed[start : start + size]) or None
    return Response(200, {"success": True, "data": data, "additional_data": {"pagination": paging}})


def _error(status: int, error: str, **more: Any) -> Response:
    return Response(status, {"success": False, "error": error, **more})


def _invalid(problems: Iterable[str]) -> Response:
    error = f"Validation failed: {'; '.join(problems)}"
    return _error(400, error, code="ERR_SCHEMA_VALIDATION_FAILED")


def _not_found(kind: str) -> Response:
    entity = _ENTITIES.get(kind, kind)
    return _error(404, f"{entity.title()} not found", code="ERR_NOT_FOUND")


def _no_lead() -> Response:
    info = "Object was not found."
    return _error(404, "requested lead not found", error_info=info, data=None, additional_data=None)
