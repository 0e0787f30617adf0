"""The log, read by a person: every page costs the same, and what is asked for is found."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import InvocationFactory
from tests.products.models import Customer
from xkit_crm.delivery import log, walking
from xkit_crm.delivery.log import TROUBLE, Asked, Count, page, search
from xkit_crm.delivery.walking import Page
from xkit_crm.models import Connection, EventDefinition, Invocation

pytestmark = pytest.mark.django_db

TOO_LARGE = {
    "code": "rejected_by_crm",
    "message": "The CRM refused the Opportunity.",
    "hint": "Correct the values.",
    "errors": [{"path": "name", "error": "Name: data value too large: Übergrößenträger"}],
}


def make(connection: Connection, count: int = 1, **named: Any) -> list[Invocation]:
    return InvocationFactory.create_batch(count, connection=connection, **named)


def fail(connection: Connection, count: int = 1, **named: Any) -> list[Invocation]:
    named = {"status": "failed", "error_code": "rejected_by_crm", "error_detail": TOO_LARGE} | named
    return make(connection, count, **named)


def ids(found: Page | list[Invocation]) -> list[int]:
    return [row.pk for row in (found.rows if isinstance(found, Page) else found)]


# -- pages ----------------------------------------------------------------------------------------


def test_pages_lead_from_the_newest_to_the_oldest_and_back(connection: Connection) -> None:
    every = ids(make(connection, 120))[::-1]
    first = page(Asked())
    assert first.newer is None
    second = page(Asked(), before=first.older)
    third = page(Asked(), before=second.older)
    assert ids(first) + ids(second) + ids(third) == every
    assert third.older is None
    assert ids(page(Asked(), after=third.newer)) == ids(second)
    assert page(Asked(), after=second.newer) == first


def test_what_was_made_meanwhile_moves_nothing_on_older_pages(connection: Connection) -> None:
    make(connection, 60)
    first = page(Asked())
    older = ids(page(Asked(), before=first.older))
    make(connection, 7)
    assert ids(page(Asked(), before=first.older)) == older
    assert len(page(Asked(), after=first.rows[0].pk).rows) == walking.SIZE  # a full first page


def test_nothing_is_counted_and_every_page_costs_the_same(connection: Connection) -> None:
    fail(connection, 5)
    asked = Asked(statuses=TROUBLE, connection_id="acme", source="python")

    def queries() -> list[str]:
        with CaptureQueriesContext(database) as captured:
            page(asked)
        return [query["sql"] for query in captured]

    few = queries()
    fail(connection, 60)
    assert len(queries()) == len(few) <= 6
    assert "COUNT(" not in "".join(few).upper()


def test_what_an_index_has_is_found_however_far_away_it_is(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "REACH", 10)
    (old,) = fail(connection)
    make(connection, 30, status="succeeded")
    assert ids(page(Asked(statuses=("failed",)))) == [old.pk]
    assert ids(page(Asked(error_code="rejected_by_crm"))) == [old.pk]
    assert len(page(Asked(connection_id="acme")).rows) == 31


def test_what_no_index_has_is_looked_for_so_far_and_further_on_demand(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "REACH", 10)
    (wanted,) = make(connection, source="api")
    others = make(connection, 15, status="succeeded")
    asked = Asked(source="api")
    first = page(asked)
    assert (first.rows, first.ended_early) == ([], True)
    assert first.older == others[5].pk  # ten were looked at
    second = page(asked, before=first.older)
    assert (ids(second), second.ended_early) == ([wanted.pk], False)
    up = page(asked, after=wanted.pk)
    assert (up.rows, up.ended_early, up.newer) == ([], True, others[9].pk)


def test_several_states_are_one_list(connection: Connection) -> None:
    rows = [
        *fail(connection, 30),
        *make(connection, 30, status="unknown"),
        *make(connection, 5),
        *fail(connection, 30),
    ]
    wanted = [row.pk for row in reversed(rows) if row.status != "pending"]
    first = page(Asked(statuses=TROUBLE))
    second = page(Asked(statuses=TROUBLE), before=first.older)
    assert ids(first) + ids(second) == wanted
    assert ids(page(Asked(statuses=TROUBLE), after=second.newer)) == ids(first)


def test_several_states_end_where_the_first_of_them_ends(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SCATTERED_REACH", 10)
    (hidden,) = make(connection, status="unknown", source="api")
    failed = fail(connection, 20)
    asked = Asked(statuses=TROUBLE, source="api")
    first = page(asked)
    # The unknown one is known, but of the failed ones older than these nothing is.
    assert (first.rows, first.older, first.ended_early) == ([], failed[10].pk, True)
    assert ids(page(asked, before=first.older)) == [hidden.pk]


@pytest.mark.parametrize(
    ("asked", "slugs"),
    [
        (Asked(source="api"), ["api"]),
        (Asked(error_code="rejected_by_crm"), ["failed"]),
        (Asked(statuses=("skipped",)), ["skipped"]),
        (Asked(connection_id="other"), ["other"]),
        (Asked(connection_id="other", statuses=("failed",)), []),
    ],
)
def test_filters_leave_what_was_asked_for(
    connection: Connection, asked: Asked, slugs: list[str]
) -> None:
    other = Connection.objects.create(id="other", provider="sandbox")
    make(connection, source="api", request_id="api")
    fail(connection, request_id="failed")
    make(connection, status="skipped", request_id="skipped")
    make(other, request_id="other")
    assert [row.request_id for row in page(asked).rows] == slugs


def test_of_one_event_and_of_one_row(connection: Connection) -> None:
    content_type = ContentType.objects.get_for_model(Customer)
    (of_row,) = make(connection, content_type=content_type, object_pk="7")
    (update,) = make(connection, slug="deal_updated")
    event = EventDefinition.objects.get(slug="deal_updated")
    assert ids(page(Asked(event_ids=(event.pk,)))) == [update.pk]
    assert page(Asked(event_ids=())).rows == []
    assert ids(page(Asked(row=(content_type.pk, "7")))) == [of_row.pk]


# -- time -----------------------------------------------------------------------------------------


def test_a_range_of_time_is_found_by_ids(connection: Connection) -> None:
    now = timezone.now()
    rows = [
        make(connection, created_at=now - timedelta(hours=hours))[0] for hours in range(48, 0, -1)
    ]

    def between(since: int | None, until: int | None) -> list[int]:
        return ids(
            page(
                Asked(
                    since=None if since is None else now - timedelta(hours=since, minutes=1),
                    until=None if until is None else now - timedelta(hours=until, minutes=1),
                )
            )
        )

    assert between(3, None) == ids(rows[-3:][::-1])
    assert between(None, 47) == [rows[0].pk]
    assert between(40, 38) == ids(rows[8:10][::-1])
    assert between(0, None) == []
    assert between(100, 90) == []
    assert len(between(100, None)) == 48


def test_what_two_servers_made_out_of_step_is_found_all_the_same(connection: Connection) -> None:
    now = timezone.now()
    make(connection, 10, created_at=now - timedelta(hours=2))
    (late,) = make(connection, created_at=now - timedelta(seconds=20))
    (early,) = make(connection, created_at=now - timedelta(seconds=50))
    make(connection, created_at=now)
    found = page(Asked(since=now - timedelta(seconds=55), until=now - timedelta(seconds=10)))
    assert ids(found) == [early.pk, late.pk]


def test_a_time_in_an_empty_log_is_no_trouble(connection: Connection) -> None:
    now = timezone.now()
    assert page(Asked(since=now, until=now)).rows == []


# -- text -----------------------------------------------------------------------------------------


@pytest.fixture
def found(connection: Connection) -> list[Invocation]:
    """One that can be found by each of its ids, among others."""
    content_type = ContentType.objects.get_for_model(Customer)
    return [
        *make(
            connection,
            record_id="Opportunity:09876",
            request_id="req-4711",
            content_type=content_type,
            object_pk="5150",
        ),
        *make(connection, record_id="Opportunity:1", request_id="req-1"),
        *make(connection, content_type=content_type, object_pk="51"),
    ]


@pytest.mark.parametrize(
    "text", ["Opportunity:09876", "Opportunity:098", " req-4711 ", "5150", "the uuid itself"]
)
def test_an_invocation_is_found_by_any_of_its_names(found: list[Invocation], text: str) -> None:
    text = str(found[0].uuid) if text == "the uuid itself" else text
    assert ids(page(search(Asked(), text))) == [found[0].pk]


def test_a_name_and_filters_hold_together(found: list[Invocation]) -> None:
    named = search(Asked(), "5150")
    assert named == Asked(ids=(found[0].pk,))
    assert page(search(Asked(connection_id="other"), "5150")).rows == []
    assert ids(page(search(Asked(connection_id="acme"), "5150"))) == [found[0].pk]


def test_what_is_no_name_is_looked_for_in_the_words_of_errors(connection: Connection) -> None:
    (wanted,) = fail(connection)
    fail(connection, error_detail={"code": "crm_error", "message": "It answered nonsense."})
    make(connection, error_code="rate_limited", error_detail=TOO_LARGE)  # it waits
    for text in ("too large", "VALUE larg", "Übergrößen", "rejected_by_crm"):
        assert ids(page(search(Asked(), text))) == [wanted.pk], text
    assert page(search(Asked(), "too small")).rows == []
    assert len(page(search(Asked(statuses=("pending",)), "too large")).rows) == 1


def test_text_without_a_word_finds_nothing(connection: Connection) -> None:
    make(connection)
    assert page(search(Asked(), "'%; --")).rows == []
    assert len(page(search(Asked(), "  ")).rows) == 1


@pytest.mark.parametrize("text", ["o'brien & co", "a:*zzz", "50%_", "\\", "(((", "x" * 500])
def test_no_text_breaks_the_search(connection: Connection, text: str) -> None:
    fail(connection)
    assert page(search(Asked(), text)).rows == []


def test_one_text_names_a_thousand_at_most(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "NAMED", 5)
    make(connection, 8, record_id="Opportunity:1")
    assert len(search(Asked(), "Opportunity:1").ids or ()) == 5


# -- for repair -----------------------------------------------------------------------------------


def test_batches_give_each_once_whatever_is_done_to_them(connection: Connection) -> None:
    failed = ids(fail(connection, 25))
    upto = log.newest()
    fail(connection, 3)
    seen, lengths = [], []
    for batch, _reached in log.batches(Asked(statuses=("failed",)), after=0, upto=upto, size=10):
        Invocation.objects.filter(pk__in=batch).update(status="pending")
        seen += batch
        lengths.append(len(batch))
    assert seen == failed
    assert lengths == [10, 10, 5]


def test_batches_go_on_where_others_ended(connection: Connection) -> None:
    failed = ids(fail(connection, 25))
    asked, upto = Asked(statuses=("failed",)), failed[-1]
    first, reached = next(log.batches(asked, after=0, upto=upto, size=10))
    assert reached == first[-1]
    rest = [pk for some, _ in log.batches(asked, after=reached, upto=upto, size=10) for pk in some]
    assert first + rest == failed


def test_it_is_counted_as_far_as_that_is_cheap(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fail(connection, 12)
    make(connection, 3, status="unknown")
    assert log.count(Asked(statuses=TROUBLE)) == Count(15)
    assert log.count(Asked(statuses=TROUBLE), upto=failed[4].pk) == Count(5)
    monkeypatch.setattr(log, "COUNTED", 10)
    assert log.count(Asked(statuses=("failed",))) == Count(10, is_all=False)
    monkeypatch.setattr(log, "SCATTERED_REACH", 4)
    assert log.count(Asked(statuses=("failed",), source="python")) == Count(4, is_all=False)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (Asked(statuses=("failed",)), "xkit_invocation_status_idx"),
        (Asked(statuses=("pending",)), "xkit_invocation_status_idx"),
        (Asked(error_code="rejected_by_crm"), "xkit_invocation_error_idx"),
        (Asked(connection_id="acme"), "xkit_invocation_log_idx"),
        (Asked(row=(1, "7")), "xkit_invocation_row_idx"),
        (Asked(), "xkit_crm_invocation_pkey"),
    ],
)
def test_an_index_has_the_rows_in_their_order(
    connection: Connection, asked: Asked, index: str
) -> None:
    with database.cursor() as cursor:
        # Whether it can, in a table so small that it had no need to.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        with CaptureQueriesContext(database) as captured:
            page(asked)
        cursor.execute(f"EXPLAIN {captured[-1]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan
    assert "Sort" not in plan


@pytest.mark.postgresql
@pytest.mark.parametrize("text", ["Opportunity:098", "req-1"])
def test_an_index_has_the_ids_that_are_typed(connection: Connection, text: str) -> None:
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        with CaptureQueriesContext(database) as captured:
            search(Asked(), text)
        for query in captured.captured_queries:
            if "xkit_crm_invocation" in query["sql"]:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plan = "\n".join(row[0] for row in cursor.fetchall())
                assert "Seq Scan" not in plan
                assert "Filter" not in plan.replace("Filter: ((record_id)::text ~~", "")
