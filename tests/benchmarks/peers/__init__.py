"""The same work done by others: a row is saved, a task POSTs it to the same CRM.

A Django app of its own, since django-webhook2 and procrastinate have tables and settings. Started
by `python -m tests.benchmarks.delivery`, never imported by the package's own processes.
"""

from tests.benchmarks.peers.celery_app import app as celery_app

__all__ = ["celery_app"]
