"""Leave it to `manage.py xkit_worker`, which finds the work in the database by itself."""

from __future__ import annotations

from collections.abc import Sequence


def poke(connection_ids: Sequence[str]) -> None:
    """The worker polls, so there is nobody to tell."""
