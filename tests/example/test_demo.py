"""`manage.py xkit_demo`, as a newcomer types it, and the site that it leaves running."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import xkit_crm
from example_project.documents import story
from example_project.documents.management.commands.xkit_demo import DEFINITIONS
from example_project.documents.models import Contact, Workspace
from tests.conftest import need
from xkit_crm.testing.live.tryton import NotInstalled, tryton

ROOT = Path(__file__).parent.parent.parent


def command(database: Path, *options: str) -> dict[str, Any]:
    """How the demo is started, on a database of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DJANGO_SETTINGS_MODULE", "XKIT_DATABASE")
    }
    return {
        "args": [sys.executable, ROOT / "manage.py", "xkit_demo", *options],
        "env": {**kept, "XKIT_DATABASE_NAME": str(database), "COLUMNS": "200"},
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }


def test_every_step_of_the_story_happens(tmp_path: Path) -> None:
    for _ in range(2):  # the second time there is a database to be thrown away
        done = subprocess.run(**command(tmp_path / "demo", "--no-server"), check=False)
        assert done.returncode == 0, done.stdout
        assert "Every step happened." in done.stdout
        assert done.stdout.count("✓") == len(story.steps(None))  # type: ignore[arg-type]
        assert "Agreement__c:00001" in done.stdout


@pytest.mark.long
@pytest.mark.service
def test_a_third_customer_may_have_a_real_tryton(tmp_path: Path) -> None:
    try:
        with tryton():  # it is installed once
            pass
    except NotInstalled as error:
        need(False, f"Tryton: {error}")
    done = subprocess.run(**command(tmp_path / "demo", "--tryton", "--no-server"), check=False)
    assert done.returncode == 0, done.stdout
    assert "sale.opportunity:1" in done.stdout
    many = len(story.steps(None)) + len(story.tryton_steps())  # type: ignore[arg-type]
    assert done.stdout.count("✓") == many


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The demo with its site running; what it said last."""
    database = tmp_path_factory.mktemp("demo") / "demo"
    with subprocess.Popen(**command(database, "--port", "0")) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if "Stop with Ctrl-C" in line:
                break
        else:
            pytest.fail("\n".join(said))
        yield said
        process.terminate()


@pytest.fixture
def address(running: list[str]) -> str:
    (line,) = (line for line in running if line.startswith("Open http"))
    return line.split()[1].rstrip("/")


def test_the_three_requests_of_the_manual_get_their_answers(running: list[str]) -> None:
    need(shutil.which("curl") is not None, "curl")
    answers = []
    for line in running:
        if line.startswith("curl "):
            called = subprocess.run(
                [*shlex.split(line), "-s"], capture_output=True, check=True, text=True
            )
            answers.append(json.loads(called.stdout))
    assert [answer["record"] for answer in answers] == [
        {
            "type": "opportunity",
            "id": "Opportunity:09880",
            "data": {"document_name": "Apple Sales Contract", "document_tags": {}},
        },
        {
            "type": "opportunity",
            "id": "Opportunity:09876",
            "data": {"document_name": "Sales Contract", "document_tags": {}},
        },
        {"type": "contact", "id": "Contact:45322", "data": {}},
    ]


def test_the_site_shows_what_each_customers_crm_made_of_it(address: str) -> None:
    page = requests.get(f"{address}/", timeout=10).text
    assert "Rocket Skates" in page
    assert "Opportunity:09877" in page


def test_one_logs_in_as_it_says(address: str) -> None:
    session = requests.Session()
    login = f"{address}/admin/login/"
    session.get(login, timeout=10)
    form = {
        "username": "demo",
        "password": "demo",
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
    }
    session.post(login, form, headers={"Referer": login}, timeout=10)
    records = session.get(f"{address}/admin/xkit_sandbox/record/", timeout=10)
    assert "Agreement__c:00001" in records.text


def test_a_port_that_is_taken_is_named(address: str, tmp_path: Path) -> None:
    port = address.rpartition(":")[2]
    done = subprocess.run(**command(tmp_path / "demo", "--port", port), check=False)
    assert done.returncode == 1
    assert f"Port {port} can't be served" in done.stdout


@pytest.mark.django_db(transaction=True)
def test_a_step_that_did_not_happen_is_a_problem() -> None:
    xkit_crm.define(json.loads(DEFINITIONS.read_text()))
    xkit_crm.connect("acme", provider="sandbox")
    workspace = Workspace.objects.create(name="Acme", crm_connection_id="elsewhere")
    outcome = story.play(
        story.Step(
            "Add a contact to a workspace whose CRM is not there",
            lambda: Contact.objects.create(workspace=workspace, full_name="Ada"),
            fires=(("acme", "create_contact", "succeeded"),),
            holds={("acme", "Contact:00001"): {"LastName": "Ada"}},
        )
    )
    assert len(outcome.problems) == 2
    assert "fired []" in outcome.problems[0]
    assert "Contact:00001" in outcome.problems[1]
