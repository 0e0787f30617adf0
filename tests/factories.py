"""factory-boy factories for the package's rows and for the product's."""

from __future__ import annotations

from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from tests.products import models as products
from xkit_crm.delivery.tallies import minute_of
from xkit_crm.models import Connection, EventDefinition, Invocation, Tally
from xkit_crm.models.base import new_uuid
from xkit_crm.models.connection import ConnectionStatus
from xkit_crm.models.invocation import Source


class ConnectionFactory(DjangoModelFactory[Connection]):
    class Meta:
        model = Connection

    id = factory.Sequence(lambda n: f"connection-{n}")
    context = factory.LazyAttribute(lambda connection: f"context-of-{connection.id}")
    provider = "sandbox"
    status = ConnectionStatus.ENABLED


class TallyFactory(DjangoModelFactory[Tally]):
    """So many that the CRM has, now."""

    class Meta:
        model = Tally

    at = factory.LazyFunction(lambda: minute_of(timezone.now()))
    provider = "sandbox"
    status = "succeeded"
    outcome = factory.LazyAttribute(
        lambda one: "succeeded" if one.status in ("succeeded", "deferred") else "failed"
    )
    code = factory.LazyAttribute(
        lambda one: "" if one.outcome == "succeeded" else "crm_unavailable"
    )
    bucket = factory.LazyAttribute(lambda one: 7 if one.outcome == "succeeded" else None)
    milliseconds = factory.LazyAttribute(lambda one: 0 if one.bucket is None else one.count * 100)
    count = 1


class CustomerFactory(DjangoModelFactory[products.Customer]):
    class Meta:
        model = products.Customer

    name = factory.Sequence(lambda n: f"Customer {n}")


class DealFactory(DjangoModelFactory[products.Deal]):
    class Meta:
        model = products.Deal

    customer: Any = factory.SubFactory(CustomerFactory)
    title = "Sales contract"
    amount = "1200.50"


class InvocationFactory(DjangoModelFactory[Invocation]):
    """One that waits, as a caller made it; of the event with this slug."""

    class Meta:
        model = Invocation

    class Params:
        slug = "deal_created"

    connection: Any = factory.SubFactory(ConnectionFactory)
    event: Any = factory.LazyAttribute(lambda made: EventDefinition.objects.get(slug=made.slug))
    payload: Any = factory.LazyFunction(lambda: {"name": "Sales"})
    source = Source.PYTHON
    record_key = factory.LazyAttribute(lambda made: str(made.uuid))
    uuid: Any = factory.LazyFunction(new_uuid)
