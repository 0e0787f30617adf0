"""`python -m tests.benchmarks.delivery [--quick] [part ...]`: measures, and prints the tables."""

from __future__ import annotations

import argparse
import os
import platform
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.delivery import claiming, console, draining, peering
from tests.benchmarks.delivery.draining import FULL, QUICK, Size
from tests.benchmarks.delivery.scene import Scene, scene
from tests.benchmarks.delivery.table import Table, say

#: What the report stands between in a document.
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def _steady(here: Scene, size: Size) -> Table:
    table = draining.steady(here, size)
    peering.steady(here, size, table)
    return table


PARTS: dict[str, Callable[[Scene, Size], Table]] = {
    "saving": peering.saving,
    "drain": draining.drain,
    "peers": peering.peers,
    "claim": claiming.claim,
    "memory": draining.memory,
    "steady": _steady,
    "backfill": draining.backfill,
    "console": console.console,
    "indexes": console.indexes,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.delivery")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; all")
    parser.add_argument("--quick", action="store_true", help="small numbers, under a minute")
    parser.add_argument("--into", type=Path, metavar="FILE", help=f"write it there, from {BEGIN!r}")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    size = QUICK if options.quick else FULL
    broken, told = 0, []
    with scene() as here:
        told.append(f"{_where(options.quick)}\n")
        print(told[0])
        for name in options.parts or PARTS:
            say(name)
            try:
                told.append(str(PARTS[name](here, size)))
            except Exception:  # noqa: BLE001 - the other parts are of use all the same
                broken += 1
                traceback.print_exc()
                told.append(f"### {name}\n\nNot measured: it failed.\n")
            print(told[-1], flush=True)
    if options.into:
        _write(options.into, "\n".join(told))
    if broken:
        raise SystemExit(f"{broken} part(s) failed, see above.")


def _write(file: Path, report: str) -> None:
    """Put the report between the two marks, in place of what stands there."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file} has no {BEGIN} and {END} to write between.")
    file.write_text(f"{before}{begin}\n\n{report.strip()}\n\n{end}{after}")


def _where(quick: bool) -> str:
    """When and on what it was measured."""
    import django
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        server = cursor.fetchone()[0].split()[0]
    load = os.getloadavg()[0]
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores (load {load:.1f} before "
        f"it began), Python {platform.python_version()}, Django {django.get_version()}, "
        f"PostgreSQL {server}.{' Small numbers (`--quick`).' if quick else ''}"
    )


if __name__ == "__main__":
    main()
