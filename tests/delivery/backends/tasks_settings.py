"""The settings of a product whose tasks wait in the database for `manage.py db_worker`."""

from __future__ import annotations

from tests.delivery.worker_settings import *  # noqa: F403
from tests.delivery.worker_settings import INSTALLED_APPS, XKIT_CRM

INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
TASKS = {
    "default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["mail"]},
    "crm": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["sync"]},
}
XKIT_CRM = {**XKIT_CRM, "DELIVERY": "tasks", "TASKS_BACKEND": "crm", "TASKS_QUEUE": "sync"}
