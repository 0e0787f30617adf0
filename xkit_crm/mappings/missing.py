"""How far a mapping is, beside what its CRM has: what holds it up, and what is undecided.

The same for a draft, for what is in force, and for what a CRM has changed since (`drift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop as _

from xkit_crm import catalogue
from xkit_crm.exceptions import CRMError, CRMUnauthorized, Problem
from xkit_crm.mapping import completeness, documents
from xkit_crm.mapping.phrases import Phrase
from xkit_crm.mapping.transformations import ActionType, Kind, unfinished, unknown_keys
from xkit_crm.mappings.reading import decision, definitions, in_force
from xkit_crm.models import Connection
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RemoteField
from xkit_crm.providers.registry import provider_for


@dataclass(frozen=True, slots=True)
class State:
    """How far the customer is with one CRM object: what holds it up, and what is undecided."""

    missing: tuple[Problem, ...] = ()
    undecided: tuple[Problem, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.undecided


def state_of(
    provider: Provider, document: Mapping[str, Any], crm_object: catalogue.Object
) -> State:
    """What one object of the document still lacks, its events included: their paths begin with
    the event's slug.

    Raises the provider's `CRMError` where the CRM can't be asked.
    """
    own = own_state(provider, document, crm_object)
    if not is_there(provider, document, crm_object):
        return own
    missing, undecided = list(own.missing), list(own.undecided)
    for event in crm_object.events.values():
        of_event = event_state(provider, document, event)
        missing += [Problem(f"{event.slug}.{p.path}", p.error) for p in of_event.missing]
        undecided += [Problem(f"{event.slug}.{p.path}", p.error) for p in of_event.undecided]
    return State(tuple(missing), tuple(undecided))


def is_there(provider: Provider, document: Mapping[str, Any], crm_object: catalogue.Object) -> bool:
    """Whether the object is mapped to one that the CRM has."""
    chosen = document.get(crm_object.slug, {}).get("remote_object")
    return bool(chosen) and chosen in {found.name for found in descriptions.objects(provider)}


def own_state(
    provider: Provider, document: Mapping[str, Any], crm_object: catalogue.Object
) -> State:
    """What an object lacks besides what its events do."""
    given = document.get(crm_object.slug, {})
    chosen, feeds = given.get("remote_object"), given.get("fields", {})
    if chosen is None:
        return State(undecided=(Problem("remote_object", Phrase(_("is not chosen yet"))),))
    if chosen == "":
        return State()
    if not is_there(provider, document, crm_object):
        gone = Phrase(_("the CRM has no object '%(object)s' (any more)"), object=chosen)
        return State(missing=(Problem("remote_object", gone),))
    return State(
        tuple(_gone_fields(provider, chosen, feeds)),
        tuple(completeness.unread(crm_object.fields, feeds)),
    )


def event_state(provider: Provider, document: Mapping[str, Any], event: catalogue.Event) -> State:
    """What one event lacks."""
    found = decision(document, event)
    if found is None:
        return State(undecided=(Problem("action", Phrase(_("is not chosen yet"))),))
    if found.action.action == ActionType.NOOP:
        return State()
    given = document[event.crm_object]["events"][event.slug]
    schema, written = event.payload_schema, given.get("transformations") or ()
    fields = targets(provider, document, event)
    return State(
        missing=(*found.missing(provider), *_unfinished(written, schema)),
        undecided=(
            *_gone_keys(written, schema),
            *completeness.doubtful(found.action, schema, fields),
            *completeness.undecided(found.action, schema, given.get("ignored") or ()),
        ),
    )


def _unfinished(
    written: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]
) -> Iterator[Problem]:
    for row in written:
        if error := unfinished(row, schema):
            yield Problem(f"transformations.{row['field']}", error)


def _gone_keys(
    written: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]
) -> Iterator[Problem]:
    """What is read of the payload and isn't in it any more: it holds nothing up, and writes
    nothing."""
    for row in written:
        for problem in unknown_keys({"transformations": [row]}, schema, begun=True):
            yield Problem(f"transformations.{row['field']}", problem.error)


def targets(
    provider: Provider, document: Mapping[str, Any], event: catalogue.Event
) -> dict[str, RemoteField]:
    """What an event can write: the remote object's fields, or the inputs of its workflow."""
    found = decision(document, event)
    if found is not None and found.action.action == ActionType.WORKFLOW:
        return found.inputs(provider)
    remote_object = document.get(event.crm_object, {}).get("remote_object")
    return descriptions.fields(provider, remote_object) if remote_object else {}


def refusals(
    provider: Provider,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    event: catalogue.Event,
) -> list[Problem]:
    """Why a change of one event can't be kept: it is no mapping, or it names a field that there
    isn't or that can't be written. What was there before may stay until it is mended, and so may
    what fits no field yet: its row says so."""
    given = after[event.crm_object]["events"][event.slug]
    if problems := documents.check(
        {event.crm_object: {"events": {event.slug: given}}},
        definitions([event.crm_object]),
        begun=True,
    ):
        head = f"{event.crm_object}.events.{event.slug}."
        return [Problem(p.path.removeprefix(head), p.error) for p in problems]
    refused = [p for p in event_state(provider, after, event).missing if p.path == "action"]
    kind = ActionType(given["action"])
    if kind in (ActionType.NOOP, ActionType.DELETE):
        return refused
    there = before.get(event.crm_object, {}).get("events", {}).get(event.slug, {})
    kept = {row["field"] for row in there.get("transformations") or ()}
    fields = targets(provider, after, event)
    for row in given["transformations"]:
        if row["field"] in kept or row["kind"] == Kind.EMPTY:
            continue
        if error := completeness.unusable(fields.get(row["field"]), kind):
            refused.append(Problem(f"transformations.{row['field']}", error))
    return refused


def _gone_fields(
    provider: Provider, remote_object: str, feeds: Mapping[str, Any]
) -> Iterable[Problem]:
    known = descriptions.fields(provider, remote_object)
    for key, feed in feeds.items():
        names = feed.values() if isinstance(feed, Mapping) else [feed]
        for name in names:
            if name and name not in known:
                gone = Phrase(_("the CRM has no field '%(field)s' (any more)"), field=name)
                yield Problem(f"fields.{key}", gone)
            elif name and not known[name].readable:
                shut = Phrase(_("%(field)s can't be read"), field=known[name].label)
                yield Problem(f"fields.{key}", shut)


def drift(
    connection: Connection, document: Mapping[str, Any] | None = None
) -> dict[str, State | CRMError]:
    """What the mapping in force misses today, by CRM object: what the product has defined since,
    and what the CRM has dropped or changed. Only objects where something is missing, or where the
    CRM can't be asked. With a document, the same of that, as if it were in force.

    Raises `ConfigurationError` where the provider is missing.
    """
    document = in_force(connection) if document is None else document
    provider = provider_for(connection)
    found: dict[str, State | CRMError] = {}
    silent: CRMError | None = None
    for slug, crm_object in catalogue.objects().items():
        try:
            if silent is not None:
                raise silent  # it need not be asked for each
            state = state_of(provider, document, crm_object)
        except CRMError as error:
            found[slug] = error
            if error.retryable or isinstance(error, CRMUnauthorized):
                silent = error
            continue
        if not state.is_complete:
            found[slug] = state
    return found
