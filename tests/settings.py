"""The example project's settings, with the models that the tests bind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES, INSTALLED_APPS, database

NAME = os.environ.get("XKIT_DATABASE_NAME", "example")
INSTALLED_APPS = [*INSTALLED_APPS, "tests.products"]
DATABASES = {**DATABASES, "other": database(f"{NAME}_other")}
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    for _database in DATABASES.values():
        # A test's database need not outlive a power cut.
        _database["OPTIONS"] = {"options": "-c synchronous_commit=off"}
elif DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Files, since threads and processes lock a database in memory otherwise than a real one.
    for _name, _database in DATABASES.items():
        _file = Path(tempfile.gettempdir()) / f"xkit_crm_{os.getpid()}_{_name}.sqlite3"
        _database["TEST"] = {"NAME": str(_file)}
DATABASE_ROUTERS = ["tests.products.routers.Router"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEBUG = False

# What is captured waits until a test delivers it.
XKIT_CRM = {
    "DELIVERY": "worker",
    "RETRY_BASE": 0.0,
    "REFRESH_INTERVAL": None,
    "LINK_CRMS": ["sandbox"],
}
