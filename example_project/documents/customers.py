"""The product's two customers: what they have bent their CRM into, and what they decided.

Acme uses the standard objects. Globex keeps agreements in an object of its own, never deletes
any, and lets a flow of its own take in new people. In production customers decide this in their
own screens; here it is written down, so that the demo can show the same events landing in
different places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xkit_crm
from xkit_crm import mappings
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
    mapping = mappings.in_force(connection)
    for event in ("create_opportunity", "document_updated"):
        action = mapping["opportunity"]["events"][event]
        kept = [row for row in action["transformations"] if row["field"] != stage["field"]]
        action["transformations"] = [*kept, stage]
    mappings.put_in_force(connection, mapping, author=workspace.name)
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
    withdrawn = {"field": "State__c", "kind": "static", "value": "Withdrawn"}
    opportunity = {
        "remote_object": "Agreement__c",
        "fields": {
            "document_name": "Title__c",
            "document_tags": {"State": "State__c", "Source": "Source__c"},
        },
        "events": {
            "create_opportunity": _does("create", title, worth, state, source),
            "create_opportunity_for_document": _does("create", title, source),
            "document_updated": _does("update", title, worth, state, touched),
            "document_deleted": _does("update", withdrawn),
        },
    }
    name = {"field": "name", "kind": "direct", "key": "name"}
    email = {"field": "email", "kind": "direct", "key": "email"}
    contact = {
        "remote_object": "Lead",
        "fields": {"full_name": "LastName", "email": "Email"},
        "events": {
            "create_contact": _does("workflow", name, email, workflow="welcome_person"),
            "contact_updated": _does("noop"),
            "contact_deleted": _does("noop"),
        },
    }
    decided = {"opportunity": opportunity, "contact": contact}
    mappings.put_in_force(connection, decided, author=workspace.name)
    return workspace


def initech(credentials: Mapping[str, str]) -> Workspace:
    """A real Tryton: documents are its sale opportunities, and contacts its parties."""
    workspace = Workspace.objects.create(name="Initech", crm_connection_id="initech")
    connection = xkit_crm.connect(
        "initech", provider="tryton", context=str(workspace.pk), credentials=credentials
    )
    name = {"field": "description", "kind": "direct", "key": "name"}
    worth = {"field": "amount", "kind": "direct", "key": "amount"}
    state = {
        "field": "comment",
        "kind": "template",
        "template": "The document is {status}.",
    }
    decided = {
        "opportunity": {
            "remote_object": "sale.opportunity",
            "fields": {"document_name": "description", "document_tags": ""},
            "events": {
                "create_opportunity": _does("create", name, worth),
                "create_opportunity_for_document": _does("create", name),
                "document_updated": _does("update", name, worth, state),
                "document_deleted": _does("noop"),
            },
        },
        "contact": {
            "remote_object": "party.party",
            "fields": {"full_name": "name", "email": ""},
            "events": {
                "create_contact": _does(
                    "create", {"field": "name", "kind": "direct", "key": "name"}
                ),
                "contact_updated": _does(
                    "update", {"field": "name", "kind": "direct", "key": "name"}
                ),
                "contact_deleted": _does("noop"),
            },
        },
    }
    mappings.put_in_force(connection, decided, author=workspace.name)
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


# -- what a customer decides, as in a mapping document --------------------------------------------


def _value_map(field: str, key: str, **values: str) -> dict[str, Any]:
    return {"field": field, "kind": "value_map", "key": key, "values": values}


def _does(action: str, *rows: dict[str, Any], workflow: str = "") -> dict[str, Any]:
    return {"action": action, "workflow": workflow, "transformations": list(rows)}
