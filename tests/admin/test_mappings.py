"""Mappings in the admin: what an operator changes is a version, and versions come back."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from tests.delivery.conftest import act, states
from tests.factories import ConnectionFactory, DealFactory
from tests.products.models import Customer
from xkit_crm import mappings
from xkit_crm.models import (
    Connection,
    EventAction,
    EventDefinition,
    Invocation,
    MappingVersion,
    ObjectMapping,
)
from xkit_crm.testing import deliver

pytestmark = pytest.mark.django_db


def page(model: Any, name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def action(slug: str = "deal_created") -> EventAction:
    return EventAction.objects.get(event__slug=slug)


def form(**changes: Any) -> dict[str, Any]:
    return {
        "mapping": action().mapping_id,
        "event": action().event_id,
        "action": "create",
        "workflow": "",
        "transformations": '[{"field": "Name", "kind": "direct", "key": "name"}]',
        "ignored": '["views"]',
        **changes,
    }


def newest() -> MappingVersion:
    found = MappingVersion.objects.first()
    assert found is not None
    return found


# -- what is changed is a version -----------------------------------------------------------------


def test_an_action_that_is_changed_is_a_version_of_whoever_changed_it(
    sandbox: Connection, admin_client: Client
) -> None:
    admin_client.post(page(EventAction, "change", action().pk), form())

    assert action().ignored == ["views"]
    assert (newest().number, newest().author) == (2, "admin")
    assert newest().document["opportunity"]["events"]["deal_created"]["ignored"] == ["views"]
    assert Connection.objects.get().mapping_version == 2


def test_what_is_saved_without_a_change_is_none(sandbox: Connection, admin_client: Client) -> None:
    for _ in range(2):
        admin_client.post(page(EventAction, "change", action().pk), form())
    assert MappingVersion.objects.count() == 2


def test_who_may_only_look_sees_what_an_event_does(sandbox: Connection, client: Client) -> None:
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_eventaction"))
    client.force_login(user)
    shown = client.get(page(EventAction, "change", action().pk))
    assert shown.status_code == 200
    assert 'name="_save"' not in shown.content.decode()


def test_keys_that_are_no_list_of_texts_are_refused(
    sandbox: Connection, admin_client: Client
) -> None:
    answer = admin_client.post(page(EventAction, "change", action().pk), form(ignored="[1]"))
    assert b"Give a list of payload keys" in answer.content
    assert MappingVersion.objects.count() == 1


def test_an_event_can_not_do_what_is_for_events_of_another_type(
    sandbox: Connection, admin_client: Client
) -> None:
    url = page(EventAction, "change", action().pk)
    shown = admin_client.get(url).content.decode()
    offered = shown.split('name="action"')[1].split("</select>")[0]
    assert re.findall('value="([a-z]+)"', offered) == ["create", "workflow", "noop"]
    answer = admin_client.post(url, form(action="delete"))
    assert "An event of this type can&#x27;t do that." in answer.content.decode()
    assert action().action == "create"
    assert admin_client.post(url, form(action="noop")).status_code == 302


def test_what_is_missing_leads_to_the_mapping_that_it_is_missing_in(
    sandbox: Connection, admin_client: Client
) -> None:
    act("deal_created", transformations=[])
    mapping = f'<a href="{page(ObjectMapping, "change", action().mapping_id)}">'
    shown = admin_client.get(page(EventAction, "change", action().pk)).content.decode()
    assert re.search(rf"Name.{{0,80}}</pre>Object mapping: {mapping}", shown, re.DOTALL)
    assert mapping in admin_client.get(page(EventAction, "changelist")).content.decode()


def test_an_action_opens_while_the_crm_can_not_be_asked(
    sandbox: Connection, admin_client: Client
) -> None:
    Connection.objects.update(provider="gone")
    answer = admin_client.get(page(EventAction, "change", action().pk))
    assert "xkit-options-key" in answer.content.decode()


def test_an_object_offers_its_own_events_once_it_is_known(
    sandbox: Connection, admin_client: Client
) -> None:
    url = page(ObjectMapping, "change", action().mapping_id)
    shown = admin_client.get(url).content.decode()
    offered = shown.split('name="actions-__prefix__-event"')[1].split("</select>")[0]
    ids = EventDefinition.objects.filter(crm_object__slug="opportunity").values_list(
        "pk", flat=True
    )
    assert sorted(map(int, re.findall(r'value="(\d+)"', offered))) == sorted(ids)
    assert "actions-__prefix__" not in admin_client.get(page(ObjectMapping, "add")).content.decode()


def test_what_waited_for_it_goes_on(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    act("deal_created", transformations=[])
    DealFactory.create(customer=customer)
    deliver()
    assert states() == ["pending"]

    admin_client.post(page(EventAction, "change", action().pk), form())
    deliver()

    assert states() == ["succeeded"]


def of_object(mapping: ObjectMapping, **changes: str) -> dict[str, Any]:
    """An object mapping's form, filled in as it is but for these changes."""
    return {
        "connection": mapping.connection_id,
        "crm_object": mapping.crm_object_id,
        "remote_object": mapping.remote_object,
        "fields": "{}",
        "actions-TOTAL_FORMS": "0",
        "actions-INITIAL_FORMS": "0",
        **changes,
    }


def test_an_object_that_is_changed_is_a_version(sandbox: Connection, admin_client: Client) -> None:
    mapping = ObjectMapping.objects.get(crm_object__slug="contact")
    changed = of_object(mapping, remote_object="")
    admin_client.post(page(ObjectMapping, "change", mapping.pk), changed)
    assert newest().document["contact"]["remote_object"] == ""


