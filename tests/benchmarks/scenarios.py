"""What is measured: saving, loading, the endpoint, validation, mapping."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.response import Response
from rest_framework.views import APIView

import xkit_crm
from tests.api.conftest import basic
from tests.benchmarks.measuring import Figure, Work, compare, per_second
from tests.factories import ConnectionFactory
from tests.objects import OBJECTS
from tests.products.crm import TwinSync
from tests.products.models import Plain, Twin
from xkit_crm import schema
from xkit_crm.api.views import Invoke
from xkit_crm.delivery import tallies
from xkit_crm.delivery.drain import drain
from xkit_crm.delivery.rows import Write
from xkit_crm.mapping.resolving import resolve
from xkit_crm.mapping.transformations import parse_action
from xkit_crm.models import APIKey, EventAction, EventDefinition, Invocation
from xkit_crm.providers.base import Draft, RecordRef
from xkit_crm.providers.sandbox.provider import SandboxProvider

TEN_KEYS = {f"key_{n}": {"type": "string", "maxLength": 200} for n in range(10)}
TEN_VALUES = {f"key_{n}": f"value {n}" for n in range(10)}


def prepare() -> None:
    """The rows that all scenarios work on."""
    xkit_crm.define(OBJECTS)
    ConnectionFactory.create(id="bench")
    for model in (Plain, Twin):
        model.objects.bulk_create(model(connection_id="bench", title=str(n)) for n in range(1000))


def _queries(work: Work) -> int:
    with CaptureQueriesContext(connection) as captured:
        work(0)
    return sum("SAVEPOINT" not in query["sql"] for query in captured)


def saving(rounds: int) -> Iterator[tuple[str, list[Figure]]]:
    """`save()` of one loaded row: plain, bound and unchanged, bound and changed."""
    plain, twin = Plain.objects.first(), Twin.objects.first()
    assert plain is not None
    assert twin is not None

    def save_plain(number: int) -> None:
        plain.title = f"title {number}"
        plain.save()

    def save_unchanged(number: int) -> None:
        twin.note = f"note {number}"
        twin.save()

    def save_changed(number: int) -> None:
        twin.title = f"title {number}"
        twin.save()

    variants: dict[str, Work] = {
        "plain": save_plain,
        "bound, nothing watched changed": save_unchanged,
        "bound, changed": save_changed,
    }
    for work in variants.values():
        work(-1)
    queries = {name: _queries(work) for name, work in variants.items()}
    assert Invocation.objects.filter(event__slug="deal_updated").count() == 2  # not for nothing
    yield "save(), autocommit", compare(variants, rounds=rounds, queries=queries)
    with transaction.atomic():
        yield "save(), in a transaction", compare(variants, rounds=rounds, queries=queries)


class Won(TwinSync):
    """Only twins of this stage."""

    condition = [{"path": "stage", "operator": "is", "value": "won"}]


def conditional(rounds: int) -> Iterator[tuple[str, list[Figure]]]:
    """`save()` of one loaded row whose binding has a condition."""
    plain, taken, left_out, moving = Plain.objects.first(), *Twin.objects.all()[:3]
    assert plain is not None
    with xkit_crm.muted():
        taken.stage = "won"
        taken.save()

    def save_plain(number: int) -> None:
        plain.title = f"title {number}"
        plain.save()

    def save_taken(number: int) -> None:
        taken.title = f"title {number}"
        taken.save()

    def save_left_out(number: int) -> None:
        left_out.title = f"title {number}"
        left_out.save()

    def save_moving(number: int) -> None:
        moving.stage = "won" if number % 2 else "new"
        moving.save()

    variants: dict[str, Work] = {
        "plain": save_plain,
        "meets it, changed": save_taken,
        "doesn't meet it, changed": save_left_out,
        "begins to meet it, and stops": save_moving,
    }
    xkit_crm.unregister(Twin)
    xkit_crm.register(Twin)(Won)
    try:
        queries = {name: _queries(work) for name, work in variants.items()}
        yield (
            "save() with a condition, autocommit",
            compare(variants, rounds=rounds, queries=queries),
        )
    finally:
        xkit_crm.unregister(Twin)
        xkit_crm.register(Twin)(TwinSync)


def loading(rounds: int) -> Iterator[tuple[str, list[Figure]]]:
    """A thousand rows of each model; the figure is for all of them."""
    yield (
        "load 1,000 rows",
        compare(
            {
                "plain": lambda _: list(Plain.objects.all()),
                "bound": lambda _: list(Twin.objects.all()),
            },
            rounds=rounds,
        ),
    )


class NoOp(APIView):
    """A bare DRF view that parses the same body."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Any, **named: Any) -> Response:
        return Response({"record": request.data["payload"]})


