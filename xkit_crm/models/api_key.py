"""API key: what a caller of the HTTP API authenticates with."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from xkit_crm import crypto
from xkit_crm.models.base import Dated

#: A key's last use is noted at most this often, so that reading it costs no write per request.
LAST_USED_PRECISION = timedelta(minutes=1)

#: Compared with where there is no such key, so that both cases take as long.
_NO_DIGEST = "0" * 64


class APIKeyManager(models.Manager["APIKey"]):
    def issue(self, name: str, contexts: Iterable[str] | None = None) -> tuple[APIKey, str]:
        """Make a key. Gives the key and its secret, which is shown here and never again.

        `contexts` limits the key to connections of these owners; None means every connection.
        """
        secret = f"xsk_{secrets.token_urlsafe(32)}"
        key = self.create(
            name=name,
            publishable_key=f"xpk_{secrets.token_urlsafe(18)}",
            secret_digest=crypto.digest(secret),
            contexts=None if contexts is None else list(contexts),
        )
        return key, secret

    def authenticate(self, publishable_key: str, secret: str) -> APIKey | None:
        """The live key with this secret, or None. One query; one write a minute."""
        key = self.filter(publishable_key=publishable_key).first()
        fits = crypto.matches(secret, key.secret_digest if key else _NO_DIGEST)
        if key is None or not fits or key.revoked_at is not None:
            return None
        now = timezone.now()
        if key.last_used_at is None or now - key.last_used_at > LAST_USED_PRECISION:
            self.filter(pk=key.pk).update(last_used_at=now)
        return key


class APIKey(Dated):
    name = models.CharField(_("name"), max_length=200, help_text=_("Who uses it."))
    publishable_key = models.CharField(
        _("publishable key"), max_length=100, unique=True, editable=False
    )
    secret_digest = models.CharField(max_length=64, editable=False)
    contexts = models.JSONField(
        _("contexts"),
        null=True,
        blank=True,
        default=None,
        help_text=_("Owners whose connections the key may use; empty for all."),
    )
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)

    #: Known only to who has just issued the key; never stored.
    secret: str = ""

    objects: ClassVar[APIKeyManager] = APIKeyManager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        default_permissions = ("view",)
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.publishable_key})"

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None

    def revoke(self) -> None:
        """Refuse the key from now on. Doing it twice keeps the first time."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at", "updated_at"])
