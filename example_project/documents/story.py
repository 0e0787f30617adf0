"""The story that `manage.py xkit_demo` tells: what is done in the product, and what comes of it.

Each step says beforehand which events it must fire and what the CRM must hold afterwards;
`play` does it and compares. Plain data and functions: the command only draws them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction

from xkit_crm.client import XkitClient
from xkit_crm.delivery.worker import Worker
from xkit_crm.exceptions import RemoteRecordNotFound
from xkit_crm.models import Connection, Invocation
from xkit_crm.providers.base import RecordRef
from xkit_crm.providers.registry import provider_for
from xkit_crm.providers.sandbox.models import Misbehaviour, Org, Record

from .models import Contact, Document, Workspace

#: Seconds that a step may take until its events have ended.
PATIENCE = 15.0
#: What a CRM holds: remote values that must be there; None where the record must be gone.
Held = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done. `fires` is connection, event, end state; `holds` by record id."""

    title: str
    act: Callable[[], object]
    fires: tuple[tuple[str, str, str], ...] = ()
    holds: Mapping[tuple[str, str], Held] = field(default_factory=dict)
    #: What an API call must answer, without its invocation.
    answers: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step; `problems` is empty where it was as it had to be."""

    step: Step
    invocations: tuple[Invocation, ...]
    problems: tuple[str, ...]


def play(step: Step) -> Outcome:
    """Do it, wait until its events have ended, and compare."""
    last = Invocation.objects.order_by("id").values_list("id", flat=True).last() or 0
    answer = step.act()
    made = Invocation.objects.filter(id__gt=last).select_related("event").order_by("id")
    until = time.monotonic() + PATIENCE
    while any(not i.is_final for i in made.all()) and time.monotonic() < until:
        # What the outage kept back is due in a moment; in production a worker sees to it.
        time.sleep(0.1)
        Worker().run_once()
    invocations = tuple(made.all())
    return Outcome(step, invocations, tuple(_problems(step, invocations, answer)))


def _problems(step: Step, invocations: tuple[Invocation, ...], answer: object) -> list[str]:
    found = []
    fired = [(i.connection_id, i.event.slug, i.status) for i in invocations]
    if fired != list(step.fires):
        errors = [str(i.error) for i in invocations if i.error]
        found.append(f"fired {fired}, not {list(step.fires)} {errors or ''}".rstrip())
    for (connection_id, record_id), wanted in step.holds.items():
        held = record_values(connection_id, record_id)
        if wanted is None or held is None:
            if held is not wanted:
                found.append(f"{connection_id} holds {record_id}: {held}")
            continue
        wrong = {k: held.get(k) for k, v in wanted.items() if held.get(k) != v}
        if wrong:
            found.append(f"{record_id} of {connection_id} has {wrong}")
    if step.answers is not None:
        given = {k: v for k, v in dict(answer).items() if k != "invocation"}  # type: ignore[call-overload]
        if given != step.answers:
            found.append(f"answered {given}, not {dict(step.answers)}")
    return found


def record_values(connection_id: str, record_id: str) -> dict[str, Any] | None:
    """The values of a record in a customer's CRM; None where it is gone or never was."""
    ref = RecordRef.parse(record_id)
    connection = Connection.objects.get(pk=connection_id)
    if connection.provider != "sandbox":
        return _asked(connection, ref)
    record = Record.objects.filter(
        object__org__slug=connection_id,
        object__name=ref.remote_object,
        number=int(ref.crm_id),
        deleted_at=None,
    ).first()
    return dict(record.values) if record else None


def _asked(connection: Connection, ref: RecordRef) -> dict[str, Any] | None:
    """What the CRM itself says of a record."""
    crm = provider_for(connection)
    names = [field.name for field in crm.describe_fields(ref.remote_object) if field.readable]
    try:
        return dict(crm.get(ref, names).values)
    except RemoteRecordNotFound:
        return None


def held(connection: Connection) -> list[Record]:
    """Everything in a customer's CRM."""
    return list(
        Record.objects.filter(object__org__slug=connection.pk, deleted_at=None)
        .select_related("object")
        .order_by("object_id", "number")
    )


# -- the story ------------------------------------------------------------------------------------


