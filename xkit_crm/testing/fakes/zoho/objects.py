"""The modules, fields and layouts that Zoho CRM describes, its cadences and its users."""

from __future__ import annotations

from typing import Any

#: The json_type of each data_type.
_JSON = {
    "integer": "integer",
    "double": "double",
    "currency": "double",
    "boolean": "boolean",
    "lookup": "jsonobject",
    "ownerlookup": "jsonobject",
    "multiselectpicklist": "jsonarray",
    "subform": "jsonarray",
    "formula": "double",
}
_NO = {"api_create": False, "api_update": False, "web_create": False, "web_update": False}


def _field(name: str, label: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "api_name": name,
        "field_label": label,
        "display_label": label,
        "data_type": kind,
        "json_type": _JSON.get(kind, "string"),
        "operation_type": dict.fromkeys(_NO, True),
        "system_mandatory": False,
        "read_only": False,
        "field_read_only": False,
        "visible": True,
        "custom_field": False,
        "type": "used",
        "length": 255,
        "unique": {},
        "lookup": {},
        "pick_list_values": [],
        **more,
    }


def _picks(*names: str) -> list[dict[str, Any]]:
    return [
        {"display_value": n, "actual_value": n, "id": n, "sequence_number": 1, "type": "used"}
        for n in ("-None-", *names)
    ]


def _to(module: str) -> dict[str, Any]:
    return {"module": {"api_name": module, "id": "1"}, "api_name": None, "id": "2"}


_KEY = _field("xkit_key", "xkit_key", custom_field=True, unique={"casesensitive": "1"}, length=36)
_COMMON = [
    _field("Owner", "Owner", "ownerlookup"),
    _field("Created_Time", "Created Time", "datetime", operation_type=_NO, read_only=True),
    _field("Tag", "Tag", "text", json_type="jsonarray", data_type="tag"),
]
FIELDS: dict[str, list[dict[str, Any]]] = {
    "Leads": [
        _field("Last_Name", "Last Name", system_mandatory=True, length=80),
        _field("First_Name", "First Name", length=40),
        _field("Company", "Company", length=200),
        _field("Email", "Email", "email", length=100, unique={"casesensitive": "2"}),
        _field("Phone", "Phone", "phone", length=30),
        _field("Website", "Website", "website", length=450),
        _field("Description", "Description", "textarea", length=32_000),
        _field("No_of_Employees", "No. of Employees", "integer", length=9),
        _field("Annual_Revenue", "Annual Revenue", "currency", length=16),
        _field("Email_Opt_Out", "Email Opt Out", "boolean"),
        _field("Birthday", "Birthday", "date"),
        _field("Last_Visit", "Last Visit", "datetime"),
        _field(
            "Lead_Source",
            "Lead Source",
            "picklist",
            pick_list_values=[
                *_picks("Trade Show", "Web Research"),
                {"display_value": "Old", "actual_value": "Old", "id": "9", "type": "unused"},
            ],
        ),
        _field(
            "Interests",
            "Interests",
            "multiselectpicklist",
            pick_list_values=_picks("CRM", "Billing", "Support"),
        ),
        _field("Referred_By", "Referred By", "lookup", lookup=_to("Accounts")),
        _field("Score", "Score", "formula", operation_type=_NO),
        _field("Visits", "Visits", "subform"),
        _KEY,
        *_COMMON,
    ],
    "Accounts": [
        _field("Account_Name", "Account Name", system_mandatory=True, length=200),
        *_COMMON,
    ],
    "Deals": [
        _field("Deal_Name", "Deal Name", system_mandatory=True, length=120),
        _field("Amount", "Amount", "currency", length=16),
        _KEY,
        *_COMMON,
    ],
    "Tasks": [
        _field("Subject", "Subject", system_mandatory=True),
        _field("What_Id", "Related To", "lookup", lookup=_to("se_module")),
        *_COMMON,
    ],
    "Surveys": [
        _field("Name", "Name", system_mandatory=True, length=120),
        *(_field(f"Answer_{n}", f"Answer {n}") for n in range(1, 61)),
        _KEY,
        *_COMMON,
    ],
}
#: What each layout of a module wants.
LAYOUTS = {
    "Leads": [{"Company", "Last_Name"}],
    "Deals": [{"Deal_Name", "Amount"}, {"Deal_Name"}],
}
#: Id, name, module, type and whether it is active.
CADENCES = [
    ("501", "Welcome", "Leads", "Manual enrollment", True),
    ("502", "Retired", "Leads", "Manual enrollment", False),
    ("503", "By view", "Leads", "Custom view", True),
    ("504", "Win back", "Deals", "Manual enrollment", True),
]
USERS = ("4711", "4712")


def shown_in(module: str, wanted: set[str]) -> list[dict[str, Any]]:
    return [{**one, "required": one["api_name"] in wanted} for one in FIELDS[module]]
