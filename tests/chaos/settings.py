"""The settings of every process of a chaos run: one database that keeps what is committed."""

from __future__ import annotations

import os
from datetime import timedelta

from example_project.settings import database
from tests.crm.provider import PROVIDERS
from tests.settings import *  # noqa: F403

DATABASES = {"default": database(os.environ.get("XKIT_DATABASE_NAME", "xkit_chaos"))}
DATABASE_ROUTERS = []
if busy := os.environ.get("XKIT_CHAOS_BUSY"):
    DATABASES["default"]["OPTIONS"]["timeout"] = float(busy)

if os.environ.get("XKIT_CHAOS_CAPTURE") == "triggers":
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos"]  # noqa: F405

XKIT_CRM = {
    "DELIVERY": os.environ.get("XKIT_CHAOS_DELIVERY", "worker"),
    "PROVIDERS": PROVIDERS,
    "LANE_LEASE": timedelta(seconds=float(os.environ.get("XKIT_CHAOS_LEASE", "2"))),
    # Soon again and for ever: whatever goes wrong here passes.
    "MAX_ATTEMPTS": 30_000,
    "RETRY_BASE": 0.02,
    "RETRY_MAX": timedelta(seconds=0.5),
    "REFRESH_INTERVAL": 1.0,
}
