"""The panel beside a binding: what it makes of one row, chosen by whoever looks.

Which row is asked of the product's own admin, where it has one for the model. Values are personal
data, and so are a row's name and what is said of a wrong value: without the permission, a row is
chosen by its key, only keys and whether they are valid are shown, and of where it goes only what
is a connection. Whether a condition holds would tell a value too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xkit_crm.admin.base import pretty
from xkit_crm.exceptions import Problem
from xkit_crm.permissions import SEE_PAYLOADS, may
from xkit_crm.sync import walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.previewing import EventPreview, RowPreview, preview

_PLACES: Final = {
    "model": gettext_lazy("Model"),
    "crm_object": gettext_lazy("CRM object"),
    "on_create": gettext_lazy("On create"),
    "on_update": gettext_lazy("On update"),
    "on_delete": gettext_lazy("On delete"),
    "connection_path": gettext_lazy("Connection id"),
}
#: Recent rows that are offered.
RECENT = 5
#: What is typed to choose a row; longer than that is no name.
MAX_ASKED = 200


@dataclass(frozen=True, slots=True)
class Panel:
    """What the panel shows."""

    binding: Binding | None
    problems: Sequence[Problem]
    #: Whether whoever looks may see values.
    sees: bool
    asked: str = ""
    #: The rows that are offered: key and name.
    offered: tuple[tuple[str, str], ...] = ()
    row_name: str = ""
    found: RowPreview | None = None

    @property
    def left(self) -> list[tuple[str, str]]:
        """What is left to do: where, and what."""
        return [(_place(problem.path), problem.error) for problem in self.problems]

    @property
    def events(self) -> list[tuple[EventPreview, str]]:
        """Each event, and its payload as it is shown."""
        return [
            (event, pretty(event.payload)) for event in (self.found.events if self.found else ())
        ]


def _place(path: str) -> str:
    """What the form calls the place of a problem."""
    if rule := re.match(r"condition\[(\d+)\]", path):
        return _("Rule %(number)d") % {"number": int(rule[1]) + 1}
    return str(_PLACES.get(path, path))


def panel(
    request: HttpRequest, binding: Binding | None, problems: Sequence[Problem], asked: str
) -> Panel:
    """The panel of a binding, where there is one, on the row that is asked for or the newest."""
    sees, asked = may(request.user, SEE_PAYLOADS), asked.strip()[:MAX_ASKED]
    if binding is None:
        return Panel(None, problems, sees, asked)
    rows: models.QuerySet[Any] = binding.model._default_manager.all()
    newest = list(rows.order_by("-pk")[:RECENT])
    row = _asked_for(request, rows, asked, sees=sees) if asked else next(iter(newest), None)
    return Panel(
        binding,
        problems,
        sees,
        asked,
        tuple((str(one.pk), _name(one, sees=sees)) for one in newest),
        _name(row, sees=sees) if row is not None else "",
        preview(binding, row) if row is not None else None,
    )


def _asked_for(
    request: HttpRequest, rows: models.QuerySet[models.Model], asked: str, *, sees: bool
) -> models.Model | None:
    """The row of this key, else the newest that the model's own admin finds by the text."""
    if (found := walking.row_with(rows, asked)) is not None:
        return found
    its_admin = admin.site._registry.get(rows.model)
    if not sees or its_admin is None or not its_admin.search_fields or "\x00" in asked:
        return None
    with suppress(TypeError, ValueError, OverflowError, ValidationError):
        found_by_it = its_admin.get_search_results(request, rows, asked)
        hits: models.QuerySet[models.Model] = found_by_it[0]
        return hits.order_by("-pk").first()
    return None


def _name(row: models.Model, *, sees: bool) -> str:
    """What the row is called, for whoever may know."""
    return walking.name_of(row) if sees else f"{row._meta.verbose_name} {row.pk}"
