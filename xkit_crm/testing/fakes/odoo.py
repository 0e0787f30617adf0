"""Odoo, as far as the adapter talks to it: a few models, a tag, two server actions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.server import FakeCRM, Response


def _field(kind: str, label: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "string": label,
        "required": False,
        "readonly": False,
        "searchable": True,
        **more,
    }


_KEY = {"x_xkit_key": _field("char", "Xkit key")}
_COMMON = {
    "id": _field("integer", "ID", readonly=True),
    "display_name": _field("char", "Display Name", readonly=True),
    "create_date": _field("datetime", "Created on", readonly=True),
}
_CONTACT_TYPES = [["contact", "Contact"], ["invoice", "Invoice"], ["other", "Other"]]
_MODELS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "res.partner": {
        "name": _field("char", "Name"),
        "email": _field("char", "Email"),
        "phone": _field("char", "Phone"),
        "website": _field("char", "Website Link"),
        "comment": _field("html", "Notes"),
        "color": _field("integer", "Color Index"),
        "partner_latitude": _field("float", "Geo Latitude"),
        "is_company": _field("boolean", "Is a Company"),
        "active": _field("boolean", "Active"),
        "type": _field("selection", "Address Type", selection=_CONTACT_TYPES),
        "parent_id": _field("many2one", "Related Company", relation="res.partner"),
        "category_id": _field("many2many", "Tags", relation="res.partner.category"),
        "child_ids": _field("one2many", "Contact", relation="res.partner"),
        "image_1920": _field("binary", "Image"),
        "x_birthday": _field("date", "Birthday"),
        "x_last_visit": _field("datetime", "Last visit"),
        "x_origin": _field(
            "reference", "Origin", selection=[["res.partner", "Contact"], ["crm.lead", "Lead"]]
        ),
        "contact_address": _field("char", "Complete Address", readonly=True, searchable=False),
        **_KEY,
        **_COMMON,
    },
    "crm.lead": {
        "name": _field("char", "Opportunity", required=True),
        "type": _field(
            "selection",
            "Type",
            required=True,
            selection=[["lead", "Lead"], ["opportunity", "Opportunity"]],
        ),
        "expected_revenue": _field("monetary", "Expected Revenue"),
        "email_from": _field("char", "Email"),
        "partner_id": _field("many2one", "Contact", relation="res.partner"),
        "active": _field("boolean", "Active"),
        **_COMMON,
    },
    "res.partner.category": {"name": _field("char", "Name", required=True), **_COMMON},
    "ir.actions.server": {
        "name": _field("char", "Name"),
        "model_name": _field("char", "Model", readonly=True),
        "usage": _field("selection", "Usage", selection=[["ir_actions_server", "Server Action"]]),
        **_COMMON,
    },
}
_LABELS = {
    "res.partner": "Contact",
    "crm.lead": "Lead",
    "res.partner.category": "Partner Tags",
    "ir.actions.server": "Server Action",
    "ir.cron": "Scheduled Actions",
    "res.users": "User",
    "mail.message": "Message",
    "account.report": "Accounting Report",
}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "res.partner": {"type": "contact", "is_company": False, "active": True},
    "crm.lead": {"type": "lead", "active": True},
}
_TAGS = ("customer", "supplier", "partner")


class _Refused(Exception):
    """An answer that is an error, in Odoo's form."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.response = Response(
            status,
            {
                "name": name,
                "message": message,
                "arguments": [message],
                "context": {},
                "debug": "Traceback (most recent call last):\n  ...\n",
            },
        )


