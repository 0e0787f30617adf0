"""A customer's mapping as one document: read from rows, drafted, put in force, kept as versions.

CRM Link, the admin and `connections.py` decide here; `delivery/` reads the rows. What a document
looks like is in `mapping/documents.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections, router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from xkit_crm import catalogue
from xkit_crm.delivery import backends
from xkit_crm.delivery.decisions import Decision, decided
from xkit_crm.exceptions import (
    CRMError,
    CRMUnauthorized,
    MappingIncomplete,
    MappingInvalid,
    Problem,
)
from xkit_crm.mapping import completeness, documents, reconsidering
from xkit_crm.mapping.phrases import Phrase
from xkit_crm.mapping.suggestions import likest, propose
from xkit_crm.mapping.transformations import ActionType, Kind, unfinished, unknown_keys
from xkit_crm.models import (
    Connection,
    EventAction,
    Invocation,
    MappingDraft,
    MappingVersion,
    ObjectMapping,
)
from xkit_crm.models.base import new_uuid
from xkit_crm.models.invocation import NEVER, InvocationStatus
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider, RemoteField
from xkit_crm.providers.registry import provider_for

Document = dict[str, Any]


def definitions(slugs: Iterable[str] | None = None) -> documents.Definitions:
    """What the product has defined, as `mapping/documents.py` wants it; of these objects only."""
    return {
        slug: (found.fields, {e.slug: e.payload_schema for e in found.events.values()})
        for slug, found in catalogue.objects().items()
        if slugs is None or slug in slugs
    }


# -- documents ------------------------------------------------------------------------------------


def in_force(connection: Connection) -> Document:
    """The mapping that is carried out now. Three queries.

    What the product doesn't define any more is left out: nothing is carried out by it, and nobody
    can decide it.
    """
    known = catalogue.objects()
    found: Document = {}
    mappings = connection.mappings.select_related("crm_object").order_by("crm_object_id")
    for mapping in mappings.prefetch_related("actions__event"):
        crm_object = known.get(mapping.crm_object.slug)
        if crm_object is None:
            continue
        found[crm_object.slug] = {
            "remote_object": mapping.remote_object,
            "fields": {
                key: feed for key, feed in mapping.fields.items() if key in crm_object.fields
            },
            "events": {
                action.event.slug: {
                    "action": action.action,
                    "workflow": action.workflow,
                    "transformations": action.transformations,
                    "ignored": action.ignored,
                }
                for action in mapping.actions.all()
                if action.event.slug in crm_object.events
            },
        }
    return found


def with_proposals(provider: Provider, document: Mapping[str, Any]) -> Document:
    """The document, with what nobody has decided yet filled in from labels and aliases."""
    filled: Document = {slug: dict(given) for slug, given in document.items()}
    remote = descriptions.objects(provider)
    for slug, crm_object in catalogue.objects().items():
        given = filled.get(slug, {})
        chosen = given.get("remote_object")
        if chosen == "":
            continue  # opted out
        known = [found for found in remote if chosen in (None, found.name)]
        best = known[0] if chosen and known else likest(slug, crm_object.label, known)
        if best is None:
            continue
        events = {
            event.slug: {"type": str(event.type), "payloadSchema": event.payload_schema}
            for event in crm_object.events.values()
        }
        fields = tuple(descriptions.fields(provider, best.name).values())
        proposal = propose(slug, crm_object.label, crm_object.fields, events, best, fields)
        filled[slug] = {
            "remote_object": proposal.object_map["remote_object"],
            "fields": {**proposal.object_map["fields"], **given.get("fields", {})},
            "events": {
                **{
                    name: {"workflow": "", "ignored": [], **action}
                    for name, action in proposal.actions.items()
                },
                **given.get("events", {}),
            },
        }
    return filled


def decision(document: Mapping[str, Any], event: catalogue.Event) -> Decision | None:
    """What a (checked) document decides for an event, as `delivery/` carries it out; None: nothing
    yet."""
    given = document.get(event.crm_object, {})
    action = given.get("events", {}).get(event.slug)
    if action is None:
        if given.get("remote_object") != "":
            return None
        action = {"action": ActionType.NOOP}
    return decided(event.definition, given, action)


# -- what is missing ------------------------------------------------------------------------------


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


# -- drafts ---------------------------------------------------------------------------------------


def draft(connection: Connection) -> MappingDraft:
    """What the customer is deciding: where they left it, or else what is in force, completed by
    proposals. Raises `CRMError` where it has to be proposed and the CRM can't be asked."""
    found = _begun(connection)
    if found is not None:
        return found
    document = with_proposals(provider_for(connection), _decidable(in_force(connection)))
    made, _created = MappingDraft.objects.get_or_create(
        connection=connection, defaults={"document": document}
    )
    return made


