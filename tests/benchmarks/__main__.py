"""`python -m tests.benchmarks [--rounds N]`: measures, and prints the table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import django

RULE = "-" * 78


def measure(rounds: int) -> None:
    """Measure on the database that the environment names, in a test database of its own."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.settings"
    django.setup()
    from django.db import connection
    from django.test.utils import setup_databases, setup_test_environment, teardown_databases

    from tests.benchmarks import scenarios

    setup_test_environment(debug=False)
    created = setup_databases(verbosity=0, interactive=False)
    try:
        print(f"\n{connection.vendor} ({django.get_version()}, {rounds} rounds)\n{RULE}")
        scenarios.prepare()
        saving = (scenarios.saving, scenarios.conditional)
        for scenario in (*saving, scenarios.loading, scenarios.endpoint, scenarios.settling):
            for title, figures in scenario(rounds if scenario in saving else rounds // 5):
                print(f"{title:<46}{'us':>10}{'ratio':>9}{'queries':>10}")
                for f in figures:
                    queries = "" if f.queries is None else f.queries
                    print(f"  {f.name:<44}{f.microseconds:>10.1f}{f.ratio:>9.2f}{queries!s:>10}")
        if connection.vendor == "sqlite":
            print(f"{'without a database':<46}{'per second':>10}{'us':>9}")
            for name, rate in scenarios.pure().items():
                print(f"  {name:<44}{rate:>10,.0f}{1e6 / rate:>9.2f}")
    finally:
        teardown_databases(created, verbosity=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    if options.database:
        measure(options.rounds)
        return
    missed = []
    for database in ("sqlite", "postgresql"):
        command = [sys.executable, "-m", "tests.benchmarks", "--database", database]
        done = subprocess.run(
            [*command, "--rounds", str(options.rounds)],
            env={**os.environ, "XKIT_DATABASE": database},
            check=False,
        )
        if done.returncode:
            missed.append(database)
    if missed:
        raise SystemExit(f"Not measured, see above: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
