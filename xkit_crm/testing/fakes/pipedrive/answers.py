"""Records, pages and errors as Pipedrive answers them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xkit_crm.testing.fakes.contract import Request
from xkit_crm.testing.fakes.pipedrive import objects
from xkit_crm.testing.fakes.server import Response

#: How many records and fields are on a page, whatever was asked for.
_PAGE = 3


def data(data: Any, status: int = 200) -> Response:
    return Response(status, {"success": True, "data": data})


def page(request: Request, listed: Sequence[Any]) -> Response:
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


def old_page(request: Request, listed: Sequence[Any]) -> Response:
    size = min(int(request.query.get("limit", _PAGE)), _PAGE)
    start = int(request.query.get("start", 0))
    more = start + size < len(listed)
    paging = {"start": start, "limit": size, "more_items_in_collection": more}
    if more:
        paging["next_start"] = start + size
    data = list(listed[start : start + size]) or None
    return Response(200, {"success": True, "data": data, "additional_data": {"pagination": paging}})


def error(status: int, error: str, **more: Any) -> Response:
    return Response(status, {"success": False, "error": error, **more})


def invalid(problems: Iterable[str]) -> Response:
    said = f"Validation failed: {'; '.join(problems)}"
    return error(400, said, code="ERR_SCHEMA_VALIDATION_FAILED")


def not_found(kind: str) -> Response:
    entity = objects.ENTITIES.get(kind, kind)
    return error(404, f"{entity.title()} not found", code="ERR_NOT_FOUND")


def no_lead() -> Response:
    info = "Object was not found."
    return error(404, "requested lead not found", error_info=info, data=None, additional_data=None)