def _begun(connection: Connection) -> MappingDraft | None:
    """The draft where it was left, as far as the product still defines what it decides."""
    found = MappingDraft.objects.filter(connection=connection).first()
    if found is not None:
        found.document = _decidable(found.document)
    return found


def _decidable(document: Document) -> Document:
    return documents.still_defined(document, definitions())


def write_draft(
    connection: Connection, document: Document, *, aside: reconsidering.Aside | None = None
) -> MappingDraft:
    """Replace the draft; what was put aside stays, unless it is given. Raises `MappingInvalid` with
    every problem of the document."""
    require_valid(document, begun=True)
    written: dict[str, Any] = {"document": document, "revision": new_uuid()}
    if aside is not None:
        written["aside"] = aside
    made, _ = MappingDraft.objects.update_or_create(connection=connection, defaults=written)
    return made


def choose_object(
    connection: Connection, provider: Provider, slug: str, remote_object: str
) -> MappingDraft:
    """Let a CRM object be another remote object in the draft; an empty string: it isn't used.

    What was decided for the one before is put aside, and there again when that is chosen again. For
    one that was never chosen fields are proposed; what each event does stays as it was decided.
    """
    found = draft(connection)
    before = found.document.get(slug, {})
    old, aside = before.get("remote_object"), found.aside
    if remote_object == old:
        return found
    if old:
        aside = reconsidering.put_aside(aside, slug, old, before)
    kept = aside.get(slug, {}).get(remote_object)
    if not remote_object:
        now = {**before, "remote_object": ""}
    elif kept and not documents.check({slug: kept}, definitions([slug]), begun=True):
        now = kept
    else:
        proposed = with_proposals(provider, {slug: {"remote_object": remote_object}})[slug]
        now = reconsidering.with_choices(proposed, before)
    return write_draft(connection, {**found.document, slug: now}, aside=aside)


def choose_action(
    provider: Provider, found: MappingDraft, event: catalogue.Event, action: str, workflow: str
) -> tuple[Document, reconsidering.Aside]:
    """The draft's document and what is put aside, where an event does something else: with what was
    decided for that before, or else with what is proposed. Writes nothing."""
    given = found.document.get(event.crm_object, {})
    before = given.get("events", {}).get(event.slug, {})
    place, aside = f"{event.crm_object}.{event.slug}", found.aside
    if action != ActionType.WORKFLOW:
        workflow = ""
    elif not workflow:
        known = [one.name for one in descriptions.workflows(provider)]
        last = reconsidering.last_workflow(aside, place)
        workflow = last if last in known else next(iter(known), "")
    now: dict[str, Any] = {"action": action, "workflow": workflow}
    if before and all(now[name] == before.get(name, "") for name in now):
        return found.document, aside
    kept, new = before, reconsidering.target(given, now)
    if before and new != (old := reconsidering.target(given, before)):
        aside = reconsidering.put_aside(aside, place, old, before)
        kept = aside[place].get(new, {})
    now["ignored"] = kept.get("ignored") or []
    now["transformations"] = [
        row
        for row in kept.get("transformations") or ()
        if not unknown_keys({"transformations": [row]}, event.payload_schema, begun=True)
    ]
    events = {name: one for name, one in given.get("events", {}).items() if name != event.slug}
    if not now["transformations"]:
        undecided = {event.crm_object: {**given, "events": events}}
        proposed = with_proposals(provider, undecided)[event.crm_object]["events"]
        now = reconsidering.as_decided(proposed.get(event.slug, {}), now)
    part = {**given, "events": {**events, event.slug: now}}
    return {**found.document, event.crm_object: part}, aside


def require_valid(document: Any, *, begun: bool = False) -> None:
    """Raise `MappingInvalid` where the document can't be stored; as a draft if `begun`."""
    if problems := documents.check(document, definitions(), begun=begun):
        raise MappingInvalid(
            "The mapping has mistakes; nothing was changed.",
            hint="Correct them all.",
            errors=problems,
        )


def begin_anew(connection: Connection) -> None:
    """Another CRM is behind the connection: what was mapped to the one before says nothing, but
    for what each event does."""
    found = _begun(connection)
    before = found.document if found else in_force(connection)
    document = {
        slug: reconsidering.with_choices(proposed, before.get(slug, {}))
        for slug, proposed in with_proposals(provider_for(connection), {}).items()
    }
    missing = {slug: {"remote_object": ""} for slug in definitions() if slug not in document}
    write_draft(connection, {**missing, **document}, aside={})


def is_unfinished(connection: Connection) -> bool:
    """Whether there is a draft with something that is not in force."""
    found = _begun(connection)
    return found is not None and _adds(found, in_force(connection))


def _adds(draft: MappingDraft, document: Document) -> bool:
    # What it doesn't name stays as it is.
    return bool(documents.differences(document, {**document, **draft.document}))


