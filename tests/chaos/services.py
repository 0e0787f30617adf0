"""The database server and Redis: started, taken away and given back.

A run either makes a database of its own on the server that the environment names, and cuts every
connection to it, or starts a PostgreSQL server of its own, and stops that without a shutdown, as a
power cut would. Nothing else on the machine is touched.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg


class Postgres(ABC):
    """Where the run's database is: `environment` is what every process of the run is given."""

    environment: dict[str, str]

    @abstractmethod
    def interrupt(self) -> None:
        """Take the database away for a moment."""

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
def postgres(kind: str, *, keep: bool = False) -> Iterator[Postgres]:
    """The database of a run, empty; it is gone afterwards unless it is kept."""
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
