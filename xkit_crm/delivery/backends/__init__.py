"""How a lane that has work gets worked on.

The database holds the truth; a backend only carries the word "this lane has work". A lost or
doubled word does no harm, since whoever works in a lane looks in the database. What invocations
are, and how they are carried out, is no concern of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError

Poke = Callable[[Sequence[str]], None]

#: Short names of the backends that come with the package; each module has a `poke`.
BUILT_IN = {
    "immediate": "xkit_crm.delivery.backends.immediate.poke",
    "worker": "xkit_crm.delivery.backends.worker.poke",
    "celery": "xkit_crm.delivery.backends.celery.poke",
    "tasks": "xkit_crm.delivery.backends.tasks.poke",
}

#: The packages of which a backend needs one; each comes with the extra of the backend's name.
NEEDS = {"celery": ("celery",), "tasks": ("django.tasks", "django_tasks")}


@cache
def _load(path: str) -> Poke:
    try:
        found: Poke = import_string(path)
    except Exception as error:
        # A backend of the tasks framework refuses a queue with an error of its own.
        if path != BUILT_IN["tasks"] and not isinstance(error, ImportError | ImproperlyConfigured):
            raise
        raise ConfigurationError(
            f"The delivery backend {path!r} can't be imported: {str(error).rstrip('.')}.",
            hint=_hint_for(path),
        ) from error
    if not callable(found):
        raise ConfigurationError(
            f"The delivery backend {path!r} is no function.",
            hint=_hint_for(path),
        )
    return found


def _hint_for(path: str) -> str:
    if path == BUILT_IN["tasks"]:
        return (
            f"Django's TASKS needs an entry {settings.TASKS_BACKEND!r} (TASKS_BACKEND of XKIT_CRM) "
            f"whose BACKEND is installed, with {settings.TASKS_QUEUE!r} among its QUEUES "
            "(TASKS_QUEUE of XKIT_CRM)."
        )
    return (
        f'Set XKIT_CRM["DELIVERY"] to one of {", ".join(BUILT_IN)} or to the dotted path of a '
        "function that takes connection ids."
    )


def backend() -> Poke:
    """The function that XKIT_CRM["DELIVERY"] names; raises `ConfigurationError`."""
    if extra := missing_extra():
        raise ConfigurationError(
            f'XKIT_CRM["DELIVERY"] is {extra!r}, and {NEEDS[extra][-1]} is not installed.',
            hint=f"Install it with: pip install 'xkit_crm[{extra}]'",
        )
    return _load(BUILT_IN.get(settings.DELIVERY, settings.DELIVERY))


@cache
def _is_there(package: str) -> bool:
    return find_spec(package) is not None


def missing_extra() -> str | None:
    """The extra that has to be installed for what XKIT_CRM["DELIVERY"] names; None: there is."""
    packages = NEEDS.get(settings.DELIVERY, ())
    return settings.DELIVERY if packages and not any(map(_is_there, packages)) else None


#: Where a database connection keeps the lanes to be told of at its commit.
_LANES: Final = "_xkit_lanes"


def poke_on_commit(connection_ids: Sequence[str], *, using: str) -> None:
    """Say that these lanes have work, once the transaction is committed; each lane once, however
    often it is named in the transaction.

    What fails then is logged and fails nobody: the work is in the database.
    """
    database = connections[using]
    lanes: dict[str, None] | None = database.__dict__.get(_LANES)
    if lanes is None or not database.run_on_commit:
        # Those that are there are of another transaction: rolled back, or in the middle of its
        # own commit, by which they will be told.
        lanes = database.__dict__[_LANES] = {}
    lanes.update(dict.fromkeys(connection_ids))

    def poke() -> None:
        told = list(lanes)
        lanes.clear()
        if told:
            backend()(told)

    # Every time, since a savepoint that is rolled back takes its own with it. The first one that
    # is run tells of all lanes.
    database.on_commit(poke, robust=True)
