"""The console's first page: every screen by what it is for, with a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from xkit_crm.admin.navigation import entries

#: Heading, and the names of its pages in the admin with what each is for.
GROUPS: tuple[tuple[Any, tuple[tuple[str, Any], ...]], ...] = (
    (
        _("Watch and repair"),
        (
            ("overview", _("How it goes: throughput, delays, limits, errors.")),
            ("failures", _("What failed or is in doubt, by its cause, and what to do.")),
            ("invocation_changelist", _("What was sent, what waits, and why.")),
            ("attempt_changelist", _("Every try, with what was sent and answered.")),
            ("lane_changelist", _("Who works for which connection; pauses and limits.")),
            ("notification_changelist", _("What your own systems were told, by webhook.")),
            ("markedrow_changelist", _("What database triggers saw and nobody has read yet.")),
        ),
    ),
    (
        _("Customers"),
        (
            ("connection_changelist", _("Each customer's CRM: status, credentials, shadow mode.")),
            ("recordlink_changelist", _("Which row is which record.")),
            ("objectmapping_changelist", _("Which of their objects a CRM object is.")),
            ("eventaction_changelist", _("What an event does in their CRM.")),
            ("mappingversion_changelist", _("What they decided, when, and by whom.")),
            ("mappingdraft_changelist", _("What they have begun and not confirmed yet.")),
        ),
    ),
    (
        _("Define"),
        (
            ("crmobject_changelist", _("What you write to CRMs, and its events.")),
            ("eventdefinition_changelist", _("Each event, and the payload it carries.")),
            ("modelbinding_changelist", _("Which models feed which events.")),
            ("definitionversion_changelist", _("Who changed which of them; to go back.")),
        ),
    ),
    (_("Access"), (("apikey_changelist", _("Who may call the HTTP API.")),)),
)


@dataclass(frozen=True, slots=True)
class Page:
    label: str
    url: str
    add_url: str | None
    purpose: str


def groups(
    request: HttpRequest, models: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, list[Page]]]:
    """Headings with the pages that the user may look at; `models` as the admin's `app_list`."""
    known = {
        f"{model['object_name'].lower()}_changelist": (
            capfirst(model["name"]),
            model["admin_url"],
            model.get("add_url"),
        )
        for model in models
    }
    known |= {
        entry.name: (entry.label, entry.url, None)
        for entry in entries(request)
        if entry.name not in known
    }
    for heading, pages in GROUPS:
        shown = [Page(*known[name], str(purpose)) for name, purpose in pages if name in known]
        if shown:
            yield str(heading), shown