def drop_draft(connection: Connection) -> None:
    """Go back to what is in force."""
    MappingDraft.objects.filter(connection=connection).delete()


# -- putting in force -----------------------------------------------------------------------------


def put_in_force(
    connection: Connection, document: Document, *, author: str = ""
) -> MappingVersion | None:
    """Carry out this mapping from now on, and let what waited for it go; gives the new version,
    None where nothing has changed.

    Objects and events that the document doesn't name stay as they are, and so does a draft with
    other decisions. What was in force before and is no version yet becomes one, so that one can go
    back to it. Raises `MappingInvalid`.
    """
    require_valid(document)
    with transaction.atomic(using=router.db_for_write(MappingVersion)):
        lock(connection)
        before = in_force(connection)
        if before:
            # Rows that were written past the versions are in none of them, and would be lost.
            _keep(connection, before)
        for slug, given in document.items():
            _write(connection, slug, given)
        draft = _begun(connection)
        # What somebody is still deciding stays theirs, whoever puts something else in force.
        if draft and (draft.document == document or not _adds(draft, before)):
            draft.delete()
        return record(connection, author=author)


def _write(connection: Connection, slug: str, given: Mapping[str, Any]) -> None:
    crm_object = catalogue.crm_object(slug)
    mapping = ObjectMapping.objects.filter(
        connection=connection, crm_object_id=crm_object.id
    ).first()
    if mapping is None:
        if "remote_object" not in given:
            return  # not decided yet, so there is nothing that its events could do
        mapping = ObjectMapping(connection=connection, crm_object_id=crm_object.id)
    remote_object = given.get("remote_object", mapping.remote_object)
    # Fields of another object feed nothing.
    kept = mapping.fields if remote_object == mapping.remote_object else {}
    mapping.remote_object, mapping.fields = remote_object, given.get("fields", kept)
    mapping.save()
    for name, action in given.get("events", {}).items():
        EventAction.objects.update_or_create(
            mapping=mapping,
            event_id=crm_object.events[name].id,
            defaults={
                "action": action["action"],
                "workflow": action.get("workflow") or "",
                "transformations": action.get("transformations") or [],
                "ignored": action.get("ignored") or [],
            },
        )


def lock(connection: Connection) -> int | None:
    """Let whoever else decides for this connection wait until the transaction is over; gives the
    number of the version in force, None where the connection is gone.

    Who only captures an event for it doesn't wait, where the database can tell them apart.
    """
    using = router.db_for_write(MappingVersion)
    features = connections[using].features
    row = Connection.objects.using(using).filter(pk=connection.pk)
    if not features.has_select_for_update:
        row.update(mapping_version=F("mapping_version"))  # its first write locks it all
    locked = row.select_for_update(no_key=features.has_select_for_no_key_update)
    return locked.values_list("mapping_version", flat=True).first()


def record(connection: Connection, *, author: str = "") -> MappingVersion | None:
    """Keep what the rows say now as a new version, where it isn't the last one, and let go what
    waited for it. Whoever writes rows by themselves, as the admin does, calls this."""
    with transaction.atomic(using=router.db_for_write(MappingVersion)):
        lock(connection)  # so that versions come one by one
        made = _keep(connection, in_force(connection), author=author)
        release(connection.pk)
    return made


def _keep(connection: Connection, document: Document, *, author: str = "") -> MappingVersion | None:
    """Make this document, which is in force, a version where it isn't the last one."""
    last = MappingVersion.objects.filter(connection=connection).first()
    number, made = last.number if last else 0, None
    if last is None or last.document != document:
        number += 1
        made = MappingVersion.objects.create(
            connection=connection, number=number, document=document, author=author[:255]
        )
    Connection.objects.filter(pk=connection.pk).update(mapping_version=number)
    connection.mapping_version = number
    return made


def release(connection_id: str) -> int:
    """Let the invocations go on that waited for the customer to decide, and those that stand behind
    them; gives how many there were."""
    using, now = router.db_for_write(Invocation), timezone.now()
    with transaction.atomic(using=using):
        # What was never tried and isn't due stands behind another of its record. It is looked at
        # once too often where that one waits for something else.
        released = Invocation.objects.filter(
            connection_id=connection_id,
            status=InvocationStatus.PENDING,
            due_at__gt=now,
            due_at__lt=NEVER,
            error_code__in=(MappingIncomplete.code, ""),
        ).update(due_at=now)
        if released:
            backends.poke_on_commit([connection_id], using=using)
    return released


# -- drift ----------------------------------------------------------------------------------------


def drift(connection: Connection) -> dict[str, State | CRMError]:
    """What the mapping in force misses today, by CRM object: what the product has defined since,
    and what the CRM has dropped or changed. Only objects where something is missing, or where the
    CRM can't be asked.

    Raises `ConfigurationError` where the provider is missing.
    """
    document = in_force(connection)
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
