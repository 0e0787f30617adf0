"""Numbers are written for people as their language has it, and for machines as they are."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from tests.factories import InvocationFactory
from tests.products.models import Plain
from xkit_crm.models import Connection, CRMObject, EventDefinition, Invocation, ModelBinding

# Some bound models of the tests live in another database.
pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture
def large(sandbox: Connection) -> None:
    """Rows whose keys have four digits."""
    crm_object = CRMObject.objects.create(pk=5000, slug="ticket", label="Ticket")
    opened = {"slug": "opened", "label": "Opened", "type": "create", "payload_schema": {}}
    event = EventDefinition.objects.create(pk=5001, crm_object=crm_object, **opened)
    failed = {"status": "failed", "error_code": "crm_error"}
    InvocationFactory.create(pk=5002, connection=sandbox, event=event, **failed)
    model = ContentType.objects.get_for_model(Plain)
    ModelBinding.objects.create(
        pk=5003, model=model, crm_object=crm_object, on_create=event, active=False
    )


def addresses() -> list[str]:
    rows = [CRMObject(5000), EventDefinition(5001), Invocation(5002), ModelBinding(5003)]
    pages = [(row, "change") for row in rows]
    pages += [(rows[0], "history"), (rows[2], "replay"), (rows[2], "skip")]
    return [
        *(
            reverse(f"admin:xkit_crm_{row._meta.model_name}_{name}", args=[row.pk])
            for row, name in pages
        ),
        reverse("admin:xkit_crm_invocation_changelist"),
        reverse("admin:xkit_crm_failures"),
        reverse("admin:xkit_crm_invocation_repair_all", args=["replay"]) + "?status=failed",
        reverse("admin:xkit_crm_modelbinding_add"),
    ]


def for_machines(client: Client, address: str) -> list[str]:
    """What stands in a page's attributes, but for what is another one each time."""
    answer = client.get(address)
    assert answer.status_code == 200, address
    told = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", answer.content.decode())
    return re.findall(r""" [\w:-]+=("[^"]*"|'[^']*')""", told)


def test_what_a_machine_reads_has_no_thousands_set_apart(
    large: None, admin_client: Client, settings: Any
) -> None:
    plain = {address: for_machines(admin_client, address) for address in addresses()}
    settings.USE_THOUSAND_SEPARATOR = True
    for address, told in plain.items():
        assert for_machines(admin_client, address) == told
    assert any("5002" in one for told in plain.values() for one in told)
