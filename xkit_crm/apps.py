"""The app: what happens when Django starts."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import AppConfig
from django.core.signals import request_started
from django.db.backends.signals import connection_created
from django.db.models.signals import post_delete, post_migrate, post_save
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger(__name__)


class XkitCRMConfig(AppConfig):
    name = "xkit_crm"
    label = "xkit_crm"
    verbose_name = _("CRM sync")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from xkit_crm import checks  # noqa: F401 - registers the checks

        autodiscover_modules("crm")
        _follow_admin_bindings()


def _follow_admin_bindings() -> None:
    """Load the bindings made in the admin when the database is first used, and follow changes.

    Not before: reading the database while Django starts is discouraged, and the tables may not be
    there yet. A model without binding costs nothing in any case.
    """
    from xkit_crm import catalogue
    from xkit_crm.conf import settings
    from xkit_crm.models import CRMObject, EventDefinition, ModelBinding
    from xkit_crm.sync import bindings

    def load_first(*, connection: Any, **_: object) -> None:
        if connection.alias != bindings.rows_database():
            return
        if ModelBinding._meta.db_table in connection.introspection.table_names():
            connection_created.disconnect(dispatch_uid="xkit_crm.bindings")
            bindings.load_rows()

    def load_again(**_: object) -> None:
        bindings.load_rows()

    def load_migrated(*, using: str, **_: object) -> None:
        if using == bindings.rows_database():
            bindings.load_rows()

    def refresh(**_: object) -> None:
        try:
            catalogue.refresh_if_stale()
            bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
        except Exception as error:  # noqa: BLE001 - no page may fail for it, with or without a database
            logger.warning("Definitions and bindings were not looked at: %s", error)

    uid = "xkit_crm.bindings"
    connection_created.connect(load_first, weak=False, dispatch_uid=uid)
    request_started.connect(refresh, weak=False, dispatch_uid=uid)
    for model in (ModelBinding, EventDefinition, CRMObject):  # bindings name events by their slugs
        post_save.connect(load_again, sender=model, weak=False, dispatch_uid=uid)
        post_delete.connect(load_again, sender=model, weak=False, dispatch_uid=uid)
    own_app = ModelBinding._meta.app_config
    post_migrate.connect(load_migrated, sender=own_app, weak=False, dispatch_uid=uid)
