"""What every organisation has out of the box, and how to add to it."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from xkit_crm.providers.base import RemoteType
from xkit_crm.providers.sandbox.models import Field, Object, Org

T = RemoteType
STAGES = ["Prospecting", "Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost"]

_OWN: list[dict[str, Any]] = [
    {"name": "ExternalId", "label": "External ID", "type": T.STRING, "unique": True},
]
_ACCOUNT = {"name": "AccountId", "label": "Account", "type": T.REFERENCE, "references": ["Account"]}
_NAMES: list[dict[str, Any]] = [
    {"name": "FirstName", "label": "First Name", "type": T.STRING, "max_length": 80},
    {
        "name": "LastName",
        "label": "Last Name",
        "type": T.STRING,
        "max_length": 80,
        "required": True,
    },
    {"name": "Email", "label": "Email", "type": T.EMAIL},
    {"name": "Phone", "label": "Phone", "type": T.PHONE},
]

#: API name -> label, plural, fields.
OBJECTS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "Account": (
        "Account",
        "Accounts",
        [
            {
                "name": "Name",
                "label": "Account Name",
                "type": T.STRING,
                "max_length": 120,
                "required": True,
            },
            {"name": "Website", "label": "Website", "type": T.URL},
            {
                "name": "Industry",
                "label": "Industry",
                "type": T.PICKLIST,
                "choices": ["Construction", "Education", "Finance", "Software", "Other"],
            },
            {"name": "Employees", "label": "Employees", "type": T.INTEGER},
            *_OWN,
        ],
    ),
    "Contact": (
        "Contact",
        "Contacts",
        [
            *_NAMES,
            {"name": "Title", "label": "Job Title", "type": T.STRING, "max_length": 120},
            {"name": "DoNotCall", "label": "Do Not Call", "type": T.BOOLEAN, "default": False},
            {"name": "LastActivityAt", "label": "Last Activity", "type": T.DATETIME},
            _ACCOUNT,
            *_OWN,
        ],
    ),
    "Lead": (
        "Lead",
        "Leads",
        [
            *_NAMES,
            {
                "name": "Company",
                "label": "Company",
                "type": T.STRING,
                "max_length": 120,
                "required": True,
            },
            {
                "name": "Status",
                "label": "Lead Status",
                "type": T.PICKLIST,
                "choices": ["Open", "Contacted", "Qualified", "Unqualified"],
                "default": "Open",
                "required": True,
            },
            *_OWN,
        ],
    ),
    "Opportunity": (
        "Opportunity",
        "Opportunities",
        [
            {
                "name": "Name",
                "label": "Opportunity Name",
                "type": T.STRING,
                "max_length": 120,
                "required": True,
            },
            {"name": "Amount", "label": "Amount", "type": T.NUMBER},
            {
                "name": "StageName",
                "label": "Stage",
                "type": T.PICKLIST,
                "choices": STAGES,
                "default": STAGES[0],
                "required": True,
            },
            {"name": "CloseDate", "label": "Close Date", "type": T.DATE},
            {"name": "Probability", "label": "Probability (%)", "type": T.INTEGER},
            {"name": "Description", "label": "Description", "type": T.TEXT},
            {
                "name": "Tags",
                "label": "Tags",
                "type": T.MULTIPICKLIST,
                "choices": ["New", "Renewal", "Upsell"],
            },
            _ACCOUNT,
            *_OWN,
        ],
    ),
    "Task": (
        "Task",
        "Tasks",
        [
            {
                "name": "Subject",
                "label": "Subject",
                "type": T.STRING,
                "max_length": 200,
                "required": True,
            },
            {
                "name": "Status",
                "label": "Status",
                "type": T.PICKLIST,
                "choices": ["Not Started", "In Progress", "Completed"],
                "default": "Not Started",
                "required": True,
            },
            {"name": "DueDate", "label": "Due Date", "type": T.DATE},
            {"name": "Body", "label": "Comments", "type": T.TEXT},
            {
                "name": "WhoId",
                "label": "Person",
                "type": T.REFERENCE,
                "references": ["Contact", "Lead"],
            },
            {
                "name": "WhatId",
                "label": "Related To",
                "type": T.REFERENCE,
                "references": ["Account", "Opportunity"],
            },
            *_OWN,
        ],
    ),
}

#: Fields that every object has and the CRM itself writes.
SYSTEM_FIELDS: list[dict[str, Any]] = [
    {"name": "CreatedAt", "label": "Created", "type": T.DATETIME, "read_only": True},
    {"name": "UpdatedAt", "label": "Changed", "type": T.DATETIME, "read_only": True},
]


def ensure_org(slug: str, *, name: str = "") -> Org:
    """The organisation, made with the standard objects where it isn't there yet."""
    org = Org.objects.filter(slug=slug).first()
    if org is not None:
        return org
    with transaction.atomic():
        org, created = Org.objects.get_or_create(slug=slug, defaults={"name": name})
        if created:
            _add_standard_objects(org)
    return org


def _add_standard_objects(org: Org) -> None:
    """All of them in three statements: a product's tests begin with an organisation each."""
    Object.objects.bulk_create(
        Object(org=org, name=name, label=label, plural_label=plural)
        for name, (label, plural, _) in OBJECTS.items()
    )
    Field.objects.bulk_create(
        Field(object=made, **field)
        for made in Object.objects.filter(org=org)  # not every database tells their keys
        for field in (*OBJECTS[made.name][2], *SYSTEM_FIELDS)
    )


def add_object(
    org: Org,
    name: str,
    *,
    label: str = "",
    plural_label: str = "",
    fields: list[dict[str, Any]] | None = None,
) -> Object:
    """Add an object; each field is the keyword arguments of `add_field`.

    Raises Django's `ValidationError` for names that no CRM takes.
    """
    made = Object(
        org=org, name=name, label=label or name, plural_label=plural_label or f"{label or name}s"
    )
    made.clean_fields(exclude=["org"])
    made.save()
    rows = [Field(object=made, **{"label": field["name"], **field}) for field in fields or []]
    for row in rows:
        row.clean_fields(exclude=["object"])
    Field.objects.bulk_create(rows)
    add_system_fields(made)
    return made


def add_system_fields(crm_object: Object) -> None:
    """Add the fields that every object has, where they aren't there yet."""
    Field.objects.bulk_create(
        [Field(object=crm_object, **field) for field in SYSTEM_FIELDS], ignore_conflicts=True
    )


def add_field(org: Org, object_name: str, name: str, **attributes: Any) -> Field:
    """Add a custom field: `type`, `label`, `required`, `choices` and what else `Field` has."""
    made = Field(
        object=Object.objects.get(org=org, name=object_name),
        name=name,
        **{"label": name, "type": T.STRING, **attributes},
    )
    made.clean_fields(exclude=["object"])
    made.save()
    return made
