"""A number that an address or a form says, whatever somebody made of it."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.test import Client

from tests.admin.binding_pages import form
from xkit_crm.admin.base import number
from xkit_crm.models import Connection

pytestmark = pytest.mark.django_db

#: Python reads no number this long, and no database holds the others.
ODD = ["9" * 5000, "9" * 19, str(2**63), "0", "-1", "1.5", "²", "x"]


@pytest.mark.parametrize(("text", "found"), [("1", 1), ("007", 7), (str(2**63 - 1), 2**63 - 1)])
def test_a_number_is_one_that_a_database_holds(text: str, found: int) -> None:
    assert number(text) == found


@pytest.mark.parametrize("text", [*ODD, ""])
def test_anything_else_is_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize("text", ODD)
def test_a_page_that_names_none_is_shown_or_is_not_there(
    connection: Connection, admin_client: Client, text: str
) -> None:
    def status(address: str, **sent: object) -> int:
        address = f"/admin/xkit_crm/{address}"
        if not sent:
            return admin_client.get(address).status_code
        as_form = {"content_type": "application/x-www-form-urlencoded"}
        return admin_client.post(address, urlencode(sent), **as_form).status_code

    assert status("modelbinding/parts/", **form(crm_object=text)) == 200
    assert status("modelbinding/parts/", **form(), **{f"condition:{text}:path": "name"}) == 200
    assert status(f"modelbinding/look/?id={text}") == 404
    assert status("crmobject/preview/", pk=text, crm_object=text) == 200
    assert status("eventdefinition/preview/", pk=text, crm_object=text) == 200
    assert status(f"invocation/{text}/change/") == 302
    assert status(f"invocation/?before={text}") == 200
    assert status(f"recordlink/?model={text}") == 200
    assert status(f"connection/overview/?p={text}") == 404
