"""Tables in markdown, and what is said meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_began = time.monotonic()


@dataclass(slots=True)
class Table:
    """One table of the report; a cell that is None stays empty."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    #: What has to be known to read it.
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row, and say it."""
        assert len(cells) == len(self.columns)
        self.rows.append(cells)
        told = (f"{name} {shown(cell)}" for name, cell in zip(self.columns, cells, strict=True))
        say(f"{self.title}: {', '.join(told)}")

    def __str__(self) -> str:
        lines = [f"### {self.title}", "", _line(self.columns), _line("---" for _ in self.columns)]
        lines += [_line(shown(cell) for cell in row) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes), *([""] if self.notes else [])]
        return "\n".join(lines)


def shown(cell: object) -> str:
    """A figure with as many digits as it is worth."""
    if cell is None:
        return ""
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    if abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"


def _line(cells: object) -> str:
    assert not isinstance(cells, str)
    return "| " + " | ".join(cells) + " |"  # type: ignore[arg-type]


def say(text: str) -> None:
    """Progress, to stderr."""
    print(f"[{time.monotonic() - _began:5.0f} s] {text}", file=sys.stderr, flush=True)
