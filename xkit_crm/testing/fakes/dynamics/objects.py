"""The tables, columns, relations and workflows that Dataverse describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4


def label(text: str | None) -> dict[str, Any]:
    said = {"Label": text, "LanguageCode": 1033} if text else None
    return {"LocalizedLabels": [said] if said else [], "UserLocalizedLabel": said}


def _column(name: str, title: str | None, kind: str, **more: Any) -> dict[str, Any]:
    """`more` is what the column says only as one of its kind; `level` and `writes` are of all."""
    writes = more.pop("writes", True)
    return {
        "LogicalName": name,
        "DisplayName": label(title),
        "AttributeTypeName": {"Value": f"{kind}Type"},
        "AttributeOf": more.pop("part_of", None),
        "RequiredLevel": {"Value": more.pop("level", "None"), "CanBeChanged": True},
        "IsValidForCreate": writes,
        "IsValidForUpdate": writes,
        "IsValidForRead": True,
        "more": more,
    }


def _options(**labels: int) -> dict[str, Any]:
    return {"Options": [{"Value": v, "Label": label(n.title())} for n, v in labels.items()]}


def _text(name: str, label: str, most: int = 100, kind: str = "Text") -> dict[str, Any]:
    return _column(name, label, "String", MaxLength=most, FormatName={"Value": kind})


_CREATED = _column(
    "createdon", "Created On", "DateTime", writes=False, DateTimeBehavior={"Value": "UserLocal"}
)
_STATE = _column("statecode", "Status", "State", OptionSet=_options(active=0, inactive=1))
_KEY = _text("xk_xkit_key", "Xkit key", 36)
ATTRIBUTES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "contact": [
        _column("contactid", "Contact", "Uniqueidentifier", level="SystemRequired"),
        _text("firstname", "First Name", 50),
        _text("lastname", "Last Name", 200),
        _text("emailaddress1", "Email", kind="Email"),
        _text("telephone1", "Business Phone", 50, kind="Phone"),
        _text("websiteurl", "Website", 200, kind="Url"),
        _column("description", "Description", "Memo", MaxLength=200_000),
        _column("numberofchildren", "No. of Children", "Integer"),
        _column("creditlimit", "Credit Limit", "Money"),
        _column("xk_score", "Score", "Decimal"),
        _column("birthdate", "Birthday", "DateTime", DateTimeBehavior={"Value": "DateOnly"}),
        _column(
            "lastusedincampaign",
            "Last Visit",
            "DateTime",
            DateTimeBehavior={"Value": "UserLocal"},
        ),
        _column("donotemail", "Do not allow Emails", "Boolean"),
        _column("donotemailname", None, "Virtual", part_of="donotemail", writes=False),
        _column("gendercode", "Gender", "Picklist", OptionSet=_options(male=1, female=2)),
        _column(
            "xk_interests",
            "Interests",
            "MultiSelectPicklist",
            OptionSet=None,
            GlobalOptionSet=_options(crm=100, billing=200, support=300),
        ),
        _column("parentcustomerid", "Company", "Customer", Targets=["account", "contact"]),
        _column("parentcustomeridname", None, "String", part_of="parentcustomerid"),
        _column("xk_venueid", "Venue", "Lookup", Targets=["account"]),
        _column("masterid", "Master ID", "Lookup", writes=False, Targets=["contact"]),
        _column(
            "ownerid", "Owner", "Owner", level="SystemRequired", Targets=["systemuser", "team"]
        ),
        _column("address1_addressid", "Address 1: ID", "Uniqueidentifier"),
        _column("entityimage", "Entity Image", "Virtual"),
        _STATE,
        _CREATED,
        _KEY,
    ],
    "account": [
        _column("accountid", "Account", "Uniqueidentifier", level="SystemRequired"),
        _text("name", "Account Name", 160),
        _STATE,
        _CREATED,
    ],
    "xk_visit": [
        _column("xk_visitid", "Visit", "Uniqueidentifier", level="SystemRequired"),
        _column(
            "xk_name",
            "Name",
            "String",
            level="SystemRequired",
            MaxLength=100,
            FormatName={"Value": "Text"},
        ),
        _KEY,
    ],
    "systemuser": [
        _column("systemuserid", "User", "Uniqueidentifier", level="SystemRequired"),
        _text("fullname", "Full Name", 200),
    ],
}
SETS = {
    "contact": "contacts",
    "account": "accounts",
    "xk_visit": "xk_visits",
    "systemuser": "systemusers",
}
LABELS = {
    "contact": ("Contact", "Contacts"),
    "account": ("Account", "Accounts"),
    "xk_visit": ("Visit", "Visits"),
    "systemuser": ("User", "Users"),
}
KEYS = {"contact": ["xk_xkit_key"], "xk_visit": ["xk_xkit_key"]}
#: Table, column, the table that it leads to, and the navigation property that writes it.
RELATIONS = [
    ("contact", "parentcustomerid", "account", "parentcustomerid_account"),
    ("contact", "parentcustomerid", "contact", "parentcustomerid_contact"),
    ("contact", "xk_venueid", "account", "xk_VenueId"),
    ("contact", "masterid", "contact", "masterid"),
    ("contact", "ownerid", "owner", "ownerid"),
]
WELCOME = "0f0c3b6a-5f0e-4c53-9d43-3d2f2f1b7a01"
WORKFLOWS = [
    {"workflowid": WELCOME, "name": "Welcome", "primaryentity": "contact"},
    {"workflowid": str(uuid4()), "name": "Call back", "primaryentity": "contact"},
    {"workflowid": str(uuid4()), "name": "Visit over", "primaryentity": "xk_visit"},
]
CUSTOM_APIS = [
    {
        "uniquename": "xk_Invite",
        "displayname": "Invite somebody",
        "CustomAPIRequestParameters": [
            {"uniquename": "Email", "displayname": "Email", "type": 10, "isoptional": False},
            {"uniquename": "Seats", "displayname": "Seats", "type": 7, "isoptional": True},
            {"uniquename": "Guests", "displayname": "Guests", "type": 4, "isoptional": True},
        ],
    },
    {
        "uniquename": "xk_Import",
        "displayname": "Import rows",
        "CustomAPIRequestParameters": [
            {"uniquename": "Rows", "displayname": "Rows", "type": 4, "isoptional": False}
        ],
    },
]


def table(entity_set: str) -> str | None:
    return next((name for name, known in SETS.items() if known == entity_set), None)


def kind(column: Mapping[str, Any]) -> str:
    return str(column["AttributeTypeName"]["Value"]).removesuffix("Type")
