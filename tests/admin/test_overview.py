"""The overview's pages: how it goes in all connections and in one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import xkit_crm
from tests.delivery.conftest import act
from tests.factories import ConnectionFactory, TallyFactory
from xkit_crm.admin.charts import took
from xkit_crm.delivery import rollup
from xkit_crm.delivery.drain import drain
from xkit_crm.models import Attempt, Connection, Invocation, Lane

pytestmark = pytest.mark.django_db

ALL = "/admin/xkit_crm/connection/overview/"
ONE = "/admin/xkit_crm/connection/acme/overview/"


def shown(client: Client, url: str = ALL, **parameters: str) -> str:
    response = client.get(url, parameters)
    assert response.status_code == 200
    return response.content.decode()


def tiles(page: str) -> dict[str, str]:
    """What each tile says, by its heading."""
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)
    return {name: re.sub("<[^>]+>", "", value) for name, value in found}


def table_under(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under this heading's chart."""
    part = page.split(f">{heading}<")[1]
    body = part.split("<tbody>")[1].split("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in rows
    ]


def test_its_figures_agree_with_a_count_over_the_log(
    sandbox: Connection, admin_client: Client
) -> None:
    names = [{"field": field, "kind": "direct", "key": "name"} for field in ("Name", "StageName")]
    with time_machine.travel(datetime(2026, 3, 1, 9, 30, tzinfo=UTC), tick=False) as clock:
        admin_client.force_login(User.objects.get(username="admin"))
        for number in range(12):
            xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
            if number == 8:
                act("deal_created", transformations=names)
            clock.shift(timedelta(seconds=3))
            drain("acme")
            clock.shift(timedelta(minutes=20))
            rollup.roll_up()
        for url in (ALL, ONE):
            page = shown(admin_client, url, range="24h")
            log = Invocation.objects.all()
            delivered = log.filter(status="succeeded").count()
            failed = log.filter(status="failed").count()
            assert (delivered, failed) == (8, 4)
            assert tiles(page)["Delivered"] == str(delivered)
            assert tiles(page)["Failed or in doubt"] == str(failed)
            by_hour = table_under(page, "Ended")
            assert [sum(int(row[at]) for row in by_hour) for at in (1, 2)] == [failed, delivered]
            at_nine = log.filter(status="succeeded", finished_at__hour=9).count()
            assert next(row for row in by_hour if row[0] == "09:00")[2] == str(at_nine)
            refused = Attempt.objects.filter(error__code="rejected_by_crm").count()
            assert table_under(page, "What went wrong")[0][:2] == ["rejected_by_crm", str(refused)]


def test_each_range_shows_what_belongs_to_it(connection: Connection, admin_client: Client) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    for hours, count in ((0, 1), (5, 10), (100, 100), (200, 1000)):
        TallyFactory.create(connection_id="acme", at=now - timedelta(hours=hours), count=count)
    for slug, delivered in (("1h", "1"), ("24h", "11"), ("7d", "111")):
        assert tiles(shown(admin_client, ALL, range=slug))["Delivered"] == delivered
        assert tiles(shown(admin_client, ONE, range=slug))["Delivered"] == delivered


def test_the_worst_are_listed_and_all_can_be(connection: Connection, admin_client: Client) -> None:
    ConnectionFactory.create(id="broken", status="errored", context="workspace-9")
    page = shown(admin_client)
    assert "/broken/overview/" in page
    assert ONE not in page
    assert ONE in shown(admin_client, show="all")
    found = shown(admin_client, q="space-9")
    assert "/broken/overview/" in found
    assert ONE not in found
    assert "No connection has “&lt;b&gt;”" in shown(admin_client, q="<b>")


def test_a_long_list_is_turned_page_by_page(admin_client: Client, db: None) -> None:
    for number in range(60):
        ConnectionFactory.create(id=f"c{number:02}", status="errored")
    first = shown(admin_client)
    assert first.count("/overview/?range=") == 25
    assert 'rel="next"' in first
    assert "c59" in shown(admin_client, p="3")
    assert 'rel="next"' not in shown(admin_client, p="3")
    assert admin_client.get(ALL, {"p": "4"}).status_code == 404


