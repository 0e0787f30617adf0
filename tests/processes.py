"""Processes of the tests' own, on the tests' database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.db import connection as database

from xkit_crm.models import Invocation

ROOT = Path(__file__).parent.parent
Process = subprocess.Popen[str]
#: `start(*arguments, settings=..., **variables)`
Start = Callable[..., Process]


@contextmanager
def processes() -> Iterator[Start]:
    """Start `python <arguments>` with the settings of that module; `variables` come into its
    environment. All of them are killed at the end."""
    started: list[Process] = []
    name = str(database.settings_dict["NAME"])

    def start(*arguments: str, settings: str, **variables: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": settings,
                "XKIT_DATABASE_NAME": name,
                **variables,
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        # And those that it has started itself, of which one may hang.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, list(Invocation.objects.values_list("id", "status"))
        time.sleep(0.05)


def run(*command: str | Path, cwd: Path, stdin: str | None = None) -> str:
    """The output of a command that is run without settings; fails with all of it where the command
    fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
