"""Other threads of the tests' own, each with database connections of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import DatabaseError, connections


def begun(step: Callable[[], object]) -> threading.Thread:
    """A thread that does it, started."""

    def work() -> None:
        try:
            step()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def elsewhere(step: Callable[[], Any]) -> Any:
    """What it gives in another thread, waited for."""
    given: list[Any] = []
    begun(lambda: given.append(step())).join(20)
    assert given, "it waited, or failed"
    return given[0]


def together(*steps: Callable[[], object]) -> list[Any]:
    """What each gives that they do at the same moment, or the database's error."""
    answers: list[Any] = []
    ready = threading.Barrier(len(steps))

    def run(step: Callable[[], object]) -> None:
        ready.wait(20)
        try:
            answers.append(step())
        except DatabaseError as error:
            answers.append(error)

    threads = [begun(partial(run, step)) for step in steps]
    for thread in threads:
        thread.join()
    return answers
