"""The product's two customers: what they have bent their CRM into, and what they decided.

Acme uses the standard objects. Globex keeps agreements in an object of its own, never deletes
any, and lets a flow of its own take in new people. In production customers decide this in their
own screens; here it is written down, so that the demo can show the same events landing in
different places.
"""

from __future__ import annotations

from typing import Any

import xkit_crm
from xkit_crm.models import Connection, EventAction, EventDefinition, ObjectMapping
from xkit_crm.providers.base import RemoteType
from xkit_crm.providers.sandbox.models import Flow, FlowStep
from xkit_crm.providers.sandbox.records import create_record
from xkit_crm.providers.sandbox.standard import add_field, add_object, ensure_org

from .models import Workspace


def acme() -> Workspace:
    """A CRM as it comes out of the box, with records that were there before us."""
    org = ensure_org("acme", name="Acme's CRM")
    create_record(org, "Opportunity", {"Name": "Sales Contract (draft)"}, number=9876)
    create_record(org, "Contact", {"FirstName": "Road", "LastName": "Runner"}, number=45321)
    create_record(org, "Contact", {"FirstName": "Wile", "LastName": "Coyote"}, number=45322)
    workspace = Workspace.objects.create(name="Acme", crm_connection_id="acme")
    connection = xkit_crm.connect("acme", provider="sandbox", context=str(workspace.pk))
    # What was proposed fits, but for the stage: its picklist has words of its own.
    stage = _value_map(
        "StageName", "status", draft="Prospecting", sent="Negotiation", signed="Closed Won"
    )
    for event in ("create_opportunity", "document_updated"):
        _amend(connection, event, stage)
    return workspace


def globex() -> Workspace:
    """A CRM with an object, a field and a flow of its own."""
    org = ensure_org("globex", name="Globex' CRM")
    add_object(
        org,
        "Agreement__c",
        label="Agreement",
        fields=[
            {"name": "Title__c", "label": "Title", "type": RemoteType.STRING, "required": True},
            {"name": "Worth__c", "label": "Worth (EUR)", "type": RemoteType.NUMBER},
            {
                "name": "State__c",
                "label": "State",
                "type": RemoteType.PICKLIST,
                "choices": ["In preparation", "With the customer", "Agreed", "Withdrawn"],
                "default": "In preparation",
                "required": True,
            },
            {"name": "Touched__c", "label": "Last touched", "type": RemoteType.DATE},
            {"name": "Source__c", "label": "Source", "type": RemoteType.STRING},
        ],
    )
    add_field(org, "Lead", "Source__c", label="Source", type=RemoteType.STRING)
    _welcome_flow(org)
    workspace = Workspace.objects.create(name="Globex", crm_connection_id="globex")
    connection = xkit_crm.connect("globex", provider="sandbox", context=str(workspace.pk))
    _map(
        connection,
        "opportunity",
        "Agreement__c",
        fields={
            "document_name": "Title__c",
            "document_tags": {"State": "State__c", "Source": "Source__c"},
        },
    )
    state = _value_map(
        "State__c",
        "status",
        draft="In preparation",
        sent="With the customer",
        signed="Agreed",
    )
    worth = {"field": "Worth__c", "kind": "direct", "key": "amount"}
    title = {"field": "Title__c", "kind": "template", "template": "Signet: {name}"}
    source = {"field": "Source__c", "kind": "static", "value": "Signet", "mode": "on_create"}
    touched = {"field": "Touched__c", "kind": "date", "key": "updated_at"}
    _decide(connection, "create_opportunity", "create", title, worth, state, source)
    _decide(connection, "create_opportunity_for_document", "create", title, source)
    _decide(connection, "document_updated", "update", title, worth, state, touched)
    withdrawn = {"field": "State__c", "kind": "static", "value": "Withdrawn"}
    _decide(connection, "document_deleted", "update", withdrawn)
    _map(connection, "contact", "Lead", fields={"full_name": "LastName", "email": "Email"})
    _decide(
        connection,
        "create_contact",
        "workflow",
        {"field": "name", "kind": "direct", "key": "name"},
        {"field": "email", "kind": "direct", "key": "email"},
        workflow="welcome_person",
    )
    _decide(connection, "contact_updated", "noop")
    _decide(connection, "contact_deleted", "noop")
    return workspace


def _welcome_flow(org: Any) -> None:
    flow = Flow.objects.create(
        org=org,
        name="welcome_person",
        label="Welcome a person",
        inputs=[
            {"name": "name", "label": "Name", "type": "string", "required": True},
            {"name": "email", "label": "Email", "type": "email"},
        ],
    )
    FlowStep.objects.create(
        flow=flow,
        position=1,
        action=FlowStep.Action.CREATE,
        object_name="Lead",
        values={
            "LastName": "{name}",
            "Email": "{email}",
            "Company": "not known yet",
            "Source__c": "Signet",
        },
        is_result=True,
    )
    FlowStep.objects.create(
        flow=flow,
        position=2,
        action=FlowStep.Action.CREATE,
        object_name="Task",
        values={"Subject": "Say hello to {name}", "WhoId": "{step 1}"},
    )


# -- what a customer decides, as rows -------------------------------------------------------------


def _value_map(field: str, key: str, **values: str) -> dict[str, Any]:
    return {"field": field, "kind": "value_map", "key": key, "values": values}


def _map(
    connection: Connection, crm_object: str, remote_object: str, *, fields: dict[str, Any]
) -> None:
    mapping = ObjectMapping.objects.filter(
        connection=connection, crm_object__slug=crm_object
    ).first()
    if mapping is None:
        event = EventDefinition.objects.filter(crm_object__slug=crm_object)[0]
        mapping = ObjectMapping(connection=connection, crm_object=event.crm_object)
    mapping.remote_object, mapping.fields = remote_object, fields
    mapping.full_clean()
    mapping.save()
    mapping.actions.all().delete()


def _decide(
    connection: Connection,
    event: str,
    action: str,
    *transformations: dict[str, Any],
    workflow: str = "",
) -> None:
    definition = EventDefinition.objects.get(slug=event)
    row = EventAction(
        mapping=connection.mappings.get(crm_object_id=definition.crm_object_id),
        event=definition,
        action=action,
        workflow=workflow,
        transformations=list(transformations),
    )
    row.full_clean()
    row.save()


def _amend(connection: Connection, event: str, transformation: dict[str, Any]) -> None:
    row = EventAction.objects.get(mapping__connection=connection, event__slug=event)
    kept = [t for t in row.transformations if t["field"] != transformation["field"]]
    row.transformations = [*kept, transformation]
    row.full_clean()
    row.save()
