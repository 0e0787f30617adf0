"""What a run has shown, as a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: The last line of a traceback.
_RAISED = re.compile(r"^([a-zA-Z_][\w.]*(?:Error|Exception|Closed|Exit|Timeout|Found))\b.*$")


def quantile(figures: Sequence[float], share: float) -> float:
    """The figure below which this share of them lies."""
    ordered = sorted(figures)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def table(rows: Mapping[str, object]) -> str:
    """Names and figures, one pair a line."""
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {_shown(value)}" for name, value in rows.items())


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count:,}" for name, count in sorted(value.items())) or "none"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def raised(logs: Sequence[Path]) -> Counter[str]:
    """Which exceptions the processes logged, by name."""
    return Counter(name for log in logs for name in _raised(log))


def _raised(log: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines():
        if found := _RAISED.match(line):
            yield found[1].rpartition(".")[2]


def batches(calls: Mapping[str, Any]) -> str:
    """How many items a writing call had."""
    kinds = ("create", "update", "delete")
    made = sum(calls["operations"].get(kind, 0) for kind in kinds)
    items = sum(calls["items"].get(kind, 0) for kind in kinds)
    return f"{items:,} items in {made:,} calls" if made else "none"
