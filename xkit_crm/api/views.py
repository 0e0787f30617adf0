"""The HTTP endpoints. Each reads a request, calls the layer below, and shows what came of it."""

from __future__ import annotations

import logging
import math
from typing import Any, ClassVar, cast

from django.core.exceptions import ValidationError
from django.db import DataError, connections, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions as drf
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from xkit_crm import records
from xkit_crm.api import serializers
from xkit_crm.api.authentication import CHALLENGE, KeyAuthentication
from xkit_crm.api.documentation import (
    CONNECTION,
    EVENT,
    INVOCATION,
    INVOKE_HEADERS,
    OBJECT,
    RECORD,
    described,
    errors,
)
from xkit_crm.api.requests import (
    JSONBody,
    Preference,
    idempotency_key_of,
    payload_of,
    request_id_of,
)
from xkit_crm.conf import settings
from xkit_crm.crm_link.tokens import link_token
from xkit_crm.exceptions import (
    CRMError,
    CRMUnavailable,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Problem,
    UnknownConnection,
    UnknownInvocation,
    XkitError,
)
from xkit_crm.invoking import put, read
from xkit_crm.models import APIKey, Connection, Invocation
from xkit_crm.models.invocation import InvocationStatus, Source

logger = logging.getLogger(__name__)


class OnlyJSON(BaseContentNegotiation):
    """Every answer is JSON, whatever the request says it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


def never_atomic(view: Any) -> Any:
    """Keep the view out of ATOMIC_REQUESTS of every database."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@method_decorator(never_atomic, name="dispatch")
