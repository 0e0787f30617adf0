"""Processes of a product's own workers, on the tests' database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database

from tests.delivery.conftest import states
from tests.delivery.hanging import TOLD

ROOT = Path(__file__).parents[3]
Process = subprocess.Popen[str]
Run = Callable[..., Process]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """While this file exists, the CRM's next answer never comes."""
    return tmp_path / "hang"


@pytest.fixture
def run(told: Path) -> Iterator[Run]:
    """Start `python <arguments>` with these settings; `variables` come into its environment."""
    started: list[Process] = []
    name = str(database.settings_dict["NAME"]).removesuffix(".sqlite3")

    def start(*arguments: str, settings: str, **variables: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": f"tests.delivery.backends.{settings}",
                "XKIT_DATABASE_NAME": name,
                TOLD: str(told),
                **variables,
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, states()
        time.sleep(0.05)
