"""A small e-signature product: workspaces send documents to contacts to be signed."""

from __future__ import annotations

from django.db import models

import xkit_crm


class Workspace(models.Model):
    """One customer of the product. Each connects their own CRM."""

    name = models.CharField(max_length=100)
    crm_connection_id = models.CharField(
        max_length=255, blank=True, help_text="Empty until the customer has connected a CRM."
    )

    def __str__(self) -> str:
        return self.name

    @property
    def context(self) -> str:
        """What the workspace is called in `xkit_crm`: who owns its connections."""
        return str(self.pk)


class Contact(models.Model):
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="contacts")
    full_name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=40, blank=True)

    objects = xkit_crm.SyncedManager()

    def __str__(self) -> str:
        return self.full_name


class Document(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft"
        SENT = "sent"
        SIGNED = "signed"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="documents")
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    value = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    signer = models.ForeignKey(Contact, models.SET_NULL, null=True, blank=True)
    views = models.PositiveIntegerField(default=0, editable=False)
    modified_at = models.DateTimeField(auto_now=True)

    objects = xkit_crm.SyncedManager()

    def __str__(self) -> str:
        return self.title
