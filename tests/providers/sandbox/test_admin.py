"""The sandbox's screens: a customer's CRM is bent, looked at and made to misbehave in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.providers.sandbox.conftest import add_flow, ref_of, refusal
from xkit_crm.exceptions import CRMUnavailable
from xkit_crm.providers.base import Access, RecordRef
from xkit_crm.providers.sandbox import models
from xkit_crm.providers.sandbox.models import Field, Flow, Misbehaviour, Object, Org, Record
from xkit_crm.providers.sandbox.provider import SandboxProvider
from xkit_crm.providers.sandbox.records import create_record, delete_record, update_record
from xkit_crm.providers.sandbox.standard import add_field, add_object

pytestmark = pytest.mark.django_db
LISTED = ["org", "object", "record", "flow", "misbehaviour", "request"]


def page(model: str, name: str, *args: Any) -> str:
    return reverse(f"admin:xkit_sandbox_{model}_{name}", args=args)


def rows(prefix: str, *new: dict[str, Any], initial: list[dict[str, Any]] | None = None) -> dict:
    """What a browser sends for the rows below a form."""
    every = [*(initial or []), *new]
    sent = {f"{prefix}-TOTAL_FORMS": len(every), f"{prefix}-INITIAL_FORMS": len(initial or [])}
    for number, row in enumerate(every):
        sent |= {f"{prefix}-{number}-{name}": value for name, value in row.items()}
    return sent


def post(client: Client, address: str, *forms: dict[str, Any]) -> str:
    """What the person sees after sending the form: the list where it was saved."""
    data = {name: value for form in forms for name, value in form.items()}
    answer = client.post(address, data, follow=True)
    assert answer.status_code == 200
    return answer.content.decode().replace("&#x27;", "'").replace("&quot;", '"')


@pytest.fixture
def used(org: Org, provider: SandboxProvider) -> Org:
    """An organisation with a row in every list."""
    provider.create("Account", {"Name": "Acme"}, key="k")
    add_flow(org, "note", {"object_name": "Account", "values": {"Name": "x"}})
    Misbehaviour.objects.create(org=org, kind=Misbehaviour.Kind.UNAVAILABLE, active=False)
    return org


@pytest.mark.parametrize("model", LISTED)
def test_every_list_opens_searches_and_leads_to_its_rows(
    used: Org, admin_client: Client, model: str
) -> None:
    assert admin_client.get(page(model, "changelist")).status_code == 200
    for term in ("acme", "1", "no such thing", "%", '"'):
        assert admin_client.get(page(model, "changelist"), {"q": term}).status_code == 200
    row = getattr(models, model.title())._default_manager.first()
    assert admin_client.get(page(model, "change", row.pk)).status_code == 200
    added = admin_client.get(page(model, "add"))
    assert added.status_code == (403 if model == "request" else 200)


@pytest.mark.parametrize("model", ["object", "record", "flow", "misbehaviour", "request"])
@pytest.mark.parametrize("name", ["changelist", "add"])
def test_a_page_costs_the_same_for_many_organisations(
    used: Org, admin_client: Client, model: str, name: str
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(database) as queries:
            admin_client.get(page(model, name))
        return len(queries)

    cost()
    before = cost()
    for number in range(3):
        other = SandboxProvider(Access(f"more-{number}"))
        other.create("Account", {"Name": "x"}, key="k")
        Misbehaviour.objects.create(org=other.org, kind=Misbehaviour.Kind.UNAVAILABLE, rate=0)
        add_flow(other.org, "note")
    assert cost() <= before


# -- organisations and objects --------------------------------------------------------------------


def test_a_new_organisation_comes_with_the_standard_objects(admin_client: Client) -> None:
    post(admin_client, page("org", "add"), {"slug": "new", "name": "New Inc.", "token": "secret"})
    org = Org.objects.get()
    assert (org.slug, org.name, org.token) == ("new", "New Inc.", "secret")
    assert org.object_types.count() == 5
    told = post(admin_client, page("org", "add"), {"slug": "new", "name": "Again"})
    assert "already exists" in told
    assert Org.objects.get().name == "New Inc."


def test_an_object_added_to_an_organisation_is_a_whole_one(
    org: Org, provider: SandboxProvider, admin_client: Client
) -> None:
    kept = [
        {"id": row.pk, "org": org.pk, "name": row.name, "label": row.label}
        for row in org.object_types.all()
    ]
    added = {"org": org.pk, "name": "Crate", "label": "Crate"}
    forms = rows("object_types", added, initial=kept)
    post(admin_client, page("org", "change", org.pk), {"slug": "acme", "name": "Acme"}, forms)
    assert [f.name for f in provider.describe_fields("Crate")] == ["CreatedAt", "UpdatedAt"]
    assert len(provider.describe_fields("Account")) == 7


def test_a_custom_object_takes_records_of_its_fields(
    org: Org, provider: SandboxProvider, admin_client: Client
) -> None:
    post(
        admin_client,
        page("object", "add"),
        {"org": org.pk, "name": "Crate__c", "label": "Crate"},
        rows(
            "fields",
            {"name": "Name__c", "label": "Name", "type": "string", "required": "on"},
            {
                "name": "Colour",
                "label": "Colour",
                "type": "picklist",
                "choices": "Red\r\n\r\n Dark blue \r\n",
                "default": "Red",
            },
            {"name": "Fragile", "label": "Fragile", "type": "boolean", "default": "false"},
            {"name": "Code", "label": "Code", "type": "string", "default": "007"},
            {
                "name": "Owner",
                "label": "Owner",
                "type": "reference",
                "references": "Account\nContact",
            },
        ),
    )
    described = {f.name: f for f in provider.describe_fields("Crate__c")}
    assert [choice.value for choice in described["Colour"].choices] == ["Red", "Dark blue"]
    assert described["Owner"].references == ("Account", "Contact")
    assert "UpdatedAt" in described
    ref = provider.create("Crate__c", {"Name__c": "x"}, key="k")
    assert provider.get(ref, ["Colour", "Fragile", "Code", "Owner"]).values == {
        "Colour": "Red",
        "Fragile": False,
        "Code": "007",
        "Owner": None,
    }


def as_shown(client: Client, address: str, crm_object: Object, *new: dict) -> dict[str, Any]:
    """The object's form as it is shown, with rows added."""
    formset = client.get(address).context["inline_admin_formsets"][0].formset
    shown = [
        {
            name: "" if field.value() is None else field.value()
            for name in form.fields
            if (field := form[name]).value() is not False
        }
        for form in formset.initial_forms
    ]
    form = {"org": crm_object.org_id, "name": crm_object.name, "label": crm_object.label}
    more = [{"object": crm_object.pk, **row} for row in new]
    return form | rows("fields", *more, initial=shown)


