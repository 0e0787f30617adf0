"""The rules and the board of the docs ask for metrics, labels and values that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from django.utils import timezone

from tests.factories import TallyFactory
from xkit_crm.metrics.collector import XkitCollector
from xkit_crm.models import Connection, EventDefinition, Invocation, Lane
from xkit_crm.models.invocation import InvocationStatus
from xkit_crm.overview.lanes import LaneState

pytestmark = pytest.mark.django_db

DOCS = Path(__file__).parents[2] / "docs"
ALERTS = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text("utf-8"))
BOARD = json.loads((DOCS / "monitoring" / "grafana.json").read_text("utf-8"))
GUIDE = (DOCS / "monitoring.md").read_text("utf-8")
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
#: What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$provider": ".*"}
#: Values that a label can have, where they are few.
VALUES = {"status": set(InvocationStatus.values), "state": set(LaneState.values)}

Known = dict[str, set[str]]


@pytest.fixture
def known(connection: Connection) -> Known:
    """The labels of each metric that a scrape gives where everything has happened."""
    now = timezone.now()
    TallyFactory.create(connection_id="acme")
    TallyFactory.create(connection_id="acme", status="failed", code="mapping_incomplete")
    TallyFactory.create(connection_id="acme", status="failed", reopened=True)
    event = EventDefinition.objects.get(slug="deal_created")
    Invocation.objects.create(connection=connection, event=event, record_key="x")
    Lane.objects.create(
        connection=connection, quota=9, quota_left=3, quota_resets_at=now + timedelta(days=1)
    )
    samples = [sample for family in XkitCollector().collect() for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of a metric in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from (*selectors(node.lhs), *selectors(node.rhs))
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from selectors(argument)
    elif hasattr(node, "expr"):
        yield from selectors(node.expr)


@pytest.mark.parametrize(("title", "expression"), list(expressions()), ids=lambda value: value[:40])
def test_an_expression_asks_for_what_there_is(known: Known, title: str, expression: str) -> None:
    asked = list(selectors(promql_parser.parse(expression)))
    assert asked
    for selector in asked:
        assert selector.name in known, f"{title} asks for {selector.name}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in known[selector.name], f"{title}: {matcher.name}"
            if matcher.name in VALUES:
                assert set(matcher.value.split("|")) <= VALUES[matcher.name], title


def test_every_rule_says_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 8
    for rule in RULES:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_panel_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_guide_has_every_metric_and_no_other(known: Known) -> None:
    told = set(re.findall(r"^\| `(xkit_crm_\w+)`", GUIDE, re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in known} == told


def test_the_board_shows_every_metric(known: Known) -> None:
    shown = {one.name for _, text in expressions() for one in selectors(promql_parser.parse(text))}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    assert families <= {re.sub(r"_bucket$", "", name) for name in shown}