class OdooFake(FakeCRM):
    contract_file = "odoo.json"
    #: What the user may do: nothing of the accountants'.
    forbidden: ClassVar[frozenset[str]] = frozenset({"account.move"})

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _MODELS}
        #: The server actions that ran: their id and the record.
        self.ran: list[tuple[int, str, int]] = []
        #: The languages that were asked in.
        self.languages: set[str] = set()
        for number, name in enumerate(_TAGS, 1):
            self.records["res.partner.category"][number] = {"name": name, "display_name": name}
        actions = [
            (501, "Mark as lost", "crm.lead", "ir_actions_server"),
            (502, "Make a lead", "res.partner", "ir_actions_server"),
            (503, "Clean up", "res.partner", "ir_cron"),
        ]
        for number, name, model, usage in actions:
            action = {"name": name, "model_name": model, "usage": usage}
            self.records["ir.actions.server"][number] = action

    @property
    def credentials(self) -> Mapping[str, Any]:
        return {"url": self.url, "database": "acme", "key": self.token}

    def is_authorised(self, request: Request) -> bool:
        scheme, _, key = str(request.headers.get("Authorization")).partition(" ")
        return scheme.lower() == "bearer" and key == self.token

    # -- the vendor's words -------------------------------------------------------------------

    def unauthorised(self) -> Response:
        name = "werkzeug.exceptions.Unauthorized"
        return _Refused(401, name, "Invalid apikey").response

    def too_many(self) -> Response:
        return Response(429, "<html><head><title>429 Too Many Requests</title></head></html>")

    def not_allowed(self, violations: list[str]) -> Response:
        name = "werkzeug.exceptions.UnprocessableEntity"
        return _Refused(422, name, "; ".join(violations)).response

    def answer(self, request: Request) -> Response:
        if request.headers.get("X-Odoo-Database") not in (None, "acme"):
            return Response(404, "<!doctype html><title>404 Not Found</title>")
        before = {model: {n: dict(r) for n, r in some.items()} for model, some in self._all()}
        try:
            return super().answer(request)
        except _Refused as refused:
            self.records = before  # a call is a transaction
            return refused.response

    def _all(self) -> list[tuple[str, dict[int, dict[str, Any]]]]:
        return list(self.records.items())

    # -- operations ---------------------------------------------------------------------------

    def context_get(self, request: Request) -> Response:
        return Response(200, {"lang": "en_GB", "tz": "Europe/London", "uid": 7})

    def get_available_models(self, request: Request) -> Response:
        self._note(request)
        return Response(200, [{"model": m, "display_name": label} for m, label in _LABELS.items()])

    def fields_get(self, request: Request, model: str) -> Response:
        self._note(request)
        wanted = request.body.get("attributes") or ()
        found = {
            name: {key: value for key, value in one.items() if not wanted or key in wanted}
            for name, one in self._fields(model).items()
        }
        return Response(200, found)

    def default_get(self, request: Request, model: str) -> Response:
        self._fields(model)
        held = _DEFAULTS.get(model, {})
        return Response(200, {n: held[n] for n in request.body["fields"] if n in held})

    def search_read(self, request: Request, model: str) -> Response:
        body, fields = request.body, self._fields(model)
        for name in [*body.get("fields", ()), *(clause[0] for clause in body.get("domain", ()))]:
            if name not in fields:
                raise _Refused(500, _VALUE_ERROR, f"Invalid field {name!r} in {model!r}")
        hides = body.get("context", {}).get("active_test", True) and "active" in fields
        found = [
            (number, record)
            for number, record in self.records[model].items()
            if (record.get("active", True) or not hides)
            and all(_meets(number, record, clause) for clause in body.get("domain", ()))
        ]
        found.sort(reverse=body.get("order") == "id desc")
        loads = body.get("load", "_classic_read") == "_classic_read"
        shown = [
            self._shown(model, number, body.get("fields", ()), loads=loads) for number, _ in found
        ]
        return Response(200, shown[: body.get("limit")])

    def create(self, request: Request, model: str) -> Response:
        self._note(request)
        made = []
        for vals in request.body["vals_list"]:
            number = int(self.new_id())
            now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
            record = {**_DEFAULTS.get(model, {}), "create_date": now}
            self._fill(model, record, vals)
            for name, field in self._fields(model).items():
                if field["required"] and record.get(name) in (None, False, ""):
                    raise _Refused(
                        422,
                        "odoo.exceptions.ValidationError",
                        "The operation cannot be completed:\n"
                        "- create/update: a mandatory field is not set\n"
                        f"Model: {_LABELS[model]!r} ({model})\n"
                        f"Missing required value for the field {field['string']!r} ({name})",
                    )
            self.records[model][number] = record
            made.append(number)
        return Response(200, made)

    def write(self, request: Request, model: str) -> Response:
        self._note(request)
        for record in self._browse(model, request.body["ids"]):
            self._fill(model, record, request.body["vals"])
        return Response(200, True)

    def unlink(self, request: Request, model: str) -> Response:
        self._browse(model, request.body["ids"])
        for number in request.body["ids"]:
            del self.records[model][number]
        return Response(200, True)

    def run(self, request: Request) -> Response:
        (action,), about = request.body["ids"], request.body["context"]
        (held,) = self._browse("ir.actions.server", [action])
        assert held["model_name"] == about["active_model"]
        self._browse(about["active_model"], [about["active_id"]])
        self.ran.append((action, about["active_model"], about["active_id"]))
        if held["name"] != "Make a lead":
            return Response(200, False)
        number = int(self.new_id())
        self.records["crm.lead"][number] = {"name": "Made", "type": "lead"}
        opened = {"type": "ir.actions.act_window", "res_model": "crm.lead", "res_id": number}
        return Response(200, opened)

    # -- records ------------------------------------------------------------------------------

    def merge(self, remote_object: str, kept: str, merged: str) -> bool:
        """What a person does: one is kept, the other is deleted."""
        del self.records[remote_object][int(merged)]
        return True

    def _note(self, request: Request) -> None:
        self.languages.add(request.body.get("context", {}).get("lang", ""))

    def _fields(self, model: str) -> Mapping[str, Mapping[str, Any]]:
        if model in self.forbidden:
            message = f"You are not allowed to access 'Journal Entry' ({model}) records."
            raise _Refused(403, "odoo.exceptions.AccessError", message)
        if model not in _MODELS:
            name = "werkzeug.exceptions.NotFound"
            raise _Refused(404, name, f"the model {model!r} does not exist")
        return _MODELS[model]

    def _browse(self, model: str, ids: list[int]) -> list[dict[str, Any]]:
        self._fields(model)
        missing = [number for number in ids if number not in self.records[model]]
        if missing:
            message = (
                "Record does not exist or has been deleted.\n"
                f"(Record: {model}({missing[0]},), User: 7)"
            )
            raise _Refused(404, "odoo.exceptions.MissingError", message)
        return [self.records[model][number] for number in ids]

    def _fill(self, model: str, record: dict[str, Any], vals: Mapping[str, Any]) -> None:
        fields = self._fields(model)
        for name, value in vals.items():
            if name not in fields:
                raise _Refused(500, _VALUE_ERROR, f"Invalid field {name!r} in {model!r}")
            field = fields[name]
            known = [False, *(key for key, _ in field.get("selection", ()))]
            if field["type"] == "selection" and value not in known:
                raise _Refused(500, _VALUE_ERROR, f"Wrong value for {model}.{name}: {value!r}")
            try:
                record[name] = _held(field["type"], value)
            except (ValueError, TypeError) as error:
                raise _Refused(500, _VALUE_ERROR, str(error)) from error

    def _shown(self, model: str, number: int, names: Any, *, loads: bool) -> dict[str, Any]:
        """What was asked for; a record that is referred to comes with its name, unless it is
        told to be left out."""
        record, shown = self.records[model][number], {"id": number}
        for name in names:
            value = number if name == "id" else record.get(name, False)
            kind = self._fields(model)[name]["type"]
            if kind == "many2many":
                value = value or []
            if kind == "many2one" and value and loads:
                value = [value, "A name"]
            shown[name] = value
        return shown