class XkitView(APIView):
    """What all endpoints share. Nothing of it depends on the product's own DRF settings.

    Never inside ATOMIC_REQUESTS: an invocation is committed before it leaves for the CRM.
    """

    authentication_classes = [KeyAuthentication]
    permission_classes = []
    throttle_classes = []
    parser_classes = [JSONBody]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = OnlyJSON
    versioning_class = None

    request_id: str = ""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        self.request_id = request_id_of(request)
        return super().initialize_request(request, *args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["X-Request-ID"] = self.request_id
        response["Cache-Control"] = "no-store"
        return response

    def handle_exception(self, raised: Exception) -> Response:
        error = as_xkit_error(raised)
        if error is None or (error.status >= 500 and not isinstance(error, CRMError)):
            logger.error(
                "Request %s failed.",
                self.request_id,
                exc_info=raised,
                extra={"request_id": self.request_id},
            )
        if error is None:
            error = XkitError(
                "Something went wrong on our side.",
                hint=f"The log has it under request id {self.request_id}.",
            )
        return error_response(error)

    @property
    def key(self) -> APIKey:
        return cast("APIKey", self.request.auth)

    def connections(self) -> QuerySet[Connection]:
        """The connections that the caller's key may see."""
        return Connection.objects.select_related("lane").in_contexts(self.key.contexts)

    def connection(self, connection_id: str) -> Connection:
        found = None
        if "\0" not in connection_id:
            found = self.connections().filter(pk=connection_id).first()
        if found is None:
            raise UnknownConnection(
                f"There is no connection {connection_id!r}.",
                hint="GET crm/connections lists those that this key may use.",
            )
        return found


def as_xkit_error(raised: Exception) -> XkitError | None:
    """Our error for one of ours or of DRF's; None for a defect."""
    match raised:
        case XkitError():
            return raised
        case drf.MethodNotAllowed():
            return MethodNotAllowed(str(raised.detail), hint="See GET schema.")
        case drf.APIException() if raised.status_code < 500:
            return Malformed(str(raised.detail))
    return None


def error_response(error: XkitError, invocation: Invocation | None = None) -> Response:
    """The one error body, with the headers that belong to it."""
    body: dict[str, Any] = {"error": error.as_dict()}
    if isinstance(error, CRMUnavailable):
        body["error"]["outcome"] = "unknown" if error.outcome_unknown else "not_sent"
    if invocation is not None:
        body["invocation"] = serializers.reference(invocation)
    response = Response(body, status=error.status)
    if error.status == 401:
        response["WWW-Authenticate"] = CHALLENGE
    if error.status in (429, 503):
        response["Retry-After"] = str(math.ceil(error.retry_after or 5))
    elif error.retry_after is not None:
        response["Retry-After"] = str(math.ceil(error.retry_after))
    return response


class Invoke(XkitView):
    """Fire an event."""

    @described(
        operation_id="invoke_event",
        parameters=[CONNECTION, OBJECT, EVENT, *INVOKE_HEADERS],
        request={"application/json": serializers.InvokeSerializer},
        responses={
            200: serializers.InvokedSerializer,
            202: serializers.InvokedSerializer,
            **errors(400, 401, 403, 404, 409, 413, 422, 429, 502, 503),
        },
    )
    def post(
        self,
        request: Request,
        connection: str,
        crm_object: str,
        event: str,
        record: str | None = None,
    ) -> Response:
        found = self.connection(connection)
        asked = read(found, crm_object, event, payload_of(request.data), record)
        prefer = Preference.of(request.headers.get("Prefer", ""))
        given_key = idempotency_key_of(request)
        invocation, replayed = put(
            asked,
            source=Source.API,
            idempotency_key=given_key and f"{self.key.publishable_key}:{given_key}",
            carry_out_now=not prefer.respond_async,
            retry=prefer.respond_async,
            timeout=prefer.wait,
            request_id=self.request_id,
        )
        response = _invoked(invocation)
        if replayed:
            response["Idempotent-Replayed"] = "true"
        return response


class InvokeOnRecord(Invoke):
    """Fire an update or delete event on a record."""

    @described(
        operation_id="invoke_event_on_record",
        parameters=[CONNECTION, OBJECT, RECORD, EVENT, *INVOKE_HEADERS],
        request={"application/json": serializers.InvokeSerializer},
        responses={
            200: serializers.InvokedSerializer,
            202: serializers.InvokedSerializer,
            **errors(400, 401, 403, 404, 409, 413, 422, 429, 502, 503),
        },
    )
    def post(self, request: Request, **named: Any) -> Response:  # type: ignore[override]
        return super().post(request, **named)


def _invoked(invocation: Invocation) -> Response:
    if not invocation.is_final:
        location = reverse(
            "xkit_crm_api:invocation",
            kwargs={"connection": invocation.connection_id, "uuid": invocation.uuid},
        )
        return Response(serializers.answer(invocation), status=202, headers={"Location": location})
    error = invocation.error
    if error is not None and invocation.status in (
        InvocationStatus.FAILED,
        InvocationStatus.UNKNOWN,
    ):
        return error_response(error, invocation)
    return Response(serializers.answer(invocation))


class Preview(XkitView):
    """What firing an event would send; writes nothing."""

    @described(
        operation_id="preview_event",
        parameters=[CONNECTION, OBJECT, EVENT],
        request={"application/json": serializers.InvokeSerializer},
        responses={
            200: serializers.PreviewSerializer,
            **errors(400, 401, 403, 404, 409, 413, 422, 429, 502, 503),
        },
    )
    def post(
        self,
        request: Request,
        connection: str,
        crm_object: str,
        event: str,
        record: str | None = None,
    ) -> Response:
        found = self.connection(connection)
        preview = records.preview(found, crm_object, event, payload_of(request.data), record)
        return Response(preview.as_dict())


class PreviewOnRecord(Preview):
    """What firing an update or delete event on a record would send; writes nothing."""

    @described(
        operation_id="preview_event_on_record",
        parameters=[CONNECTION, OBJECT, RECORD, EVENT],
        request={"application/json": serializers.InvokeSerializer},
        responses={
            200: serializers.PreviewSerializer,
            **errors(400, 401, 403, 404, 409, 413, 422, 429, 502, 503),
        },
    )
    def post(self, request: Request, **named: Any) -> Response:  # type: ignore[override]
        return super().post(request, **named)


class ReadRecord(XkitView):
    """One record with its mapped fields."""

    @described(
        operation_id="get_record",
        parameters=[CONNECTION, OBJECT, RECORD],
        responses={
            200: serializers.RecordAnswerSerializer,
            **errors(401, 403, 404, 409, 429, 502, 503),
        },
    )
    def get(self, request: Request, connection: str, crm_object: str, record: str) -> Response:
        found = records.read(self.connection(connection), crm_object, record)
        return Response({"record": found.as_dict()})


class Pages(CursorPagination):
    """Cursor pages, newest first; they cost the same on page one and page one thousand."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = "-id"


class ConnectionPages(Pages):
    ordering = "id"


class Paged(XkitView):
    """A list in cursor pages."""

    pages: ClassVar[type[Pages]] = Pages

    def page(self, queryset: QuerySet[Any], serializer: Any) -> Response:
        paginator = self.pages()
        try:
            rows = paginator.paginate_queryset(queryset, self.request, view=self)
        except (drf.NotFound, ValueError, DataError, ValidationError):
            raise Malformed(
                "The cursor is not one of ours.",
                hint="Follow next and previous of the page before, unchanged.",
                errors=[Problem("cursor", "can't be read")],
            ) from None
        return paginator.get_paginated_response(serializer(rows, many=True).data)


class Connections(Paged):
    """The connections that the key may see."""

    pages = ConnectionPages
    # Read by drf-spectacular, which shows the page around the rows.
    pagination_class = ConnectionPages

    @described(
        operation_id="list_connections",
        parameters=[OpenApiParameter("context", str, description="Only those of this owner.")],
        responses={200: serializers.ConnectionSerializer(many=True), **errors(400, 401, 403)},
    )
    def get(self, request: Request) -> Response:
        found = self.connections()
        if (context := request.query_params.get("context")) is not None:
            found = found.filter(context=context.replace("\0", "\ufffd"))
        return self.page(found, serializers.ConnectionSerializer)


class ReadConnection(XkitView):
    """One connection: its provider and status."""

    @described(
        operation_id="get_connection",
        parameters=[CONNECTION],
        responses={200: serializers.ConnectionSerializer, **errors(401, 403, 404)},
    )
    def get(self, request: Request, connection: str) -> Response:
        return Response(serializers.ConnectionSerializer(self.connection(connection)).data)


class LinkTokens(XkitView):
    """Tokens that open CRM Link."""

    @described(
        operation_id="create_link_token",
        request={"application/json": serializers.LinkTokenRequestSerializer},
        responses={
            201: serializers.LinkTokenSerializer,
            **errors(400, 401, 403, 404, 413),
        },
    )
    def post(self, request: Request) -> Response:
        asked = serializers.LinkTokenRequestSerializer(data=request.data)
        if not isinstance(request.data, dict) or not asked.is_valid():
            raise Malformed(
                "This asks for no CRM Link token.",
                hint='Send {"context": "<your id of the customer>"}.',
                errors=[
                    Problem(name, str(error))
                    for name, found in (
                        asked.errors if isinstance(request.data, dict) else {}
                    ).items()
                    for error in found
                ],
            )
        given = asked.validated_data
        if self.key.contexts is not None and given["context"] not in self.key.contexts:
            raise UnknownConnection(
                f"The key is not good for the context {given['context']!r}.",
                hint="Use a key that is not limited, or limited to it.",
            )
        token = link_token(
            given["context"], given.get("connection"), author=given.get("author", "")
        )
        body = {"token": token, "expires_at": timezone.now() + settings.LINK_TOKEN_AGE}
        return Response(serializers.LinkTokenSerializer(body).data, status=201)


class Invocations(Paged):
    """The log of a connection, newest first."""

    pagination_class = Pages

    @described(
        operation_id="list_invocations",
        parameters=[
            CONNECTION,
            OpenApiParameter("status", str, enum=InvocationStatus.values),
            OpenApiParameter("object", str, description="Only of this CRM object."),
            OpenApiParameter("event", str, description="Only of this event."),
        ],
        responses={200: serializers.InvocationSerializer(many=True), **errors(400, 401, 403, 404)},
    )
    def get(self, request: Request, connection: str) -> Response:
        found = Invocation.objects.filter(connection=self.connection(connection))
        columns = {
            "status": "status",
            "object": "event__crm_object__slug",
            "event": "event__slug",
        }
        status = request.query_params.get("status")
        if status and status not in InvocationStatus.values:
            raise Malformed(
                f"There is no status {status!r}.",
                hint=f"Known are {', '.join(InvocationStatus.values)}.",
            )
        for name, column in columns.items():
            if value := request.query_params.get(name):
                found = found.filter(**{column: value.replace("\0", "\ufffd")})
        return self.page(
            found.select_related("event__crm_object"), serializers.InvocationSerializer
        )


class ReadInvocation(XkitView):
    """One invocation: its state, and its record once there is one."""

    @described(
        operation_id="get_invocation",
        parameters=[CONNECTION, INVOCATION],
        responses={200: serializers.InvocationSerializer, **errors(401, 403, 404)},
    )
    def get(self, request: Request, connection: str, uuid: Any) -> Response:
        found = (
            Invocation.objects.select_related("event__crm_object")
            .filter(connection=self.connection(connection), uuid=uuid)
            .first()
        )
        if found is None:
            raise UnknownInvocation(f"There is no invocation {uuid} in this connection.")
        return Response(serializers.InvocationSerializer(found).data)


class NoSuchPath(XkitView):
    """Answers every other path below the API with the one error body."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound(f"There is no {request.path}.", hint="GET schema lists every path.")
