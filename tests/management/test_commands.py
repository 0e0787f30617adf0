"""The management commands, run as a person types them."""

from __future__ import annotations

import copy
import json
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db import connection as database

import xkit_crm
from tests.factories import DealFactory
from tests.objects import OBJECTS
from tests.products.models import Customer
from xkit_crm.models import APIKey, Connection, CRMObject, EventDefinition, Invocation

pytestmark = pytest.mark.django_db


def run(*command: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*command, stdout=out, no_color=True, **options)
    return out.getvalue()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "objects.json"
    path.write_text(json.dumps(OBJECTS))
    return path


def changed(document: Path, change: Any) -> Path:
    objects = copy.deepcopy(OBJECTS)
    change(objects)
    document.write_text(json.dumps(objects))
    return document


def test_loading_makes_objects_and_events_and_says_so(document: Path) -> None:
    out = run("xkit_load", document)
    assert "+ opportunity\n" in out
    assert "+ opportunity.deal_created\n" in out
    assert EventDefinition.objects.count() == 5


def test_loading_twice_changes_nothing(document: Path) -> None:
    run("xkit_load", document)
    assert run("xkit_load", document) == "Nothing to change.\n"


def test_what_was_dumped_loads_to_no_change(document: Path, tmp_path: Path) -> None:
    run("xkit_load", document)
    dumped = tmp_path / "dumped.json"
    run("xkit_dump", output=str(dumped))
    assert run("xkit_load", dumped) == "Nothing to change.\n"
    assert json.loads(run("xkit_dump")) == json.loads(dumped.read_text())
    events = json.loads(dumped.read_text())["opportunity"]["events"]
    assert list(events) == list(OBJECTS["opportunity"]["events"])
    schema = events["deal_created"]["payloadSchema"]
    assert list(schema) == list(OBJECTS["opportunity"]["events"]["deal_created"]["payloadSchema"])


def test_the_difference_is_readable(document: Path) -> None:
    run("xkit_load", document)

    def change(objects: Any) -> None:
        event = objects["opportunity"]["events"]["deal_created"]
        event["label"] = "Deal Made"
        event["payloadSchema"]["stage"] = {"type": "string", "label": "Stage"}
        del event["payloadSchema"]["views"]

    out = run("xkit_load", changed(document, change))
    assert '~ opportunity.deal_created.label: "Deal Created" -> "Deal Made"' in out
    assert "+ opportunity.deal_created.payload_schema.stage" in out
    assert "- opportunity.deal_created.payload_schema.views" in out


def test_check_changes_nothing_and_ends_with_1_where_something_would(document: Path) -> None:
    with pytest.raises(CommandError) as raised:
        run("xkit_load", document, check=True)
    assert raised.value.returncode == 1
    assert not CRMObject.objects.exists()
    run("xkit_load", document)
    assert "Nothing" in run("xkit_load", document, check=True)


def test_mistakes_are_listed_with_their_paths_and_nothing_is_changed(document: Path) -> None:
    def change(objects: Any) -> None:
        objects["opportunity"]["events"]["deal_created"]["type"] = "insert"
        objects["contact"]["labl"] = "x"

    with pytest.raises(CommandError) as raised:
        run("xkit_load", changed(document, change))
    assert "objects.opportunity.events.deal_created.type" in str(raised.value)
    assert "objects.contact.labl" in str(raised.value)
    assert not CRMObject.objects.exists()


def test_name_is_read_as_label(document: Path) -> None:
    def change(objects: Any) -> None:
        objects["contact"]["name"] = objects["contact"].pop("label")

    run("xkit_load", changed(document, change))
    assert CRMObject.objects.get(slug="contact").label == "Contact"


def test_prune_deactivates_and_never_deletes(document: Path, customer: Customer) -> None:
    DealFactory.create(customer=customer)

    def change(objects: Any) -> None:
        del objects["opportunity"]["events"]["deal_created"]
        del objects["contact"]

    path = changed(document, change)
    assert run("xkit_load", path) == "Nothing to change.\n"
    out = run("xkit_load", path, prune=True)
    assert "- opportunity.deal_created\n" in out
    assert "- contact\n" in out
    assert not EventDefinition.objects.get(slug="deal_created").active
    assert Invocation.objects.get().event.slug == "deal_created"
    assert "contact" not in json.loads(run("xkit_dump"))


@pytest.mark.parametrize(("text", "says"), [("{", "isn't JSON"), ("[]", "objects")])
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "objects.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=says):
        run("xkit_load", path)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandError, match=r"nowhere\.json can't be read"):
        run("xkit_load", "nowhere.json")


def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere/objects\.json can't be written: No such file"):
        run("xkit_dump", output=str(tmp_path / "nowhere" / "objects.json"))


def test_a_key_is_made_listed_and_revoked() -> None:
    made = run("xkit_apikey", "create", "backend", "--context", "workspace-1")
    publishable, secret = (line.split()[-1] for line in made.splitlines()[:2])
    key = APIKey.objects.get()
    assert APIKey.objects.authenticate(publishable, secret) == key
    assert key.contexts == ["workspace-1"]
    assert secret not in key.secret_digest
    listed = run("xkit_apikey", "list")
    assert f"{publishable}  backend  live  last used: " in listed
    assert secret not in listed
    run("xkit_apikey", "revoke", publishable)
    assert "revoked" in run("xkit_apikey", "list")
    assert APIKey.objects.authenticate(publishable, secret) is None


def test_revoking_a_key_that_is_not_there_says_so() -> None:
    with pytest.raises(CommandError, match="xkit_apikey list"):
        run("xkit_apikey", "revoke", "xpk_nothing")


def test_the_worker_does_what_is_due_and_ends(sandbox: Connection, customer: Customer) -> None:
    deal = DealFactory.create(customer=customer)
    assert run("xkit_worker", once=True) == "1 carried out.\n"
    assert xkit_crm.links(deal).get().record_id.startswith("Opportunity:")
    assert run("xkit_worker", once=True) == "0 carried out.\n"


@pytest.mark.parametrize("address", ["foo", "localhost:", "localhost:http", "127.0.0.1:99999"])
def test_a_probe_at_what_is_no_address_is_told_what_it_takes(address: str) -> None:
    with pytest.raises(CommandError, match=r"--probe takes HOST:PORT, such as 0\.0\.0\.0:8090"):
        run("xkit_worker", probe=address)


def test_a_process_that_runs_the_worker_once_keeps_its_signals(sandbox: Connection) -> None:
    names = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(name) for name in names]
    run("xkit_worker", once=True)
    assert [signal.getsignal(name) for name in names] == before


@pytest.mark.parametrize("command", ["xkit_dump", "xkit_apikey list", "xkit_worker --once"])
def test_a_database_without_the_tables_is_told_what_it_needs(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_such_table(*_: Any) -> Any:
        raise OperationalError("no such table")

    monkeypatch.setattr(type(database.introspection), "table_names", lambda *_: [])
    with database.execute_wrapper(no_such_table), pytest.raises(CommandError, match="migrate"):
        run(*command.split())
