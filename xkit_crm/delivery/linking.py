"""Record links: each local row stands for the record that was written, until the row is deleted;
and what was written to it is known again later.

`outcomes.py` stores this with what else came of tries, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import router
from django.utils import timezone

from xkit_crm import signals
from xkit_crm.delivery.rows import Change, Write, inserting, updating
from xkit_crm.delivery.trying import Try
from xkit_crm.models import Invocation, RecordLink
from xkit_crm.models.attempt import Outcome
from xkit_crm.models.event_definition import EventType
from xkit_crm.sync.digests import digests, fingerprints


def ended(tries: Sequence[Try]) -> list[int]:
    """The links of rows that were deleted."""
    return [
        this.link.pk
        for this in tries
        if this.link is not None
        and this.outcome == Outcome.SUCCEEDED
        and _deletes(this)
        and _is_about_a_row(this.invocation)
    ]


def links(tries: Sequence[Try]) -> tuple[Write, Write]:
    """What writes the links, those that there are and new ones."""
    known = [
        _learned(this, this.link)
        for this in tries
        if this.link is not None and this.outcome == Outcome.SUCCEEDED and _has_record(this)
    ]
    return updating(RecordLink, known), new_links(tries)


def new_links(tries: Sequence[Try]) -> Write:
    """What writes those of rows that had none."""
    new = [
        {
            **this.invocation.link_key,
            "record_id": str(this.wrote),
            # One that was only found holds what nobody knows.
            "delivered": _delivered(this) if this.sent is not None else {},
            "written": _written(this),
            "created_at": this.invocation.finished_at,
            "updated_at": this.invocation.finished_at,
        }
        for this in tries
        if _is_new(this)
    ]
    # Where somebody linked a row at this very moment, theirs holds.
    return inserting(RecordLink, new, ignore=True)


def _deletes(this: Try) -> bool:
    return this.invocation.event.type == EventType.DELETE


def _is_about_a_row(invocation: Invocation) -> bool:
    return bool(invocation.object_pk) and invocation.content_type_id is not None


def _has_record(this: Try) -> bool:
    """Whether it wrote or found a record that the row goes on to stand for."""
    return this.wrote is not None and not _deletes(this)


def _is_new(this: Try) -> bool:
    """Whether the row gets a link by it."""
    return this.link is None and _has_record(this) and _is_about_a_row(this.invocation)


def tell(tries: Sequence[Try]) -> None:
    """Tell the product of rows that stand for a record now, where it listens."""
    if not signals.record_linked.has_listeners(RecordLink):
        return
    using = router.db_for_write(RecordLink)
    for this in tries:
        if not _is_new(this):
            continue
        # Another one's, from this very moment, is told of by them.
        mine = {"record_id": str(this.wrote), "created_at": this.invocation.finished_at}
        link = RecordLink.objects.filter(**this.invocation.link_key, **mine).first()
        if link is not None:
            signals.send_on_commit(
                signals.record_linked, RecordLink, using=using, link=link, created=True
            )


def _learned(this: Try, link: RecordLink) -> Change:
    """What is known of the record, unless the row was linked to another one meanwhile."""
    return (
        {"id": link.pk, "record_id": link.record_id},
        {
            "delivered": {**link.delivered, **_delivered(this)},
            "written": {**link.written, **_written(this)},
            "updated_at": timezone.now(),
        },
    )


def _delivered(this: Try) -> dict[str, str]:
    """A digest of each payload key that has reached the CRM."""
    invocation = this.invocation
    payload = dict(invocation.payload)
    for step in invocation.folded or ():
        payload |= step["payload"]
    return digests(payload)


def _written(this: Try) -> dict[str, str]:
    """A fingerprint of each remote field that was written, as the CRM has it if that is known."""
    sent = this.sent or {}
    return fingerprints({name: this.as_written.get(name, value) for name, value in sent.items()})
