"""The preview beside a definition that is being typed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch

from tests.admin.definitions import (
    NO_NAME,
    PREVIEW,
    event,
    free,
    opportunity,
    page_of,
    shown,
    typed,
)
from tests.admin.forms import sent_by
from xkit_crm.models import Connection

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("definitions")]


def test_a_preview_shows_what_a_schema_makes_and_how_it_is_invoked(admin_client: Client) -> None:
    row = event("deal_updated")
    sent = typed(slug="deal_updated", type="update", pk=str(row.pk), prefix="")
    text = shown(admin_client.post(PREVIEW, sent))
    assert '"name": "Opportunity Name"' in text
    assert (
        '"http://testserver/api/v1/crm/$CONNECTION/objects/opportunity/$RECORD/events/deal_updated"'
        in text
    )
    assert "xkit_crm.invoke(" in text
    assert "record=record_id" in text
    assert '"$schema": "https://json-schema.org/draft/2020-12/schema"' in text


def test_a_preview_of_an_event_of_an_object_that_is_being_made(admin_client: Client) -> None:
    sent = {f"events-0-{name}": value for name, value in typed(slug="opened").items()}
    text = shown(admin_client.post(PREVIEW, {**sent, "prefix": "events-0", "slug": "ticket"}))
    assert "/objects/ticket/events/opened" in text


def test_a_preview_tells_every_mistake_and_what_saving_would_do(
    sandbox: Connection, admin_client: Client
) -> None:
    pk = str(event().pk)
    text = shown(admin_client.post(PREVIEW, typed(pk=pk, payload_schema='{"a": {"type": "x"}}')))
    assert 'data-problem="payloadSchema.a.type"' in text
    text = shown(admin_client.post(PREVIEW, typed(pk=pk, payload_schema=NO_NAME)))
    assert "is gone — what it feeds is no longer written" in text
    assert "Saving this" not in shown(admin_client.post(PREVIEW, typed(pk=pk)))


def test_a_preview_of_an_object_shows_what_is_read_back(
    sandbox: Connection, admin_client: Client
) -> None:
    sent = {"label": "Opportunity", "slug": "opportunity", "active": "on", "fields": "{}"}
    address = "/admin/xkit_crm/crmobject/preview/"
    text = shown(admin_client.post(address, {**sent, "pk": str(opportunity().pk)}))
    assert "<code>fields.document_name</code> is gone" in text
    text = shown(admin_client.post(address, {**sent, "fields": '{"title": {"type": "string"}}'}))
    assert '"title": "Title"' in text


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"pk": "x", "prefix": "nonsense"},
        {"pk": "99999999", "crm_object": "99999999"},
        {"payload_schema": "[" * 100_000, "type": "x" * 1000},
    ],
)
def test_a_preview_of_nonsense_is_a_preview(admin_client: Client, sent: dict[str, str]) -> None:
    for model in ("eventdefinition", "crmobject"):
        assert admin_client.post(f"/admin/xkit_crm/{model}/preview/", sent).status_code == 200


def test_a_preview_says_how_to_mount_an_api_that_is_not(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmounted(*_: Any, **__: Any) -> str:
        raise NoReverseMatch

    monkeypatch.setattr("xkit_crm.api.examples.reverse", unmounted)
    text = shown(admin_client.post(PREVIEW, typed(pk=str(event().pk))))
    assert 'Add path("api/v1/", include("xkit_crm.api.urls")) to your urls first.' in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", ["eventdefinition", "crmobject"])
def test_a_preview_needs_no_transaction(admin_client: Client, model: str) -> None:
    row = event() if model == "eventdefinition" else opportunity()
    sent = sent_by(admin_client.get(page_of(row)), label="Other") | {"pk": str(row.pk)}
    response = admin_client.post(f"/admin/xkit_crm/{model}/preview/", sent)
    assert response.status_code == 200
    assert "Saving this" in shown(response)


_READS = ("SELECT", "DECLARE", "SAVEPOINT", "RELEASE")


def test_a_preview_writes_nothing(admin_client: Client) -> None:
    with CaptureQueriesContext(database) as queries:
        admin_client.post(PREVIEW, typed(pk=str(event().pk), payload_schema=NO_NAME))
    assert [q["sql"] for q in queries if not q["sql"].startswith(_READS)] == []
    assert len(queries) <= 15


@pytest.mark.parametrize("model", ["eventdefinition", "crmobject"])
def test_a_preview_of_another_slug_asks_neither_the_log_nor_the_links(
    admin_client: Client, model: str
) -> None:
    """The log has no index by event, and somebody is typing."""
    crm_object = free()
    row = crm_object if model == "crmobject" else crm_object.events.get()
    sent = sent_by(admin_client.get(page_of(row)), slug="renamed") | {"pk": str(row.pk)}
    with CaptureQueriesContext(database) as queries:
        response = admin_client.post(f"/admin/xkit_crm/{model}/preview/", sent)
    assert "Saving this" in shown(response)
    asked = [q["sql"] for q in queries]
    tables = ("xkit_crm_invocation", "xkit_crm_recordlink")
    assert [sql for sql in asked if any(table in sql for table in tables)] == []
