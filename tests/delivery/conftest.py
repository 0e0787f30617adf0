"""A sandbox CRM that can be told to misbehave, and what it then holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import xkit_crm
from tests.delivery.hanging import TOLD
from tests.factories import CustomerFactory
from tests.processes import Process, Start, processes
from tests.products.models import Deal
from xkit_crm.models import Connection, EventAction, Invocation
from xkit_crm.providers.sandbox.models import Flow, FlowStep, Misbehaviour, Org, Record
from xkit_crm.signals import invocation_finished

Misbehave = Callable[..., Misbehaviour]


@pytest.fixture
def misbehave(sandbox: Connection) -> Misbehave:
    """Make the CRM misbehave the next `times` times (None: until it is switched off)."""

    def tell(kind: str, *, times: int | None = 1, **named: Any) -> Misbehaviour:
        org = Org.objects.get(slug=sandbox.pk)
        return Misbehaviour.objects.create(org=org, kind=kind, remaining=times, **named)

    return tell


def held(object_name: str = "Opportunity") -> list[dict[str, Any]]:
    """The values of every record of an object, in the order they were made."""
    rows = Record.objects.filter(object__name=object_name, deleted_at=None).order_by("number")
    return [row.values for row in rows]


def names() -> list[str]:
    return [values["Name"] for values in held()]


def act(event: str, **changes: Any) -> None:
    """Change what the customer decided for an event."""
    EventAction.objects.filter(event__slug=event).update(**changes)


def only() -> Invocation:
    """The one invocation there is."""
    return Invocation.objects.select_related("event", "connection").get()


def states() -> list[str]:
    """The status of every invocation, in the order they were made."""
    return list(Invocation.objects.order_by("id").values_list("status", flat=True))


def create(name: str = "Sales", **named: Any) -> Invocation:
    """Fire the event that creates an opportunity of this name."""
    return xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": name}, **named)


@pytest.fixture
def flow(sandbox: Connection) -> Flow:
    """A flow that makes an account, and an opportunity if it is told to answer with one."""
    org = Org.objects.get(slug="acme")
    made = Flow.objects.create(
        org=org,
        name="new_deal",
        label="New deal",
        inputs=[{"name": "title", "required": True}],
    )
    FlowStep.objects.create(
        flow=made, position=1, action="create", object_name="Account", values={"Name": "{title}"}
    )
    FlowStep.objects.create(
        flow=made,
        position=2,
        action="create",
        object_name="Opportunity",
        values={"Name": "{title}", "AccountId": "{step 1}"},
        is_result=True,
    )
    act(
        "deal_created",
        action="workflow",
        workflow="new_deal",
        transformations=[{"field": "title", "kind": "direct", "key": "name"}],
    )
    return made


@pytest.fixture
def heard() -> Iterator[list[Invocation]]:
    """The invocations of whose end the product is told."""
    ended: list[Invocation] = []

    def on_finished(invocation: Invocation, **_: object) -> None:
        ended.append(invocation)

    invocation_finished.connect(on_finished)
    yield ended
    invocation_finished.disconnect(on_finished)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """While this file exists, the CRM's next answer never comes."""
    return tmp_path / "hang"


@pytest.fixture
def start(told: Path) -> Iterator[Start]:
    """Start a worker process on the tests' database."""
    with processes() as run:

        def worker(*options: str) -> Process:
            return run(
                *("manage.py", "xkit_worker", *options),
                settings="tests.delivery.worker_settings",
                **{TOLD: str(told)},
            )

        yield worker


def put(*titles: str) -> None:
    for title in titles:
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": title}, wait=False)


def backlog(connection_id: str, count: int) -> None:
    customer = CustomerFactory.create(connection_id=connection_id)
    Deal.synced.bulk_create([Deal(customer=customer, title=f"Deal {n}") for n in range(count)])
