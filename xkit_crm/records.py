"""Read a CRM record as the product sees it, and preview what an event would send.

Called by the API, CRM Link and the admin. Writes nothing, here or in the CRM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from xkit_crm import catalogue
from xkit_crm.delivery.decisions import Decision, record_of
from xkit_crm.exceptions import UnknownObject, XkitError
from xkit_crm.invoking import admit, find_connection, require_enabled
from xkit_crm.invoking import read as read_request
from xkit_crm.mapping import resolving
from xkit_crm.mapping.transformations import ActionType, parse_object_map
from xkit_crm.models import Connection, ObjectMapping
from xkit_crm.models.invocation import Record
from xkit_crm.providers.base import Provider, RecordRef, RemoteField
from xkit_crm.providers.registry import provider_for
from xkit_crm.sync import echo


def read(connection: Connection | str, crm_object: str, record_id: str) -> Record:
    """One record with its mapped fields, as the CRM has it now.

    Raises `UnknownConnection`, `UnknownObject`, `UnknownRecord`, `ConnectionNotEnabled`, and the
    `CRMError` branch.
    """
    connection = find_connection(connection)
    found = catalogue.crm_object(crm_object)
    require_enabled(connection)
    mapping = mapping_of(connection, found)
    ref = record_of(record_id, crm_object, mapping.remote_object)
    object_map = parse_object_map(
        {"remote_object": mapping.remote_object, "fields": mapping.fields}
    )
    remote = provider_for(connection).get(ref, resolving.remote_fields(object_map))
    return Record(
        crm_object, record_id, resolving.read_back(object_map, found.fields, remote.values)
    )


def mapping_of(connection: Connection, crm_object: catalogue.Object) -> ObjectMapping:
    """Which of the customer's objects it is; raises `UnknownObject` where they chose none."""
    chosen = connection.mappings.filter(crm_object_id=crm_object.id).exclude(remote_object="")
    mapping = chosen.first()
    if mapping is None:
        raise UnknownObject(
            f"The customer of connection {connection.pk!r} has not mapped {crm_object.slug!r}.",
            hint="They do so in CRM Link; an operator can in the admin.",
        )
    return mapping


def record_url(provider: Provider, record_id: str) -> str:
    """The record's page in the CRM for a person; an empty string where there is none.

    Whatever links to a record asks this, or `url_of`: it gives no address that runs a script.
    """
    try:
        url = provider.record_url(RecordRef.parse(record_id))
        # It begins with what a customer typed in once.
        return url if urlsplit(url).scheme in ("", "http", "https") else ""
    except (XkitError, ValueError):
        return ""


def url_of(connection: Connection, record_id: str) -> str:
    """The same of a connection; empty too where its provider is gone, or nobody can read its
    credentials."""
    try:
        return record_url(provider_for(connection), record_id)
    except XkitError:
        return ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What an event would do: `values` by remote field (or workflow input), and what is missing."""

    action: str
    target: str
    values: dict[str, Any] = field(default_factory=dict)
    current: dict[str, Any] | None = None
    criteria: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Written:
    """One remote field of a preview, by the CRM's own label: what it holds, and what it would."""

    name: str
    label: str
    #: Its type as the CRM describes it; empty where it doesn't.
    type: str
    now: Any
    then: Any
    #: Whether it would hold something else; False where nobody knows what it holds.
    changed: bool


def written(preview: Preview, described: Mapping[str, RemoteField]) -> Iterator[Written]:
    """What would be sent field by field, beside what the record holds; of a search, what it asks
    for."""
    values = preview.values
    if preview.criteria:
        values = {c["field"]: f"{c['operator']} {c['value']}" for c in preview.criteria}
    for name, value in values.items():
        remote = described.get(name)
        there = None if preview.current is None else preview.current.get(name)
        yield Written(
            name,
            remote.label if remote else name,
            str(remote.type) if remote else "",
            there,
            value,
            preview.current is not None and there != value,
        )


def preview(
    connection: Connection,
    crm_object: str,
    event: str,
    payload: Mapping[str, Any],
    record: str | None = None,
) -> Preview:
    """What invoking the event now would send. Raises what `invoke` raises at the door."""
    request = read_request(connection, crm_object, event, payload, record)
    decision = admit(request)
    provider = provider_for(connection)
    return preview_of(provider, connection, decision, request.payload, record)


def preview_of(
    provider: Provider,
    connection: Connection,
    decision: Decision,
    payload: Mapping[str, Any],
    record: str | None,
) -> Preview:
    """What a decision, in force or drafted, makes of a valid payload. Raises `CRMError`."""
    action = decision.action
    if action.action == ActionType.NOOP:
        return Preview("noop", "")
    if action.action == ActionType.SEARCH:
        criteria = resolving.criteria(action, payload, fields=decision.fields(provider))
        return Preview(
            "search",
            decision.remote_object,
            criteria=[
                {"field": c.field, "operator": str(c.operator), "value": c.value} for c in criteria
            ],
        )
    if action.action == ActionType.WORKFLOW:
        values = resolving.resolve(
            action, payload, fields=decision.inputs(provider), creating=True, current=None
        )
        return Preview("workflow", action.workflow, values)
    creating = action.action == ActionType.CREATE
    current: dict[str, Any] | None = None
    ours: set[str] = set()
    if record is not None and not creating:
        written = tuple(t.field for t in action.transformations)
        current = dict(provider.get(RecordRef.parse(record), written).values)
        ours = echo.ours(echo.written_to(connection, record), current)
    if action.action == ActionType.DELETE:
        return Preview("delete", record or "", current=current)
    return Preview(
        str(action.action),
        record or decision.remote_object,
        resolving.resolve(
            action,
            payload,
            fields=decision.fields(provider),
            creating=creating,
            current=current,
            ours=ours,
        ),
        current,
    )
