"""A row of the same columns for each peer."""

from __future__ import annotations

from tests.products.models import Columns


class Hooked(Columns):
    """django-webhook2 sends it."""


class Marked(Columns):
    """Ours, told of by its triggers alone. The benchmark installs them: a table without migrations
    gets none."""


class Tasked(Columns):
    """A task is queued for it, by the code that saves it."""
