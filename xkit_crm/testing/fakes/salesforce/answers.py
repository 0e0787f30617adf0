"""Rows and errors as Salesforce answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xkit_crm.testing.fakes.server import Response

VERSION = "v68.0"


def error(status: int, code: str, message: str, fields: Sequence[str] = ()) -> Response:
    error: dict[str, Any] = {"message": message, "errorCode": code}
    return Response(status, [error | ({"fields": list(fields)} if fields else {})])


def oauth_error(error: str, description: str) -> Response:
    return Response(400, {"error": error, "error_description": description})


def no_resource() -> Response:
    return error(404, "NOT_FOUND", "The requested resource does not exist")


def missing(was_deleted: bool) -> Response:
    if was_deleted:
        return error(404, "ENTITY_IS_DELETED", "entity is deleted")
    said = "Provided external ID field does not exist or is not accessible: Id"
    return error(404, "NOT_FOUND", said)


def lost(was_deleted: bool) -> dict[str, Any]:
    if was_deleted:
        return failed("ENTITY_IS_DELETED", "entity is deleted")
    return failed("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")


def failed(code: str, message: str, fields: Sequence[str] = ()) -> dict[str, Any]:
    error = {"statusCode": code, "message": message, "fields": list(fields)}
    return {"success": False, "errors": [error]}


def single(result: Mapping[str, Any]) -> Response | None:
    """The same failure, as the resource of one record says it."""
    if result["success"]:
        return None
    (failure,) = result["errors"]
    return error(400, failure["statusCode"], failure["message"], failure["fields"])


def shown(sobject: str, row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    url = f"/services/data/{VERSION}/sobjects/{sobject}/{row['Id']}"
    return {
        "attributes": {"type": sobject, "url": url},
        **{name: row.get(name) for name in names},
        **({"Id": row["Id"]} if "Id" in names else {}),
    }
