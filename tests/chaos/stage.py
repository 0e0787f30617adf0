"""What every run stands on: a database, a CRM in a process of its own, Django, a directory."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import django

from tests.chaos.options import Options
from tests.chaos.services import Database, database_for, redis_url
from tests.crm.control import CRMControl, running_crm


@dataclass(frozen=True, slots=True)
class Stage:
    """A run that can begin."""

    options: Options
    database: Database
    crm: CRMControl
    #: What every process of the run is given.
    environment: dict[str, str]


def say(text: str) -> None:
    """Print it at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def staged(options: Options) -> Iterator[Stage]:
    """Set everything up, and take it down; the logs stay where the run failed (or `keep`)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    options = replace(options, directory=Path(tempfile.mkdtemp(prefix="xkit-chaos-")))
    with (
        database_for(options.database, options.directory, keep=options.keep) as database,
        running_crm(seed=options.seed) as crm,
    ):
        environment = _environment(options, database)
        os.environ.update(environment)
        django.setup()
        from django.db import connections

        from tests.chaos import scene
        from xkit_crm.delivery.backends import BUILT_IN

        if options.engine != "worker" and "celery" not in BUILT_IN:
            sys.exit("There is no delivery by Celery here: use --engine worker.")
        scene.prepare(options, crm)
        try:
            yield Stage(options, database, crm, environment)
        except BaseException:
            say(f"logs and journals: {options.directory}")
            raise
        finally:
            connections.close_all()
    if options.keep:
        say(f"logs and journals: {options.directory}")
    else:
        shutil.rmtree(options.directory)


def _environment(options: Options, database: Database) -> dict[str, str]:
    return {
        **database.environment,
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "XKIT_CHAOS_CAPTURE": options.capture,
        "XKIT_CHAOS_LEASE": str(options.lease),
        "XKIT_CHAOS_DELIVERY": "worker" if options.engine == "worker" else "celery",
        "XKIT_CHAOS_REDIS": redis_url(),
    }
