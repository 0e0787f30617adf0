"""How a lane that has work gets worked on.

The database holds the truth; a backend only carries the word "this lane has work". A lost or
doubled word does no harm, since whoever works in a lane looks in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from django.db import transaction
from django.utils.module_loading import import_string

from xkit_crm.conf import settings
from xkit_crm.exceptions import ConfigurationError

Poke = Callable[[Sequence[str]], None]

#: Short names of the backends that come with the package; each module has a `poke`.
BUILT_IN = {
    "immediate": "xkit_crm.delivery.backends.immediate.poke",
    "worker": "xkit_crm.delivery.backends.worker.poke",
}


@cache
def _load(path: str) -> Poke:
    try:
        found: Poke = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"The delivery backend {path!r} can't be imported: {error}.",
            hint=f'Set XKIT_CRM["DELIVERY"] to one of {", ".join(BUILT_IN)} or to the dotted path '
            "of a function that takes connection ids.",
        ) from error
    return found


def backend() -> Poke:
    """The function that XKIT_CRM["DELIVERY"] names; raises `ConfigurationError`."""
    return _load(BUILT_IN.get(settings.DELIVERY, settings.DELIVERY))


def poke_on_commit(connection_ids: Sequence[str], *, using: str) -> None:
    """Say that these lanes have work, once the transaction is committed.

    What fails then is logged and fails nobody: the work is in the database.
    """

    def poke() -> None:
        backend()(connection_ids)

    transaction.on_commit(poke, using=using, robust=True)
