"""Tryton 8.2, on a server of the customer's own: JSON-RPC, a user and a password.

A call takes many records, and what it does is one transaction: one record that is refused spoils
them all. A key that lets a create of unknown outcome be looked up is made in the same call as the
record: as an identifier of a party, or as a note of what has notes (`docs/crms/tryton.md`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Access,
    Choice,
    CredentialField,
    Credentials,
    Criterion,
    Draft,
    Edit,
    Operator,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
    Workflow,
)
from xkit_crm.providers.http import Answer, HTTPProvider, request
from xkit_crm.providers.pyson import conditions, holds

#: Lists of records, files, and spans of time have no counterpart, and are left out.
_TYPES = {
    "char": RemoteType.STRING,
    "text": RemoteType.TEXT,
    "integer": RemoteType.INTEGER,
    "float": RemoteType.NUMBER,
    "numeric": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
    "date": RemoteType.DATE,
    "datetime": RemoteType.DATETIME,
    "timestamp": RemoteType.DATETIME,
    "selection": RemoteType.PICKLIST,
    "multiselection": RemoteType.MULTIPICKLIST,
    "many2one": RemoteType.REFERENCE,
    "one2one": RemoteType.REFERENCE,
    "reference": RemoteType.REFERENCE,
}
#: Texts that say what they are by their name alone.
_NAMES = {
    "email": RemoteType.EMAIL,
    "website": RemoteType.URL,
    "phone": RemoteType.PHONE,
    "mobile": RemoteType.PHONE,
    "fax": RemoteType.PHONE,
}
#: Models of Tryton itself; but notes are written by people.
_TECHNICAL = ("ir.", "res.")
_NOT_TECHNICAL = frozenset({"ir.note"})

#: The largest id: a database's integer.
_MAX_ID = 2**31 - 1

_PARTY = "party.party"
_OPPORTUNITY = "sale.opportunity"
#: Tryton deletes these once they are cancelled.
_CANCELLED_FIRST = frozenset({_OPPORTUNITY, "sale.sale"})
#: What a person may press on an opportunity.
_BUTTONS = ("lead", "opportunity", "convert", "lost", "cancel")
_RECORD = RemoteField(
    "opportunity", "Opportunity", RemoteType.REFERENCE, required=True, references=(_OPPORTUNITY,)
)

#: Where our key can be kept: lists of other records, which are made in one call with the record;
#: what they are of, and the field there.
_KEY_PLACES = {"identifiers": ("party.identifier", "code"), "notes": ("ir.note", "message")}


class TrytonProvider(HTTPProvider):
    slug = "tryton"
    label = "Tryton"
    credential_fields = (
        CredentialField("url", "Address", "Of your Tryton server, such as https://erp.example.com"),
        CredentialField("database", "Database", "Its name, as you choose it to log in."),
        CredentialField("user", "User name", "A user of its own for this product is best."),
        CredentialField("password", "Password", secret=True),
    )
    can_find_created = False  # but for what has identifiers, notes, or a field `xkit_key`
    batch_size: ClassVar[int] = 200

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._credentials: Credentials | None = None

    # -- the connection -----------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """The database's address. What a browser shows behind it, `#crm/...`, isn't part of it."""
        said = str(self.options.get("base_url") or self.access.credentials.get("url", ""))
        server = said.strip().partition("#")[0].rstrip("/")
        return f"{server}/{_part(str(self.access.credentials.get('database', '')))}"

    @property
    def credentials(self) -> Credentials:
        """As they are now: with the session that was begun."""
        return self.access.credentials if self._credentials is None else self._credentials

    def authorisation(self) -> Mapping[str, str]:
        if not self.credentials.get("session"):
            self.renew()
        name, session = self.credentials.get("user", ""), self.credentials["session"]
        return {"Authorization": f"Session {b64encode(f'{name}:{session}'.encode()).decode()}"}

    def renew(self) -> bool:
        used = self.credentials
        self._credentials = self.access.renew(used, self._logged_in)
        return True

    def _logged_in(self, known: Credentials) -> Credentials:
        """The same with a new session. Tryton slows down who often gives a wrong password."""
        params = [known.get("user", ""), {"password": known.get("password", "")}]
        self.usage.requests += 1
        try:
            answer = request(
                "POST",
                f"{self.base_url}/rpc/",
                body=_call("common.db.login", params),
                timeout=self.timeout,
            )
        except CRMError as error:
            error.message = f"{self.label}: {error.message}"
            error.outcome_unknown = False
            raise
        if not answer.ok:
            raise self.refusal(answer) or self.error(answer)
        body = answer.body if isinstance(answer.body, dict) else {}
        if "result" not in body:
            raise CRMUnauthorized("Tryton wants more than a user's name and password to log in.")
        number, token = body["result"][:2]
        return {**known, "session": f"{number}:{token}"}

    @property
    def _context(self) -> Mapping[str, Any]:
        """What goes with every call, as from any client: the user's company, language and so on."""
        (found,) = descriptions.remembered(self, "context", self._preferences)
        return found

    def _preferences(self) -> list[Mapping[str, Any]]:
        found = self._rpc("model.res.user.get_preferences", True, {}, context=False)
        return [{name: value for name, value in found.items() if name != "locale"}]

    def _rpc(
        self,
        method: str,
        *params: Any,
        context: bool = True,
        writes: bool = False,
        at_fault: Callable[[str, Any], Iterable[Problem]] | None = None,
        **more: Any,
    ) -> Any:
        """What Tryton answers; an error has status 200 as well."""
        sent = [*params, {**self._context, **more}] if context else list(params)
        body = self.call("POST", "/rpc/", _call(method, sent), writes=writes).body
        if isinstance(body, dict) and "result" in body:
            return body["result"]
        if isinstance(body, dict) and isinstance(body.get("error"), list):
            raise _said(body["error"], at_fault)
        raise CRMError("Tryton's answer can't be read.", outcome_unknown=writes)

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        methods = self._rpc("system.listMethods", context=False)
        storing = {m[len("model.") : -len(".create")] for m in methods if m.endswith(".create")}
        models = self._rpc(
            "model.ir.model.search_read", [], 0, None, [["string", "ASC"]], ["name", "string"]
        )
        known = {one["name"]: one["string"] for one in models if one["name"] in storing}
        allowed = self._rpc("model.ir.model.access.get_access", list(known))
        return [
            RemoteObject(name, label or name)
            for name, label in known.items()
            if allowed[name]["read"] and not _is_technical(name)
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        found = self._rpc(f"model.{remote_object}.fields_get", None, 0)
        defaults = self._rpc(f"model.{remote_object}.default_get", None, False)
        self._key_place(remote_object, found)  # known, as long as the fields are
        return [
            self._field(remote_object, one, defaults)
            for one in found.values()
            if one["type"] in _TYPES
        ]

    def _field(
        self, remote_object: str, found: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> RemoteField:
        name, kind, states = found["name"], found["type"], conditions(found.get("states"))

        def is_now(state: str, number: int) -> bool:
            """By the conditions of a record as it is at first."""
            said = holds(states[state], {**defaults, "id": number}) if state in states else None
            return bool(found.get(state)) if said is None else said

        createable = not (found.get("readonly") or is_now("readonly", -1))
        updateable = not (found.get("readonly") or is_now("readonly", 1))
        # What a person can't fill in is filled in by Tryton. What is computed, and so isn't
        # searched, is another way to write what is stored, and that is required itself.
        filled = holds(states.get("editable", True), defaults) is False
        filled = filled or kind == "boolean" or defaults.get(name) is not None
        filled = filled or not found.get("searchable")
        options = self._options(remote_object, found) if "selection" in found else []
        if kind == "reference":
            references = tuple(str(value) for value, _ in options if value)
        else:
            references = (found["relation"],) if found.get("relation") else ()
        type_ = _TYPES[kind]
        picks = type_ in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
        size = found.get("size")
        return RemoteField(
            name=name,
            label=found.get("string") or name,
            type=_NAMES.get(name, type_) if kind == "char" else type_,
            required=createable and not filled and is_now("required", -1),
            createable=createable,
            updateable=updateable,
            searchable=bool(found.get("searchable")) or _is_contact(remote_object, name),
            choices=tuple(Choice(str(v), label) for v, label in options if v) if picks else (),
            references=references,
            max_length=size if isinstance(size, int) else None,
        )

    def _options(self, remote_object: str, found: Mapping[str, Any]) -> list[Any]:
        """Pairs of value and label, or none where they depend on the record."""
        options = found["selection"]
        if isinstance(options, str):
            if found.get("selection_change_with"):
                return []
            options = self._rpc(f"model.{remote_object}.{options}")
        return list(options)

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        found: RemoteRecord = _only(self.get_many([ref], fields))
        return found

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        kinds = self.fields(remote_object)
        try:
            domain = [_clause(remote_object, one, kinds.get(one.field)) for one in criteria]
        except (ValueError, ArithmeticError):
            return []  # no record can hold such a value
        return self._read(remote_object, domain, fields, limit)

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        made: RecordRef = _only(self.create_many(remote_object, [Draft(values, key)]))
        return made

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        return self.find_created_many(remote_object, [key])[0]

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        _only(self.update_many([Edit(ref, values)]))

    def delete(self, ref: RecordRef) -> None:
        _only(self.delete_many([ref]))

    # -- many at once -------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        rows = [self._written(remote_object, one.values, one.key) for one in drafts]
        made = self._write(remote_object, "create", rows, of=[one.values for one in drafts])
        return [RecordRef(remote_object, str(number)) for number in made]

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | None]:
        field = self.key_field(remote_object)
        relation, _, last = field.rpartition(".")
        found = self._rpc(
            *(f"model.{remote_object}.search_read", [[field, "in", list(keys)]]),
            *(0, None, [["id", "DESC"]], [field]),
            active_test=False,
        )
        made = {
            held[last]: RecordRef(remote_object, str(one["id"]))
            for one in found
            for held in (one[f"{relation}."] if relation else [one])
        }
        return [made.get(key) for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        remote_object = edits[0].ref.remote_object
        rows = [self._row(remote_object, edit.values) for edit in edits]
        written = [edit.values for edit in edits]

        def write(chosen: Sequence[int]) -> None:
            pairs = [[[int(edits[n].ref.crm_id)], rows[n]] for n in chosen]
            sent = [one for pair in pairs for one in pair]
            self._write(remote_object, "write", *sent, of=written)

        return self._each([edit.ref for edit in edits], write)

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        remote_object = refs[0].remote_object

        def delete(chosen: Sequence[int]) -> None:
            ids = [int(refs[n].crm_id) for n in chosen]
            if remote_object in _CANCELLED_FIRST:
                domain = [["id", "in", ids], ["state", "!=", "cancelled"]]
                still = self._rpc(f"model.{remote_object}.search", domain, 0, None, None)
                if still:
                    self._write(remote_object, "cancel", still)
            self._write(remote_object, "delete", ids)

        return self._each(refs, delete)

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        remote_object, ids = refs[0].remote_object, [n for n in map(_number, refs) if n]
        # To read one that is gone is an error for all; to search for it isn't.
        found = self._read(remote_object, [["id", "in", ids]], fields, len(ids), active_test=False)
        known = {one.ref: one for one in found}
        return [known.get(ref) or _missing(ref) for ref in refs]

    def _read(
        self,
        remote_object: str,
        domain: list[Any],
        fields: Sequence[str],
        limit: int,
        **context: Any,
    ) -> list[RemoteRecord]:
        found = self._rpc(
            *(f"model.{remote_object}.search_read", domain),
            *(0, limit, [["id", "DESC"]], list(fields)),
            **context,
        )
        kinds = self.fields(remote_object) if fields else {}
        return [
            RemoteRecord(
                RecordRef(remote_object, str(one["id"])),
                {name: _plain(one.get(name), kinds.get(name)) for name in fields},
            )
            for one in found
        ]

    def _each(
        self, refs: Sequence[RecordRef], do: Callable[[Sequence[int]], None]
    ) -> list[XkitError | None]:
        """Do it to all, and where that fails since some are gone, to those that are there."""
        chosen = [n for n, ref in enumerate(refs) if _number(ref)]
        try:
            if chosen:
                do(chosen)
        except RejectedByCRM:
            there = self._existing([refs[n] for n in chosen])
            if len(there) == len(chosen):
                raise
            chosen = [n for n in chosen if refs[n] in there]
            if chosen:
                do(chosen)
        done = set(chosen)
        return [None if n in done else _missing(ref) for n, ref in enumerate(refs)]

    def _existing(self, refs: Sequence[RecordRef]) -> set[RecordRef]:
        found = self.get_many(refs, [])
        return {one.ref for one in found if isinstance(one, RemoteRecord)}

    def _write(
        self, remote_object: str, how: str, *params: Any, of: Sequence[Mapping[str, Any]] = ()
    ) -> Any:
        def at_fault(message: str, domain: Any) -> Iterable[Problem]:
            return _problems(message, domain, self.fields(remote_object), of)

        return self._rpc(f"model.{remote_object}.{how}", *params, writes=True, at_fault=at_fault)

    # -- our key ------------------------------------------------------------------------------

    def key_field(self, remote_object: str) -> str:
        """A field `xkit_key`, where a module has added one; or a relation and its field."""
        named = super().key_field(remote_object)
        if named:
            return named
        return self._key_place(remote_object)

    def _key_place(self, remote_object: str, known: Mapping[str, Any] | None = None) -> str:
        def place() -> list[str]:
            found = known or self._rpc(f"model.{remote_object}.fields_get", list(_KEY_PLACES), 0)
            return [
                f"{name}.{field}"
                for name, (relation, field) in _KEY_PLACES.items()
                if found.get(name, {}).get("relation") == relation
            ]

        return next(iter(descriptions.remembered(self, f"key of {remote_object}", place)), "")

    def _written(self, remote_object: str, values: Mapping[str, Any], key: str) -> dict[str, Any]:
        row = self._row(remote_object, values)
        relation, _, last = self.key_field(remote_object).rpartition(".")
        if relation:
            row[relation] = [["create", [{last: key}]]]
        elif last:
            row[last] = key
        return row

    def _row(self, remote_object: str, values: Mapping[str, Any]) -> dict[str, Any]:
        kinds = self.fields(remote_object)
        row, problems = {}, []
        for name, value in values.items():
            try:
                row[name] = _tagged(value, kinds.get(name))
            except (ValueError, ArithmeticError):
                # Tryton would say what is wrong with it, but not where.
                problems.append(Problem(name, f"{value!r} is no {_kind(kinds[name])}"))
        if problems:
            raise RejectedByCRM("Tryton can't hold these values.", errors=problems)
        return row

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Workflow]:
        """The buttons of an opportunity, in the words that are on them."""
        found = self._rpc(
            *("model.ir.model.button.search_read", [["model", "=", _OPPORTUNITY]]),
            *(0, None, [["id", "ASC"]], ["name", "string"]),
        )
        return [
            Workflow(f"{_OPPORTUNITY}.{one['name']}", one["string"] or one["name"], (_RECORD,))
            for one in found
            if one["name"] in _BUTTONS
        ]

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        button = name.removeprefix(f"{_OPPORTUNITY}.")
        if name == button or button not in _BUTTONS:
            raise RejectedByCRM(f"Tryton has no workflow {name!r}.")
        said = str(inputs.get(_RECORD.name) or ref or "")
        chosen = RecordRef(_OPPORTUNITY, said.removeprefix(f"{_OPPORTUNITY}:"))
        if not _number(chosen):
            raise RejectedByCRM(
                "This is done to an opportunity, and there is none.",
                errors=[Problem(_RECORD.name, "is needed")],
            )
        pressed = self._press(chosen, button)
        # Convert opens what it made: a sale.
        if isinstance(pressed, dict) and pressed.get("res_model") and pressed.get("res_id"):
            return RecordRef(pressed["res_model"], str(pressed["res_id"][0]))
        return chosen if ref is None else ref

    def _press(self, ref: RecordRef, button: str) -> Any:
        try:
            return self._write(ref.remote_object, button, [int(ref.crm_id)])
        except RejectedByCRM:
            if not self._existing([ref]):
                raise _missing(ref) from None
            raise

    def record_url(self, ref: RecordRef) -> str:
        """Of Tryton's web client, which most servers have."""
        server, _, database = self.base_url.rpartition("/")
        return f"{server}/#{database}/model/{_part(ref.remote_object)}/{_part(ref.crm_id)}"

    # -- what it says of itself ---------------------------------------------------------------

    def refusal(self, answer: Answer) -> CRMError | None:
        if answer.status == 404:  # of an address or a database: records are in the answer
            return CRMUnavailable(
                "Tryton has no such database.",
                hint="Correct the server's address, or the database's name.",
            )
        return None

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        said, problems = super().words(answer)
        return " ".join(re.sub(r"<[^>]*>", " ", said).split()), problems


def _call(method: str, params: list[Any]) -> dict[str, Any]:
    return {"id": 1, "method": method, "params": params}


def _part(text: str) -> str:
    return quote(text, safe="")


def _is_technical(name: str) -> bool:
    return ".reporting." in name or (name.startswith(_TECHNICAL) and name not in _NOT_TECHNICAL)


def _number(ref: RecordRef) -> int:
    """The id; 0 where it is none that a record could have."""
    text = ref.crm_id
    found = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    return found if found <= _MAX_ID else 0


def _missing(ref: RecordRef) -> RemoteRecordNotFound:
    return RemoteRecordNotFound(f"Tryton has no record {ref}.")


def _only(answers: Sequence[Any]) -> Any:
    (answer,) = answers
    if isinstance(answer, XkitError):
        raise answer
    return answer


def _clause(remote_object: str, one: Criterion, field: RemoteField | None) -> list[Any]:
    """A part of a search domain; a text to look for is no pattern."""
    if one.operator is Operator.CONTAINS:
        text = re.sub(r"([\\%_])", r"\\\1", str(one.value))
        how, value = "ilike", f"%{text}%"
    else:
        how, value = "=", _tagged(one.value, field)
    if _is_contact(remote_object, one.field):
        # A party's own field shows the first of its contacts, and can't be searched.
        return ["contact_mechanisms", "where", [["type", "=", one.field], ["value", how, value]]]
    return [one.field, how, value]


def _is_contact(remote_object: str, name: str) -> bool:
    return remote_object == _PARTY and name in _NAMES


# -- what it refuses ------------------------------------------------------------------------------


def _said(error: list[Any], at_fault: Callable[[str, Any], Iterable[Problem]] | None) -> CRMError:
    """The typed error. Its transaction was rolled back, so nothing was written."""
    kind, detail, *_ = [*error, None, None]
    parts: list[Any] = [part for part in detail if part] if isinstance(detail, list) else []
    match kind:
        case "ConcurrencyException":
            return RecordLocked("Tryton answered that somebody else changed the record.")
        case "LoginException":
            return CRMUnauthorized("Tryton wants more than a user's name and password.")
        case "UserWarning":
            _, *words = [*parts, ""]
            return RejectedByCRM(
                f"Tryton warns: {' '.join(words).strip()}",
                hint="The user of this connection can tell Tryton, in its client, not to warn of "
                "this again.",
            )
        case "UserError":
            message = " ".join(part for part in parts if isinstance(part, str))
            domain = parts[-1] if parts and isinstance(parts[-1], list) else None
        case _:
            message, domain = str(kind), None
    problems = tuple(at_fault(message, domain)) if at_fault else ()
    return RejectedByCRM(f"Tryton answered: {message or 'an error without words'}", errors=problems)


def _problems(
    message: str,
    domain: Any,
    fields: Mapping[str, RemoteField],
    rows: Sequence[Mapping[str, Any]],
) -> Iterable[Problem]:
    """The fields at fault: those of the violated domain, or else those whose label, name or value
    stands in quotes in what it says, in whichever language."""
    written = {name for row in rows for name in row}
    named = domain[1] if isinstance(domain, list) and len(domain) == 2 else {}
    labels = {name for name, field in fields.items() if _quotes(message, field.label)}
    for found in (
        named.keys() & fields.keys(),
        labels & written or labels,
        {name for name in written if _quotes(message, name)},
        {name for row in rows for name, value in row.items() if _quotes(message, value)},
    ):
        if found:
            return [Problem(name, message) for name in sorted(found)]
    return []


def _quotes(message: str, what: Any) -> bool:
    text = str(what)
    return bool(text and re.search(f"{_OPENING}{re.escape(text)}{_CLOSING}", message))


_OPENING, _CLOSING = "[\"'“„«‘「]\\s?", "\\s?[\"'”“»’」]"


# -- values ---------------------------------------------------------------------------------------


#: Of a moment.
_PARTS = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def _kind(field: RemoteField) -> str:
    return "id of a record" if field.type is RemoteType.REFERENCE else field.type.value


def _tagged(value: Any, field: RemoteField | None) -> Any:
    """As Tryton wants it: what JSON has no type for is an object that says its class. Raises
    `ValueError` or `ArithmeticError` for what can't be said so."""
    if value is None or field is None:
        return value
    match field.type:
        case RemoteType.DATE:
            day = date.fromisoformat(value)
            return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}
        case RemoteType.DATETIME:
            return _tagged_moment(datetime.fromisoformat(value))
        case RemoteType.NUMBER:
            # A float field takes a decimal as well.
            number = Decimal(str(value))
            if not number.is_finite() or isinstance(value, bool):
                raise ValueError(value)
            return {"__class__": "Decimal", "decimal": format(number, "f")}
        case RemoteType.INTEGER:
            return int(value)
        case RemoteType.REFERENCE:
            return _pointer(str(value), field)
    return value


