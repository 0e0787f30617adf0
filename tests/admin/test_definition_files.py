"""Documents that are exported from the admin, and imported after a look at what they change."""

from __future__ import annotations

import copy
import json
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.admin.forms import sent_by
from tests.objects import OBJECTS
from xkit_crm.admin import definition_files
from xkit_crm.definitions import dump
from xkit_crm.models import (
    Connection,
    CRMObject,
    DefinitionVersion,
    EventDefinition,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("definitions")]

EXPORT = "/admin/xkit_crm/crmobject/export/"
IMPORT = "/admin/xkit_crm/crmobject/import/"


def changed(change: Any) -> str:
    objects = copy.deepcopy(OBJECTS)
    change(objects)
    return json.dumps(objects)


def relabel(objects: Any) -> None:
    objects["opportunity"]["label"] = "Deal"


def shown(response: Any) -> str:
    return unescape(response.content.decode())


# -- export ---------------------------------------------------------------------------------------


def test_everything_is_exported_as_the_document_that_loads_to_no_change(
    admin_client: Client,
) -> None:
    answer = admin_client.get(EXPORT)
    assert answer["Content-Disposition"] == 'attachment; filename="crm_objects.json"'
    assert answer.json() == dump()
    again = admin_client.post(IMPORT, {"text": answer.content.decode()}, follow=True)
    assert "Everything is like this already" in shown(again)


def test_one_object_is_exported(admin_client: Client) -> None:
    answer = admin_client.get(EXPORT, {"object": "contact"})
    assert answer["Content-Disposition"] == 'attachment; filename="contact.json"'
    assert list(answer.json()) == ["contact"]


def test_an_object_that_there_is_not_is_exported_as_nothing(admin_client: Client) -> None:
    answer = admin_client.get(EXPORT, {"object": '"evil\r\n'})
    assert answer.json() == {}
    assert answer["Content-Disposition"] == 'attachment; filename="nothing.json"'


# -- import ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_file", [True, False])
def test_a_document_is_looked_at_and_then_imported(admin_client: Client, as_file: bool) -> None:
    text = changed(relabel)
    sent: Any = {"file": SimpleUploadedFile("o.json", text.encode())} if as_file else {"text": text}
    answer = admin_client.post(IMPORT, sent)
    assert '<del>"Opportunity"</del>' in shown(answer)
    assert CRMObject.objects.get(slug="opportunity").label == "Opportunity"
    done = admin_client.post(IMPORT, sent_by(answer), follow=True)
    assert "1 change is imported" in shown(done)
    row = CRMObject.objects.get(slug="opportunity")
    assert row.label == "Deal"
    last = DefinitionVersion.objects.of(row)[0]
    assert (last.author, last.reason) == ("admin", "imported in the admin")
    assert LogEntry.objects.get().change_message == "Imported, changes: 1."


def test_what_it_does_to_customers_is_shown(sandbox: Connection, admin_client: Client) -> None:
    def drop(objects: Any) -> None:
        del objects["opportunity"]["events"]["deal_created"]["payloadSchema"]["name"]

    text = shown(admin_client.post(IMPORT, {"text": changed(drop)}))
    assert "is gone — what it feeds is no longer written" in text
    assert "1 connection: acme" in text


def test_what_a_document_leaves_out_stays_unless_it_is_to_be_switched_off(
    admin_client: Client,
) -> None:
    text = json.dumps({"contact": OBJECTS["contact"]})
    again = admin_client.post(IMPORT, {"text": text}, follow=True)
    assert "Everything is like this already" in shown(again)
    answer = admin_client.post(IMPORT, {"text": text, "prune": "on"})
    assert "opportunity.deal_created is switched off" in shown(answer).replace(
        "</code>", ""
    ).replace("<code>", "")
    admin_client.post(IMPORT, sent_by(answer))
    assert not CRMObject.objects.get(slug="opportunity").active


def test_what_was_looked_at_is_shown_again_where_it_would_change_something_else(
    admin_client: Client,
) -> None:
    answer = admin_client.post(IMPORT, {"text": changed(relabel)})
    row = CRMObject.objects.get(slug="opportunity")
    row.label = "Theirs"
    row.save()
    again = admin_client.post(IMPORT, sent_by(answer))
    assert "Something changed since you looked at this" in shown(again)
    assert '<del>"Theirs"</del>' in shown(again)
    assert CRMObject.objects.get(slug="opportunity").label == "Theirs"
    admin_client.post(IMPORT, sent_by(again))
    assert CRMObject.objects.get(slug="opportunity").label == "Deal"


def test_every_mistake_is_told_with_its_path_and_nothing_is_changed(admin_client: Client) -> None:
    def spoil(objects: Any) -> None:
        relabel(objects)
        objects["opportunity"]["events"]["deal_created"]["type"] = "insert"
        objects["contact"]["labl"] = "<script>alert(1)</script>"

    answer = admin_client.post(IMPORT, {"text": changed(spoil)})
    assert "objects.opportunity.events.deal_created.type" in shown(answer)
    assert "objects.contact.labl" in shown(answer)
    assert sent_by(answer)["text"] == changed(spoil)
    assert b"<script>alert(1)" not in answer.content
    assert CRMObject.objects.get(slug="opportunity").label == "Opportunity"


def test_a_used_event_is_made_no_other_type(admin_client: Client) -> None:
    def retype(objects: Any) -> None:
        objects["opportunity"]["events"]["deal_created"]["type"] = "search"

    text = shown(admin_client.post(IMPORT, {"text": changed(retype)}))
    assert "objects.opportunity.events.deal_created.type: can't change any more" in text
    assert EventDefinition.objects.get(slug="deal_created").type == "create"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, "Choose a file, or paste a document"),
        ({"text": "{"}, "This isn't JSON"),
        ({"text": "[]"}, "objects: must be an object"),
        ({"text": "null"}, "Choose a file, or paste a document"),
        ({"text": "[" * 100_000}, "nested too deep"),
        ({"file": SimpleUploadedFile("x", b"\xff\xfe\x00")}, "isn't a text in UTF-8"),
        ({"file": SimpleUploadedFile("x", b"[]")}, "objects: must be an object"),
    ],
)
def test_what_is_no_document_is_refused(
    admin_client: Client, sent: dict[str, Any], told: str
) -> None:
    answer = admin_client.post(IMPORT, sent)
    assert answer.status_code == 200
    assert told in shown(answer)


def test_a_file_that_is_too_large_is_refused(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definition_files, "MAX_BYTES", 10)
    answer = admin_client.post(IMPORT, {"file": SimpleUploadedFile("x", b"{}" + b" " * 20)})
    assert "manage.py xkit_load" in shown(answer)


def test_whoever_goes_back_finds_their_document(admin_client: Client) -> None:
    answer = admin_client.post(IMPORT, {"text": changed(relabel), "prune": "on"})
    again = sent_by(admin_client.post(IMPORT, {**sent_by(answer), "_edit": "1"}))
    assert again["text"] == changed(relabel)
    assert again["prune"] == "on"


def test_importing_needs_the_permission_to_define_and_exporting_that_to_look(
    client: Client,
) -> None:
    user = User.objects.create_user("looker", is_staff=True)
    client.force_login(user)
    assert client.get(EXPORT).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_crmobject"))
    assert client.get(EXPORT).status_code == 200
    assert client.get(IMPORT).status_code == 403
    assert client.post(IMPORT, {"text": changed(relabel)}).status_code == 403
    assert "Import" not in shown(client.get("/admin/xkit_crm/crmobject/"))