def steps(client: XkitClient) -> list[Step]:
    """What is done, in order. The last ones go over HTTP, as another service would."""
    return [*_people(), *_documents(), *_trouble(), *_endings(), *_requests(client)]


def tryton_steps() -> list[Step]:
    """What is done with the customer whose CRM is a real Tryton."""
    return [
        Step(
            "Initech: add the contact Milton Waddams (their CRM is a Tryton)",
            lambda: Contact.objects.create(
                workspace=_workspace("Initech"), full_name="Milton Waddams"
            ),
            fires=(("initech", "create_contact", "succeeded"),),
        ),
        Step(
            "Initech: write the document Stapler Lease",
            lambda: Document.objects.create(
                workspace=_workspace("Initech"), title="Stapler Lease", value=Decimal("129.90")
            ),
            fires=(("initech", "create_opportunity", "succeeded"),),
            holds={
                ("initech", "sale.opportunity:1"): {
                    "description": "Stapler Lease",
                    "amount": 129.9,
                    "state": "lead",
                }
            },
        ),
        Step(
            "Initech: send it to be signed",
            _change("Stapler Lease", status=Document.Status.SENT),
            fires=(("initech", "document_updated", "succeeded"),),
            holds={("initech", "sale.opportunity:1"): {"comment": "The document is sent."}},
        ),
    ]


def _workspace(name: str) -> Workspace:
    return Workspace.objects.get(name=name)


def _document(title: str) -> Document:
    return Document.objects.select_related("workspace").get(title=title)


def _change(title: str, /, **values: Any) -> Callable[[], None]:
    def change() -> None:
        document = _document(title)
        for name, value in values.items():
            setattr(document, name, value)
        document.save()

    return change


def _people() -> list[Step]:
    return [
        Step(
            "Acme: add the contact Ada Lovelace",
            lambda: Contact.objects.create(
                workspace=_workspace("Acme"), full_name="Ada Lovelace", email="ada@example.com"
            ),
            fires=(("acme", "create_contact", "succeeded"),),
            holds={("acme", "Contact:45323"): {"LastName": "Ada Lovelace"}},
        ),
        Step(
            "Globex: add the contact Hank Scorpio (their own flow takes him in)",
            lambda: Contact.objects.create(
                workspace=_workspace("Globex"), full_name="Hank Scorpio", email="hank@example.com"
            ),
            fires=(("globex", "create_contact", "deferred"),),
            holds={
                ("globex", "Lead:00001"): {"LastName": "Hank Scorpio", "Source__c": "Signet"},
                ("globex", "Task:00001"): {
                    "Subject": "Say hello to Hank Scorpio",
                    "WhoId": "Lead:00001",
                },
            },
        ),
    ]


def _documents() -> list[Step]:
    def write(workspace: str, title: str, value: str) -> Callable[[], Document]:
        return lambda: Document.objects.create(
            workspace=_workspace(workspace), title=title, value=Decimal(value)
        )

    return [
        Step(
            "Acme: write the document Rocket Skates",
            write("Acme", "Rocket Skates", "12500.50"),
            fires=(("acme", "create_opportunity", "succeeded"),),
            holds={
                ("acme", "Opportunity:09877"): {
                    "Name": "Rocket Skates",
                    "Amount": 12500.5,
                    "StageName": "Prospecting",
                }
            },
        ),
        Step(
            "Globex: write the document Doomsday Device (an object of their own)",
            write("Globex", "Doomsday Device", "990000"),
            fires=(("globex", "create_opportunity", "succeeded"),),
            holds={
                ("globex", "Agreement__c:00001"): {
                    "Title__c": "Signet: Doomsday Device",
                    "Worth__c": 990000,
                    "State__c": "In preparation",
                    "Source__c": "Signet",
                }
            },
        ),
        Step(
            "Acme: send it to be signed",
            _change("Rocket Skates", status=Document.Status.SENT),
            fires=(("acme", "document_updated", "succeeded"),),
            holds={("acme", "Opportunity:09877"): {"StageName": "Negotiation"}},
        ),
        Step(
            "Globex: send it to be signed",
            _change("Doomsday Device", status=Document.Status.SENT),
            fires=(("globex", "document_updated", "succeeded"),),
            holds={("globex", "Agreement__c:00001"): {"State__c": "With the customer"}},
        ),
        Step("Acme: somebody looks at it (nothing that a CRM wants)", _view("Rocket Skates")),
    ]


