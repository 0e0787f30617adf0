"""What a customer decided for one event: their mapping, read for one invocation.

`pipeline.py` carries it out, `invoking.py` checks at the door that it is complete, and previews
show it. It turns rows into what `mapping/` works with, and holds no mapping rule itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xkit_crm import catalogue
from xkit_crm.delivery import statements
from xkit_crm.delivery.folding import Kind
from xkit_crm.exceptions import (
    MappingIncomplete,
    Problem,
    RejectedByCRM,
    UnknownRecord,
    XkitError,
)
from xkit_crm.mapping import completeness, resolving
from xkit_crm.mapping.transformations import (
    Action,
    ActionType,
    ObjectMap,
    parse_action,
    parse_object_map,
)
from xkit_crm.models import Connection, CRMObject, EventAction, EventDefinition, ObjectMapping
from xkit_crm.models.event_definition import EventType
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RecordRef, RemoteField, Workflow


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One event's action in one connection, parsed."""

    crm_object: CRMObject
    event_type: str
    action: Action
    object_map: ObjectMap
    remote_object: str
    payload_schema: Mapping[str, Any]

    @property
    def read_fields(self) -> tuple[str, ...]:
        """The remote fields that feed the CRM object's fields."""
        return resolving.remote_fields(self.object_map)

    def read_back(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The CRM object's fields from a remote record's values."""
        return resolving.read_back(self.object_map, self.crm_object.fields, values)

    def record(self, record_id: str) -> RecordRef:
        """The record with this id; raises `UnknownRecord` where it is of another remote object."""
        return record_of(record_id, self.crm_object.slug, self.remote_object)

    def fields(self, provider: Provider) -> dict[str, RemoteField]:
        """The remote object's fields as the CRM describes them now."""
        return descriptions.fields(provider, self.remote_object)

    def workflow(self, provider: Provider) -> Workflow | None:
        """The CRM's workflow that is to be run; None where it has none of that name."""
        return descriptions.workflow(provider, self.action.workflow)

    def inputs(self, provider: Provider) -> dict[str, RemoteField]:
        """The inputs of the workflow that is to be run."""
        workflow = self.workflow(provider)
        return {field.name: field for field in workflow.inputs} if workflow else {}

    @property
    def needs_fields(self) -> bool:
        """Whether what it may write depends on the remote object's fields."""
        of_no_record = (ActionType.NOOP, ActionType.WORKFLOW)
        return bool(self.remote_object) and self.action.action not in of_no_record

    def missing(self, provider: Provider) -> list[Problem]:
        """What still has to be decided before this may run."""
        is_workflow = self.action.action == ActionType.WORKFLOW
        return self.missing_by(
            fields=self.fields(provider) if self.needs_fields else None,
            workflow=self.workflow(provider) if is_workflow else None,
        )

    def missing_by(
        self, *, fields: Mapping[str, RemoteField] | None, workflow: Workflow | None
    ) -> list[Problem]:
        """The same, by what the CRM said of itself."""
        return completeness.missing(
            self.action,
            event_type=self.event_type,
            fields=fields,
            workflow=workflow,
            payload_schema=self.payload_schema,
        )

    def explain(self, error: RejectedByCRM) -> XkitError:
        """The same error, saying for each refused field which payload key fed it."""
        fed = resolving.sources(self.action)
        return type(error)(
            error.message,
            hint=error.hint,
            retry_after=error.retry_after,
            outcome_unknown=error.outcome_unknown,
            errors=[
                Problem(fed[problem.path], str(problem)) if problem.path in fed else problem
                for problem in error.errors
            ],
        )


class Decisions:
    """What a customer decided, read once for all that is carried out while it stays as it is."""

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        #: By the event's id: the definition that it was parsed for, and None where the customer
        #: has still to decide.
        self._parsed: dict[int, tuple[EventDefinition, Decision | None]] = {}
        self._actions: dict[int, str] | None = None

    def of(self, event: EventDefinition) -> Decision:
        """The decision for an event; raises `MappingIncomplete` where there is none."""
        known, found = self._parsed.get(event.pk, (None, None))
        # A definition that was changed is another object in memory.
        if known is not event:
            found = _decision(self.connection_id, event)
            self._parsed[event.pk] = event, found
        if found is None:
            raise _undecided(self.connection_id, event)
        return found

    def by_id(self, event_id: int) -> Decision:
        """The decision for the event with this id."""
        return self.of(catalogue.definitions({event_id})[event_id])

    def kind(self, event_id: int) -> Kind:
        """What the event does, for folding. One query for all events."""
        if self._actions is None:
            rows = EventAction.objects.filter(mapping__connection_id=self.connection_id)
            self._actions = {
                event_id: action if remote_object else ActionType.NOOP
                for event_id, action, remote_object in rows.values_list(
                    "event_id", "action", "mapping__remote_object"
                )
            }
        if event_id not in self._actions:
            return Kind.ALONE
        return _kind(catalogue.definitions({event_id})[event_id].type, self._actions[event_id])


@lru_cache(maxsize=500)
def decisions_as_of(connection_id: str, stamp: str) -> Decisions:
    """What the customer decided; `stamp` is another one whenever that may have changed
    (`statements.connection`)."""
    return Decisions(connection_id)


#: What folds, by the event's type and its action. An update that deletes, say, stays alone.
_KINDS = {
    (EventType.CREATE, ActionType.CREATE): Kind.CREATE,
    (EventType.UPDATE, ActionType.UPDATE): Kind.UPDATE,
    (EventType.DELETE, ActionType.DELETE): Kind.DELETE,
}


def _kind(event_type: str, action: str) -> Kind:
    if action == ActionType.NOOP:
        # A delete ends the row's link all the same, so it has its own turn.
        return Kind.ALONE if event_type == EventType.DELETE else Kind.NOTHING
    return _KINDS.get((EventType(event_type), ActionType(action)), Kind.ALONE)


def incomplete(
    connection_id: str, event: EventDefinition, problems: Iterable[Problem]
) -> MappingIncomplete:
    """What is raised where the customer's decision doesn't fit their CRM (any more)."""
    return MappingIncomplete(
        f"The mapping of {event.slug} in connection {connection_id!r} is not complete.",
        hint="The customer completes it in CRM Link; an operator can in the admin.",
        errors=problems,
    )


def decision_for(connection: Connection, event: EventDefinition) -> Decision:
    """What the customer decided for this event; raises `MappingIncomplete` where nothing yet."""
    found = _decision(connection.pk, event)
    if found is None:
        raise _undecided(connection.pk, event)
    return found


def _undecided(connection_id: str, event: EventDefinition) -> MappingIncomplete:
    return MappingIncomplete(
        f"The customer of connection {connection_id!r} has not decided what "
        f"{event.slug} does in their CRM.",
        hint="Open CRM Link on this connection, or add the event action in the admin.",
        errors=[Problem(f"events.{event.slug}", "has no action yet")],
    )


def _decision(connection_id: str, event: EventDefinition) -> Decision | None:
    row = statements.action(connection_id, event.pk)
    if row is None:
        opted_out = ObjectMapping.objects.filter(
            connection_id=connection_id, crm_object_id=event.crm_object_id, remote_object=""
        )
        if not opted_out.exists():
            return None
        return decided(event, {"remote_object": ""}, {"action": ActionType.NOOP})
    mapping = row.mapping
    given = {"remote_object": mapping.remote_object, "fields": mapping.fields}
    return decided(event, given, row.as_data())


def decided(
    event: EventDefinition, given: Mapping[str, Any], action: Mapping[str, Any]
) -> Decision:
    """The decision that an action is: `given` is what a mapping has for the CRM object, its
    `remote_object` and `fields`; both checked."""
    data = {**action, "remote_object": given.get("remote_object")}
    if data["remote_object"] == "" and data["action"] != ActionType.WORKFLOW:
        data["action"] = ActionType.NOOP  # the customer opted out of the object
    return Decision(
        crm_object=event.crm_object,
        event_type=event.type,
        action=parse_action(data),
        object_map=parse_object_map(given),
        remote_object=data["remote_object"] or "",
        payload_schema=event.payload_schema,
    )


def record_of(record_id: str, crm_object: str, remote_object: str) -> RecordRef:
    """The record with this id; raises `UnknownRecord` where it is no record of the remote object
    that the customer mapped the CRM object to (empty: to none)."""
    ref = RecordRef.parse(record_id)
    if remote_object and ref.remote_object != remote_object:
        raise UnknownRecord(
            f"{record_id!r} is no {crm_object} in this connection.",
            hint=f"Its records are {remote_object}:<id>.",
        )
    return ref
