"""The OpenAPI 3.1 document: parameters and errors that the endpoints share, and the view of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from xkit_crm import __version__
from xkit_crm.api.serializers import ErrorSerializer

_View = TypeVar("_View", bound=Callable[..., Any])

CONNECTION = OpenApiParameter(
    "connection", str, OpenApiParameter.PATH, description="The connection's id, percent-encoded."
)
OBJECT = OpenApiParameter(
    "crm_object", str, OpenApiParameter.PATH, description="The CRM object's slug."
)
EVENT = OpenApiParameter("event", str, OpenApiParameter.PATH, description="The event's slug.")
RECORD = OpenApiParameter(
    "record", str, OpenApiParameter.PATH, description="A record id, such as Opportunity:09876."
)
INVOCATION = OpenApiParameter("uuid", OpenApiTypes.UUID, OpenApiParameter.PATH)
INVOKE_HEADERS = [
    OpenApiParameter(
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
        OpenApiParameter.HEADER,
        description="The same key and body give the first answer again.",
    ),
    OpenApiParameter(
        "Prefer",
        str,
        OpenApiParameter.HEADER,
        description="respond-async answers 202 at once; wait=<seconds> waits so long at most.",
    ),
]

_ERRORS = {
    400: "malformed",
    401: "unauthenticated",
    403: "https_required",
    404: "unknown_connection, unknown_object, unknown_event, unknown_record or unknown_invocation",
    409: "wrong_event_type, connection_not_enabled or in_progress",
    413: "malformed: over the byte limit",
    422: "payload_invalid, mapping_incomplete, rejected_by_crm or idempotency_mismatch",
    429: "rate_limited, with Retry-After",
    502: "crm_error",
    503: "crm_unavailable or database_unavailable, with Retry-After where it is known",
}


def errors(*statuses: int) -> dict[int, OpenApiResponse]:
    """The documented error answers with these statuses."""
    return {
        status: OpenApiResponse(ErrorSerializer, description=_ERRORS[status]) for status in statuses
    }


def described(**operation: Any) -> Callable[[_View], _View]:
    """`extend_schema` for a view's method, whatever DEFAULT_SCHEMA_CLASS the product has."""

    def decorate(method: _View) -> _View:
        # What extend_schema builds on, in place of the product's DEFAULT_SCHEMA_CLASS.
        setattr(method, "schema", AutoSchema)  # noqa: B010 - a function has no such attribute
        return extend_schema(**operation)(method)

    return decorate


def name_server(
    result: dict[str, Any], generator: Any, request: Request | None, public: bool
) -> dict[str, Any]:
    """Say where this deployment's API is mounted: beside the document itself."""
    if request is not None:
        root = request.path.removesuffix("/").removesuffix("/schema")
        result["servers"] = [{"url": request.build_absolute_uri(root)}]
    return result


class OpenAPIDocument(SpectacularJSONAPIView):
    """The document; public, since it holds nothing of anyone's."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    urlconf = "xkit_crm.api.urls"
    api_version = None
    serve_public = True
    custom_settings = {
        "TITLE": "xkit_crm",
        "DESCRIPTION": "Write to every customer's CRM, whatever it is.",
        "VERSION": __version__,
        "OAS_VERSION": "3.1.0",
        "POSTPROCESSING_HOOKS": [
            "drf_spectacular.hooks.postprocess_schema_enums",
            "xkit_crm.api.documentation.name_server",
        ],
        "ENUM_NAME_OVERRIDES": {
            "InvocationStatus": "xkit_crm.models.invocation.InvocationStatus",
            "ConnectionStatus": "xkit_crm.models.connection.ConnectionStatus",
        },
    }

    @described(operation_id="get_schema", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Cache-Control"] = "no-store"
        return response
