"""The short forms of the proofs, on the database of `XKIT_DATABASE`: a minute of chaos, and death
at every fifth point.

`XKIT_CHAOS_SEED` names the seeds of the chaos, such as 1,2,3; each is a test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.db import connection

from tests.chaos import services
from tests.conftest import need
from xkit_crm.delivery.backends import BUILT_IN

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parent.parent.parent
DATABASE = {"postgresql": "shared", "mysql": "mariadb"}.get(connection.vendor, "sqlite")
#: Fewer where it is done once more, on another database.
CHANGES, KILLS = ("1500", "10") if DATABASE == "shared" else ("700", "5")
SEEDS = os.environ.get("XKIT_CHAOS_SEED", "1").split(",")


def proof(module: str, *options: str) -> None:
    """Run it as a person would; it ends with 0 where delivery kept its word."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--database", DATABASE, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def engine() -> str:
    """Celery and the package's own worker side by side, where there is Celery."""
    if "celery" not in BUILT_IN or find_spec("celery") is None:
        return "worker"
    need(services.redis_is_there(), "a Redis server")
    return "mixed"


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_out_of_order_whatever_is_killed(seed: str, engine: str) -> None:
    size = ("--changes", CHANGES, "--kills", KILLS)
    proof("tests.chaos", "--seed", seed, "--engine", engine, *size)


@pytest.mark.postgresql
def test_nor_where_rows_are_left_to_the_triggers_of_their_table(engine: str) -> None:
    need(find_spec("pgtrigger") is not None, "django-pgtrigger")
    options = ("--engine", engine, "--changes", "1000", "--kills", "7")
    proof("tests.chaos", "--seed", SEEDS[0], "--capture", "triggers", *options)


def test_a_worker_may_die_at_any_point() -> None:
    proof("tests.chaos.points", "--seed", SEEDS[0], "--stride", "5")


def test_a_kill_costs_one_lease_at_most() -> None:
    proof("tests.chaos.delay", "--seed", SEEDS[0], "--kills", "6")
