"""Killed at every point: `python -m tests.chaos.points [--seed N] [--stride N]`.

A worker has a moment's work before it, and is killed with SIGKILL before its first statement or
call, the next one after it, then before the second, and so on until one lives to its end. Every
statement, COMMIT and call to the CRM is such a point, so there is none at which something is lost
or doubled, and none that costs more than the lease. Half of those that take over are killed as
well, somewhere on their way.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.options import DATABASES, Options
from tests.chaos.report import table
from tests.chaos.stage import Stage, say, staged

#: Points are looked at up to this one, should a worker never come to its end.
FAR = 2_000
LEASE = 0.3
_TABLE = re.compile(r'(?:FROM|INTO|UPDATE) ["`](\w+)')
#: Seconds to do the work in, on a busy machine, once the lease has run out.
ALLOWED = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.points")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--stride", type=int, default=1, help="die at every Nth point only")
    parser.add_argument("--database", choices=DATABASES, default=DATABASES[0])
    named = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if named.seed is None else named.seed
    replay = (
        f"python -m tests.chaos.points --seed {seed} --stride {named.stride} "
        f"--database {named.database}"
    )
    say(f"seed {seed}; to replay it:\n  {replay}")
    with staged(Options(seed=seed, connections=1, lease=LEASE, database=named.database)) as stage:
        seen, found = explore(stage, named.stride)
        counted = Counter(point.split(" /")[0] for point in seen)
        say(table(dict(sorted(counted.items()))))
        if found:
            say("\n".join(["", "violations:", *(f"  - {each}" for each in found[:40])]))
            sys.exit(1)
    say(f"\nKilled {len(seen)} times: nothing lost, doubled, out of order or made up.")


def explore(stage: Stage, stride: int) -> tuple[list[str], list[str]]:
    """Die at point after point; gives the points' names, and the violations of the first that
    has any."""
    chance = stage.options.random("points")
    seen: list[str] = []
    work = Work(stage)
    _live()
    for number in range(1 + stage.options.seed % stride, FAR, stride):
        work.prepare(number)
        died_at = _die(stage, number)
        if died_at is None:
            return seen, []
        seen.append(died_at)
        begun, allowed = time.monotonic(), LEASE + ALLOWED
        if chance.random() < 0.5:
            time.sleep(LEASE)
            again = _die(stage, chance.randint(1, 2 * number + 20))
            allowed += LEASE + ALLOWED
            died_at += f", and again {again}" if again else ""
        _live()
        wrong = verdict_on(stage, work)
        if (took := time.monotonic() - begun) > allowed:
            wrong.append(f"it took {took:.1f} s until all was done")
        if wrong:
            return seen, [f"killed {died_at} ({number}): {each}" for each in wrong]
    return seen, [f"no end after {FAR} points"]


def verdict_on(stage: Stage, work: Work) -> list[str]:
    """What is wrong now."""
    from tests.chaos import journal, verdict

    written = journal.read([work.path, stage.options.directory / "journal-0.jsonl"])
    return verdict.violations(verdict.Evidence(written, stage.crm.records(), stage.crm.journal()))


class Work:
    """What waits for a worker at each point: some of everything, of rows old and new."""

    def __init__(self, stage: Stage) -> None:
        from tests.chaos.journal import Writing
        from tests.products.models import Customer

        self.path = stage.options.directory / "journal-points.jsonl"
        self.writing = Writing(self.path)
        self.customer = Customer.objects.get()
        self.rows: list[Any] = []
        for number in range(3):
            self._save(self._new(f"old-{number}"))

    def prepare(self, number: int) -> None:
        """Two creates, one of them changed before it is sent; two updates of old rows, one of them
        doubled; a delete, and a row that comes and goes."""
        changed, old = self._new(f"changed-{number}"), self.rows[:2]
        self._save(self._new(f"new-{number}"))
        self._save(changed)
        self._save(changed)
        for row in (*old, old[0]):
            self._save(row)
        self._delete(self.rows.pop(2))
        passing = self._new(f"passing-{number}")
        self._save(passing)
        self._delete(self.rows.pop())

    def _new(self, word: str) -> Any:
        from tests.products.models import Deal

        return Deal(customer=self.customer, title=word, views=0, amount=1)

    def _save(self, row: Any) -> None:
        from tests.chaos.journal import Change

        kind = "create" if row._state.adding else "update"
        row.views += 1
        word = row.title.split(" ", 1)[0]
        row.title = f"{word} v{row.views}"
        name = self.writing.begin([Change(word, kind, row.views, row.title)])
        row.save()
        self.writing.committed(name)
        if kind == "create":
            self.rows.append(row)

    def _delete(self, row: Any) -> None:
        from tests.chaos.journal import Change

        name = self.writing.begin([Change(row.title.split(" ", 1)[0], "delete", row.views)])
        row.delete()
        self.writing.committed(name)


# -- processes -------------------------------------------------------------------------------------


def _live() -> None:
    """A worker that nobody kills, until nothing waits any more."""
    from xkit_crm.delivery.worker import Worker
    from xkit_crm.models import Invocation, Lane

    def until_done() -> None:
        deadline = time.monotonic() + 20
        while (
            Invocation.objects.filter(status__in=("pending", "running")).exists()
            or Lane.objects.exclude(holder="").exists()
        ):
            Worker().run_once()
            time.sleep(0.01)
            if time.monotonic() > deadline:
                return  # the verdict says what is left

    _child(until_done)


def _die(stage: Stage, number: int) -> str | None:
    """A worker that is killed at this point; gives the point's name, None where it lived on."""
    path = stage.options.directory / "point"
    path.unlink(missing_ok=True)
    from xkit_crm.delivery.worker import Worker

    def work() -> None:
        bomb = Bomb(number, path)
        bomb.plant()
        Worker().run_once()

    status = _child(work)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return path.read_text()
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"the worker ended with {os.waitstatus_to_exitcode(status)}")
    return None


def _child(work: Callable[[], None]) -> int:
    """Do it in a process of its own, which needs no time to start; gives its wait status."""
    from django.db import connections

    connections.close_all()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - it must not go on as its parent
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@dataclass(slots=True)
class Bomb:
    """Counts the points that this process comes by, and kills it at one of them."""

    number: int
    path: Any
    passed: int = 0

    def plant(self) -> None:
        """Count statements, commits and calls, before and after each."""
        from django.db.backends.base.base import BaseDatabaseWrapper
        from django.db.backends.signals import connection_created

        from tests.crm.provider import LoopbackProvider

        def planted(connection: Any, **_: object) -> None:
            connection.execute_wrappers.append(self._statement)

        connection_created.connect(planted, weak=False)
        self._wrap(BaseDatabaseWrapper, "_commit", lambda *_, **__: "COMMIT")
        self._wrap(
            LoopbackProvider, "_call", lambda _, method, path, *__, **___: f"{method} {path}"
        )

    def _statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        what = _said(str(sql))
        self._pass(f"before {what}")
        result = execute(sql, params, many, context)
        self._pass(f"after {what}")
        return result

    def _wrap(self, owner: Any, name: str, named: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            what = named(*args, **kwargs)
            self._pass(f"before {what}")
            result = original(*args, **kwargs)
            self._pass(f"after {what}")
            return result

        setattr(owner, name, wrapped)

    def _pass(self, what: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the heart-beat comes when it comes
        self.passed += 1
        if self.passed == self.number:
            self.path.write_text(what)
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


def _said(sql: str) -> str:
    """A statement's verb and its table."""
    table = _TABLE.search(sql)
    return f"{sql.split()[0]} {table[1] if table else ''}".strip()


if __name__ == "__main__":
    main()
