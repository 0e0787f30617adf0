"""Pipedrive's objects and fields: what it doesn't say of them itself, and what it does.

Objects are always the same, and no description tells which standard fields can be written, which
lists can be narrowed by them and what a search looks at. That is kept here; custom fields, labels
and choices are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xkit_crm.mapping.conversion import as_text
from xkit_crm.providers.base import Choice, RemoteField, RemoteType

#: The code of a custom field. In v1 the codes of its parts begin with it.
CODE = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Standard:
    """A standard field that can be written, and the object that it refers to."""

    type: RemoteType
    refers_to: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One object."""

    label: str
    plural: str
    path: str
    #: Where its fields are described.
    fields: str
    standard: Mapping[str, Standard]
    #: The one field that a create can't do without, where there is one.
    required: str = ""
    #: Its name in searches, and the standard fields that they look at; empty: no searches.
    entity: str = ""
    searched: str = ""
    #: Fields by which a list can be narrowed.
    narrowed: str = ""
    #: Standard fields with parts, and what their main part is called where not "value".
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    main: Mapping[str, str] = field(default_factory=dict)
    #: Fields that are the first of a list: the list's name, and their own name in its items.
    lists: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: Whether a read can be told which custom fields to give.
    picks: bool = False
    #: Its page for people, under the company's address.
    page: str = ""

    @property
    def is_old(self) -> bool:
        """Whether it's of v1: flat records, pages by number, picklist values as texts."""
        return self.path.startswith("/v1/")


def _standard(**codes: str) -> dict[str, Standard]:
    """Codes by type; those of references are followed by the object, as in `org_id:persons`."""
    found = {}
    for kind, listed in codes.items():
        for one in listed.split():
            code, _, refers_to = one.partition(":")
            found[code] = Standard(RemoteType(kind), refers_to)
    return found


_ADDRESS = (
    "country",
    "admin_area_level_1",
    "admin_area_level_2",
    "locality",
    "sublocality",
    "route",
    "street_number",
    "subpremise",
    "postal_code",
)

KINDS = {
    "deals": Kind(
        label="Deal",
        plural="Deals",
        path="/api/v2/deals",
        fields="/api/v2/dealFields",
        standard=_standard(
            string="title currency lost_reason",
            number="value probability",
            picklist="status visible_to",
            multipicklist="label_ids",
            date="expected_close_date",
            datetime="close_time won_time lost_time",
            boolean="is_archived",
            reference="person_id:persons org_id:organizations pipeline_id:pipelines"
            " stage_id:stages owner_id:users",
        ),
        required="title",
        entity="deal",
        searched="title",
        narrowed="person_id org_id pipeline_id stage_id owner_id status",
        picks=True,
        page="deal",
    ),
    "persons": Kind(
        label="Person",
        plural="Persons",
        path="/api/v2/persons",
        fields="/api/v2/personFields",
        standard=_standard(
            string="name job_title postal_address",
            email="emails",
            phone="phones",
            text="notes",
            date="birthday",
            picklist="visible_to marketing_status",
            multipicklist="label_ids",
            reference="org_id:organizations owner_id:users",
        ),
        required="name",
        entity="person",
        searched="name emails phones",
        narrowed="org_id owner_id",
        parts={"postal_address": _ADDRESS},
        lists={"emails": ("emails", "value"), "phones": ("phones", "value")},
        picks=True,
        page="person",
    ),
    "organizations": Kind(
        label="Organization",
        plural="Organizations",
        path="/api/v2/organizations",
        fields="/api/v2/organizationFields",
        standard=_standard(
            string="name address",
            url="website linkedin",
            integer="annual_revenue employee_count",
            picklist="visible_to industry",
            multipicklist="label_ids",
            reference="owner_id:users",
        ),
        required="name",
        entity="organization",
        searched="name address",
        narrowed="owner_id",
        parts={"address": _ADDRESS},
        picks=True,
        page="organization",
    ),
    "products": Kind(
        label="Product",
        plural="Products",
        path="/api/v2/products",
        fields="/api/v2/productFields",
        standard=_standard(
            string="name code unit",
            text="description",
            number="prices tax",
            picklist="category visible_to billing_frequency",
            boolean="is_linkable",
            reference="owner_id:users",
        ),
        required="name",
        entity="product",
        searched="name code",
        narrowed="owner_id",
        parts={"prices": ("currency",)},
        main={"prices": "price"},
    ),
    "activities": Kind(
        label="Activity",
        plural="Activities",
        path="/api/v2/activities",
        fields="/api/v2/activityFields",
        standard=_standard(
            string="subject type due_time duration location",
            text="note public_description",
            date="due_date",
            boolean="done busy",
            picklist="priority",
            reference="person_id:persons org_id:organizations deal_id:deals lead_id:leads"
            " owner_id:users",
        ),
        narrowed="person_id org_id deal_id lead_id owner_id done",
        parts={"location": _ADDRESS},
        # Persons take part in it. The first can be read as `person_id`, but not written.
        lists={"person_id": ("participants", "person_id")},
    ),
    "leads": Kind(
        label="Lead",
        plural="Leads",
        path="/v1/leads",
        fields="/v1/leadFields",
        standard=_standard(
            string="title",
            number="value",
            date="expected_close_date",
            picklist="visible_to",
            multipicklist="label_ids",
            boolean="was_seen",
            reference="person_id:persons organization_id:organizations owner_id:users",
        ),
        required="title",
        entity="lead",
        searched="title",
        narrowed="person_id organization_id owner_id",
        parts={"value": ("currency",)},
        main={"value": "amount"},
        page="leads/inbox",
    ),
    "notes": Kind(
        label="Note",
        plural="Notes",
        path="/v1/notes",
        fields="/v1/noteFields",
        standard=_standard(
            text="content",
            boolean="pinned_to_deal_flag pinned_to_person_flag pinned_to_organization_flag"
            " pinned_to_lead_flag",
            reference="deal_id:deals person_id:persons org_id:organizations lead_id:leads"
            " user_id:users",
        ),
        required="content",
        narrowed="deal_id person_id org_id lead_id user_id",
    ),
}

