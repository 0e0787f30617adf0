"""Bindings from code and from the admin: one registry, and what each of them watches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.db import models
from django.db.models.functions import Upper

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory
from tests.products.models import Customer, Deal, Plain, Twin
from tests.sync.test_capture import fired, rebound
from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import Connection, CRMObject, EventDefinition, Invocation, ModelBinding
from xkit_crm.sync import binding, bindings

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("forgotten_rows")]


def bind(model: type[models.Model], **changes: Any) -> ModelBinding:
    """Bind by a row, as the admin does."""
    values = {
        "model": ContentType.objects.get_for_model(model),
        "crm_object": CRMObject.objects.get(slug="opportunity"),
        "on_create": EventDefinition.objects.get(slug="deal_created"),
        "payload": {"name": "name"},
        "connection_path": "connection_id",
    }
    return ModelBinding.objects.create(**values | changes)


def the_deals() -> bindings.Binding:
    return next(b for b in bindings.registered() if b.model is Deal)


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (None, []),
        ([], []),
        ("acme", ["acme"]),
        (["acme", None, "", "acme", "other"], ["acme", "other"]),
        (Connection(pk="acme"), ["acme"]),
        ((Connection(pk="acme"), "other"), ["acme", "other"]),
        ({"acme"}, ["acme"]),
        (iter(["acme"]), ["acme"]),
        (5, ["5"]),
        (UUID(int=1), [str(UUID(int=1))]),
    ],
)
def test_connections_may_be_named_in_any_form(given: Any, ids: list[str]) -> None:
    binding = replace(the_deals(), get_connections=lambda _: given)
    assert binding.connection_ids(Deal()) == ids


def test_what_is_watched_is_what_the_paths_start_from() -> None:
    assert the_deals().watched == ("amount", "owner_id", "tags", "title", "views")


def test_a_row_keeps_its_key_so_that_nothing_is_watched_for_it() -> None:
    assert binding._watched(Deal, ["pk", "title"], watch=None, watch_all=False) == ("title",)


def test_a_computed_key_watches_every_column_unless_it_says_which() -> None:
    class Computed(xkit_crm.ModelSync):
        crm_object = "opportunity"
        on_update = "deal_updated"

        def get_name(self, deal: Deal) -> str:
            return deal.title

        def get_connections(self, deal: Deal) -> None: ...

    class Narrowed(Computed):
        watch = ["title"]

    with rebound(Computed):
        assert "note" in the_deals().watched
        assert "modified_at" not in the_deals().watched
    with rebound(Narrowed):
        assert the_deals().watched == ("title",)


def test_a_row_that_moves_to_another_customer_fires_where_that_is_watched(
    deal: Deal,
) -> None:
    from tests.products.crm import DealSync

    class Watching(DealSync):
        watch = ["customer"]

    ConnectionFactory.create(id="second")
    with rebound(Watching):
        assert {"customer_id", "title"} <= set(the_deals().watched)
        deal = Deal.objects.get(pk=deal.pk)
        deal.customer = CustomerFactory.create(connection_id="second")
        deal.save()
    assert [i.connection_id for i in Invocation.objects.all()] == ["second"]


def test_a_row_that_is_added_to_another_fires_where_the_base_manager_is_synced(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = User.objects.create(username="ada", email="ada@example.com")
    owner.deal_set.add(deal)
    assert fired() == []
    owner.deal_set.clear()
    Invocation.objects.all().delete()
    # What `base_manager_name = "synced"` makes of it.
    monkeypatch.setitem(vars(Deal._meta), "base_manager", Deal.synced)
    owner.deal_set.add(deal)
    assert [payload["owner_email"] for _, payload in fired()] == ["ada@example.com"]


def test_a_generated_column_watches_every_column() -> None:
    class Shout(models.Model):
        name = models.CharField(max_length=10)
        loud = models.GeneratedField(
            expression=Upper("name"), output_field=models.CharField(max_length=10), db_persist=True
        )

        class Meta:
            app_label = "shouts"

    watched = binding._watched(Shout, ["loud"], watch=None, watch_all=False)
    assert "name" in watched


def test_a_row_binds_a_model_without_a_restart_and_code_goes_first(connection: Connection) -> None:
    bind(Customer)
    Customer.objects.create(connection_id="acme", name="Bound by a row")
    assert [payload["name"] for _, payload in fired()] == ["Bound by a row"]
    bind(Twin, payload={"name": "title"})
    Twin.objects.create(connection_id="acme", title="Bound twice")
    assert len(fired()) == 2


def test_a_row_has_a_condition_too(connection: Connection) -> None:
    bind(Customer, condition=[{"path": "name", "operator": "is_not", "value": "Test"}])
    for name in ("Test", "Real"):
        Customer.objects.create(name=name, connection_id="acme")
    assert [payload["name"] for _, payload in fired()] == ["Real"]


def test_a_row_whose_condition_is_none_binds_nothing_rather_than_everything(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    bind(Customer, condition=[{"path": "name"}])
    Customer.objects.create(name="Anybody", connection_id="acme")
    assert fired() == []
    assert "is left out" in caplog.text


def test_rows_are_never_out_of_force_while_they_are_loaded_again(connection: Connection) -> None:
    bind(Customer)
    seen = []

    def look(execute: Any, sql: str, *rest: Any) -> Any:
        seen.append(bool(bindings.bindings_for(Customer)))
        return execute(sql, *rest)

    with database.execute_wrapper(look):
        bindings.load_rows()
    assert seen
    assert all(seen)


def test_a_look_that_fails_is_taken_again(connection: Connection) -> None:
    bind(Customer)
    ModelBinding.objects.update(connection_path="name", updated_at="2100-01-01T00:00:00Z")

    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        raise ConnectionError("the database went away")

    with database.execute_wrapper(fail), pytest.raises(ConnectionError):
        bindings.refresh_rows_if_stale(interval=0)
    assert bindings.bindings_for(Customer)
    bindings.refresh_rows_if_stale(interval=0)
    (binding,) = bindings.bindings_for(Customer)
    assert binding.connection_ids(Customer(name="acme")) == ["acme"]


def test_an_event_that_was_renamed_past_every_check_is_followed(connection: Connection) -> None:
    bind(Customer)
    event = EventDefinition.objects.get(slug="deal_created")
    EventDefinition.objects.filter(pk=event.pk).update(slug="deal_made")
    EventDefinition.objects.get(pk=event.pk).save()
    Customer.objects.create(connection_id="acme", name="x")
    assert [slug for slug, _ in fired()] == ["deal_made"]


def test_a_binding_that_would_never_fire_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="never fire"):

        @xkit_crm.register(Customer)
        class Silent(xkit_crm.ModelSync):
            crm_object = "opportunity"


def test_a_model_that_is_not_registered_can_not_be_unregistered() -> None:
    with pytest.raises(ConfigurationError, match="Plain is not registered"):
        xkit_crm.unregister(Plain)