def _view(title: str) -> Callable[[], None]:
    def view() -> None:
        document = _document(title)
        document.views += 1
        document.save()

    return view


def _trouble() -> list[Step]:
    def rolled_back() -> None:
        with transaction.atomic():
            _change("Rocket Skates", title="Never mind")()
            transaction.set_rollback(True)

    def outage() -> None:
        Misbehaviour.objects.create(
            org=Org.objects.get(slug="acme"),
            kind=Misbehaviour.Kind.UNAVAILABLE,
            operation="update",
            remaining=1,
        )
        _change("Rocket Skates", value=Decimal("14000"))()

    def lost_answer() -> None:
        Misbehaviour.objects.create(
            org=Org.objects.get(slug="acme"),
            kind=Misbehaviour.Kind.TIMEOUT_AFTER,
            operation="create",
            remaining=1,
        )
        Document.objects.create(workspace=_workspace("Acme"), title="Jet-Propelled Unicycle")

    return [
        Step("Acme: rename it in a transaction that is rolled back", rolled_back),
        Step(
            "Acme: raise its value while the CRM is down (tried again)",
            outage,
            fires=(("acme", "document_updated", "succeeded"),),
            holds={("acme", "Opportunity:09877"): {"Amount": 14000, "Name": "Rocket Skates"}},
        ),
        Step(
            "Acme: write another; the CRM's answer gets lost (looked up, not doubled)",
            lost_answer,
            fires=(("acme", "create_opportunity", "succeeded"),),
            holds={
                ("acme", "Opportunity:09878"): {"Name": "Jet-Propelled Unicycle"},
                ("acme", "Opportunity:09879"): None,
            },
        ),
    ]


def _endings() -> list[Step]:
    return [
        Step(
            "Acme: it is signed",
            _change("Rocket Skates", status=Document.Status.SIGNED),
            fires=(("acme", "document_updated", "succeeded"),),
            holds={("acme", "Opportunity:09877"): {"StageName": "Closed Won"}},
        ),
        Step(
            "Acme: delete the other",
            lambda: _document("Jet-Propelled Unicycle").delete(),
            fires=(("acme", "document_deleted", "succeeded"),),
            holds={("acme", "Opportunity:09878"): None},
        ),
        Step(
            "Globex: delete theirs (they never delete, they withdraw)",
            lambda: _document("Doomsday Device").delete(),
            fires=(("globex", "document_deleted", "succeeded"),),
            holds={("globex", "Agreement__c:00001"): {"State__c": "Withdrawn"}},
        ),
    ]


def _requests(client: XkitClient) -> list[Step]:
    moment = "2022-05-17T23:17:53Z"

    def record(kind: str, id: str, **data: Any) -> dict[str, Any]:  # noqa: A002
        return {"record": {"type": kind, "id": id, "data": data}}

    return [
        Step(
            "Over HTTP: create an opportunity",
            lambda: client.invoke(
                "acme",
                "opportunity",
                "create_opportunity_for_document",
                {"name": "Apple Sales Contract"},
            ),
            fires=(("acme", "create_opportunity_for_document", "succeeded"),),
            holds={("acme", "Opportunity:09879"): {"Name": "Apple Sales Contract"}},
            answers=record(
                "opportunity",
                "Opportunity:09879",
                document_name="Apple Sales Contract",
                document_tags={},
            ),
        ),
        Step(
            "Over HTTP: update one",
            lambda: client.invoke(
                "acme",
                "opportunity",
                "document_updated",
                {"name": "Sales Contract", "updated_at": moment},
                "Opportunity:09876",
            ),
            fires=(("acme", "document_updated", "succeeded"),),
            holds={("acme", "Opportunity:09876"): {"Name": "Sales Contract"}},
            answers=record(
                "opportunity",
                "Opportunity:09876",
                document_name="Sales Contract",
                document_tags={},
            ),
        ),
        Step(
            "Over HTTP: delete a contact",
            lambda: client.invoke(
                "acme", "contact", "contact_deleted", {"deleted_at": moment}, "Contact:45321"
            ),
            fires=(("acme", "contact_deleted", "succeeded"),),
            holds={("acme", "Contact:45321"): None},
            answers=record("contact", "Contact:45321"),
        ),
    ]
