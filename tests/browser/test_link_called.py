"""`linkCRM()` in a product's page: what it gives, and what it tells the developer."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.template.loader import render_to_string
from playwright.sync_api import Page, expect

import xkit_crm
from example_project.documents.models import Workspace
from tests.browser.link import (
    confirm,
    connected,
    decide_the_rest,
)
from xkit_crm.models import Connection, EventAction
from xkit_crm.templatetags.xkit_crm import crm_link_button

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


#: The snippets of the seed, with the domain and token of this site.
SNIPPETS = [
    """await linkCRM(DOMAIN, token, {
  connectionID: 'context-id',
  objects: {
    opportunity: {
      events: {
        create_opportunity: {
          type: "create",
          label: "Create Opportunity",
          description: "Create new opportunities for sales documents that do not have one.",
          payloadSchema: {
            name: {
              type: "string",
              label: "Opportunity Name",
              description: "Desired name of the opportunity"
            }
          }
        }
      }
    }
  }
})""",
    """await linkCRM(DOMAIN, token, {
  connectionID: 'context-id',
  objects: {
    opportunity: {
      events: {
        document_updated: {
          type: "update",
          label: "Document Updated",
          description: "Occurs when relevant document properties change.",
          payloadSchema: {
            name: {
              label: "Document Name",
              description: "Updated name of the document",
              type: "string"
            },
            updated_at: {
              label: "Document Last Update Time",
              description: "ISO 8601 Date/Time of the last update made to the document",
              type: "string",
              format: "datetime"
            }
          }
        }
      }
    }
  }
})""",
    """await linkCRM(DOMAIN, token, {
  objects: {
    contact: {
      events: {
        contact_deleted: {
          type: "delete",
          label: "Contact Deleted",
          description: "Occurs when a contact in our app is deleted",
          payloadSchema: {
            deleted_at: {
              label: "Contact Delete Time",
              description: "ISO 8601 Date/Time representing when the contact was deleted",
              type: "string",
              format: "datetime"
            }
          }
        }
      }
    }
  }
})""",
]


def call(page: Page, snippet: str, *, token: str) -> None:
    """Run it in a product's page, and keep what comes of it in `window.ended`."""
    page.evaluate(
        f"""() => {{
          const DOMAIN = location.host, token = {json.dumps(token)};
          (async () => {{ return {snippet}; }})().then(
            (id) => {{ window.ended = {{ id }}; }},
            ({{ code, message, errors }}) => {{ window.ended = {{ code, message, errors }}; }},
          );
        }}"""
    )


def render(button: dict[str, Any]) -> str:
    return render_to_string("xkit_crm/link/button.html", button)


def ended(page: Page) -> dict[str, Any]:
    page.wait_for_function("window.ended")
    found: dict[str, Any] = page.evaluate("window.ended")
    return found


@pytest.fixture
def product(page: Page, transactional_db: None) -> Page:
    """A page of a product that has loaded the script and defined nothing yet."""
    page.goto("/")
    page.add_script_tag(url="/crm-link/crm-link.js")
    return page


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["create", "update", "delete"])
def test_the_seeds_snippets_end_in_a_working_connection(
    product: Page, snippet: str, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "LINK_DEFINES": True}
    call(product, snippet, token=xkit_crm.link_token("context"))
    frame = product.frame_locator("iframe[title='CRM Link']")
    connected(frame)
    decide_the_rest(frame)
    confirm(frame, product)
    connection = Connection.objects.get()
    assert ended(product) == {"id": connection.pk}
    assert connection.status == "enabled"
    assert ("context-id" in snippet) == (connection.pk == "context-id")
    assert EventAction.objects.get().action in snippet


def test_it_is_a_module_too(product: Page, workspace: Workspace) -> None:
    found = product.evaluate(
        "async () => { const m = await import('/crm-link/crm-link.mjs');"
        "return [typeof m.linkCRM, m.default === m.linkCRM]; }"
    )
    assert found == ["function", True]


def test_two_buttons_of_a_page_open_one_dialog_each(page: Page, workspace: Workspace) -> None:
    buttons = "".join(render(crm_link_button("1", label=label)) for label in ("One", "Two"))
    page.route("**/two", lambda route: route.fulfill(body=buttons, content_type="text/html"))
    page.goto("/two")
    assert page.evaluate("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == 2
    page.wait_for_function("!!window.linkCRM")
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Two").click()
    expect(page.locator("dialog")).to_have_count(1)


def test_giving_up_rejects_and_gives_the_page_back(product: Page, workspace: Workspace) -> None:
    call(product, "linkCRM(DOMAIN, token)", token=xkit_crm.link_token("1"))
    frame = product.frame_locator("iframe[title='CRM Link']")
    frame.get_by_role("button", name="Close").click()
    assert ended(product)["code"] == "closed"
    expect(product.locator("dialog")).to_have_count(0)


def test_escape_closes_it(product: Page, workspace: Workspace) -> None:
    call(product, "linkCRM(DOMAIN, token)", token=xkit_crm.link_token("1"))
    frame = product.frame_locator("iframe[title='CRM Link']")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    while not product.evaluate("window.ended"):  # the page's script may not be there yet
        frame.get_by_label("Token").press("Escape")
        product.wait_for_timeout(100)
    assert ended(product)["code"] == "closed"


@pytest.mark.complains
@pytest.mark.parametrize(
    ("called", "code"),
    [
        ("linkCRM(DOMAIN, '')", "link_token_invalid"),
        ("linkCRM('', token)", "malformed"),
        ("linkCRM('not a domain', token)", "malformed"),
        ("linkCRM(DOMAIN, token, {connectionId: 'acme'})", "malformed"),
        ("linkCRM(DOMAIN, 'forged')", "link_token_invalid"),
        ("linkCRM(DOMAIN, token, {objects: {a: {events: {b: {}}}}})", "definition_invalid"),
        ("linkCRM(DOMAIN + '/nothing-here/', token)", "unreachable"),
    ],
)
def test_what_is_wrong_is_told_to_the_developer(
    product: Page, workspace: Workspace, called: str, code: str
) -> None:
    product.context.set_default_timeout(8000)
    call(product, called, token=xkit_crm.link_token("1"))
    found = ended(product)
    assert found["code"] == code, found
    assert bool(found["errors"]) == ("{" in called)


@pytest.mark.complains
def test_an_expired_token_is_told(product: Page, workspace: Workspace) -> None:
    call(product, "linkCRM(DOMAIN, token)", token=xkit_crm.link_token("1", expires=timedelta(0)))
    assert "too old" in ended(product)["message"]
