"""Another deployment of this app (or the hosted API) as the CRM.

Its CRM objects are the objects, and the payload keys of their events the fields: a write fires an
event there, over `docs/http-api.md`. That API doesn't say what is defined, so the deployment's
`objects` document (`manage.py xkit_dump`) is given with the credentials or in the settings.

A create goes with our key as its Idempotency-Key, so that sending it again within 24 hours doubles
nothing: where no answer came, it is sent once more right away. The API finds no invocation by such
a key, so a create that stays in doubt is one for a person.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from django.utils.translation import gettext_lazy as _

from xkit_crm import schema
from xkit_crm.exceptions import (
    ConfigurationError,
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
    from_dict,
)
from xkit_crm.mapping.conversion import as_text
from xkit_crm.providers.base import (
    Choice,
    CredentialField,
    Criterion,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
)
from xkit_crm.providers.http import Answer, HTTPProvider, part
from xkit_crm.schema.language import enum_values, is_nullable

#: How often an event that is still under way there is looked at, and the seconds in between.
_LOOKS, _PAUSE = 20, 1.0
_WAITING = frozenset({"pending", "running"})

_TYPES = {
    "number": RemoteType.NUMBER,
    "integer": RemoteType.INTEGER,
    "boolean": RemoteType.BOOLEAN,
    "array": RemoteType.MULTIPICKLIST,
}
_FORMATS = {
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "date-time": RemoteType.DATETIME,
    "email": RemoteType.EMAIL,
    "uri": RemoteType.URL,
    "text": RemoteType.TEXT,
}

#: A payload key's description, in Xkit-flavored JSON; those of objects by `outer.inner`.
Description = Mapping[str, Any]


class XkitProvider(HTTPProvider):
    slug = "xkit"
    label = "Xkit"
    option_names = ("objects",)
    credential_fields = (
        CredentialField(
            "url", _("API address"), _("Where its API is, such as https://crm.example.com/api/v1.")
        ),
        CredentialField(
            "connection", _("Connection"), _("Whose CRM is written to: the id it has there.")
        ),
        CredentialField("publishable_key", _("Publishable key")),
        CredentialField("secret_key", _("Secret key"), secret=True),
        CredentialField(
            "objects",
            _("Objects"),
            _("What manage.py xkit_dump says there, unless it is in your settings."),
            required=False,
        ),
    )
    can_find_created = False
    #: As long as a deployment lets a caller wait, and longer.
    timeout = (5.0, 40.0)

    @property
    def base_url(self) -> str:
        given = self.options.get("base_url") or self.access.credentials.get("url") or ""
        return str(given).rstrip("/")

    def authorisation(self) -> Mapping[str, str]:
        known = self.access.credentials
        pair = f"{known.get('publishable_key', '')}:{known.get('secret_key', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    # -- describing ---------------------------------------------------------------------------

    @cached_property
    def objects(self) -> Mapping[str, Any]:
        """The other deployment's `objects` document; raises `ConfigurationError`."""
        given = self.access.credentials.get("objects") or self.options.get("objects")
        try:
            document = json.loads(given) if isinstance(given, str) else given
        except ValueError:
            document = None
        problems = schema.check_objects(document or {})
        if not document or problems:
            raise ConfigurationError(
                "It is not known what can be written to this deployment.",
                hint="Give its objects document, as manage.py xkit_dump writes it there: with the "
                'credentials, or in XKIT_CRM["PROVIDER_OPTIONS"]["xkit"]["objects"].',
                errors=problems,
            )
        return schema.canonical(document)

    def describe_objects(self) -> Sequence[RemoteObject]:
        # Nothing of this is asked for, so the deployment hasn't said yet whether it knows us.
        self.call("GET", f"/crm/connections/{part(self._connection)}")
        return [RemoteObject(slug, one["label"] or slug) for slug, one in self.objects.items()]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        known = {kind: self._events(remote_object, kind) for kind in ("create", "update", "search")}
        flat = {
            kind: [dict(_flat(event["payloadSchema"])) for event in events.values()]
            for kind, events in known.items()
        }
        read = dict(_flat(self._object(remote_object)["fields"]))
        written: dict[str, Description] = {}
        for one in (*flat["create"], *flat["update"], *flat["search"], read):
            written |= {name: said for name, said in one.items() if name not in written}
        return [
            RemoteField(
                name=name,
                label=schema.label_for(name, said),
                type=_type(said),
                required=bool(flat["create"])
                and all(one.get(name, {}).get("required") for one in flat["create"]),
                createable=any(name in one for one in flat["create"]),
                updateable=any(name in one for one in flat["update"]),
                readable=name in read,
                searchable=any(name in one for one in flat["search"]),
                choices=_choices(said),
                max_length=said.get("maxLength"),
            )
            for name, said in written.items()
        ]

    def _object(self, remote_object: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self.objects.get(remote_object)
        if found is None:
            raise RejectedByCRM(f"This deployment has no object {remote_object!r}.")
        return found

    def _events(self, remote_object: str, kind: str) -> dict[str, Mapping[str, Any]]:
        events = self._object(remote_object)["events"]
        return {slug: event for slug, event in events.items() if event["type"] == kind}

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        body = self.call("GET", self._path(ref.remote_object, ref.crm_id)).body
        return self._record(ref.remote_object, body["record"], fields)

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        """By a search event. How it compares was decided by the customer who mapped it there."""
        asked = {one.field: one.value for one in criteria}
        slug, event = self._event(remote_object, "search", asked)
        if "limit" in event["payloadSchema"]:
            asked["limit"] = limit
        found = self._fire(remote_object, slug, _payload(event, asked), writes=False)
        return [self._record(remote_object, one, fields) for one in found["records"][:limit]]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        slug, event = self._event(remote_object, "create", values)
        payload = _payload(event, values)
        try:
            made = self._fire(remote_object, slug, payload, key=key)
        except CRMUnavailable as error:
            if not error.outcome_unknown:
                raise
            made = self._fire(remote_object, slug, payload, key=key)
        if not made.get("record"):
            status = made["invocation"]["status"]
            raise RejectedByCRM(
                f"The event {slug} made no record there: it is {status}.",
                hint="The customer has to map it to a create in that deployment.",
            )
        return RecordRef(remote_object, made["record"]["id"])

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        raise RejectedByCRM("This API finds no event by its idempotency key.")

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        slug, event = self._event(ref.remote_object, "update", values)
        self._fire(ref.remote_object, slug, _payload(event, values), record=ref.crm_id)

    def delete(self, ref: RecordRef) -> None:
        slug, _ = self._event(ref.remote_object, "delete", {})
        self._fire(ref.remote_object, slug, {}, record=ref.crm_id)

    def _event(
        self, remote_object: str, kind: str, values: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any]]:
        """The first event of this kind that carries all of these, else the first that comes
        closest."""
        events = self._events(remote_object, kind)
        if not events:
            raise RejectedByCRM(f"This deployment has no {kind} event of {remote_object!r}.")
        unknown = {
            slug: [name for name in values if name not in dict(_flat(event["payloadSchema"]))]
            for slug, event in events.items()
        }
        slug = min(events, key=lambda one: len(unknown[one]))
        if unknown[slug]:
            problems = [Problem(name, "is not in its payload") for name in unknown[slug]]
            raise RejectedByCRM(f"The event {slug} doesn't carry these.", errors=problems)
        return slug, events[slug]

    def _fire(
        self,
        remote_object: str,
        event: str,
        payload: Mapping[str, Any],
        *,
        record: str = "",
        key: str = "",
        writes: bool = True,
    ) -> Any:
        path = f"{self._path(remote_object, record)}/events/{part(event)}"
        headers = {"Idempotency-Key": key} if key else {}
        body = {"payload": payload}
        answer = self.call("POST", path, body, headers=headers, writes=writes).body
        return self._ended(answer) if answer["invocation"]["status"] in _WAITING else answer

    def _ended(self, answer: Mapping[str, Any]) -> Any:
        """What became of an event that took longer than that deployment lets a caller wait."""
        path = f"/crm/{part(self._connection)}/invocations/{answer['invocation']['id']}"
        for _look in range(_LOOKS):
            time.sleep(_PAUSE)
            found = self.call("GET", path).body
            if found["status"] in _WAITING:
                continue
            if found["error"]:
                raise _typed(from_dict(found["error"]))
            return {"record": found["record"], "records": [], "invocation": found}
        raise CRMUnavailable("The event is still under way there.", outcome_unknown=True)

    # -- what it says -------------------------------------------------------------------------

    def refusal(self, answer: Answer) -> CRMError | None:
        said = answer.body.get("error") if isinstance(answer.body, dict) else None
        # An event that failed is told of with a good status, where it is asked for.
        if answer.ok or not isinstance(said, dict):
            return None
        error = from_dict(said, status=answer.status)
        if error.retry_after is None:
            error.retry_after = answer.retry_after
        return _typed(error)

    # -- paths and values ---------------------------------------------------------------------

    @property
    def _connection(self) -> str:
        return str(self.access.credentials.get("connection") or "")

    def _path(self, remote_object: str, record: str) -> str:
        path = f"/crm/{part(self._connection)}/objects/{part(remote_object)}"
        return f"{path}/{part(record)}" if record else path

    def _record(
        self, remote_object: str, found: Mapping[str, Any], fields: Sequence[str]
    ) -> RemoteRecord:
        known = dict(_flat(self._object(remote_object)["fields"]))
        values = {
            name: _shown(known[name], _inside(found["data"], name)) if name in known else None
            for name in fields
        }
        return RemoteRecord(RecordRef(remote_object, found["id"]), values)