def endpoint(rounds: int) -> Iterator[tuple[str, list[Figure]]]:
    """The invoke endpoint: stored only, carried out with nothing to do, and a real create."""
    xkit_crm.connect("crm", provider="sandbox")
    xkit_crm.connect("idle", provider="sandbox")
    EventAction.objects.filter(mapping__connection_id="idle").update(action="noop")
    key, secret = APIKey.objects.issue("bench")
    factory, authorization = RequestFactory(), basic(key.publishable_key, secret)
    body = json.dumps({"payload": {"name": "Sales", "amount": 1200.5}})
    invoke, noop = Invoke.as_view(), NoOp.as_view()

    def send(view: Any, connection_id: str, **headers: str) -> Any:
        request = factory.post(
            "/",
            body,
            content_type="application/json",
            headers={"Authorization": authorization, **headers},
        )
        response = view(
            request, connection=connection_id, crm_object="opportunity", event="deal_created"
        )
        response.render()
        assert response.status_code in (200, 202), response.content
        return response

    variants: dict[str, Work] = {
        "bare DRF view": lambda _: send(noop, "crm"),
        "invoke, Prefer: respond-async": lambda _: send(invoke, "idle", Prefer="respond-async"),
        "invoke, customer does nothing": lambda _: send(invoke, "idle"),
        "invoke, sandbox CRM creates": lambda _: send(invoke, "crm"),
    }
    queries = {name: _queries(work) for name, work in variants.items()}
    yield "POST an event", compare(variants, rounds=rounds, queries=queries)


class Instant(SandboxProvider):
    """A CRM that takes everything and needs no time."""

    slug = "instant"
    label = "Instant"
    batch_size = 50

    def create_many(self, remote_object: str, drafts: Sequence[Draft]) -> Sequence[RecordRef]:
        return [RecordRef(remote_object, draft.key) for draft in drafts]

    def create(self, remote_object: str, values: Mapping[str, Any], *, key: str) -> RecordRef:
        return RecordRef(remote_object, key)


def settling(rounds: int) -> Iterator[tuple[str, list[Figure]]]:
    """A turn in a lane whose CRM needs no time, with what it came to counted and not."""
    rounds = max(rounds, 40)
    counted = tallies.tried

    def turn(name: str, size: int, count: Callable[..., Write]) -> Work:
        def work(_: int) -> None:
            with patch.object(tallies, "tried", count):
                assert drain(name, limit=size) == size

        return work

    event = EventDefinition.objects.get(slug="deal_created")
    for size in (1, 50):
        variants: dict[str, Work] = {}
        for title, count in (("not counted", lambda _: Write()), ("counted", counted)):
            name = f"{title} {size}"
            xkit_crm.connect(name, provider="instant")
            wanted = size * (rounds + rounds // 10 + 2)
            Invocation.objects.bulk_create(
                Invocation(
                    connection_id=name,
                    event=event,
                    payload={"name": "Sales", "amount": 1200.5},
                    record_key=f"{name} {number}",
                )
                for number in range(wanted)
            )
            variants[title] = turn(name, size, count)
        queries = {title: _queries(work) for title, work in variants.items()}
        yield f"settle {size} in one call", compare(variants, rounds=rounds, queries=queries)


def pure() -> dict[str, float]:
    """Operations per second that need no database."""
    validator = schema.compile(TEN_KEYS)
    invalid = {**TEN_VALUES, "key_3": 3, "key_7": None, "unknown": 1}
    action = parse_action(
        {
            "action": "create",
            "remote_object": "Opportunity",
            "transformations": [
                {"field": f"Field{n}", "kind": "direct", "key": f"key_{n}"} for n in range(10)
            ],
        }
    )
    return {
        "validate 10 keys, valid": per_second(lambda: validator.validate(TEN_VALUES)),
        "validate 10 keys, 2 violations": per_second(lambda: validator.validate(invalid)),
        "map 10 fields": per_second(
            lambda: resolve(action, TEN_VALUES, fields=None, creating=True, current=None)
        ),
    }