def test_an_object_that_moves_is_a_version_of_both_connections(
    sandbox: Connection, admin_client: Client
) -> None:
    other = ConnectionFactory.create(id="other")
    mapping = ObjectMapping.objects.get(crm_object__slug="contact")
    moved = of_object(mapping, connection="other")
    admin_client.post(page(ObjectMapping, "change", mapping.pk), moved)
    assert "contact" not in sandbox.mapping_versions.all()[0].document
    assert list(other.mapping_versions.all()[0].document) == ["contact"]


@pytest.mark.parametrize("many", [False, True])
def test_what_is_deleted_is_a_version_too(
    sandbox: Connection, admin_client: Client, many: bool
) -> None:
    if many:
        chosen = {"action": "delete_selected", "_selected_action": [action().pk], "post": "yes"}
        admin_client.post(page(EventAction, "changelist"), chosen)
    else:
        admin_client.post(page(EventAction, "delete", action().pk), {"post": "yes"})
    assert "deal_created" not in newest().document["opportunity"]["events"]


# -- versions -------------------------------------------------------------------------------------


@pytest.fixture
def second(sandbox: Connection) -> MappingVersion:
    """The version in force: with the first, deals were created."""
    act("deal_created", action="noop", transformations=[])
    made = mappings.record(sandbox, author="ada")
    assert made is not None
    return made


def test_a_version_shows_what_it_changed_and_all_of_it(
    second: MappingVersion, admin_client: Client
) -> None:
    shown = admin_client.get(page(MappingVersion, "change", second.pk)).content.decode()
    assert "~ opportunity.deal_created.action: &quot;create&quot; -&gt; &quot;noop&quot;" in shown
    assert "- opportunity.deal_created.Name" in shown
    assert "xkit-json" in shown
    assert admin_client.post(page(MappingVersion, "delete", second.pk)).status_code == 403
    assert admin_client.get(page(MappingVersion, "add")).status_code == 403


def test_versions_are_found_from_their_connection(
    second: MappingVersion, admin_client: Client
) -> None:
    shown = admin_client.get(page(Connection, "change", "acme")).content.decode()
    address = f"{page(MappingVersion, 'changelist')}?connection__id__exact=acme"
    assert address in shown
    listed = admin_client.get(address).content.decode()
    assert "acme: 2" in listed
    assert "ada" in listed


def put_back(client: Client, *versions: MappingVersion) -> str:
    chosen = {"action": "put_in_force", "_selected_action": [v.pk for v in versions]}
    return client.post(page(MappingVersion, "changelist"), chosen, follow=True).content.decode()


def test_an_earlier_version_is_put_in_force_again(
    second: MappingVersion, admin_client: Client
) -> None:
    first = MappingVersion.objects.get(number=1)

    assert "acme: 1 is in force again, as version 3." in put_back(admin_client, first).lower()

    assert action().action == "create"
    assert (newest().number, newest().author) == (3, "admin")


def test_what_is_in_force_already_is_said_to_be_so(
    second: MappingVersion, admin_client: Client
) -> None:
    assert "is what is in force already" in put_back(admin_client, second)
    assert MappingVersion.objects.count() == 2


def test_what_was_written_past_the_versions_is_not_lost(
    second: MappingVersion, admin_client: Client
) -> None:
    def is_in_force() -> bool:
        shown = admin_client.get(page(MappingVersion, "change", second.pk)).content.decode()
        return re.search('(alt|title)="True"', shown) is not None

    assert is_in_force()
    act("deal_created", action="create", transformations=[], ignored=["views"])
    assert not is_in_force()

    assert "acme: 2 is in force again, as version 4." in put_back(admin_client, second).lower()

    kept = MappingVersion.objects.get(number=3).document
    assert kept["opportunity"]["events"]["deal_created"]["ignored"] == ["views"]


def test_two_versions_of_one_connection_are_not_put_in_force(
    second: MappingVersion, admin_client: Client
) -> None:
    assert "Choose one version of each" in put_back(admin_client, *MappingVersion.objects.all())
    assert MappingVersion.objects.count() == 2


def test_a_version_that_does_not_fit_the_definitions_any_more_is_refused(
    second: MappingVersion, admin_client: Client
) -> None:
    event = action().event
    del event.payload_schema["name"]
    event.save()
    told = put_back(admin_client, MappingVersion.objects.get(number=1))
    assert "the event has no payload key name" in told
    assert action().action == "noop"


def test_putting_in_force_needs_the_permission_to_change_mappings(
    second: MappingVersion, client: Client
) -> None:
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_mappingversion"))
    client.force_login(user)
    put_back(client, MappingVersion.objects.get(number=1))
    assert action().action == "noop"


def test_a_draft_shows_what_it_would_change(sandbox: Connection, admin_client: Client) -> None:
    draft = mappings.write_draft(sandbox, {"contact": {"remote_object": ""}})
    shown = admin_client.get(page(type(draft), "change", "acme")).content.decode()
    assert "~ contact.remote_object: &quot;Contact&quot; -&gt; &quot;&quot;" in shown


def test_an_invocation_shows_which_version_it_was_carried_out_by(
    sandbox: Connection, customer: Customer, admin_client: Client
) -> None:
    DealFactory.create(customer=customer)
    deliver()
    invocation = Invocation.objects.get()
    shown = admin_client.get(page(Invocation, "change", invocation.pk)).content.decode()
    assert f'<a href="{page(MappingVersion, "change", newest().pk)}">version 1</a>' in shown
