"""The shapes of answers: what the OpenAPI document says, and how models are shown."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from xkit_crm.models import Connection, Invocation
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus


class ProblemSerializer(serializers.Serializer):
    path = serializers.CharField()
    error = serializers.CharField()


class ErrorDetailSerializer(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()
    hint = serializers.CharField(allow_blank=True)
    errors = ProblemSerializer(many=True, required=False)  # type: ignore[assignment]
    retry_after = serializers.FloatField(required=False, help_text="Seconds.")
    outcome = serializers.ChoiceField(
        choices=["not_sent", "unknown"],
        required=False,
        help_text="Whether the CRM may have written although it failed.",
    )


class InvocationRefSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=InvocationStatus.choices)


class ErrorSerializer(serializers.Serializer):
    """The one error body."""

    error = ErrorDetailSerializer()
    invocation = InvocationRefSerializer(required=False)


class InvokeSerializer(serializers.Serializer):
    """The body of an invoke request."""

    payload = serializers.DictField(child=serializers.JSONField())


class RecordSerializer(serializers.Serializer):
    type = serializers.CharField(help_text="The CRM object's slug.")
    id = serializers.CharField(help_text="Such as Opportunity:09876.")
    data = serializers.DictField(  # type: ignore[assignment]
        child=serializers.JSONField(), help_text="The mapped fields."
    )


class InvokedSerializer(serializers.Serializer):
    record = RecordSerializer(required=False, allow_null=True)
    records = RecordSerializer(required=False, many=True, help_text="Search events only.")
    invocation = InvocationRefSerializer()


class RecordAnswerSerializer(serializers.Serializer):
    record = RecordSerializer()


class CriterionSerializer(serializers.Serializer):
    field = serializers.CharField()
    operator = serializers.CharField()
    value = serializers.JSONField()


class PreviewSerializer(serializers.Serializer):
    action = serializers.CharField()
    target = serializers.CharField(allow_blank=True)
    values = serializers.DictField(child=serializers.JSONField())
    current = serializers.DictField(child=serializers.JSONField(), allow_null=True)
    criteria = CriterionSerializer(many=True)


class MomentField(serializers.DateTimeField):
    """ISO 8601 in UTC, whatever the product's own settings say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso-8601", default_timezone=UTC, **options)


class LinkTokenRequestSerializer(serializers.Serializer):
    """Whose connections the token opens."""

    context = serializers.CharField(  # type: ignore[assignment]
        max_length=255, help_text="Your own id of the customer."
    )
    connection = serializers.CharField(
        max_length=255, required=False, allow_null=True, help_text="Only this one."
    )
    author = serializers.CharField(
        max_length=255, required=False, allow_blank=True, help_text="Who decides, to be shown."
    )

    def to_internal_value(self, data: Any) -> Any:
        # A misspelled `connection` would open every connection of the context.
        if unknown := [name for name in data if name not in self.fields]:
            known = ", ".join(self.fields)
            raise serializers.ValidationError({n: [f"unknown; known are {known}"] for n in unknown})
        return super().to_internal_value(data)


class LinkTokenSerializer(serializers.Serializer):
    token = serializers.CharField(help_text="For linkCRM().")
    expires_at = MomentField()


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    created_at = MomentField()
    status = serializers.ChoiceField(choices=ConnectionStatus.choices)

    class Meta:
        model = Connection
        fields = ["id", "context", "provider", "status", "status_reason", "created_at"]


class InvocationSerializer(serializers.ModelSerializer[Invocation]):
    id = serializers.UUIDField(source="uuid")
    object = serializers.CharField(source="event.crm_object.slug")
    event = serializers.CharField(source="event.slug")
    status = serializers.ChoiceField(choices=InvocationStatus.choices)
    record = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    due_at = MomentField()
    created_at = MomentField()
    finished_at = MomentField(allow_null=True)

    class Meta:
        model = Invocation
        fields = [
            "id",
            "object",
            "event",
            "status",
            "source",
            "record",
            "error",
            "tries",
            "due_at",
            "created_at",
            "finished_at",
        ]

    @extend_schema_field(RecordSerializer(allow_null=True))
    def get_record(self, invocation: Invocation) -> dict[str, Any] | None:
        return invocation.record.as_dict() if invocation.record else None

    @extend_schema_field(ErrorDetailSerializer(allow_null=True))
    def get_error(self, invocation: Invocation) -> dict[str, Any] | None:
        return invocation.error_detail


def answer(invocation: Invocation) -> dict[str, Any]:
    """What an invoke request is answered with: the record, and beside it the invocation."""
    body: dict[str, Any] = {}
    if invocation.event.type == EventType.SEARCH:
        body["records"] = [record.as_dict() for record in invocation.records]
    else:
        body["record"] = invocation.record.as_dict() if invocation.record else None
    return body | {"invocation": reference(invocation)}


def reference(invocation: Invocation) -> dict[str, str]:
    """An invocation's id and status."""
    return {"id": str(invocation.uuid), "status": invocation.status}
