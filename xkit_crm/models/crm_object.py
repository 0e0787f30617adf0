"""CRM object: the product's view of a thing in its customers' CRMs."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm import schema
from xkit_crm.models.base import OrderedJSONField, raise_problems, validate_slug
from xkit_crm.models.definition_version import Kind, Versioned


class CRMObject(Versioned):
    version_kind = Kind.OBJECT
    identifying = ("slug",)

    slug = models.CharField(
        _("slug"),
        max_length=100,
        unique=True,
        validators=[validate_slug],
        help_text=_("Stands in URLs and code, such as opportunity."),
    )
    label = models.CharField(_("label"), max_length=200, help_text=_("What customers see."))
    description = models.TextField(_("description"), blank=True)
    fields = OrderedJSONField(
        _("fields"),
        default=dict,
        blank=True,
        help_text=_("What the product reads back, as Xkit-flavored JSON."),
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("CRM object")
        verbose_name_plural = _("CRM objects")
        default_permissions = ("view",)
        permissions = [("define", "Can define CRM objects, events and bindings")]
        ordering = ["id"]

    def __str__(self) -> str:
        return self.label or self.slug

    @property
    def path(self) -> str:
        return self.slug

    def clean(self) -> None:
        super().clean()
        raise_problems(schema.check(self.fields, path="fields"), "fields")
        self.fields = schema.normalise(self.fields)
