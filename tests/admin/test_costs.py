"""What the console's screens cost, each of them."""

from __future__ import annotations

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.admin.screens import screens
from xkit_crm.models import Connection

#: The most queries that a screen may take; two of them are the session's and the user's.
MOST = 15


@pytest.mark.django_db
def test_no_screen_takes_more_queries_than_a_handful(log: Connection, admin_client: Client) -> None:
    taken = {}
    for screen in screens():
        with CaptureQueriesContext(database) as queries:
            assert admin_client.get(screen).status_code == 200
        # The sandbox is a CRM: what it asks of its own tables would be asked elsewhere.
        taken[screen] = sum("xkit_sandbox_" not in query["sql"] for query in queries)
    assert {screen: count for screen, count in taken.items() if count > MOST} == {}
