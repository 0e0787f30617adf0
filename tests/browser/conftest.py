"""A real Chromium that an operator sits in front of."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

import example_project
import xkit_crm
from example_project.documents.models import Workspace
from tests.conftest import need

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


# Both cores may be busy with other tests.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session", autouse=True)
def _nobody_is_left(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A request whose page was closed in the middle keeps its database connection, and the
    database can't be dropped then."""
    yield
    if database.vendor == "postgresql":
        database.close()  # a test of the worker may have had this one closed by the server
        with django_db_blocker.unblock(), database.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    need(CHROMIUM is not None, "Chromium")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, which Django takes for async code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, live_server: Any, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page whose paths are those of the running site; what its console complains of fails."""
    context = chromium.new_context(
        base_url=live_server.url, viewport={"width": 1280, "height": 900}
    )
    context.set_default_timeout(15_000)
    opened = context.new_page()
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and "favicon" not in str(message.location):
            complaints.append(message.text)

    opened.on("console", listen)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    under_way: set[Request] = set()
    opened.on("request", lambda begun: under_way.add(begun))
    opened.on("requestfinished", lambda ended: under_way.discard(ended))
    opened.on("requestfailed", lambda ended: under_way.discard(ended))
    left: list[Request] = []
    opened.on("requestfailed", lambda ended: left.append(ended))
    yield opened
    # What a request has locked would be emptied after the test.
    deadline = time.monotonic() + 15
    while under_way and time.monotonic() < deadline:
        opened.wait_for_timeout(50)
    context.close()
    if any(one.failure == "net::ERR_ABORTED" for one in left):
        # Whoever leaves a page in the middle of its request breaks that off.
        complaints = [text for text in complaints if not text.startswith("htmx:")]
    assert complaints == [] or request.node.get_closest_marker("complains")


@pytest.fixture
def workspace(transactional_db: None) -> Workspace:
    """A customer of the example product, with everything defined and nothing connected."""
    document = Path(example_project.__file__).parent / "crm_objects.json"
    xkit_crm.define(json.loads(document.read_text("utf-8")))
    return Workspace.objects.create(name="Initech")


@pytest.fixture
def operator(page: Page, transactional_db: None) -> Page:
    """The page of an operator who has logged in to the admin."""
    User.objects.create_superuser("operator", password="right")
    return log_in(page, "operator")


def log_in(page: Page, name: str) -> Page:
    """Log somebody in to the admin, whose password is right."""
    page.goto("/admin/")
    page.fill("#id_username", name)
    page.fill("#id_password", "right")
    page.press("#id_password", "Enter")
    page.wait_for_url("**/admin/")
    return page


def follow(link: Locator) -> None:
    """Click a link and wait for the whole page. Django's form takes the focus into its first box
    at the very end: what is filled in before that may get there instead."""
    with link.page.expect_navigation():
        link.click()
