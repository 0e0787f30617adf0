"""What a CRM says of itself is asked once in a while, and again when it is connected again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.utils import timezone

import xkit_crm
from xkit_crm import mappings
from xkit_crm.models import Connection
from xkit_crm.providers import descriptions
from xkit_crm.providers.base import Access, RemoteField, RemoteObject, Workflow
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.standard import add_field

pytestmark = pytest.mark.django_db

asked: list[str] = []


class Remote(SandboxProvider):
    """A sandbox that is asked over a network, so that each question costs."""

    description_ttl = timedelta(minutes=10)

    def describe_objects(self) -> Sequence[RemoteObject]:
        asked.append("objects")
        return super().describe_objects()

    def describe_fields(self, remote_object: str) -> Sequence[RemoteField]:
        asked.append(remote_object)
        return super().describe_fields(remote_object)

    def list_workflows(self) -> Sequence[Workflow]:
        asked.append("workflows")
        return super().list_workflows()


@pytest.fixture
def remote(definitions: None, settings: Any) -> Iterator[Connection]:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "PROVIDERS": {"remote": f"{__name__}.Remote"}}
    cache.clear()
    connection = xkit_crm.connect("acme", provider="remote")
    asked.clear()
    yield connection
    cache.clear()


def test_an_event_asks_the_crm_for_no_description(remote: Connection) -> None:
    for name in ("One", "Two"):
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": name})
    assert asked == []


def test_it_is_asked_again_when_its_answer_is_old(remote: Connection, time_machine: Any) -> None:
    provider = provider_for(remote)
    assert descriptions.fields(provider, "Opportunity")["Name"].label == "Opportunity Name"
    assert asked == []
    time_machine.move_to(timezone.now() + timedelta(minutes=11))
    descriptions.fields(provider_for(remote), "Opportunity")
    descriptions.fields(provider_for(remote), "Opportunity")
    assert asked == ["Opportunity"]


def test_it_is_asked_again_when_it_is_connected_again(remote: Connection) -> None:
    xkit_crm.connect("acme", provider="remote")
    assert asked.count("objects") == 1
    assert asked.count("Opportunity") == 1


class Process:
    """What another process remembers, where each has a cache of its own, as Django's default is."""

    def __init__(self, settings: Any, name: str) -> None:
        self.settings, self.name = settings, name

    def __enter__(self) -> None:
        backend = "django.core.cache.backends.locmem.LocMemCache"
        self.settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": self.name}}

    def __exit__(self, *_: object) -> None:
        self.settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
        }


@pytest.fixture
def processes(settings: Any) -> Iterator[tuple[Process, Process]]:
    """A web process and a worker."""
    web, worker = Process(settings, "web"), Process(settings, "worker")
    yield web, worker
    for process in (web, worker):
        with process:
            cache.clear()


def connect_again(connection: Connection) -> None:
    xkit_crm.connect(connection.pk, provider="remote")


@pytest.mark.parametrize("anew", [connect_again, descriptions.forget])
def test_every_process_asks_again_once_one_wants_it_anew(
    remote: Connection,
    processes: tuple[Process, Process],
    anew: Callable[[Connection], object],
) -> None:
    web, worker = processes
    with worker:
        descriptions.fields(provider_for(remote), "Contact")
    with web:
        anew(remote)
    asked.clear()
    with worker:
        descriptions.fields(provider_for(Connection.objects.get()), "Contact")
    assert asked == ["Contact"]


def test_what_a_process_is_told_while_it_is_connected_again_is_not_kept(
    remote: Connection, processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what the account says that the customer is about to leave."""
    web, worker = processes

    def describe_objects(self: Remote) -> Sequence[RemoteObject]:
        with worker:
            descriptions.fields(provider_for(Connection.objects.get()), "Contact")
        return SandboxProvider.describe_objects(self)

    with monkeypatch.context() as meanwhile, web:
        meanwhile.setattr(Remote, "describe_objects", describe_objects)
        xkit_crm.connect("acme", provider="remote", credentials={"account": "another"})
    asked.clear()
    with worker:
        descriptions.fields(provider_for(Connection.objects.get()), "Contact")
    assert asked == ["Contact"]


def with_static(connection: Connection, field: str, value: str) -> Any:
    """The mapping in force, with this value in each new record."""
    document = mappings.in_force(connection)
    action = document["opportunity"]["events"]["deal_created"]
    action["transformations"] += [{"field": field, "kind": "static", "value": value}]
    return document


def test_a_field_that_the_customer_has_just_made_is_written_at_once(
    remote: Connection, processes: tuple[Process, Process]
) -> None:
    web, worker = processes
    with worker:
        xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "One"})
    with web:
        add_field(SandboxProvider(Access("acme")).org, "Opportunity", "Motto")
        mappings.put_in_force(remote, with_static(remote, "Motto", "Onwards"))
    with worker:
        made = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "Two"})
    assert made.status == "succeeded"
    assert made.attempts.get().sent["Motto"] == "Onwards"


def test_workflows_are_found_by_name(remote: Connection) -> None:
    provider = provider_for(remote)
    assert descriptions.workflow(provider, "none") is None
    assert descriptions.workflow(provider, "none") is None
    assert asked == ["workflows"]


def test_customers_never_see_each_others(remote: Connection) -> None:
    xkit_crm.connect("other", provider="remote")
    asked.clear()
    for connection in Connection.objects.all():
        descriptions.fields(provider_for(connection), "Contact")
    descriptions.fields(Remote(Access("third")), "Contact")
    assert asked == ["Contact"]


def test_a_provider_that_costs_nothing_to_ask_is_asked_by_each_adapter(
    sandbox: Connection,
) -> None:
    assert "Nickname" not in descriptions.fields(provider_for(sandbox), "Contact")
    add_field(SandboxProvider(Access("acme")).org, "Contact", "Nickname")
    assert "Nickname" in descriptions.fields(provider_for(sandbox), "Contact")


class Away(BaseCache):
    """A cache whose server doesn't answer."""

    def __init__(self, *_: object) -> None:
        super().__init__({})

    def get(self, *_: object, **__: object) -> Any:
        raise ConnectionError("Connection refused.")

    set = add = get

    def clear(self) -> None:
        pass


def test_a_cache_that_does_not_answer_costs_a_question_and_no_event(
    remote: Connection, settings: Any
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Away"}}
    made = xkit_crm.invoke("acme", "opportunity", "deal_created", {"name": "One"})
    assert made.status == "succeeded"
    assert set(asked) == {"Opportunity"}


def test_a_process_asks_the_cache_once_in_some_seconds(
    remote: Connection, monkeypatch: pytest.MonkeyPatch, time_machine: Any
) -> None:
    time_machine.move_to(timezone.now())
    got: list[str] = []
    get = cache.get
    monkeypatch.setattr(cache, "get", lambda key: got.append(key) or get(key))
    for _ in range(3):
        assert descriptions.fields(provider_for(remote), "Opportunity")
    assert len(got) == 1
    time_machine.shift(descriptions.HOLD)
    assert descriptions.fields(provider_for(remote), "Opportunity")
    assert len(got) == 2
    assert asked == []
