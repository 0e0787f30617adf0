"""Lists and errors as Dataverse answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xkit_crm.testing.fakes.dynamics.objects import SETS
from xkit_crm.testing.fakes.server import Response

_NOTHING = "00000000-0000-0000-0000-000000000000"
_HELP = "https://go.microsoft.com/fwlink/?linkid=2195293"


def error(status: int, code: str, message: str) -> Response:
    return Response(status, {"error": {"code": code, "message": message}})


def payload(table: str, inner: str) -> Response:
    said = (
        f"Error identified in Payload provided by the user for Entity :'{SETS[table]}', For more "
        f"information on this error please follow this help link {_HELP}  ---->  InnerException : "
    )
    return error(400, "0x80048d19", said + inner)


def missing(table: str, record_id: str) -> Response:
    return error(404, "0x80040217", f"{table} With Id = {record_id} Does Not Exist")


def no_entity(name: str) -> Response:
    said = name.replace("''", "'")
    message = f"Could not find an entity with name {said} and id {_NOTHING}."
    return error(404, "0x80060888", message)


def no_segment(name: str) -> Response:
    return error(404, "0x8006088a", f"Resource not found for the segment '{name}'.")


def rows(rows: Sequence[Any]) -> Response:
    return Response(200, {"value": list(rows)})
