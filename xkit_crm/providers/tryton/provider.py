"""Tryton 8.2, on a server of the customer's own: JSON-RPC, a user and a password.

A call takes many records, and what it does is one transaction: one record that is refused spoils
them all. A key that lets a create of unknown outcome be looked up is made in the same call as the
record: as an identifier of a party, or as a note of what has notes (`docs/crms/tryton.md`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Access,
    CredentialField,
    Credentials,
    Criterion,
    Draft,
    Edit,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
    Workflow,
    only,
    outcome_of,
)
from xkit_crm.providers.http import Answer, HTTPProvider, part, request
from xkit_crm.providers.relational import UNSAYABLE, number_of, row_of
from xkit_crm.providers.tryton.describing import PARTY, TYPES, described
from xkit_crm.providers.tryton.errors import error_of, problems_in
from xkit_crm.providers.tryton.values import clause, from_tryton, to_tryton

#: Models of Tryton itself; but notes are written by people.
_TECHNICAL = ("ir.", "res.")
_NOTES = "ir.note"


_OPPORTUNITY = "sale.opportunity"
#: Tryton deletes these once they are cancelled.
_CANCELLED_FIRST = frozenset({_OPPORTUNITY, "sale.sale"})
#: What a person may press on an opportunity.
_BUTTONS = ("lead", "opportunity", "convert", "lost", "cancel")
_RECORD = RemoteField(
    "opportunity", "Opportunity", RemoteType.REFERENCE, required=True, references=(_OPPORTUNITY,)
)

#: Where our key is kept: in a list of other records, which are made in one call with the record.
_IDENTIFIER, _NOTE = "identifiers.code", "notes.message"


class TrytonProvider(HTTPProvider):
    slug = "tryton"
    label = "Tryton"
    credential_fields = (
        CredentialField(
            "url", _("Address"), _("Of your Tryton server, such as https://erp.example.com")
        ),
        CredentialField("database", _("Database"), _("Its name, as you choose it to log in.")),
        CredentialField("user", _("User name"), _("A user of its own for this product is best.")),
        CredentialField("password", _("Password"), secret=True),
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
        return f"{server}/{part(str(self.access.credentials.get('database', '')))}"

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
            raise error_of(body["error"], at_fault)
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
        self._special(remote_object, found)  # known, as long as the fields are
        values = {**defaults, "context": self._context}
        return [
            described(remote_object, one, values, self._options(remote_object, one))
            for one in found.values()
            if one["type"] in TYPES
        ]

    def _special(self, remote_object: str, known: Mapping[str, Any] | None = None) -> Sequence[str]:
        """What has to be known of a model beside its fields: which references say the model as
        well, and whether it has `notes`."""

        def ask() -> list[str]:
            found = known or self._rpc(f"model.{remote_object}.fields_get", None, 0)
            return [
                name
                for name, one in found.items()
                if one["type"] == "reference" or (name == "notes" and one["relation"] == _NOTES)
            ]

        return descriptions.remembered(self, f"special of {remote_object}", ask)

    def _options(self, remote_object: str, found: Mapping[str, Any]) -> list[Any]:
        """Pairs of value and label, or none where they depend on the record."""
        options = found.get("selection", ())
        if isinstance(options, str):
            if found.get("selection_change_with"):
                return []
            options = self._rpc(f"model.{remote_object}.{options}")
        return list(options)

    # -- one record ---------------------------------------------------------------------------

    def get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        return only(self.get_many([ref], fields))

    def search(
        self,
        remote_object: str,
        criteria: Sequence[Criterion],
        fields: Sequence[str],
        *,
        limit: int,
    ) -> Sequence[RemoteRecord]:
        kinds, special = self.fields(remote_object), self._special(remote_object)
        try:
            domain = [
                clause(remote_object, one, kinds.get(one.field), names_model=one.field in special)
                for one in criteria
            ]
        except UNSAYABLE:
            return []  # no record can hold such a value
        return self._read(remote_object, domain, fields, limit)

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        return only(self.create_many(remote_object, [Draft(values, key)]))

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        return self.find_created_many(remote_object, [key])[0]

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        only(self.update_many([Edit(ref, values)]))

    def delete(self, ref: RecordRef) -> None:
        only(self.delete_many([ref]))

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
        kept = self._kept([edit.ref for edit in edits])

        def write(chosen: Sequence[int]) -> None:
            ids = [int(edits[n].ref.crm_id) for n in chosen]
            pairs = [[[kept[number]], rows[n]] for number, n in zip(ids, chosen, strict=True)]
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
        remote_object, kept = refs[0].remote_object, self._kept(refs)
        if remote_object == _NOTES:  # only administrators may search them
            return [outcome_of(self._read_note, ref, fields) for ref in refs]
        ids = [kept.get(number, 0) for number in map(number_of, refs)]
        # To read one that is gone is an error for all; to search for it isn't.
        domain = [["id", "in", sorted({*ids} - {0})]]
        found = self._read(remote_object, domain, fields, len(ids), active_test=False)
        known = {int(one.ref.crm_id): one for one in found}
        return [known.get(number) or _missing(ref) for number, ref in zip(ids, refs, strict=True)]

    def _read_note(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        number = number_of(ref)
        try:
            found = self._rpc(f"model.{_NOTES}.read", [number], list(fields)) if number else []
        except RejectedByCRM:
            found = []
        if not found:
            raise _missing(ref)
        return self._record(_NOTES, found[0], fields)

    def _kept(self, refs: Sequence[RecordRef]) -> dict[int, int]:
        """The party that each of these was merged into. Tryton keeps both, and would write to
        either."""
        ids = {number for number in map(number_of, refs) if number}
        kept = {one: one for one in ids}
        seen: set[int] = set()
        while refs[0].remote_object == PARTY and ids - seen:
            seen |= ids
            found = self._rpc(
                f"model.{PARTY}.search_read",
                [["id", "in", sorted(ids)], ["replaced_by", "!=", None]],
                *(0, None, None, ["replaced_by"]),
                active_test=False,
            )
            into = {one["id"]: one["replaced_by"] for one in found}
            kept = {one: into.get(there, there) for one, there in kept.items()}
            ids = set(into.values())
        return kept

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
        return [self._record(remote_object, one, fields) for one in found]

    def _record(
        self, remote_object: str, found: Mapping[str, Any], fields: Sequence[str]
    ) -> RemoteRecord:
        kinds = self.fields(remote_object) if fields else {}
        values = {name: from_tryton(found.get(name), kinds.get(name)) for name in fields}
        return RemoteRecord(RecordRef(remote_object, str(found["id"])), values)

    def _each(
        self, refs: Sequence[RecordRef], do: Callable[[Sequence[int]], None]
    ) -> list[XkitError | None]:
        """Do it to all, and where that fails since some are gone, to those that are there."""
        chosen = [n for n, ref in enumerate(refs) if number_of(ref)]
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
        return {ref for ref, one in zip(refs, found, strict=True) if isinstance(one, RemoteRecord)}

    def _write(
        self, remote_object: str, how: str, *params: Any, of: Sequence[Mapping[str, Any]] = ()
    ) -> Any:
        def at_fault(message: str, domain: Any) -> Iterable[Problem]:
            return problems_in(message, domain, self.fields(remote_object), of)

        return self._rpc(f"model.{remote_object}.{how}", *params, writes=True, at_fault=at_fault)

    # -- our key ------------------------------------------------------------------------------

    def key_field(self, remote_object: str) -> str:
        """A field `xkit_key`, where a module has added one; or a relation and its field."""
        named = super().key_field(remote_object)
        if named:
            return named
        if remote_object == PARTY:
            return _IDENTIFIER
        return _NOTE if "notes" in self._special(remote_object) else ""

    def _written(self, remote_object: str, values: Mapping[str, Any], key: str) -> dict[str, Any]:
        row = self._row(remote_object, values)
        relation, _, last = self.key_field(remote_object).rpartition(".")
        if relation:
            row[relation] = [["create", [{last: key}]]]
        elif last:
            row[last] = key
        return row

    def _row(self, remote_object: str, values: Mapping[str, Any]) -> dict[str, Any]:
        kinds, special = self.fields(remote_object), self._special(remote_object)

        def said(name: str, value: Any) -> Any:
            return to_tryton(value, kinds.get(name), names_model=name in special)

        return row_of(values, kinds, said, crm="Tryton")

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
        if not number_of(chosen):
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
        return f"{server}/#{database}/model/{part(ref.remote_object)}/{part(ref.crm_id)}"

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


def _is_technical(name: str) -> bool:
    return ".reporting." in name or (name.startswith(_TECHNICAL) and name != _NOTES)


def _missing(ref: RecordRef) -> RemoteRecordNotFound:
    return RemoteRecordNotFound(f"Tryton has no record {ref}.")
