"""PostgreSQL keeps the plans of statements that are run again and again, in sessions of our own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest
from django.db import DataError, InternalError, OperationalError, connections, transaction
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from tests.threads import elsewhere
from xkit_crm.delivery import cursors
from xkit_crm.models import Connection, Lane

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

STATEMENT = "SELECT 1 + %(number)s"


def ask(times: int = 1, *, number: int = 1) -> int:
    for _ in range(times):
        with cursors.cursor("default") as cursor:
            cursor.execute(STATEMENT, {"number": number})
            (answer,) = cursor.fetchone()
    return int(answer)


def plans() -> list[str]:
    """The statements that PostgreSQL has plans of here."""
    with database.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements ORDER BY prepare_time")
        return [statement for (statement,) in cursor.fetchall()]


@pytest.fixture(autouse=True)
def _new_session() -> Iterator[None]:
    database.close()
    yield
    database.close()


def test_what_is_run_often_is_planned_once() -> None:
    assert ask(20) == 2
    assert plans() == ["SELECT 1 + $1"]
    assert ask(number=41) == 42


def test_a_session_that_is_hardly_used_asks_and_keeps_nothing() -> None:
    ask(cursors.THRESHOLD)
    assert plans() == []


def test_the_products_statements_are_as_it_wants_them() -> None:
    for _ in range(20):
        list(Lane.objects.all())
        ask()
    assert plans() == ["SELECT 1 + $1"]
    assert database.connection.prepare_threshold is None


def test_who_logs_statements_reads_their_values() -> None:
    ask(20)
    with CaptureQueriesContext(database) as queries:
        ask(number=41)
    assert [query["sql"] for query in queries] == ["SELECT 1 + 41"]


def test_who_has_a_pooler_can_say_so() -> None:
    database.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
    try:
        assert ask(20) == 2
        assert plans() == []
    finally:
        database.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False


def test_times_are_read_in_the_connections_zone(connection: Connection) -> None:
    for _ in range(2 * cursors.THRESHOLD):
        with cursors.cursor("default") as cursor:
            cursor.execute("SELECT created_at FROM xkit_crm_connection WHERE id = %s", ["acme"])
            assert cursor.fetchone() == (connection.created_at,)


@pytest.mark.parametrize("within", [False, True], ids=["by itself", "in a transaction"])
def test_plans_that_somebody_discards_are_made_anew(within: bool) -> None:
    ask(20)
    with database.cursor() as cursor:
        cursor.execute("DISCARD PLANS")
        assert ask() == 2
        cursor.execute("DEALLOCATE ALL")
    if within:
        with pytest.raises(Exception, match="does not exist"), transaction.atomic():
            ask()
    assert ask(20) == 2
    assert plans() == []


@pytest.mark.parametrize("times", [1, cursors.THRESHOLD, 20])
@pytest.mark.parametrize("checked", [False, True], ids=["found lost", "looked after"])
def test_a_session_that_was_lost_is_as_ever(times: int, checked: bool) -> None:
    ask(times)
    process = database.connection.info.backend_pid
    elsewhere(lambda: _run(f"SELECT pg_terminate_backend({process}, 5000)"))
    if checked:
        database.health_check_enabled, database.health_check_done = True, False
        database.settings_dict["CONN_HEALTH_CHECKS"] = True
    try:
        with nullcontext() if checked else pytest.raises(OperationalError):
            assert ask() == 2
    finally:
        database.settings_dict["CONN_HEALTH_CHECKS"] = database.health_check_enabled = False
    database.close_if_unusable_or_obsolete()
    assert ask() == 2


def test_in_a_transaction_that_failed_django_says_so() -> None:
    ask(cursors.THRESHOLD)
    with pytest.raises(InternalError), transaction.atomic():
        with suppress(DataError):
            _run("SELECT 1 / 0")
        ask()


def test_a_column_that_changes_its_type_is_read_as_it_is(definitions: None) -> None:
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE xkit_changing AS SELECT 1 AS value")
    try:
        for _ in range(2 * cursors.THRESHOLD):
            with cursors.cursor("default") as cursor:
                cursor.execute("SELECT value FROM xkit_changing")
                assert cursor.fetchone() == (1,)
        elsewhere(lambda: _run("ALTER TABLE xkit_changing ALTER value TYPE text"))
        with cursors.cursor("default") as cursor:
            cursor.execute("SELECT value FROM xkit_changing")
            assert cursor.fetchone() == ("1",)
    finally:
        with database.cursor() as cursor:
            cursor.execute("DROP TABLE xkit_changing")


def test_a_column_that_changes_its_type_is_written_as_it_is() -> None:
    _run("CREATE TABLE xkit_changing (value varchar(100))")

    def put(value: str) -> None:
        with cursors.cursor("default") as cursor:
            cursor.execute("INSERT INTO xkit_changing VALUES (%s)", [value])

    try:
        for number in range(20):
            put(str(number))
        elsewhere(lambda: _run("ALTER TABLE xkit_changing ALTER value TYPE int USING value::int"))
        put("41")
    finally:
        _run("DROP TABLE xkit_changing")


def _run(statement: str) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute(statement)


def test_behind_a_pooler_nothing_is_prepared(pooler: int) -> None:
    database.settings_dict["PORT"], before = str(pooler), database.settings_dict["PORT"]
    try:
        assert ask(20) == 2
        assert plans() == []
    finally:
        database.close()
        database.settings_dict["PORT"] = before


@pytest.fixture
def pooler() -> Iterator[int]:
    """The port of what stands before the server, and names itself as PgBouncer does."""
    host = database.settings_dict["HOST"] or "127.0.0.1"
    target = (host, int(database.settings_dict["PORT"] or 5432))
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, target), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, target: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            behind = socket.create_connection(target)
            for source, to, rename in ((client, behind, False), (behind, client, True)):
                threading.Thread(target=_pass_on, args=(source, to, rename), daemon=True).start()


def _pass_on(source: socket.socket, to: socket.socket, rename: bool) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if rename:
                # BackendKeyData: its name, its length, the process, a secret.
                at = data.find(b"K\x00\x00\x00\x0c")
                if at >= 0:
                    data = data[: at + 5] + b"\x7f\xff\xff\xff" + data[at + 9 :]
                    rename = False
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
