"""Write your Django models to every customer's own CRM.

The public names, loaded when they are first used: importing `xkit_crm` before Django's apps are
ready, as `settings.py` and `crm.py` do, must not import models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xkit_crm.connections import connect
    from xkit_crm.crm_link.tokens import link_token
    from xkit_crm.definitions import define
    from xkit_crm.erasure import erase, erase_record
    from xkit_crm.invoking import invoke
    from xkit_crm.sync.bindings import ModelSync, register, unregister
    from xkit_crm.sync.capture import muted
    from xkit_crm.sync.echo import applying, changes_from_crm
    from xkit_crm.sync.gathering import bulk
    from xkit_crm.sync.links import link, links
    from xkit_crm.sync.querysets import SyncedManager, SyncedQuerySet

_HOMES = {
    "ModelSync": "sync.bindings",
    "SyncedManager": "sync.querysets",
    "SyncedQuerySet": "sync.querysets",
    "applying": "sync.echo",
    "bulk": "sync.gathering",
    "changes_from_crm": "sync.echo",
    "connect": "connections",
    "define": "definitions",
    "erase": "erasure",
    "erase_record": "erasure",
    "invoke": "invoking",
    "link": "sync.links",
    "link_token": "crm_link.tokens",
    "links": "sync.links",
    "muted": "sync.capture",
    "register": "sync.bindings",
    "unregister": "sync.bindings",
}

__all__ = [
    "ModelSync",
    "SyncedManager",
    "SyncedQuerySet",
    "applying",
    "bulk",
    "changes_from_crm",
    "connect",
    "define",
    "erase",
    "erase_record",
    "invoke",
    "link",
    "link_token",
    "links",
    "muted",
    "register",
    "unregister",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value
