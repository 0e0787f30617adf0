"""Tables with triggers that mark what is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from django.db import connection as database
from django.db import models

from xkit_crm.sync import triggers


@contextmanager
def installed(
    *tables: type[models.Model], fields: Sequence[str] = (), patch: pytest.MonkeyPatch
) -> Iterator[None]:
    """These tables have the triggers in the block, as a product's migration gives them."""
    patch.setattr(triggers, "_in_use", False)
    before = list(database.execute_wrappers)
    with ExitStack() as stack:
        for trigger in triggers.capture_triggers(*fields):
            for table in tables:
                stack.enter_context(trigger.install(table))
        yield
    database.execute_wrappers[:] = before
