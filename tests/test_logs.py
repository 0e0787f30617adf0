"""Log lines carry ids as fields, so that whoever reads JSON finds all of one invocation."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from logging.config import DictConfigurator
from pathlib import Path
from typing import Any

import pytest

import xkit_crm
from tests.delivery.conftest import Misbehave, misbehave
from xkit_crm.delivery.worker import Worker
from xkit_crm.models import Connection, Invocation
from xkit_crm.providers.sandbox.provider import SandboxProvider

__all__ = ["misbehave"]
pytestmark = pytest.mark.django_db

SECRET = "What nobody but the CRM may read"


def formatter_of_the_guide() -> logging.Formatter:
    """As the settings make it that the guide shows."""
    guide = Path(__file__).parents[1] / "docs" / "monitoring.md"
    (shown,) = re.findall(r"```python\n(LOGGING = .*?)```", guide.read_text("utf-8"), re.DOTALL)
    settings = ast.literal_eval(shown.removeprefix("LOGGING = "))
    made = DictConfigurator(settings).configure_formatter(settings["formatters"]["json"])
    assert isinstance(made, logging.Formatter)
    return made


class Lines:
    """The package's log as JSON lines, written as docs/monitoring.md sets it up."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, self.stream.getvalue().splitlines())

    def about(self, word: str) -> list[dict[str, Any]]:
        return [line for line in self if word in line["message"]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    written, logger = Lines(), logging.getLogger("xkit_crm")
    handler = logging.StreamHandler(written.stream)
    handler.setFormatter(formatter_of_the_guide())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_every_try_is_a_line_with_its_ids(
    sandbox: Connection, misbehave: Misbehave, lines: Lines
) -> None:
    misbehave("unavailable", operation="create")
    made = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": SECRET}, wait=False)
    Worker().run_once()
    fields = {
        "invocation": str(made.uuid),
        "connection": "acme",
        "provider": "sandbox",
        "event": "deal_created",
        "request_id": "",
    }
    first, second = lines.about("is pending after try 1") + lines.about("is succeeded after try 2")
    assert first.items() >= {**fields, "tries": 1, "error_code": "crm_unavailable"}.items()
    assert second.items() >= {**fields, "tries": 2, "status": "succeeded"}.items()
    assert SECRET not in lines.stream.getvalue()


def test_a_turn_in_a_lane_is_a_line_with_its_connection(sandbox: Connection, lines: Lines) -> None:
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
    Worker().run_once()
    assert {line["connection"] for line in lines.about("dealt with")} == {"acme"}


def test_a_defect_is_a_line_with_its_ids(
    sandbox: Connection, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(SandboxProvider, "create", fall)
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": SECRET}, wait=False)
    Worker().run_once()
    line, *_ = lines.about("failed with a defect")
    assert line["invocation"] == str(Invocation.objects.get().uuid)
    assert (line["connection"], line["levelname"]) == ("acme", "ERROR")