def test_a_custom_field_is_added_beside_the_ones_there_are(org: Org, admin_client: Client) -> None:
    leads = Object.objects.get(org=org, name="Lead")
    address = page("object", "change", leads.pk)
    before = list(leads.fields.values())
    admin_client.post(address, as_shown(admin_client, address, leads))
    assert list(leads.fields.values()) == before, "a form that is saved as shown changes nothing"
    score = {"name": "Score", "label": "Score", "type": "integer", "required": "on"}
    post(admin_client, address, as_shown(admin_client, address, leads, score))
    assert leads.fields.count() == len(before) + 1
    told = refusal(org, "Lead", {"LastName": "x", "Company": "y"})
    assert told == {"Score": "Score is required."}


def test_a_field_called_like_one_of_the_crms_own_is_no_accident(
    org: Org, admin_client: Client
) -> None:
    field = {"name": "CreatedAt", "label": "Crafted", "type": "date"}
    form = {"org": org.pk, "name": "Crate", "label": "Crate"}
    post(admin_client, page("object", "add"), form, rows("fields", field))
    labels = Field.objects.filter(object__name="Crate").values_list("label", flat=True)
    assert list(labels) == ["Crafted", "Changed"]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"name": "2nd"}, "Start with a letter"),
        ({"name": "a-b"}, "Start with a letter"),
        ({"name": "a.b"}, "Start with a letter"),
        ({"name": "Größe"}, "Start with a letter"),
        ({"type": "picklist", "choices": "Red\nBlue", "default": "Green"}, "is not one of Red"),
        ({"type": "integer", "default": "many"}, "'many' is not a number"),
        ({"type": "number", "default": "NaN"}, "out of range"),
        ({"type": "boolean", "default": "maybe"}, "neither true nor false"),
        ({"type": "multipicklist", "choices": "Red", "default": "[Red"}, "a list of values"),
        ({"type": "date", "default": "tomorrow"}, "is not a date"),
        ({"max_length": "3", "default": "too long"}, "data value too large"),
        ({"type": "nonsense"}, "Select a valid choice"),
    ],
)
def test_a_field_that_could_not_work_is_told(
    org: Org, admin_client: Client, field: dict[str, str], told: str
) -> None:
    form = {"org": org.pk, "name": "Crate", "label": "Crate"}
    row = {"name": "Field", "label": "Field", "type": "string", **field}
    assert told in post(admin_client, page("object", "add"), form, rows("fields", row))
    assert not Object.objects.filter(name="Crate").exists()


