"""Records and errors as Zoho CRM answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xkit_crm.testing.fakes.server import Response


def at(n: int, name: str) -> dict[str, Any]:
    return {"api_name": name, "json_path": f"$.data[{n}].{name}"}


def flat(code: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "status": "error", "details": dict(details or {})}


wrong = flat


def no_module() -> Response:
    details = {"resource_path_index": 0}
    message = "the module name given seems to be invalid"
    return Response(400, flat("INVALID_MODULE", message, details))


def together(said: Sequence[Mapping[str, Any]], status: int) -> Response:
    """The status of all: 207 for good and bad ones, 400 where none was taken."""
    good = sum(one["status"] == "success" for one in said)
    return Response(status if good == len(said) else 207 if good else 400, {"data": list(said)})


def shown(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {"id": record["id"], **{name: record.get(name) for name in names}}