def _tagged_moment(moment: datetime) -> dict[str, Any]:
    """Tryton's moments are in UTC, and say nothing of it."""
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return {"__class__": "datetime", **{name: getattr(moment, name) for name in _PARTS}}


def _pointer(text: str, field: RemoteField) -> int | str:
    """An id, or a record id; where a field points to several models, the model goes before it."""
    model, separator, number = text.replace(":", ",").rpartition(",")
    if separator and field.references and model not in field.references:
        raise ValueError(text)
    if len(field.references) == 1 or not separator:
        return int(number)
    return f"{model},{int(number)}"


def _plain(value: Any, field: RemoteField | None) -> Any:
    """What such a value says."""
    kind = field.type if field is not None else None
    if isinstance(value, int) and kind in (RemoteType.REFERENCE, RemoteType.BOOLEAN):
        # Some databases have no truths of their own.
        return bool(value) if kind is RemoteType.BOOLEAN else str(value)
    if not isinstance(value, dict):
        return value
    match value.get("__class__"):
        case "Decimal":
            return _as_number(Decimal(value["decimal"]))
        case "date":
            return date(value["year"], value["month"], value["day"]).isoformat()
        case "datetime":
            return datetime(**{name: value[name] for name in _PARTS}).isoformat() + "Z"  # noqa: DTZ001 - in UTC
    return value


def _as_number(number: Decimal) -> int | float | str:
    """A number where it stays what it is, or else its text."""
    if number == number.to_integral_value():
        return int(number)
    return float(number) if Decimal(repr(float(number))) == number else str(number)