@pytest.mark.parametrize("name", ["A:B", "a b", "_a", "1a"])
def test_an_object_is_called_what_a_record_id_can_hold(
    org: Org, admin_client: Client, name: str
) -> None:
    form = {"org": org.pk, "name": name, "label": "x"}
    assert "Start with a letter" in post(admin_client, page("object", "add"), form, rows("fields"))
    with pytest.raises(ValidationError, match="Start with a letter"):
        add_object(org, name)
    with pytest.raises(ValidationError, match="Start with a letter"):
        add_field(org, "Account", name)


# -- flows ----------------------------------------------------------------------------------------


def test_a_flow_with_steps_runs_as_it_was_typed(
    org: Org, provider: SandboxProvider, admin_client: Client
) -> None:
    lead = {"LastName": "{name}", "Company": "?"}
    task = {"Subject": "Greet {name}", "WhoId": "{step 1}"}
    post(
        admin_client,
        page("flow", "add"),
        {
            "org": org.pk,
            "name": "welcome",
            "label": "Welcome",
            "inputs": '[{"name": "name", "required": true}]',
            "active": "on",
        },
        rows(
            "steps",
            {
                "position": 1,
                "action": "create",
                "object_name": "Lead",
                "values": json.dumps(lead),
                "is_result": "on",
            },
            {"position": 2, "action": "create", "object_name": "Task", "values": json.dumps(task)},
        ),
    )
    ref = provider.run_workflow("welcome", {"name": "Coyote"}, key="k", ref=None)
    assert ref == RecordRef("Lead", "00001")
    assert Record.objects.get(object__name="Task").values["WhoId"] == str(ref)


@pytest.mark.parametrize("inputs", ["", "null", "[]", "{}"])
def test_a_flow_may_have_no_inputs(
    org: Org, provider: SandboxProvider, admin_client: Client, inputs: str
) -> None:
    form = {"org": org.pk, "name": "f", "label": "f", "active": "on", "inputs": inputs}
    post(admin_client, page("flow", "add"), form, rows("steps"))
    (workflow,) = provider.list_workflows()
    assert workflow.inputs == ()


