"""Where Celery's `app.autodiscover_tasks()` looks. The tasks are in `delivery/backends/celery.py`,
and are there where Celery is."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("celery"):
    from xkit_crm.delivery.backends.celery import drain_lane, sweep

    __all__ = ["drain_lane", "sweep"]
