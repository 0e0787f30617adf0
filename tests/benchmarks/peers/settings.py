"""The benchmark's settings, with the peers installed."""

from __future__ import annotations

from tests.benchmarks.delivery.settings import *  # noqa: F403
from tests.benchmarks.delivery.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks.peers", "django_webhook"]
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    INSTALLED_APPS.append("procrastinate.contrib.django")  # it knows no other database

DJANGO_WEBHOOK = {
    "MODELS": ["peers.Hooked"],
    "MODEL_SERIALIZERS": {"peers.Hooked": "tests.benchmarks.peers.tasks.values_of"},
    "PAYLOAD_ENCODER_CLASS": "tests.benchmarks.peers.tasks.Envelope",
}