@pytest.mark.parametrize(
    ("inputs", "values", "told"),
    [
        ('[{"name": "title"', "{}", "Enter a valid JSON"),
        ('["title"]', '{"a": 1}', "Give a list of inputs"),
        ('{"name": "title"}', '{"a": 1}', "Give a list of inputs"),
        ('[{"label": "Title"}]', '{"a": 1}', "Give a list of inputs"),
        ('[{"name": true}]', '{"a": 1}', "Give a list of inputs"),
        ('[{"name": "step 1"}]', '{"a": 1}', "Give a list of inputs"),
        ('[{"name": "a", "type": "text!"}]', '{"a": 1}', "Give a list of inputs"),
        ('[{"name": "a", "type": []}]', '{"a": 1}', "Give a list of inputs"),
        ('[{"name": "a"}, {"name": "a"}]', '{"a": 1}', "a name of its own"),
        ('[{"name": "a", "least": NaN}]', '{"a": 1}', "no JSON"),
        ("[]", "{Name: x}", "Enter a valid JSON"),
        ("[]", '["Name"]', "Give an object of field names and values"),
        ("[]", '{"Amount": Infinity}', "no JSON"),
        ("[]", "", "This field is required"),
    ],
)
def test_a_flow_that_could_not_run_is_told(
    org: Org, admin_client: Client, inputs: str, values: str, told: str
) -> None:
    form = {"org": org.pk, "name": "f", "label": "f", "active": "on", "inputs": inputs}
    step = {"position": 1, "action": "create", "object_name": "Lead", "values": values}
    assert told in post(admin_client, page("flow", "add"), form, rows("steps", step))
    assert not Flow.objects.exists()


# -- records --------------------------------------------------------------------------------------


def change(client: Client, record: Record, values: Any) -> str:
    text = values if isinstance(values, str) else json.dumps(values)
    return post(client, page("record", "change", record.pk), {"values": text}, rows("history"))


def test_a_record_added_in_the_admin_is_numbered_and_has_defaults_and_history(
    org: Org, admin_client: Client
) -> None:
    kind = Object.objects.get(org=org, name="Opportunity")
    form = {"object": kind.pk, "values": '{"Name": "By hand"}'}
    assert "Opportunity:00001" in post(admin_client, page("record", "add"), form, rows("history"))
    record = Record.objects.get()
    assert record.values == {"Name": "By hand", "StageName": "Prospecting"}
    assert record.history.get().operation == "create"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ('{"Amount": 1}', "Opportunity Name is required"),
        ('{"Name": "x", "Amount": "a lot"}', "Amount: 'a lot' is not a number"),
        ('{"Name": "x", "Amount": NaN}', "no JSON"),
        ('{"Name": "x", "Nmae": 1}', "Opportunity has no field Nmae"),
        ('["Name"]', "Give an object of field names and values"),
        ("{Name: x}", "Enter a valid JSON"),
        ("", "This field is required"),
    ],
)
def test_a_record_that_the_crm_refuses_is_not_added_and_told_why(
    org: Org, admin_client: Client, values: str, told: str
) -> None:
    kind = Object.objects.get(org=org, name="Opportunity")
    form = {"object": kind.pk, "values": values}
    assert told in post(admin_client, page("record", "add"), form, rows("history"))
    assert not Record.objects.exists()


def test_a_record_of_no_object_is_told(org: Org, admin_client: Client) -> None:
    form = {"object": "", "values": '{"Name": "x"}'}
    told = post(admin_client, page("record", "add"), form, rows("history"))
    assert "This field is required" in told


def test_an_edit_in_the_admin_is_an_update_with_history(
    org: Org, deal: Record, admin_client: Client
) -> None:
    change(admin_client, deal, {"Name": "Renamed", "StageName": "Proposal"})
    deal.refresh_from_db()
    assert deal.values == {"Name": "Renamed", "StageName": "Proposal"}
    assert deal.version == 2
    assert deal.history.first().changes == {
        "Name": ["Sales contract", "Renamed"],
        "StageName": ["Prospecting", "Proposal"],
        "Amount": [1200.5, None],
    }
    shown = admin_client.get(page("record", "change", deal.pk)).content.decode()
    assert "Sales contract → Renamed" in shown
    assert "1200.5 → —" in shown


