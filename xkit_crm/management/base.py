"""What the management commands share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections, router

from xkit_crm.models import CRMObject


class XkitCommand(BaseCommand):
    """A command that works on our tables, and says so where they are not there yet."""

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            tables = connections[router.db_for_read(CRMObject)].introspection.table_names()
            if CRMObject._meta.db_table in tables:
                raise
            raise CommandError(
                "The tables of xkit_crm are not in the database yet: run manage.py migrate."
            ) from error
