"""Odoo 19 and later, in Odoo's cloud or on a server of the customer's own: JSON-2, an API key.

Every method of every model is an address, its arguments are named, and a call is a transaction. A
call makes many records, but writes the same values to all that it writes to. A field `x_xkit_key`
lets a create of unknown outcome be looked up (`docs/crms/odoo.md`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    CRMUnavailable,
    Problem,
    RateLimited,
    RecordLocked,
    RejectedByCRM,
    RemoteRecordNotFound,
    XkitError,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import (
    Choice,
    CredentialField,
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
)
from xkit_crm.providers.http import Answer, HTTPProvider, part
from xkit_crm.providers.odoo.describing import is_described, is_offered, type_of
from xkit_crm.providers.odoo.values import clause, plain, written
from xkit_crm.providers.relational import UNSAYABLE, number_of, row_of

_ATTRIBUTES = ("type", "string", "required", "readonly", "selection", "relation", "searchable")
#: How many tags are shown to be picked from.
_MOST_TAGS = 500
#: Errors of Python's own that a value which makes no sense ends in. All of them are undone.
_NONSENSE = re.compile(
    r"builtins\.(Value|Type|Key|Index|Attribute|Assertion|Overflow|Unicode\w*)Error|decimal\..*"
)
#: Where Odoo names a field, in whichever language: by its technical name, after its label.
_FIELDS = (
    re.compile(r"Wrong value for [\w.]+\.(\w+):"),
    re.compile(r"Invalid field ['\"]?(\w+)"),
    re.compile(r"['\"“”„»«’] ?\((\w+)\)"),
    re.compile(r":[^\n(]+\((\w+)\)"),
)


class OdooProvider(HTTPProvider):
    slug = "odoo"
    label = "Odoo"
    credential_fields = (
        CredentialField("url", _("Address"), _("Such as https://mycompany.odoo.com")),
        CredentialField(
            "database",
            _("Database"),
            _("Only where your server has several, and the address doesn't tell which."),
            required=False,
        ),
        CredentialField(
            "key",
            _("API key"),
            _("Made under Preferences, Account Security. It ends on the day that is chosen there."),
            secret=True,
        ),
    )
    can_find_created = False  # but for models with a field `x_xkit_key`
    batch_size: ClassVar[int] = 100

    # -- the connection -----------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """The server's address. What a browser shows behind it, `/odoo/...`, isn't part of it."""
        said = str(self.options.get("base_url") or self.access.credentials.get("url", ""))
        server = re.sub(r"/(odoo|web)(/.*)?$", "", said.strip().partition("#")[0].partition("?")[0])
        return server.rstrip("/")

    def authorisation(self) -> Mapping[str, str]:
        database = self.access.credentials.get("database")
        named = {"X-Odoo-Database": str(database)} if database else {}
        key = self.access.credentials.get("key", "")
        return {"Authorization": f"bearer {key}", "User-Agent": "xkit_crm", **named}

    def _do(
        self,
        model: str,
        method: str,
        *,
        writes: bool = False,
        ids: Sequence[int] = (),
        **named: Any,
    ) -> Any:
        """What a method gives, asked in the language of the connection's user."""
        context = {**self._context, **named.pop("context", {})}
        sent = {**({"ids": list(ids)} if ids else {}), **named, "context": context}
        return self.call("POST", f"/json/2/{part(model)}/{method}", sent, writes=writes).body

    @property
    def _context(self) -> Mapping[str, Any]:
        (found,) = descriptions.remembered(self, "context", self._user_context)
        return found

    def _user_context(self) -> list[Mapping[str, Any]]:
        found = self.call("POST", "/json/2/res.users/context_get", {}, writes=False).body
        return [{"lang": found["lang"]} if found.get("lang") else {}]

    # -- describing ---------------------------------------------------------------------------

    def describe_objects(self) -> Sequence[RemoteObject]:
        found = self._do("ir.model", "get_available_models")
        return [
            RemoteObject(one["model"], one["display_name"] or one["model"])
            for one in sorted(found, key=lambda one: str(one["display_name"]))
            if is_offered(one["model"])
        ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        found = self._do(remote_object, "fields_get", attributes=list(_ATTRIBUTES))
        required = [n for n, one in found.items() if one.get("required") and not one["readonly"]]
        filled = self._defaults(remote_object, required) if required else {}
        return [
            self._field(name, one, required=name in required and filled.get(name) in (None, False))
            for name, one in found.items()
            if is_described(one)
        ]

    def _defaults(self, remote_object: str, names: Sequence[str]) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = self._do(remote_object, "default_get", fields=list(names))
        except RejectedByCRM:
            return {}  # some models call the argument something else, and then it can't be given
        return found

    def _field(self, name: str, found: Mapping[str, Any], *, required: bool) -> RemoteField:
        kind, relation = type_of(name, found), found.get("relation")
        changeable = not found.get("readonly")
        options = list(found.get("selection") or ())
        if kind is RemoteType.MULTIPICKLIST:
            options = self._tags(str(relation)) if changeable else []
        references = [relation] if relation else [value for value, _ in options]
        return RemoteField(
            name=name,
            label=found.get("string") or name,
            type=kind,
            required=required and kind is not RemoteType.BOOLEAN,
            createable=changeable,
            updateable=changeable,
            searchable=bool(found.get("searchable", True)),
            choices=tuple(Choice(str(v), label) for v, label in options)
            if kind in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST)
            else (),
            references=tuple(references) if kind is RemoteType.REFERENCE else (),
        )

    def _tags(self, model: str) -> list[tuple[int, str]]:
        found = self._do(model, "search_read", domain=[], fields=["display_name"], limit=_MOST_TAGS)
        return [(one["id"], one["display_name"]) for one in found]

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
        kinds = self.fields(remote_object)
        try:
            domain = [clause(one, kinds.get(one.field)) for one in criteria]
        except UNSAYABLE:
            return []  # no record can hold such a value
        return self._read(remote_object, domain, fields, limit=limit)

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        return only(self.create_many(remote_object, [Draft(values, key)]))

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        return self.find_created_many(remote_object, [key])[0]

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        self._do(
            ref.remote_object,
            "write",
            ids=[_id(ref)],
            vals=self._row(ref.remote_object, values),
            writes=True,
        )

    def delete(self, ref: RecordRef) -> None:
        self._do(ref.remote_object, "unlink", ids=[_id(ref)], writes=True)

    # -- many at once -------------------------------------------------------------------------

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        field = self.key_field(remote_object)
        rows = [
            self._row(remote_object, draft.values) | ({field: draft.key} if field else {})
            for draft in drafts
        ]
        made = self._do(remote_object, "create", vals_list=rows, writes=True)
        if not isinstance(made, list) or len(made) != len(rows):
            raise CRMError("Odoo's answer doesn't say what was made.", outcome_unknown=True)
        return [RecordRef(remote_object, str(number)) for number in made]

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | None]:
        field = self.key_field(remote_object)
        found = self._do(
            remote_object,
            "search_read",
            domain=[[field, "in", list(keys)]],
            fields=[field],
            order="id desc",
            context={"active_test": False},
        )
        made = {one[field]: RecordRef(remote_object, str(one["id"])) for one in found}
        return [made.get(key) for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        """A call for all that get the same values: Odoo has none for several. Once it is too much
        or Odoo is gone, no more is asked of it."""
        answers: dict[RecordRef, XkitError | None] = {}
        stopped: CRMError | None = None
        for refs, values in _alike(edits):
            found = dict.fromkeys(refs, stopped) if stopped else self._write_alike(refs, values)
            answers |= found
            stopped = stopped or _stops(found.values())
        return [answers[edit.ref] for edit in edits]

    def _write_alike(
        self, refs: Sequence[RecordRef], values: Mapping[str, Any]
    ) -> dict[RecordRef, XkitError | None]:
        remote_object = refs[0].remote_object

        def write(ids: Sequence[int]) -> None:
            row = self._row(remote_object, values)
            self._do(remote_object, "write", ids=ids, vals=row, writes=True)

        try:
            return dict(zip(refs, self._each(refs, write), strict=True))
        except RejectedByCRM as error:
            # One of them, or the values; what others were given has been written.
            if len(refs) == 1:
                return {refs[0]: error}
            found: dict[RecordRef, XkitError | None] = {}
            for ref in refs:
                found |= self._write_alike([ref], values)
            return found
        except CRMError as error:
            return dict.fromkeys(refs, error)

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        remote_object = refs[0].remote_object
        return self._each(refs, lambda ids: self._do(remote_object, "unlink", ids=ids, writes=True))

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        remote_object, ids = refs[0].remote_object, [n for n in map(number_of, refs) if n]
        # To read one that is gone is an error for all; to search for it isn't.
        archived = {"active_test": False}
        found = self._read(remote_object, [["id", "in", ids]], fields, context=archived)
        known = {one.ref: one for one in found}
        return [known.get(ref) or _missing(ref) for ref in refs]

    def _read(
        self, remote_object: str, domain: list[Any], fields: Sequence[str], **named: Any
    ) -> list[RemoteRecord]:
        kinds = self.fields(remote_object) if fields else {}
        found = self._do(
            remote_object,
            "search_read",
            domain=domain,
            fields=list(fields) or ["id"],
            order="id desc",
            load="",  # no names of what is referred to
            **named,
        )
        return [
            RemoteRecord(
                RecordRef(remote_object, str(one["id"])),
                {name: plain(one.get(name), kinds.get(name)) for name in fields},
            )
            for one in found
        ]

    def _each(
        self, refs: Sequence[RecordRef], do: Callable[[Sequence[int]], Any]
    ) -> list[XkitError | None]:
        """Do it to all, and where that fails since some are gone, to those that are there."""
        there = {ref for ref in refs if number_of(ref)}
        try:
            if there:
                do([_id(ref) for ref in refs if ref in there])
        except RemoteRecordNotFound:
            found = self.get_many([ref for ref in refs if ref in there], [])
            there = {one.ref for one in found if isinstance(one, RemoteRecord)}
            if there:
                do([_id(ref) for ref in refs if ref in there])
        return [None if ref in there else _missing(ref) for ref in refs]

    # -- workflows ----------------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Workflow]:
        """Server actions, each of which is done to a record of its model."""
        found = self._do(
            "ir.actions.server",
            "search_read",
            domain=[["usage", "=", "ir_actions_server"]],
            fields=["name", "model_name"],
            order="name",
        )
        return [
            Workflow(str(one["id"]), f"{one['name']} ({one['model_name']})", (_about(one),))
            for one in found
            if one["model_name"]
        ]

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        action = number_of(RecordRef("ir.actions.server", name))
        found = self._do(
            "ir.actions.server",
            "search_read",
            domain=[["id", "=", action], ["usage", "=", "ir_actions_server"]],
            fields=["model_name"],
        )
        if not found:
            raise RejectedByCRM(f"Odoo has no server action {name!r}.")
        model, said = found[0]["model_name"], str(inputs.get("record") or ref or "")
        record = RecordRef(model, said.removeprefix(f"{model}:"))
        if not number_of(record):
            raise RejectedByCRM(
                f"This action is done to a record of {model}, and {said or 'nothing'} is none.",
                errors=[Problem("record", f"is no record of {model}")],
            )
        number = _id(record)
        about = {"active_model": model, "active_id": number, "active_ids": [number]}
        answer = self._do("ir.actions.server", "run", ids=[action], context=about, writes=True)
        # What it would open for a person is what it made.
        if isinstance(answer, dict) and answer.get("res_model") and answer.get("res_id"):
            return RecordRef(str(answer["res_model"]), str(answer["res_id"]))
        return ref or record

    def record_url(self, ref: RecordRef) -> str:
        model = ref.remote_object
        named = model if "." in model else f"m-{model}"
        return f"{self.base_url}/odoo/{part(named)}/{part(ref.crm_id)}"

    # -- what it says of itself ---------------------------------------------------------------

    def refusal(self, answer: Answer) -> CRMError | None:
        if answer.ok:
            return None
        said = answer.body if isinstance(answer.body, dict) else {}
        name, (message, problems) = str(said.get("name", "")), self.words(answer)
        words = f"Odoo answered {answer.status}: {message}"
        if answer.status == 404 and not name:
            return CRMUnavailable(
                "Odoo has no JSON-2 API there.",
                hint="It takes Odoo 19 or later, and the name of the database where the server has "
                "several.",
            )
        if name.endswith(".NotFound"):  # of a model or a method
            return RejectedByCRM(words, errors=problems)
        if name.endswith(".AccessDenied"):
            return CRMUnauthorized(words)
        if name.endswith(".LockError"):
            return RecordLocked(words, retry_after=answer.retry_after)
        if answer.status < 500 or not name:
            return None
        # What it tells of with its name was undone, so the outcome is known.
        if _NONSENSE.fullmatch(name):
            return RejectedByCRM(words, errors=problems)
        return CRMUnavailable(words, retry_after=answer.retry_after)

    def words(self, answer: Answer) -> tuple[str, tuple[Problem, ...]]:
        if not isinstance(answer.body, dict):
            said, problems = super().words(answer)
            return " ".join(re.sub(r"<[^>]*>", " ", said).split()), problems
        message = str(answer.body.get("message", ""))
        return message, tuple(Problem(name, message) for name in _at_fault(message))

    # -- values -------------------------------------------------------------------------------

    def _row(self, remote_object: str, values: Mapping[str, Any]) -> dict[str, Any]:
        kinds = self.fields(remote_object)
        return row_of(
            values, kinds, lambda name, value: written(value, kinds.get(name)), crm="Odoo"
        )


def _id(ref: RecordRef) -> int:
    found = number_of(ref)
    if not found:
        raise _missing(ref)
    return found


def _missing(ref: RecordRef) -> RemoteRecordNotFound:
    return RemoteRecordNotFound(f"Odoo has no record {ref}.")


def _alike(edits: Sequence[Edit]) -> list[tuple[list[RecordRef], Mapping[str, Any]]]:
    """The edits by what they write."""
    groups: dict[str, tuple[list[RecordRef], Mapping[str, Any]]] = {}
    for edit in edits:
        refs, _ = groups.setdefault(repr(sorted(edit.values.items())), ([], edit.values))
        refs.append(edit.ref)
    return list(groups.values())


def _stops(answers: Iterable[XkitError | None]) -> CRMError | None:
    """Why nothing else is to be sent, and what is told of that: it certainly wasn't written."""
    for error in answers:
        if isinstance(error, RateLimited | CRMUnavailable | CRMUnauthorized):
            return type(error)(error.message, hint=error.hint, retry_after=error.retry_after)
    return None


def _about(action: Mapping[str, Any]) -> RemoteField:
    model = action["model_name"]
    return RemoteField("record", "Record", RemoteType.REFERENCE, required=True, references=(model,))


def _at_fault(message: str) -> Iterable[str]:
    for pattern in _FIELDS:
        if names := pattern.findall(message):
            return dict.fromkeys(names)
    return ()
