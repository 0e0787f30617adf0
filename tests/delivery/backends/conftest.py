"""Processes of a product's own workers, on the tests' database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.delivery.hanging import TOLD
from tests.processes import Process, processes

Run = Callable[..., Process]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """While this file exists, the CRM's next answer never comes."""
    return tmp_path / "hang"


@pytest.fixture
def run(told: Path) -> Iterator[Run]:
    """Start `python <arguments>` with these settings; `variables` come into its environment."""
    with processes() as start:

        def with_settings(*arguments: str, settings: str, **variables: str) -> Process:
            module = f"tests.delivery.backends.{settings}"
            return start(*arguments, settings=module, **{TOLD: str(told), **variables})

        yield with_settings
