"""Connection: one customer's CRM."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from xkit_crm import crypto
from xkit_crm.models.base import Dated

#: Names that stand in the API's own paths, where a server shows an encoded slash as a slash.
RESERVED = frozenset(
    {"connections", "events", "invocations", "link-tokens", "objects", "preview", ".", ".."}
)


def validate_connection_id(value: str) -> None:
    """A connection id is one URL path segment once percent-encoded: printable, and not ours."""
    reserved = RESERVED.intersection(value.split("/"))
    if reserved or not value.isprintable() or value != value.strip():
        raise ValidationError(
            _("%(value)r can't be a connection id: it is reserved or has unprintable characters."),
            params={"value": value},
        )


class ConnectionStatus(models.TextChoices):
    PENDING = "pending", _("pending: CRM Link not finished")
    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled by the customer")
    ERRORED = "errored", _("errored: must be authorised again")


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def in_contexts(self, contexts: Iterable[str] | None) -> Self:
        """Those of these owners; None means all of them."""
        return self.all() if contexts is None else self.filter(context__in=contexts)


class Connection(Dated):
    id = models.CharField(
        _("id"),
        max_length=255,
        primary_key=True,
        validators=[validate_connection_id],
        help_text=_("Chosen by the product, such as its customer's id."),
    )
    context = models.CharField(
        _("context"),
        max_length=255,
        blank=True,
        db_index=True,
        help_text=_("The customer who owns the connection, by the product's own id."),
    )
    provider = models.CharField(_("provider"), max_length=100, help_text=_("Which CRM."))
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=ConnectionStatus.choices,
        default=ConnectionStatus.PENDING,
    )
    status_reason = models.TextField(_("reason"), blank=True)
    shadow = models.BooleanField(
        _("shadow mode"),
        default=False,
        help_text=_("Map and log what would be sent, and send nothing until this is switched off."),
    )
    quota_reserve = models.PositiveSmallIntegerField(
        _("quota reserve"),
        default=0,
        validators=[MaxValueValidator(100)],
        help_text=_(
            "Per cent of the CRM's daily quota that is left to the customer's other tools."
        ),
    )
    #: The number of the `MappingVersion` in force; 0 before the first.
    mapping_version = models.PositiveIntegerField(_("mapping version"), default=0, editable=False)
    #: Under which key it is remembered what the CRM says of itself: with a new one every process
    #: asks it again. `providers/descriptions.py`.
    description_key = models.CharField(max_length=32, blank=True, default="", editable=False)
    #: Encrypted JSON; read and written through `credentials`.
    credentials_cipher = models.TextField(editable=False, blank=True, default="")

    objects: ClassVar[models.Manager[Connection]] = ConnectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        default_permissions = ("view",)
        permissions = [
            ("manage_credentials", "Can make connections and API keys, and replace credentials")
        ]
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=ConnectionStatus.values),
                name="xkit_connection_status_known",
            ),
            models.CheckConstraint(condition=~models.Q(id=""), name="xkit_connection_id_given"),
            models.CheckConstraint(
                condition=models.Q(quota_reserve__lte=100), name="xkit_connection_reserve_is_share"
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_enabled(self) -> bool:
        return self.status == ConnectionStatus.ENABLED

    @property
    def credentials(self) -> dict[str, Any]:
        """What the provider authenticates with. Never log it."""
        return (
            json.loads(crypto.decrypt(self.credentials_cipher)) if self.credentials_cipher else {}
        )

    @credentials.setter
    def credentials(self, value: Mapping[str, Any]) -> None:
        self.credentials_cipher = crypto.encrypt(json.dumps(dict(value)))