_VALUE_ERROR = "builtins.ValueError"


def _moment(value: str) -> str:
    return datetime.strptime(value, "%Y-%m-%d %H:%M:%S").strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ007


def _tags(value: Any) -> list[int]:
    ((_, _, ids),) = value
    if not set(ids) <= set(range(1, len(_TAGS) + 1)):
        raise ValueError(f"no such tags: {ids}")
    return list(ids)


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "integer": int,
    "many2one": int,
    "float": float,
    "monetary": float,
    "boolean": bool,
    "date": lambda value: date.fromisoformat(value).isoformat(),
    "datetime": _moment,
    "many2many": _tags,
}


def _held(kind: str, value: Any) -> Any:
    if value is False and kind != "boolean":
        return False
    if kind in ("char", "text", "html", "selection", "reference"):
        return str(value).replace("\x00", "")
    return _KINDS[kind](value)


def _meets(number: int, record: Mapping[str, Any], clause: list[Any]) -> bool:
    name, operator, wanted = clause
    held = number if name == "id" else record.get(name, False)
    if operator == "ilike":
        pattern = re.sub(r"(?s)\\(.)|(%)|(_)|(.)", _like, wanted)
        return bool(re.search(pattern, str(held or ""), re.IGNORECASE | re.DOTALL))
    if operator == "in":
        return bool(set(held) & set(wanted)) if isinstance(held, list) else held in wanted
    return bool(held == wanted)


def _like(found: re.Match[str]) -> str:
    escaped, several, one, other = found.groups()
    return ".*" if several else "." if one else re.escape(escaped or other)
