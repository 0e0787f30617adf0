"""What the writers meant to do, and what they know became of it.

A line is written before a transaction begins and one after COMMIT has returned, each with one
`write` to a file, so that it is there when the writer is killed the moment after. Where the second
line is missing, only the database knows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: In the name of what was rolled back on purpose: nothing of it may ever be sent.
ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True)
class Change:
    """One save or delete. `name` is unique, but that of a delete, which writes none."""

    row: str
    kind: str
    version: int
    name: str = ""
    #: "commit", or "rollback" where the writer takes it back on purpose.
    fate: str = "commit"


@dataclass(slots=True)
class Journal:
    """Everything that all writers wrote, read at the end."""

    committed: list[Change] = field(default_factory=list)
    perhaps: list[Change] = field(default_factory=list)
    rolled_back: list[Change] = field(default_factory=list)

    @property
    def meant(self) -> Iterator[Change]:
        """What was to be committed, whether or not it is known that it was."""
        yield from self.committed
        yield from self.perhaps


class Writing:
    """A writer's own file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._number = 0
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"

    def begin(self, changes: Iterable[Change]) -> str:
        """Write down what a transaction is going to do; gives its name."""
        self._number += 1
        transaction = f"{self._name}/{self._number}"
        self._line({"begin": transaction, "changes": [asdict(change) for change in changes]})
        return transaction

    def committed(self, transaction: str) -> None:
        """COMMIT has returned."""
        self._line({"committed": transaction})

    def _line(self, data: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(data).encode() + b"\n")


def read(paths: Iterable[Path]) -> Journal:
    """What the files say together."""
    found = Journal()
    for path in paths:
        begun: dict[str, list[Change]] = {}
        for line in _lines(path):
            if "begin" in line:
                begun[line["begin"]] = [Change(**change) for change in line["changes"]]
                continue
            for change in begun.pop(line["committed"]):
                (found.committed if change.fate == "commit" else found.rolled_back).append(change)
        for change in (c for changes in begun.values() for c in changes):
            (found.perhaps if change.fate == "commit" else found.rolled_back).append(change)
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        if line:
            yield json.loads(line)