def _typed(error: XkitError) -> CRMError:
    """What the deployment says, as an adapter says it: for us it is the CRM, whatever stands
    behind it."""
    error.message = f"Xkit answered: {error.message}"
    error.errors = tuple(
        Problem(one.path.removeprefix("payload."), one.error) for one in error.errors
    )
    match error.code:
        case "in_progress":  # our key is at work there
            return _as(CRMUnavailable, error, outcome_unknown=True)
        case "unauthenticated" | "connection_not_enabled":
            return CRMUnauthorized(error.message)
        case "unknown_record":
            return _as(RemoteRecordNotFound, error)
        case XkitError.code:  # it broke on the way
            return _as(CRMUnavailable, error, outcome_unknown=True)
    return error if isinstance(error, CRMError) else _as(RejectedByCRM, error)


def _as(kind: type[CRMError], error: XkitError, *, outcome_unknown: bool = False) -> CRMError:
    return kind(
        error.message,
        hint=error.hint,
        errors=error.errors,
        retry_after=error.retry_after,
        outcome_unknown=outcome_unknown,
    )


# -- fields and values ----------------------------------------------------------------------------


def _flat(described: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Description]]:
    """The keys that hold one value, or several texts: those inside of objects by their path. What
    holds anything at all is left out."""
    for key, said in described.items():
        if said["type"] == "object":
            yield from _flat(said.get("properties") or {}, f"{before}{key}.")
        elif said["type"] != "array" or (said.get("items") or {}).get("type") == "string":
            yield f"{before}{key}", said


def _type(said: Description) -> RemoteType:
    if said["type"] in _TYPES:
        return _TYPES[said["type"]]
    if enum_values(said):
        return RemoteType.PICKLIST
    return _FORMATS.get(said.get("format", ""), RemoteType.STRING)


def _choices(said: Description) -> tuple[Choice, ...]:
    if _type(said) not in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST):
        return ()
    listed = said.get("enum") or (said.get("items") or {}).get("enum") or ()
    return tuple(
        Choice(as_text(one["value"]), str(one.get("label") or one["value"]))
        if isinstance(one, Mapping)
        else Choice(as_text(one), as_text(one))
        for one in listed
    )


def _payload(event: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by key, those inside of objects in their places."""
    known = dict(_flat(event["payloadSchema"]))
    payload: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        place = payload
        for key in outer:
            place = place.setdefault(key, {})
        # A payload that refuses null takes a key that isn't there.
        if value is not None or is_nullable(known.get(name, {})):
            place[last] = value
    return payload


def _inside(data: Any, name: str) -> Any:
    for key in name.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _shown(said: Description, value: Any) -> Any:
    if value is None or _type(said) is not RemoteType.PICKLIST:
        return value
    return as_text(value)
