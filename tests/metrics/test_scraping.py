"""Prometheus scrapes the site: who may, what it reads, and that counters never go back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib import reload
from typing import Any

import pytest
import requests
import time_machine
from django.contrib.auth.models import Permission, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

import xkit_crm
from tests.delivery.conftest import act
from tests.factories import ConnectionFactory, TallyFactory
from xkit_crm.delivery import replay, rollup
from xkit_crm.delivery.drain import drain
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.metrics import urls
from xkit_crm.metrics.collector import XkitCollector
from xkit_crm.models import Attempt, Connection, Invocation, Lane

TOKEN = "a-token-that-nobody-guesses"

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.metrics.urls")]


@pytest.fixture(autouse=True)
def _token(settings: Any) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "METRICS_TOKEN": TOKEN}


def scraped(client: Client) -> dict[str, float]:
    """Every sample as `name{label="value",...}`, labels in order of the alphabet."""
    response = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    return samples(parse(response.content.decode()))


def samples(families: Iterator[Metric]) -> dict[str, float]:
    found = {}
    for family in families:
        assert family.type != "unknown"
        for one in family.samples:
            labels = ",".join(f'{name}="{one.labels[name]}"' for name in sorted(one.labels))
            found[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return found


def refused(connection: Connection) -> Invocation:
    """One that the CRM refuses, and takes from now on."""
    names = [{"field": field, "kind": "direct", "key": "name"} for field in ("Name", "StageName")]
    made = xkit_crm.invoke(connection, "opportunity", "deal_created", {"name": "x"}, wait=False)
    act("deal_created", transformations=names)
    drain(connection.pk)
    act("deal_created", transformations=names[:1])
    return made


def test_a_scrape_says_what_the_log_says(sandbox: Connection, client: Client) -> None:
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        for seconds in (0, 2, 40):
            xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
            clock.shift(seconds)
            drain("acme")
            clock.shift(timedelta(hours=2))
            rollup.roll_up()
        replay.replay([refused(sandbox)])
        found = scraped(client)
    of = 'provider="sandbox"'
    done = Invocation.objects.filter(status="succeeded")
    assert found[f'xkit_crm_invocations_ended_total{{{of},status="succeeded"}}'] == done.count()
    assert found[f'xkit_crm_invocations_ended_total{{{of},status="failed"}}'] == 1
    assert found[f'xkit_crm_invocations_reopened_total{{{of},status="failed"}}'] == 1
    assert found[f'xkit_crm_invocations_ended_total{{{of},status="unknown"}}'] == 0
    for outcome in ("succeeded", "failed"):
        tries = Attempt.objects.filter(outcome=outcome).count()
        assert found[f'xkit_crm_tries_total{{outcome="{outcome}",{of}}}'] == tries
    assert found[f'xkit_crm_errors_total{{code="rejected_by_crm",{of}}}'] == 1
    took = [(one.finished_at - one.created_at).total_seconds() for one in done if one.finished_at]
    assert found[f"xkit_crm_save_to_crm_seconds_count{{{of}}}"] == len(took)
    assert found[f"xkit_crm_save_to_crm_seconds_sum{{{of}}}"] == pytest.approx(sum(took))
    for bound in ("0.001", "2.048", "65.536", "+Inf"):
        below = sum(seconds <= float(bound) for seconds in took)
        assert found[f'xkit_crm_save_to_crm_seconds_bucket{{le="{bound}",{of}}}'] == below


def test_a_scrape_says_how_the_lanes_are(connection: Connection, client: Client) -> None:
    later = timezone.now() + timedelta(hours=1)
    for name, left in (("globex", 250), ("initech", 900)):
        lane = Lane(connection=ConnectionFactory.create(id=name, provider="hubspot"))
        lane.quota, lane.quota_left, lane.quota_resets_at = 1000, left, later
        lane.save()
    Lane.objects.filter(pk="globex").update(paused_until=later)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(2):
            TallyFactory.create(connection_id="acme")
            event = xkit_crm.models.EventDefinition.objects.get(slug="deal_created")
            Invocation.objects.create(connection=connection, event=event, record_key="x")
            clock.shift(90)
        found = scraped(client)
    assert found['xkit_crm_lanes{provider="hubspot",state="paused"}'] == 1
    assert found['xkit_crm_lanes{provider="hubspot",state="free"}'] == 1
    assert found['xkit_crm_lanes{provider="sandbox",state="errored"}'] == 0
    assert found["xkit_crm_waiting"] == 2
    assert found['xkit_crm_overdue_seconds{provider="sandbox"}'] == 180
    assert found['xkit_crm_quota_left_ratio{provider="hubspot"}'] == 0.25


def test_counters_never_go_back(sandbox: Connection, client: Client) -> None:
    before: dict[str, float] = {}
    with time_machine.travel("2026-03-01 10:00:00Z", tick=False) as clock:
        for step in range(8):
            if step == 6:
                sandbox.delete()
            elif step < 6:
                refused(sandbox)
            for wait in (timedelta(0), timedelta(minutes=1), timedelta(hours=3), timedelta(days=9)):
                clock.shift(wait)
                rollup.roll_up()
                after = scraped(client)
                for name in before:
                    if "_total" in name or "_bucket" in name or "_sum" in name:
                        assert after[name] >= before[name], name
                before = after


def test_each_connection_has_its_own_where_that_is_asked_for(
    sandbox: Connection, client: Client, settings: Any
) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "METRICS_CONNECTIONS": True}
    refused(sandbox)
    xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "x"}, wait=False)
    found = scraped(client)
    of = 'connection="acme",provider="sandbox"'
    assert found[f'xkit_crm_invocations_ended_total{{{of},status="failed"}}'] == 1
    assert f"xkit_crm_overdue_seconds{{{of}}}" in found
    assert 'xkit_crm_save_to_crm_seconds_count{provider="sandbox"}' in found


def test_it_answers_in_openmetrics_as_well(sandbox: Connection, client: Client) -> None:
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Accept": "application/openmetrics-text; version=1.0.0",
    }
    response = client.get("/metrics/", headers=headers)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    families = list(parse_openmetrics(response.content.decode()))
    assert "xkit_crm_invocations_ended" in {family.name for family in families}


@pytest.mark.django_db(transaction=True)
def test_it_is_scraped_over_http(sandbox: Connection, live_server: object) -> None:
    response = requests.get(
        f"{live_server.url}/metrics/",  # type: ignore[attr-defined]
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=10,
    )
    assert response.headers["Content-Type"].startswith("text/plain")
    assert samples(parse(response.text))["xkit_crm_waiting"] == 0


@pytest.mark.parametrize("sent", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer ä"])
def test_nobody_else_is_let_in(client: Client, db: None, sent: str | None) -> None:
    response = client.get("/metrics/", headers={"Authorization": sent} if sent else {})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert b"xkit_crm_" not in response.content


def test_without_a_token_it_is_closed(client: Client, db: None, settings: Any) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "METRICS_TOKEN": ""}
    for sent in ("Bearer ", "Bearer", f"Bearer {TOKEN}"):
        assert client.get("/metrics/", headers={"Authorization": sent}).status_code == 401


def test_who_may_look_at_connections_may_read_them(client: Client, db: None) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    client.force_login(user)
    assert client.get("/metrics/").status_code == 401
    user.user_permissions.add(Permission.objects.get(codename="view_connection"))
    assert client.get("/metrics/").status_code == 200
    assert client.post("/metrics/").status_code == 405


def test_it_goes_into_a_registry_of_the_products_own(sandbox: Connection) -> None:
    registry = CollectorRegistry()
    with CaptureQueriesContext(database) as queries:
        registry.register(XkitCollector())
    assert len(queries) == 0
    assert registry.get_sample_value("xkit_crm_waiting") == 0


def test_a_scrape_costs_the_same_queries_however_much_there_is(
    sandbox: Connection, client: Client
) -> None:
    def asked() -> int:
        with CaptureQueriesContext(database) as queries:
            scraped(client)
        return len(queries)

    few = asked()
    for number in range(20):
        pk = ConnectionFactory.create(id=f"c{number}").pk
        TallyFactory.create(connection_id=pk, status="failed")
    assert asked() == few <= 10


def test_where_the_package_is_missing_it_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("xkit_crm.metrics.views", "xkit_crm.metrics.collector"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError) as raised:
        reload(urls)
    assert "xkit_crm[prometheus]" in str(raised.value)
