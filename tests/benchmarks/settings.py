"""The tests' settings, with a database that keeps what is committed, as in production."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, XKIT_CRM

XKIT_CRM = {**XKIT_CRM, "PROVIDERS": {"instant": "tests.benchmarks.scenarios.Instant"}}

for _database in DATABASES.values():
    _database["OPTIONS"].pop("options", None)
