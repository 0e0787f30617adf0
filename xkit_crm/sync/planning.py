"""What is decided once before a connection's rows are walked: events, their mapping, match keys.

`backfill.py` and `reconcile_deep.py` start from it. It asks the CRM what its fields are, and
refuses a walk whose every row would fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from xkit_crm.catalogue import Event
from xkit_crm.delivery.decisions import Decision, decision_for
from xkit_crm.exceptions import ConfigurationError, MappingIncomplete
from xkit_crm.mapping.transformations import Action, ActionType
from xkit_crm.models import Connection
from xkit_crm.providers.base import RemoteField
from xkit_crm.sync import matching, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.calling import Caller


@dataclass(frozen=True, slots=True)
class Side:
    """One event of a binding, with what the customer decided for it."""

    event: Event
    decision: Decision

    @property
    def action(self) -> Action:
        return self.decision.action

    @property
    def writes_fields(self) -> bool:
        """Whether its transformations name a record's fields."""
        return self.action.action in (ActionType.CREATE, ActionType.UPDATE)

    @property
    def does_nothing(self) -> bool:
        return self.action.action is ActionType.NOOP


def side(binding: Binding, connection: Connection, moment: str) -> Side | None:
    """The binding's event of this moment; None where it fires nothing.

    Raises `UnknownEvent`, and `MappingIncomplete` where the customer decided nothing yet.
    """
    event = walking.event_of(binding, moment)
    return Side(event, decision_for(connection, event.definition)) if event else None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of one binding are brought into one connection's CRM."""

    binding: Binding
    connection: Connection
    create: Side | None
    update: Side | None
    #: The one whose mapping says what a row's record looks like.
    shape: Side | None
    keys: matching.Keys
    #: The remote object's fields; empty where no mapping names any.
    fields: Mapping[str, RemoteField]
    #: Remote fields that are asked for of each record that is found.
    asked: tuple[str, ...]

    @property
    def first(self) -> Side:
        """The event that a row without a record is checked by."""
        found = self.create or self.update
        assert found is not None
        return found


def plan(
    binding: Binding,
    connection: Connection,
    caller: Caller,
    match: Iterable[Sequence[str]] | None,
) -> Plan:
    """The plan; raises `ConfigurationError` and `MappingIncomplete`."""
    create, update = (side(binding, connection, moment) for moment in ("on_create", "on_update"))
    _require_some_effect(binding, connection, create or update)
    if create is not None:
        _require_complete(connection, caller, create)
    shape = next((one for one in (create, update) if one and one.writes_fields), None)
    fields = caller(partial(shape.decision.fields, caller.provider)) if shape else {}
    keys = _keys(match, shape, fields, creates=create is not None)
    asked = {name for key in keys.keys for name in key}
    if update is not None and update.writes_fields:
        asked |= {transformation.field for transformation in update.action.transformations}
    readable = sorted(name for name in asked if name in fields and fields[name].readable)
    return Plan(binding, connection, create, update, shape, keys, fields, tuple(readable))


def _require_some_effect(binding: Binding, connection: Connection, first: Side | None) -> None:
    if first is None:
        raise ConfigurationError(
            f"{binding.origin} fires nothing for a row that is new or changed, so there is nothing "
            "to fill a CRM with.",
            hint="Bind an event to on_create, and see that it is active.",
        )
    if first.does_nothing:
        raise MappingIncomplete(
            f"The customer of connection {connection.pk!r} decided that {first.event.slug} does "
            "nothing in their CRM.",
            hint="They change that in CRM Link, an operator in the admin.",
        )


def _require_complete(connection: Connection, caller: Caller, create: Side) -> None:
    missing = caller(partial(create.decision.missing, caller.provider))
    if missing:
        raise MappingIncomplete(
            f"The mapping of {create.event.slug} in connection {connection.pk!r} is incomplete.",
            hint="Complete it in CRM Link or in the admin.",
            errors=missing,
        )


def _keys(
    match: Iterable[Sequence[str]] | None,
    shape: Side | None,
    fields: Mapping[str, RemoteField],
    *,
    creates: bool,
) -> matching.Keys:
    action = shape.action if shape else None
    if match is not None:
        keys = matching.check(match, action, fields)
        if not keys.keys and not creates:
            raise ConfigurationError(
                "No event is bound to on_create, so rows can only be matched, and matching is off.",
                hint="Say what to match on: --match FIELD.",
            )
        return keys
    keys = matching.propose(action, fields)
    if not keys.keys:
        weak = f" ({', '.join(keys.weak)} may be the same in many)" if keys.weak else ""
        raise ConfigurationError(
            "The mapping writes no field that tells the customer's records apart, such as an "
            f"external id or the record's own email{weak}, so what is in the CRM already would be "
            "made there a second time.",
            hint="Say what to match on: --match FIELD. Or create every row without looking: "
            "--no-match.",
        )
    return keys