#: Only there where the company has what they belong to: writing them is refused elsewhere.
_SOMETIMES = frozenset(
    {
        *("marketing_status", "job_title", "birthday", "notes", "postal_address"),
        *("website", "linkedin", "industry", "annual_revenue", "employee_count"),
        "billing_frequency",
    }
)
#: Older codes of standard fields, in descriptions.
_OLDER = {"email": "emails", "phone": "phones", "label": "label_ids", "user_id": "owner_id"}
_STATUS = tuple(Choice(one, one.title()) for one in ("open", "won", "lost"))

_TYPES = {
    "int": RemoteType.INTEGER,
    "double": RemoteType.NUMBER,
    "monetary": RemoteType.NUMBER,
    "boolean": RemoteType.BOOLEAN,
    "text": RemoteType.TEXT,
    "phone": RemoteType.PHONE,
    "date": RemoteType.DATE,
    "daterange": RemoteType.DATE,
    "enum": RemoteType.PICKLIST,
    "status": RemoteType.PICKLIST,
    "visible_to": RemoteType.PICKLIST,
    "set": RemoteType.MULTIPICKLIST,
}
_REFERRED = {
    "user": "users",
    "org": "organizations",
    "people": "persons",
    "deal": "deals",
    "lead": "leads",
    "stage": "stages",
    "project": "projects",
    "activity": "activities",
}
#: The parts of custom fields, by type.
_PARTS = {
    "monetary": ("currency",),
    "daterange": ("until",),
    "time": ("timezone_name",),
    "timerange": ("until", "timezone_name"),
    "address": _ADDRESS,
}
#: Types of custom fields that a search looks at.
_SEARCHED = frozenset(("address", "varchar", "text", "varchar_auto", "double", "monetary", "phone"))
_LENGTHS = {"varchar": 255, "varchar_auto": 255, "phone": 255}


def described(kind: Kind, found: Iterator[Mapping[str, Any]]) -> list[RemoteField]:
    """The fields of an object, after Pipedrive's own descriptions of some."""
    known: dict[str, Mapping[str, Any] | None] = dict.fromkeys(kind.standard)
    for one in found:
        code = str(one.get("field_code") or one.get("key"))
        newer = _OLDER.get(code, "")
        # Some can only be read by asking for each, which isn't done.
        if not one.get("is_optional_response_field") and one.get("active_flag", True):
            known[newer if newer in kind.standard else code] = one
    return [
        field
        for code, one in known.items()
        if one or code not in _SOMETIMES
        for field in _fields(kind, code, one or {})
    ]


def _fields(kind: Kind, code: str, one: Mapping[str, Any]) -> Iterator[RemoteField]:
    """The field, and one for each of its parts."""
    told, standard = str(one.get("field_type", "")), kind.standard.get(code)
    custom = bool(CODE.match(code))
    label = str(one.get("field_name") or one.get("name") or _words(code.removesuffix("_id")))
    writes = standard is not None or (custom and bool(one.get("is_writable", True)))
    found = standard or _type(code, told)
    yield RemoteField(
        name=code,
        label=label,
        type=found.type,
        required=code == kind.required,
        createable=writes,
        updateable=writes,
        searchable=code in f"{kind.searched} {kind.narrowed}".split()
        or (bool(kind.entity) and custom and told in _SEARCHED),
        choices=_choices(code, found.type, one.get("options") or ()),
        references=(found.refers_to,) if found.refers_to else (),
        max_length=_LENGTHS.get(told) if custom else None,
    )
    for part in _parts(kind, code, told):
        yield RemoteField(
            name=f"{code}.{part}",
            label=f"{label}: {_words(part).lower()}",
            type=RemoteType.DATE if told == "daterange" else RemoteType.STRING,
            createable=writes,
            updateable=writes,
            searchable=False,
        )


def _type(code: str, told: str) -> Standard:
    if told in _REFERRED:
        return Standard(RemoteType.REFERENCE, _REFERRED[told])
    if told == "date" and code.endswith("_time"):
        return Standard(RemoteType.DATETIME)
    return Standard(_TYPES.get(told, RemoteType.STRING))


def _parts(kind: Kind, code: str, told: str) -> tuple[str, ...]:
    if not CODE.match(code):
        return kind.parts.get(code, ())
    # v1 describes each part of a custom field as a field.
    return () if kind.is_old else _PARTS.get(told, ())


def _choices(
    code: str, found: RemoteType, options: Sequence[Mapping[str, Any]]
) -> tuple[Choice, ...]:
    if found not in (RemoteType.PICKLIST, RemoteType.MULTIPICKLIST):
        return ()
    if code == "status" and not options:
        return _STATUS
    return tuple(Choice(as_text(one["id"]), str(one.get("label", one["id"]))) for one in options)


def _words(code: str) -> str:
    return code.replace("_", " ").capitalize()
