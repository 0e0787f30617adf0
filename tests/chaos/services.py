"""The database server and Redis: started, taken away and given back.

A run either makes a database of its own on the PostgreSQL or MariaDB server that the environment
names, and cuts every connection to it; or starts a PostgreSQL server of its own, and stops that
without a shutdown, as a power cut would; or makes a file for SQLite, and keeps it locked for longer
than anybody waits. Nothing else on the machine is touched.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

#: Seconds that a process of the run waits for SQLite's one lock for writers, and that the run
#: keeps it now and then.
BUSY = 2.0
KEPT = 3.0


class Database(ABC):
    """Where the run's database is: `environment` is what every process of the run is given."""

    environment: dict[str, str]

    @abstractmethod
    def interrupt(self) -> None:
        """Take the database away for a moment."""


class Postgres(Database):
    """One on a PostgreSQL server."""

    def connect(self, name: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of our own, in autocommit."""
        return psycopg.connect(
            host=self.environment["PGHOST"],
            port=int(self.environment["PGPORT"]),
            user=self.environment["PGUSER"],
            password=self.environment["PGPASSWORD"],
            dbname=name,
            autocommit=True,
            connect_timeout=5,
        )


class SharedServer(Postgres):
    """The server of the environment, with a database made for this run."""

    def __init__(self) -> None:
        self.name = f"xkit_chaos_{os.getpid()}"
        self.environment = {
            "PGHOST": os.environ.get("PGHOST", "127.0.0.1"),
            "PGPORT": os.environ.get("PGPORT", "5432"),
            "PGUSER": os.environ.get("PGUSER", "postgres"),
            "PGPASSWORD": os.environ.get("PGPASSWORD", ""),
            "XKIT_DATABASE": "postgresql",
            "XKIT_DATABASE_NAME": self.name,
        }

    def interrupt(self) -> None:
        """Cut every connection to the database, ours too."""
        with self.connect() as database:
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [self.name],
            )

    def drop(self) -> None:
        with self.connect() as database:
            database.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')


class OwnServer(Postgres):
    """A server on a free port, with its data in a directory that goes when the run is over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(_free_port()),
            "PGUSER": "postgres",
            "PGPASSWORD": "",
            "XKIT_DATABASE": "postgresql",
            "XKIT_DATABASE_NAME": "xkit_chaos",
        }
        if os.getuid() == 0:
            shutil.chown(directory, "postgres")
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        self._control("start")

    def interrupt(self) -> None:
        """Kill the server as a power cut does, and start it: it recovers from its log."""
        self._control("restart")

    def stop(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "stop", "-m", "immediate")

    def _control(self, what: str) -> None:
        options = (
            f"-p {self.environment['PGPORT']} -c listen_addresses=127.0.0.1 "
            f"-c unix_socket_directories={self.directory} -c max_connections=200"
        )
        log = str(self.directory / "server.log")
        mode = ("-m", "immediate") if what == "restart" else ()
        self._run("pg_ctl", what, "-w", "-l", log, "-o", options, *mode)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(binaries() / program), "-D", str(self.directory / "data"), *arguments]
        if os.getuid() == 0:  # the server refuses to run as root
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(
            command,
            check=True,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


class MariaDB(Database):
    """The MariaDB server of the environment, with a database made for this run."""

    def __init__(self) -> None:
        self.name = f"xkit_chaos_{os.getpid()}"
        self.environment = {"XKIT_DATABASE": "mariadb", "XKIT_DATABASE_NAME": self.name}
        self.run(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")

    def interrupt(self) -> None:
        """Cut every connection to the database, ours too."""
        sessions = "SELECT id FROM information_schema.processlist WHERE db = %s"
        for (session,) in self.run(sessions, [self.name]):
            with suppress(Exception):  # it may be gone by now
                self.run(f"KILL CONNECTION {session}")

    def drop(self) -> None:
        self.run(f"DROP DATABASE IF EXISTS {self.name}")

    def run(self, statement: str, parameters: Sequence[object] = ()) -> Sequence[Any]:
        """What the statement gives, on a connection of our own, in autocommit."""
        from django.db.backends.mysql.base import Database as driver  # noqa: N813

        connection = driver.connect(
            host=os.environ.get("MYSQL_HOST", "127.0.0.1"),
            port=int(os.environ.get("MYSQL_PORT", "3306")),
            user=os.environ.get("MYSQL_USER", "root"),
            password=os.environ.get("MYSQL_PASSWORD", ""),
            autocommit=True,
        )
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            found: Sequence[Any] = cursor.fetchall()
            return found


class SQLite(Database):
    """A file. Nobody can cut a process off from it, but it has one lock for all who write."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "chaos.sqlite3"
        self.environment = {
            "XKIT_DATABASE": "sqlite",
            "XKIT_DATABASE_NAME": str(self.file),
            "XKIT_CHAOS_BUSY": str(BUSY),
        }

    def interrupt(self) -> None:
        """Write for longer than anybody waits."""
        with closing(sqlite3.connect(self.file, timeout=30, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            time.sleep(KEPT)


def binaries() -> Path:
    """The directory of the newest server that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and (on_path := shutil.which("initdb")):
        return Path(on_path).parent
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def database_for(kind: str, directory: Path, *, keep: bool = False) -> Iterator[Database]:
    """The database of a run, empty; it is gone afterwards unless it is kept. What lies in the
    run's directory goes with that."""
    if kind == "sqlite":
        yield SQLite(directory)
        return
    if kind == "mariadb":
        mariadb = MariaDB()
        try:
            yield mariadb
        finally:
            if not keep:
                mariadb.drop()
        return
    if kind == "shared":
        shared = SharedServer()
        with shared.connect() as database:
            database.execute(f'CREATE DATABASE "{shared.name}"')
        try:
            yield shared
        finally:
            if not keep:
                shared.drop()
        return
    with tempfile.TemporaryDirectory(prefix="xkit-chaos-db-", ignore_cleanup_errors=True) as made:
        own = OwnServer(Path(made))
        try:
            with own.connect() as database:
                database.execute("CREATE DATABASE xkit_chaos")
            yield own
        finally:
            own.stop()


# -- Redis -----------------------------------------------------------------------------------------


def redis_url() -> str:
    """The Redis database of the run: one that nobody else uses, since it is flushed."""
    return os.environ.get("XKIT_CHAOS_REDIS", "redis://127.0.0.1:6379/9")


def redis_is_there() -> bool:
    """Whether a Redis server answers."""
    import redis

    try:
        return bool(redis.Redis.from_url(redis_url()).ping())
    except redis.RedisError:
        return False


def flush_redis() -> None:
    """Forget every message that waits in Redis."""
    import redis

    client = redis.Redis.from_url(redis_url())
    client.flushdb()
    client.close()
