from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SandboxConfig(AppConfig):
    name = "xkit_crm.providers.sandbox"
    label = "xkit_sandbox"
    verbose_name = _("Sandbox CRM")
    default_auto_field = "django.db.models.BigAutoField"
