"""A customer's mapping as one document: read from rows, drafted, put in force, kept as versions.

CRM Link, the admin and `connections.py` decide here; `delivery/` reads the rows. What a document
looks like is in `mapping/documents.py`.
"""

from __future__ import annotations

from xkit_crm.mappings.drafts import (
    begin_anew,
    choose_action,
    choose_object,
    draft,
    drop_draft,
    is_unfinished,
    with_proposals,
    write_draft,
)
from xkit_crm.mappings.missing import (
    State,
    drift,
    event_state,
    is_there,
    own_state,
    refusals,
    state_of,
    targets,
)
from xkit_crm.mappings.reading import Document, decision, definitions, in_force, require_valid
from xkit_crm.mappings.versions import lock, put_in_force, record, release

__all__ = [
    "Document",
    "State",
    "begin_anew",
    "choose_action",
    "choose_object",
    "decision",
    "definitions",
    "draft",
    "drift",
    "drop_draft",
    "event_state",
    "in_force",
    "is_there",
    "is_unfinished",
    "lock",
    "own_state",
    "put_in_force",
    "record",
    "refusals",
    "release",
    "require_valid",
    "state_of",
    "targets",
    "with_proposals",
    "write_draft",
]
