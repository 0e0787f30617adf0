"""The app: what happens when Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class XkitCRMConfig(AppConfig):
    name = "xkit_crm"
    label = "xkit_crm"
    verbose_name = _("CRM sync")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from xkit_crm import checks  # noqa: F401 - registers the checks
        from xkit_crm.sync import following

        autodiscover_modules("crm")
        following.start()