def test_an_edit_that_changes_nothing_makes_no_version(deal: Record, admin_client: Client) -> None:
    change(admin_client, deal, deal.values)
    deal.refresh_from_db()
    assert (deal.version, deal.history.count()) == (1, 1)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"StageName": "Proposal"}, "Opportunity Name is required"),
        ({"Name": "x", "StageName": "Won"}, "Stage: 'Won' is not one of"),
        ({"Name": "x", "StageName": "Proposal", "CreatedAt": "now"}, "Created is read-only"),
        ([1], "Give an object of field names and values"),
        ("{", "Enter a valid JSON"),
    ],
)
def test_an_edit_that_the_crm_refuses_changes_nothing_and_is_told(
    deal: Record, admin_client: Client, values: Any, told: str
) -> None:
    assert told in change(admin_client, deal, values)
    deal.refresh_from_db()
    assert (deal.values["Name"], deal.version) == ("Sales contract", 1)


def test_an_edit_is_not_refused_for_what_it_leaves_as_it_is(
    org: Org, deal: Record, admin_client: Client
) -> None:
    add_field(org, "Opportunity", "Origin", default="API", read_only=True)
    account = create_record(org, "Account", {"Name": "Acme"})
    values = {"Name": "Theirs", "AccountId": account.record_id}
    record = create_record(org, "Opportunity", values)
    delete_record(org, ref_of(account))
    change(admin_client, record, {**record.values, "Amount": 5})
    record.refresh_from_db()
    assert (record.values["Amount"], record.values["Origin"]) == (5, "API")


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(
    org: Org, deal: Record, admin_client: Client
) -> None:
    opened = admin_client.get(page("record", "change", deal.pk)).context["adminform"].form
    update_record(org, ref_of(deal), {"Amount": 3})
    form = {"values": json.dumps({**deal.values, "Name": "Mine"}), "seen": opened["seen"].value()}
    told = post(admin_client, page("record", "change", deal.pk), form, rows("history"))
    assert "changed by someone else" in told
    deal.refresh_from_db()
    assert (deal.values["Name"], deal.values["Amount"]) == ("Sales contract", 3)


def test_records_are_deleted_as_the_crm_does_and_stay_to_be_looked_at(
    org: Org, deal: Record, admin_client: Client
) -> None:
    gone = create_record(org, "Opportunity", {"Name": "Gone"})
    delete_record(org, ref_of(gone))
    action = {"action": "delete_selected", "_selected_action": [deal.pk, gone.pk]}
    post(admin_client, page("record", "changelist"), action)
    deal.refresh_from_db()
    assert deal.deleted_at is not None
    assert list(deal.history.values_list("operation", flat=True)) == ["delete", "create"]
    assert gone.history.count() == 2
    shown = admin_client.get(page("record", "change", deal.pk))
    assert b"Sales contract" in shown.content
    assert admin_client.post(page("record", "change", deal.pk), {}).status_code == 403


# -- misbehaviour ---------------------------------------------------------------------------------


def test_misbehaviour_is_switched_off_and_on_in_the_list(
    org: Org, provider: SandboxProvider, admin_client: Client
) -> None:
    form = {"org": org.pk, "kind": "unavailable", "rate": "1", "active": "on"}
    post(admin_client, page("misbehaviour", "add"), form)
    row = Misbehaviour.objects.get()

    def switch(**boxes: str) -> None:
        listed = rows("form", initial=[{"id": row.pk, **boxes}])
        post(admin_client, page("misbehaviour", "changelist"), listed, {"_save": "Save"})

    with pytest.raises(CRMUnavailable):
        provider.describe_objects()
    switch()
    assert provider.describe_objects()
    switch(active="on")
    with pytest.raises(CRMUnavailable):
        provider.describe_objects()


@pytest.mark.parametrize("rate", ["1.5", "-0.1", "nan", "often"])
def test_a_rate_is_a_share(org: Org, admin_client: Client, rate: str) -> None:
    form = {"org": org.pk, "kind": "unavailable", "rate": rate, "active": "on"}
    shown = post(admin_client, page("misbehaviour", "add"), form)
    assert "xkit_sandbox_rate_is_share" in shown or "Enter a number" in shown
    assert not Misbehaviour.objects.exists()


def test_the_log_of_requests_is_only_to_be_looked_at(used: Org, admin_client: Client) -> None:
    row = used.requests.get()
    for name in ("delete", "change"):
        assert admin_client.post(page("request", name, row.pk)).status_code == 403