@pytest.mark.parametrize("wrong", [{"range": "2h"}, {"p": "0"}, {"p": "x"}, {"p": "²"}])
def test_what_cannot_be_asked_is_not_found(
    admin_client: Client, connection: Connection, wrong: dict[str, str]
) -> None:
    assert admin_client.get(ALL, wrong).status_code == 404


def test_its_charts_are_drawn_the_same_in_every_language(
    connection: Connection, admin_client: Client
) -> None:
    TallyFactory.create(connection_id="acme", status="failed", count=3)
    TallyFactory.create(connection_id="acme", status="failed", count=7, code="rejected_by_crm")
    page = admin_client.get(ALL, headers={"Accept-Language": "de"}).content.decode()
    numbers = re.findall(r'<rect[^>]*? width="([^"]+)"', page)
    assert len(numbers) >= 3
    assert all(float(number) > 0 for number in numbers)


def test_a_connection_that_there_is_not_is_not_found(admin_client: Client) -> None:
    assert admin_client.get("/admin/xkit_crm/connection/nobody/overview/").status_code == 404


def test_the_page_of_one_says_how_its_lane_is(connection: Connection, admin_client: Client) -> None:
    later = timezone.now() + timedelta(minutes=5)
    Lane.objects.create(
        connection=connection, paused_until=later, failures=9, quota=100, quota_left=40
    )
    page = shown(admin_client, ONE)
    assert tiles(page)["Lane"] == "paused"
    assert "the CRM doesn&#x27;t answer" in page
    assert "<bdi>40 / 100</bdi>" in page


def test_a_connection_whose_id_has_a_slash_has_its_page(admin_client: Client, db: None) -> None:
    ConnectionFactory.create(id="tenant/1 & co", status="errored")
    link = re.search(r'href="([^"]+/overview/\?range=24h)"', shown(admin_client))
    assert link is not None
    assert "Overview of tenant/1 &amp; co" in shown(admin_client, link.group(1))
    change = reverse("admin:xkit_crm_connection_change", args=["tenant_2F1 _26 co"])
    own = '"/admin/xkit_crm/connection/tenant_2F1 _26 co/overview/"'
    assert own in unquote(admin_client.get(change).content.decode())


def test_only_who_may_look_at_connections_may_look(client: Client, connection: Connection) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    client.force_login(user)
    assert client.get(ALL).status_code == client.get(ONE).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_connection"))
    assert client.get(ALL).status_code == client.get(ONE).status_code == 200
    assert 'aria-current="page">Overview' in shown(client)
    index = client.get("/admin/xkit_crm/").content.decode()
    assert f'href="{ALL}"' in index


def test_it_costs_the_same_few_queries_however_much_there_is(
    admin_client: Client, connection: Connection
) -> None:
    def asked(url: str) -> int:
        with CaptureQueriesContext(database) as queries:
            shown(admin_client, url)
        return len(queries)

    TallyFactory.create(connection_id="acme", status="failed")
    few = asked(ALL), asked(ONE)
    for number in range(30):
        pk = ConnectionFactory.create(id=f"c{number}", status="errored").pk
        for status in ("succeeded", "failed", "unknown"):
            TallyFactory.create(connection_id=pk, status=status, count=number + 1)
    assert (asked(ALL), asked(ONE)) == few
    assert max(few) <= 15


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "—"),
        (0.0004, "0.4 ms"),
        (0.0421, "42 ms"),
        (1, "1 s"),
        (1.26, "1.3 s"),
        (59.6, "60 s"),
        (90, "1.5 min"),
        (86_400 * 12.4, "12 d"),
    ],
)
def test_durations_are_said_in_two_figures(seconds: float | None, said: str) -> None:
    assert took(seconds) == said
