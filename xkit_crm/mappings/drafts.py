"""What a customer is still deciding: begun with proposals, changed step by step, put aside.

Nothing of it is carried out before `versions.put_in_force`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkit_crm import catalogue
from xkit_crm.mapping import documents, reconsidering
from xkit_crm.mapping.suggestions import likest, propose
from xkit_crm.mapping.transformations import ActionType, unknown_keys
from xkit_crm.mappings.reading import Document, definitions, in_force, require_valid
from xkit_crm.models import Connection, MappingDraft
from xkit_crm.models.base import new_uuid
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Provider
from xkit_crm.providers.registry import provider_for


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


def end_draft(connection: Connection, document: Document, *, before: Document) -> None:
    """End the draft where this document, which is put in force in place of the one before, says all
    of it, or where it decides nothing: what somebody is still deciding stays theirs."""
    found = _begun(connection)
    if found and (found.document == document or not _adds(found, before)):
        found.delete()
