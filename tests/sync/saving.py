"""What a save asks the database, and what it tells of `Twin`, however that is bound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection as database
from django.test.utils import CaptureQueriesContext

import xkit_crm
from tests.products.models import Twin
from xkit_crm import catalogue
from xkit_crm.models import Invocation


@contextmanager
def bound(**attributes: Any) -> Iterator[None]:
    """`Twin` is bound in another way in this block."""
    given = {
        "crm_object": "opportunity",
        "on_create": "deal_created",
        "on_update": "deal_updated",
        "payload": {"name": "title", "amount": "amount"},
        "get_connections": lambda self, row: [row.connection_id],
    }
    catalogue.objects()
    before = xkit_crm.ModelSync.__subclasses__()
    usual = next(cls for cls in before if cls.__name__ == "TwinSync")
    xkit_crm.unregister(Twin)
    xkit_crm.register(Twin)(type("OtherSync", (xkit_crm.ModelSync,), given | attributes))
    try:
        yield
    finally:
        xkit_crm.unregister(Twin)
        xkit_crm.register(Twin)(usual)


def statements(save: Any) -> list[str]:
    with CaptureQueriesContext(database) as queries:
        save()
    return [query["sql"] for query in queries]


def told() -> list[tuple[str, str, dict[str, Any]]]:
    """What was captured: event, row, payload."""
    rows = Invocation.objects.order_by("id").select_related("event")
    return [(one.event.slug, str(one.object_pk), one.payload) for one in rows]
