"""The objects, fields and flows that Salesforce describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PREFIXES = {"Contact": "003", "Opportunity": "006", "Lead": "00Q", "Order__c": "a01"}


def _field(name: str, label: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": kind,
        "length": 255 if kind == "string" else 0,
        "createable": True,
        "updateable": True,
        "nillable": kind != "boolean",
        "defaultedOnCreate": kind == "boolean",
        "filterable": True,
        "unique": False,
        "externalId": False,
        "idLookup": False,
        "custom": name.endswith("__c"),
        "calculated": False,
        "restrictedPicklist": False,
        "picklistValues": [],
        "referenceTo": [],
        **more,
    }


def _picks(*values: str, inactive: str = "") -> list[dict[str, Any]]:
    return [
        {"active": one != inactive, "defaultValue": False, "label": one.title(), "value": one}
        for one in (*values, *filter(None, [inactive]))
    ]


_READ_ONLY = {"createable": False, "updateable": False, "nillable": False}
_ID = _field("Id", "Record ID", "id", length=18, idLookup=True, **_READ_ONLY)
_CREATED = _field("CreatedDate", "Created Date", "datetime", **_READ_ONLY)
_OWNER = _field(
    "OwnerId",
    "Owner ID",
    "reference",
    length=18,
    nillable=False,
    defaultedOnCreate=True,
    referenceTo=["Group", "User"],
)
_KEY = _field(
    "xkit_key__c", "Xkit key", "string", length=36, unique=True, externalId=True, idLookup=True
)
_LAST_NAME = _field("LastName", "Last Name", "string", length=80, nillable=False)
FIELDS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "Contact": [
        _ID,
        _LAST_NAME,
        _field("FirstName", "First Name", "string", length=40),
        _field("Name", "Full Name", "string", length=121, **_READ_ONLY),
        _field("Email", "Email", "email", length=80, idLookup=True),
        _field("Phone", "Business Phone", "phone", length=40),
        _field("Website__c", "Website", "url", length=255),
        _field("Notes__c", "Notes", "textarea", length=131_072, filterable=False),
        _field("Visits__c", "Visits", "double"),
        _field("Rank__c", "Rank", "int"),
        _field("Budget__c", "Budget", "currency"),
        _field("Birthdate", "Birthdate", "date"),
        _field("Last_Visit__c", "Last Visit", "datetime"),
        _field("Newsletter__c", "Newsletter", "boolean"),
        _field(
            "LeadSource",
            "Lead Source",
            "picklist",
            restrictedPicklist=True,
            picklistValues=_picks("web", "phone", "partner", inactive="fax"),
        ),
        _field(
            "Interests__c",
            "Interests",
            "multipicklist",
            restrictedPicklist=True,
            picklistValues=_picks("crm", "billing", "support"),
        ),
        _field("ReportsToId", "Reports To ID", "reference", length=18, referenceTo=["Contact"]),
        _field("MailingAddress", "Mailing Address", "address", **_READ_ONLY),
        _OWNER,
        _KEY,
        _CREATED,
    ],
    "Opportunity": [
        _ID,
        _field("Name", "Name", "string", length=120, nillable=False),
        _field("Amount", "Amount", "currency"),
        _OWNER,
        _CREATED,
    ],
    "Lead": [_ID, _LAST_NAME, _OWNER, _CREATED, {**_KEY, "createable": False}],
    "Order__c": [_ID, _field("Name", "Name", "string", length=80), _KEY],
}
OBJECTS = [
    ("Contact", "Contact", "Contacts", {}),
    ("Opportunity", "Opportunity", "Opportunities", {}),
    ("Lead", "Lead", "Leads", {}),
    ("Order__c", "Order", "Orders", {}),
    ("ContactHistory", "Contact History", "Contact History", {"createable": False}),
    ("Keys__c", "Keys", "Keys", {"customSetting": True}),
    ("OldThing", "Old thing", "Old things", {"deprecatedAndHidden": True}),
    ("ContactChangeEvent", "Change", "Changes", {"queryable": False}),
]


def _parameter(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "description": None,
        "type": kind,
        "required": False,
        "maxOccurs": 1,
        "byteLength": 0,
        "sobjectType": None,
        "picklistValues": None,
        **more,
    }


FLOWS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "Welcome": [
        _parameter("email", "STRING", required=True),
        _parameter("score", "NUMBER"),
        _parameter("tags", "STRING", maxOccurs=2000),
        _parameter("recordId", "STRING"),
        _parameter("xkit_key", "STRING"),
        _parameter("contact", "SOBJECT", sobjectType="Contact"),
    ],
    "Won": [_parameter("name", "STRING", required=True)],
    "Broken": [],
}
