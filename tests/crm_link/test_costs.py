"""What a page costs, and a CRM that is down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.crm_link.conftest import Visitor, text
from tests.crm_link.deciding import EVENT, NAME, STAGE, everything_decided, rows
from xkit_crm.models import (
    Connection,
)
from xkit_crm.providers import descriptions
from xkit_crm.providers.sandbox.models import Field, Misbehaviour, Object, Org
from xkit_crm.providers.sandbox.standard import add_field

pytestmark = pytest.mark.django_db

#: Some bound models of the tests live in another database.
BOTH = pytest.mark.django_db(databases=["default", "other"])


def own_queries(visit: Callable[[], Any]) -> int:
    """Queries, without those of the sandbox: another CRM would be asked over the network."""
    with CaptureQueriesContext(database) as queries:
        visit()
    kinds = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return sum(
        "xkit_sandbox" not in query["sql"] and not query["sql"].startswith(kinds)
        for query in queries
    )


@BOTH
def test_no_page_costs_more_than_twelve_queries(inside: Visitor) -> None:
    inside.part("steps")
    for path in (
        "",
        "steps",
        "objects/opportunity/",
        "objects/opportunity/choose/",
        EVENT,
        f"{EVENT}pick",
        f"{EVENT}preview/",
        "review/",
        "versions/",
        "mapping.json",
    ):
        assert own_queries(lambda path=path: inside.part(path)) <= 12, path
    assert own_queries(lambda: inside.post(EVENT, rows(NAME, STAGE))) <= 12


def test_what_was_never_decided_needs_no_mending(inside: Visitor) -> None:
    everything_decided(inside)
    add_field(Org.objects.get(), "Opportunity", "Due", label="Due", type="date", required=True)
    add_field(Org.objects.get(), "Opportunity", "Seen", label="Seen", type="date", required=True)
    descriptions.forget(Connection.objects.get())
    found = text(inside.part("steps"))
    assert "to decide" in found
    assert "needs mending" not in found
    assert "2 things are left to decide." in found
    Field.objects.get(object__name="Opportunity", name="Name").delete()
    descriptions.forget(Connection.objects.get())
    assert "needs mending" in text(inside.part("steps"))


def test_an_object_that_the_crm_dropped_is_said_to_be_gone(inside: Visitor) -> None:
    inside.part("steps")
    Object.objects.get(name="Opportunity").delete()
    steps = text(inside.part("steps"))
    assert "needs mending" in steps
    assert "objects/opportunity/choose/" in steps
    assert "objects/contact/events/contact_deleted/" in steps


def test_a_crm_that_is_down_is_said_to_be_and_can_be_tried_again(inside: Visitor) -> None:
    Misbehaviour.objects.create(
        org=Org.objects.get(), kind=Misbehaviour.Kind.UNAVAILABLE, remaining=None
    )
    answer = text(inside.get(EVENT))
    assert "gives no answer" in answer
    assert "Try again" in answer
    assert 'class="back"' in answer
    Misbehaviour.objects.all().delete()
    assert "Deal Created" in text(inside.get(EVENT))
