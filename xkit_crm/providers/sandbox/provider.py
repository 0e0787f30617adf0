"""The adapter to the sandbox CRM: the provider contract, spoken to a CRM in the database.

Credentials: `{"org": "<slug>", "token": "<token>"}`. Without `org` it is the connection's id; an
organisation that isn't there yet is made, with the standard objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from hmac import compare_digest
from typing import Any

from django.db import transaction
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from xkit_crm.exceptions import CRMError, CRMUnauthorized, XkitError
from xkit_crm.providers.base import (
    Choice,
    CredentialField,
    Criterion,
    Draft,
    Edit,
    Provider,
    RecordRef,
    RemoteField,
    RemoteObject,
    RemoteRecord,
    RemoteType,
    Workflow,
    only,
    outcome_of,
)
from xkit_crm.providers.sandbox import flows, records
from xkit_crm.providers.sandbox.misbehaviour import Strike, strike
from xkit_crm.providers.sandbox.models import Field, Flow, Object, Operation, Org, Record, Request
from xkit_crm.providers.sandbox.standard import ensure_org


class SandboxProvider(Provider):
    slug = "sandbox"
    label = "Sandbox CRM"
    credential_fields = (
        CredentialField(
            "token",
            _("Token"),
            _("Leave it empty, unless your organisation in the sandbox has one."),
            secret=True,
            required=False,
        ),
    )
    # It is in this very database: asking costs little, and a change is seen at once.
    description_ttl = timedelta()
    batch_size = 200

    @cached_property
    def org(self) -> Org:
        """The organisation that the credentials open; raises `CRMUnauthorized`."""
        org = ensure_org(self._org_slug)
        given = str(self.access.credentials.get("token") or "")
        if org.token and not compare_digest(given.encode(), org.token.encode()):
            raise CRMUnauthorized("The CRM answered 401: the token is not valid.")
        return org

    @property
    def _org_slug(self) -> str:
        return str(self.access.credentials.get("org") or self.access.connection_id)

    @contextmanager
    def _request(self, operation: Operation, object_name: str = "") -> Iterator[Strike]:
        self.usage.requests += 1
        struck = strike(self.org, operation, object_name)
        # A write and its log entry are one: what `find_created` can't find must not be there.
        with transaction.atomic() if operation.writes else nullcontext():
            yield struck
        if struck.after is not None:
            raise struck.after

    def describe_objects(self) -> Sequence[RemoteObject]:
        with self._request(Operation.DESCRIBE):
            return [
                RemoteObject(row.name, row.label, row.plural_label)
                for row in Object.objects.filter(org=self.org)
            ]

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        with self._request(Operation.DESCRIBE, remote_object):
            fields = Field.objects.filter(object__org=self.org, object__name=remote_object)
            found = [_described(field) for field in fields]
        if not found:
            raise CRMError(f"This CRM has no object {remote_object!r}.")
        return found

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
        with self._request(Operation.SEARCH, remote_object):
            found = list(records.search_records(self.org, remote_object, criteria, limit=limit))
        return [RemoteRecord(row.ref, records.shown(row, fields)) for row in found]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        return only(self.create_many(remote_object, [Draft(values, key)]))

    def find_created(self, remote_object: str, *, key: str) -> RecordRef | None:
        return self.find_created_many(remote_object, [key])[0]

    def update(self, ref: RecordRef, values: Mapping[str, Any]) -> None:
        only(self.update_many([Edit(ref, values)]))

    def delete(self, ref: RecordRef) -> None:
        only(self.delete_many([ref]))

    def create_many(
        self, remote_object: str, drafts: Sequence[Draft]
    ) -> Sequence[RecordRef | XkitError]:
        with self._request(Operation.CREATE, remote_object) as struck:
            return [outcome_of(self._create, struck, remote_object, draft) for draft in drafts]

    def find_created_many(
        self, remote_object: str, keys: Sequence[str]
    ) -> Sequence[RecordRef | None]:
        with self._request(Operation.SEARCH, remote_object):
            logged = Request.objects.select_related("record__object").filter(
                org=self.org, key__in=keys, record__isnull=False
            )
            made = {row.key: row.record.ref for row in logged if row.record}
        return [made.get(key) for key in keys]

    def update_many(self, edits: Sequence[Edit]) -> Sequence[XkitError | None]:
        with self._request(Operation.UPDATE, edits[0].ref.remote_object) as struck:
            return [outcome_of(self._update, struck, edit) for edit in edits]

    def delete_many(self, refs: Sequence[RecordRef]) -> Sequence[XkitError | None]:
        with self._request(Operation.DELETE, refs[0].remote_object) as struck:
            return [outcome_of(self._delete, struck, ref) for ref in refs]

    def get_many(
        self, refs: Sequence[RecordRef], fields: Sequence[str]
    ) -> Sequence[RemoteRecord | XkitError]:
        with self._request(Operation.GET, refs[0].remote_object):
            return [outcome_of(self._get, ref, fields) for ref in refs]

    def list_workflows(self) -> Sequence[Workflow]:
        with self._request(Operation.DESCRIBE):
            return [
                Workflow(flow.name, flow.label, tuple(map(_input, flow.inputs)))
                for flow in self.org.flows.filter(active=True)
            ]

    def run_workflow(
        self, name: str, inputs: Mapping[str, Any], *, key: str, ref: RecordRef | None
    ) -> RecordRef | None:
        with self._request(Operation.WORKFLOW):
            # Whoever runs it with the same key at the same time waits, and finds it done.
            Flow.objects.select_for_update().filter(org=self.org, name=name).first()
            ran = Request.objects.select_related("record__object").filter(org=self.org, key=key)
            if (before := ran.first()) is not None:
                return before.record.ref if before.record else None
            record = flows.run_flow(self.org, name, inputs, ref)
            self._log(Operation.WORKFLOW, record, key)
        return record.ref if record else None

    def record_url(self, ref: RecordRef) -> str:
        try:
            return reverse("admin:xkit_sandbox_record_at", args=[self._org_slug, str(ref)])
        except NoReverseMatch:
            return ""

    # What one item of a request does; a refusal leaves nothing of it behind.

    def _get(self, ref: RecordRef, fields: Sequence[str]) -> RemoteRecord:
        found = records.get_record(self.org, ref)
        return RemoteRecord(found.ref, records.shown(found, fields))

    def _create(self, struck: Strike, remote_object: str, draft: Draft) -> RecordRef:
        struck.lock()
        record = records.create_record(self.org, remote_object, draft.values)
        self._log(Operation.CREATE, record, draft.key)
        return record.ref

    def _update(self, struck: Strike, edit: Edit) -> None:
        struck.lock()
        self._log(Operation.UPDATE, records.update_record(self.org, edit.ref, edit.values))

    def _delete(self, struck: Strike, ref: RecordRef) -> None:
        struck.lock()
        self._log(Operation.DELETE, records.delete_record(self.org, ref))

    def _log(self, operation: Operation, record: Record | None, key: str = "") -> None:
        Request.objects.create(org=self.org, operation=operation, record=record, key=key)


def _described(field: Field) -> RemoteField:
    return RemoteField(
        name=field.name,
        label=field.label,
        type=RemoteType(field.type),
        required=field.required and field.default is None,
        createable=not field.read_only,
        updateable=not field.read_only,
        choices=tuple(Choice(str(value), str(value)) for value in field.choices),
        references=tuple(field.references),
        max_length=field.max_length,
    )


def _input(entry: Mapping[str, Any]) -> RemoteField:
    return RemoteField(
        name=entry["name"],
        label=entry.get("label") or entry["name"],
        type=RemoteType(entry.get("type") or RemoteType.STRING),
        required=bool(entry.get("required")),
    )
