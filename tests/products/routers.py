"""Puts one model into the other database, and leaves everything else where it is."""

from __future__ import annotations

from typing import Any


class Router:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model.__name__ == "Elsewhere" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if hints.get("model_name") == "elsewhere":
            return db == "other"
        return None


class OwnLagging(Router):
    """Reads everything from a replica, what xkit_crm keeps too."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "other"


class Lagging(Router):
    """Reads deals from the other database, as from a replica of this one."""

    lags = ("Deal",)

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model.__name__ in self.lags else super().db_for_read(model)

    def allow_relation(self, *rows: Any, **hints: Any) -> bool:
        return True


class LaggingLinks(Lagging):
    """Reads record links from it too."""

    lags = ("Deal", "RecordLink")
