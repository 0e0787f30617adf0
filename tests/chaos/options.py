"""What a run is told: everything that is decided by chance is drawn from `seed`."""

from __future__ import annotations

import argparse
import random
import secrets
from dataclasses import dataclass
from pathlib import Path

DATABASES = ("shared", "own", "mariadb", "sqlite")


@dataclass(frozen=True, slots=True)
class Options:
    """One run. The same options make the same decisions; how processes interleave is theirs."""

    seed: int
    changes: int = 2_000
    kills: int = 15
    workers: int = 3
    threads: int = 2
    writers: int = 2
    connections: int = 5
    lease: float = 2.0
    #: Seconds between two kills, on average.
    pace: float = 2.0
    #: "worker", "celery" or "mixed".
    engine: str = "worker"
    #: "signals": by `save()` and the querysets; "triggers": by those of the table alone.
    capture: str = "signals"
    #: "shared": a database of its own on the PostgreSQL server of the environment, whose
    #: connections are cut; "mariadb": the same on MariaDB; "own": a PostgreSQL server of its own,
    #: which is restarted without a shutdown; "sqlite": a file, which is kept locked now and then.
    database: str = "shared"
    #: Seconds that the end may take: until nothing waits any more.
    deadline: float = 300.0
    keep: bool = False
    directory: Path = Path()

    @property
    def rate(self) -> float:
        """Changes per second and writer, so that they last as long as the kills."""
        return max(self.changes / max(self.kills * self.pace, 1.0) / self.writers, 1.0)

    def random(self, what: str) -> random.Random:
        """The source of chance for one of the things that are decided."""
        return random.Random(f"{self.seed}/{what}")

    def replay(self) -> str:
        """The command that makes the same decisions again."""
        return (
            f"python -m tests.chaos --seed {self.seed} --changes {self.changes} "
            f"--kills {self.kills} --workers {self.workers} --threads {self.threads} "
            f"--writers {self.writers} --connections {self.connections} --lease {self.lease:g} "
            f"--pace {self.pace:g} --engine {self.engine} --capture {self.capture} "
            f"--database {self.database}"
        )


def parse(arguments: list[str] | None = None) -> Options:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Prove that every committed change reaches the CRM, once and in order.",
    )
    usual = Options(seed=0)
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to replay it")
    parser.add_argument("--changes", type=int, default=usual.changes)
    parser.add_argument("--kills", type=int, default=usual.kills)
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--writers", type=int, default=usual.writers)
    parser.add_argument("--connections", type=int, default=usual.connections)
    parser.add_argument("--lease", type=float, default=usual.lease)
    parser.add_argument("--pace", type=float, default=usual.pace, help="seconds between kills")
    parser.add_argument("--engine", choices=["worker", "celery", "mixed"], default=usual.engine)
    parser.add_argument("--capture", choices=["signals", "triggers"], default=usual.capture)
    parser.add_argument("--database", choices=DATABASES, default=usual.database)
    parser.add_argument("--deadline", type=float, default=usual.deadline)
    parser.add_argument("--keep", action="store_true", help="keep the database and the logs")
    named = vars(parser.parse_args(arguments))
    if named["capture"] == "triggers" and named["database"] not in ("shared", "own"):
        parser.error("Only PostgreSQL has the triggers.")
    if named["seed"] is None:
        named["seed"] = secrets.randbelow(1_000_000)
    return Options(**named)
