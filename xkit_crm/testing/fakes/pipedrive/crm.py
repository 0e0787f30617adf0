"""The fake Pipedrive: its records, and the operations of its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partialmethod
from typing import Any, ClassVar
from uuid import uuid4

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.pipedrive import answers, objects
from xkit_crm.testing.fakes.pipedrive.values import (
    ADDRESS,
    contacts,
    flat,
    matches,
    note,
    now,
    picked,
    problem,
    text,
)
from xkit_crm.testing.fakes.server import FakeCRM, Response


class PipedriveFake(FakeCRM):
    contract_file = "pipedrive.json"
    open_operations: ClassVar[frozenset[str]] = frozenset({"give_token"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, dict[str, Any]]] = {
            name: {} for name in (*objects.ENTITIES, "leads", "notes")
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
        return {"base_url": self.url, **self.signing_in("/oauth/authorize", "/oauth/token")}

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
        return replace(answers.error(429, "request over limit"), headers=left)

    def not_allowed(self, violations: list[str]) -> Response:
        return answers.invalid(f"body: {one}" for one in violations)

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
        return (
            answers.page(request, objects.FIELDS[entity])
            if entity in objects.FIELDS
            else answers.not_found(entity)
        )

    def list_lead_fields(self, request: Request) -> Response:
        return answers.old_page(request, objects.LEAD_FIELDS)

    def list_note_fields(self, request: Request) -> Response:
        return Response(200, {"success": True, "data": objects.NOTE_FIELDS})

    def search_field(self, request: Request) -> Response:
        asked, name = request.query, request.query["field"]
        held = {**objects.ENTITIES, "leads": "lead"}
        kind = next(one for one, entity in held.items() if entity == asked["entity_type"])
        exact = asked.get("match") == "exact"
        if len(asked["term"]) < 2 - exact:
            return answers.error(400, "Search term must be at least 2 characters long.")
        found = [
            {"result_score": 0.5, "item": {"id": one["id"]}}
            for one in self._indexed(kind)
            if matches(text(flat(one).get(name)), asked["term"], exact=exact)
        ]
        return answers.page(request, found)

    def search_persons(self, request: Request) -> Response:
        asked = request.query
        exact, term = asked.get("exact_match") == "true", asked["term"].casefold()
        found = [
            {"result_score": 0.5, "item": {"id": one["id"], "type": "person"}}
            for one in self._indexed("persons")
            for name in asked["fields"].split(",")
            if any(
                matches(held["value"].casefold(), term, exact=exact)
                for held in one.get(f"{name}s", ())
            )
        ]
        page = answers.page(request, found).body
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
            and all(text(one.get(name)) == asked[name] for name in own)
        ]
        listed.sort(key=lambda one: one["id"], reverse=asked.get("sort_direction") == "desc")
        return answers.page(request, [picked(one, request) for one in listed])

    def _create(self, request: Request, kind: str) -> Response:
        if wrong := self._refusal(kind, request.body, creates=True):
            return wrong
        number = int(self.new_id())
        record = {"id": number, "is_deleted": False, "add_time": now(), "custom_fields": {}}
        self._write(record, kind, request.body)
        self.records[kind][str(number)] = record
        self._index(str(number))
        return answers.data(record, 201 if kind == "products" else 200)

    def _read(self, request: Request, kind: str, id: str) -> Response:  # noqa: A002
        # One that is deleted can be read on, for thirty days.
        found = self.records[kind].get(id)
        return answers.data(picked(found, request)) if found else answers.not_found(kind)

    def _update(self, request: Request, kind: str, id: str) -> Response:  # noqa: A002
        if (found := self.records[kind].get(id)) is None:
            return answers.not_found(kind)
        if wrong := self._refusal(kind, request.body, creates=False):
            return wrong
        self._write(found, kind, request.body)
        return answers.data(found)

    def delete(self, request: Request, object: str, id: str) -> Response:  # noqa: A002
        found = self.records.get(object, {}).get(id)
        if found is None or found["is_deleted"]:
            return answers.not_found(object)
        found["is_deleted"] = True
        return answers.data({"id": found["id"]})

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
            and all(text(one.get(name)) == request.query[name] for name in own)
        ]
        if request.query.get("sort") == "add_time DESC":
            listed.reverse()
        return answers.old_page(request, listed)

    def create_lead(self, request: Request) -> Response:
        body = request.body
        if not body.get("title"):
            return answers.error(400, '"title" is required')
        if not (body.get("person_id") or body.get("organization_id")):
            return answers.error(400, "A lead must be linked to a person or an organization.")
        record = {"id": str(uuid4()), "add_time": now(".551Z"), **body}
        self.records["leads"][record["id"]] = record
        self._index(record["id"])
        return answers.data(record, 201)

    def read_lead(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["leads"].get(id)
        return answers.data(found) if found and id not in self.no_leads else answers.no_lead()

    def update_lead(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["leads"].get(id)
        if found is None:
            return answers.no_lead()
        found |= request.body
        return answers.data(found)

    def delete_lead(self, request: Request, id: str) -> Response:  # noqa: A002
        return (
            answers.data({"id": id}) if self.records["leads"].pop(id, None) else answers.no_lead()
        )

    def create_note(self, request: Request) -> Response:
        body = request.body
        if not body.keys() & {"lead_id", "deal_id", "person_id", "org_id"}:
            return answers.error(400, "A note must be attached to something.")
        record = {"id": int(self.new_id()), "active_flag": True, "add_time": now("", " "), **body}
        self.records["notes"][str(record["id"])] = record
        return answers.data(note(record))

    def read_note(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["notes"].get(id)
        return answers.data(note(found)) if found else answers.not_found("note")

    def update_note(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["notes"].get(id)
        if found is None:
            return answers.not_found("note")
        found |= request.body
        return answers.data(note(found))

    def delete_note(self, request: Request, id: str) -> Response:  # noqa: A002
        found = self.records["notes"].get(id)
        if found is None:
            return answers.not_found("note")
        found["active_flag"] = False
        return answers.data(True)

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
                given[name] = contacts(given[name])
        if "participants" in given:
            first = [one for one in given["participants"] if one.get("primary")]
            given["person_id"] = first[0]["person_id"] if first else None
        for one in given.get("prices", ()):
            one["product_id"] = record["id"]
        for name in ("address", "location", "postal_address"):
            if given.get(name):  # what isn't named is none
                given[name] = dict.fromkeys(ADDRESS) | given[name]
        record |= given

    def _refusal(self, kind: str, body: Mapping[str, Any], *, creates: bool) -> Response | None:
        problems = []
        required = objects.REQUIRED.get(kind)
        if required and ((creates and required not in body) or body.get(required) == ""):
            problems.append(f"{required}: {required.title()} must not be empty")
        for name in ("emails", "phones"):
            if sum(one.get("primary", False) for one in body.get(name, ())) > 1:
                problems.append(f"{name}: Only one can be primary")
        described = {one["field_code"]: one for one in objects.FIELDS[objects.ENTITIES[kind]]}
        for code, value in body.get("custom_fields", {}).items():
            if error := problem(described.get(code), code, value):
                problems.append(f"custom_fields: {error}")
        return answers.invalid(problems) if problems else None
