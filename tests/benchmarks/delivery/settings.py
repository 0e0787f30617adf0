"""The settings of every process of a run: one database that keeps what is committed."""

from __future__ import annotations

import os

from example_project.settings import database
from tests.crm.provider import PROVIDERS
from tests.settings import *  # noqa: F403

DATABASES = {"default": database(os.environ.get("XKIT_DATABASE_NAME", "xkit_benchmark"))}
DATABASE_ROUTERS = []

# What a CRM says of itself is asked once for all processes.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ.get("XKIT_BENCHMARK_REDIS", "redis://127.0.0.1:6379/13"),
    }
}

# As a product would have it; the other settings keep their defaults.
XKIT_CRM = {"DELIVERY": "worker", "PROVIDERS": PROVIDERS}
