"""A product's models, one for each way in which Django saves a row."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import models

import xkit_crm

from .fields import AutoSlugField, CommaListField, LastModifiedField, VectorField


class Customer(models.Model):
    name = models.CharField(max_length=100)
    connection_id = models.CharField(max_length=255, blank=True)


class Deal(models.Model):
    """Bound to the CRM object `opportunity` in `crm.py`."""

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="deals")
    title = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    tags = models.JSONField(default=list)
    views = models.IntegerField(default=0)
    owner = models.ForeignKey(User, models.SET_NULL, null=True)
    note = models.TextField(blank=True)
    modified_at = models.DateTimeField(auto_now=True)

    synced = xkit_crm.SyncedManager()
    #: Past the capture, as something that changes rows elsewhere would.
    objects = models.Manager()


class DealProxy(Deal):
    class Meta:
        proxy = True


class BigDeal(Deal):
    """A table of its own, joined to its deal's."""

    discount = models.IntegerField(default=0)


class Columns(models.Model):
    """Columns that a bound and an unbound model share, so that they can be compared."""

    connection_id = models.CharField(max_length=255)
    title = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    stage = models.CharField(max_length=20, default="new")
    email = models.EmailField(default="ada@example.com")
    note = models.TextField(blank=True)
    modified_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Plain(Columns):
    """Bound to nothing."""


class Twin(Columns):
    """The same, and bound."""

    synced = xkit_crm.SyncedManager()
    objects = models.Manager()


class Ticket(models.Model):
    """Bound, with a key that it brings along, and with several connections."""

    code = models.CharField(max_length=20)
    region = models.CharField(max_length=20, default="eu")
    title = models.CharField(max_length=100)
    note = models.TextField(blank=True, default="")
    connection_ids = models.JSONField(default=list)

    objects = xkit_crm.SyncedManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "region"], name="ticket_unique"),
        ]


class Elsewhere(models.Model):
    """Stored in the other database, and bound."""

    title = models.CharField(max_length=100)
    connection_id = models.CharField(max_length=255)

    objects = xkit_crm.SyncedManager()


class Product(models.Model):
    product_id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)


class Publication(models.Model):
    publication_id = models.BigAutoField(primary_key=True)
    headline = models.CharField(max_length=100)


class Book(Product, Publication):
    """A row of two tables, with a key of its own in each."""


class Edition(Publication):
    """A table of its own whose key is not that of what it inherits from."""

    number = models.CharField(max_length=20, primary_key=True)
    of = models.OneToOneField(Publication, models.CASCADE, parent_link=True)


class Offer(models.Model):
    """Columns that the database or the field itself fills, and values of every kind. Tests bind
    it, each for itself."""

    connection_id = models.CharField(max_length=255)
    title = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    quantity = models.IntegerField(default=1)
    total = models.GeneratedField(
        expression=models.F("price") * models.F("quantity"),
        output_field=models.DecimalField(max_digits=20, decimal_places=2),
        db_persist=True,
    )
    slug = AutoSlugField(default="")
    labels = CommaListField(null=True)
    details = models.JSONField(default=dict)
    place = VectorField(null=True)
    note = models.TextField(blank=True)
    touched_at = LastModifiedField(null=True)

    synced = xkit_crm.SyncedManager()
    #: Past the capture, as something that changes rows elsewhere would.
    objects = models.Manager()
