"""Saving and deleting bound models makes invocations, in the same transaction and no others."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.db import connection as database
from django.db import models, transaction
from django.db.models import F
from django.db.models.signals import post_save, pre_delete

import xkit_crm
from tests.factories import ConnectionFactory, CustomerFactory, DealFactory
from tests.products.models import BigDeal, Customer, Deal, DealProxy, Plain
from xkit_crm import catalogue
from xkit_crm.exceptions import PayloadInvalid, UnknownEvent
from xkit_crm.models import Connection, CRMObject, EventDefinition, Invocation

pytestmark = pytest.mark.django_db

#: Queries that capturing an event takes: an INSERT, and where that can't look for the connection
#: by itself without locking others out (`delivery/outbox.py`), that look.
AN_EVENT = 2 if database.vendor == "mysql" else 1


def fired() -> list[tuple[str, dict]]:
    """What was captured so far, in order: event and payload."""
    return [(i.event.slug, i.payload) for i in Invocation.objects.order_by("id")]


def events() -> list[str]:
    return [slug for slug, _ in fired()]


def test_creating_a_row_fires_on_create_with_its_payload(customer: Customer) -> None:
    deal = DealFactory.create(customer=customer, title="Apple", amount="1200.50", tags=["a"])
    (invocation,) = Invocation.objects.all()
    assert invocation.event.slug == "deal_created"
    assert invocation.connection_id == "acme"
    assert invocation.status == "pending"
    assert invocation.source == "model"
    assert invocation.instance == deal
    assert invocation.payload == {
        "name": "Apple",
        "amount": 1200.5,
        "tags": ["a"],
        "views": 0,
        "owner_email": None,
    }


def test_each_event_takes_the_payload_keys_of_its_own_schema(deal: Deal) -> None:
    deal.title = "Renamed"
    deal.save()
    deal.delete()
    (_, updated), (_, deleted) = fired()
    assert set(updated) == {"name", "amount", "tags", "views", "owner_email", "updated_at"}
    assert deleted == {"name": "Renamed"}


def test_a_change_of_something_watched_fires_on_update(deal: Deal) -> None:
    deal.title = "Renamed"
    deal.save()
    ((slug, payload),) = fired()
    assert slug == "deal_updated"
    assert payload["name"] == "Renamed"
    assert payload["updated_at"].endswith("Z")


def test_saving_with_nothing_watched_changed_fires_nothing(deal: Deal) -> None:
    deal.note = "not in any payload"
    deal.save()
    assert fired() == []


def test_saving_with_nothing_watched_changed_costs_no_query(
    deal: Deal, django_assert_num_queries
) -> None:
    deal.note = "changed"
    with django_assert_num_queries(1):
        deal.save()


def test_a_watched_change_costs_one_query_or_none(deal: Deal, django_assert_num_queries) -> None:
    deal.customer  # noqa: B018 - loaded already
    deal.title = "warm"
    deal.save()
    deal.title = "changed"
    # PostgreSQL does both in one statement (`test_one_statement.py`).
    with django_assert_num_queries(1 if database.vendor == "postgresql" else 1 + AN_EVENT):
        deal.save()


def test_what_update_fields_leaves_out_costs_one_query_where_it_fires(
    deal: Deal, django_assert_num_queries
) -> None:
    deal.customer  # noqa: B018 - loaded already
    deal.title = "warm"
    deal.save()
    deal.title = "changed"
    with django_assert_num_queries(2 + AN_EVENT):
        deal.save(update_fields=["title"])
    with django_assert_num_queries(1):
        deal.save(update_fields=["note"])


def test_a_model_without_binding_costs_nothing(django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        plain = Plain.objects.create(title="x")
    with django_assert_num_queries(1):
        plain.save()
    assert "_save_table" not in Plain.__dict__


def test_no_receiver_listens_to_every_model() -> None:
    everything = id(None)
    for signal in (models.signals.pre_save, post_save, pre_delete, models.signals.post_delete):
        ours = [
            entry
            for entry in signal.receivers
            if "xkit_crm" in str(entry[0][0]) and entry[0][1] == everything
        ]
        assert ours == []


def test_deleting_a_row_fires_on_delete_although_the_row_is_gone(deal: Deal) -> None:
    pk = deal.pk
    deal.delete()
    (invocation,) = Invocation.objects.all()
    assert invocation.event.slug == "deal_deleted"
    assert invocation.payload == {"name": "Sales contract"}
    assert invocation.object_pk == str(pk)


def test_queryset_delete_fires_for_each_row(customer: Customer) -> None:
    with xkit_crm.muted():
        DealFactory.create_batch(3, customer=customer)
    Deal.objects.all().delete()
    assert events() == ["deal_deleted"] * 3


def test_a_cascade_fires_for_what_it_deletes(deal: Deal) -> None:
    deal.customer.delete()
    assert events() == ["deal_deleted"]


def test_muted_saves_and_deletes_fire_nothing(deal: Deal) -> None:
    with xkit_crm.muted():
        deal.title = "Renamed"
        deal.save()
        deal.delete()
    assert fired() == []


def test_what_was_saved_muted_is_not_fired_later(deal: Deal) -> None:
    with xkit_crm.muted():
        deal.title = "Renamed"
        deal.save()
    deal.save()
    assert fired() == []


def test_a_row_without_connection_fires_nothing(definitions: None) -> None:
    DealFactory.create(customer=CustomerFactory.create(connection_id=""))
    assert fired() == []


def test_a_connection_that_does_not_exist_yet_fires_nothing(definitions: None) -> None:
    DealFactory.create(customer=CustomerFactory.create(connection_id="not-connected-yet"))
    assert fired() == []


def test_a_disabled_connection_holds_what_was_fired(customer: Customer) -> None:
    Connection.objects.update(status="disabled")
    DealFactory.create(customer=customer)
    assert events() == ["deal_created"]


def test_an_event_that_was_switched_off_fires_nothing_and_stops_no_save(deal: Deal) -> None:
    EventDefinition.objects.filter(slug="deal_updated").update(active=False)
    catalogue.forget()
    deal.title = "Renamed"
    deal.save()
    assert fired() == []
    CRMObject.objects.filter(slug="opportunity").update(active=False)
    catalogue.forget()
    deal.delete()
    assert fired() == []


def test_an_event_that_is_not_defined_is_a_mistake_and_named(deal: Deal) -> None:
    EventDefinition.objects.filter(slug="deal_updated").update(slug="deal_changed")
    catalogue.forget()
    deal.title = "Renamed"
    with pytest.raises(UnknownEvent, match="deal_updated"), transaction.atomic():
        deal.save()


def test_one_invocation_for_each_connection_of_the_row(deal: Deal) -> None:
    from tests.products.crm import DealSync

    ConnectionFactory.create(id="second")
    given = ["acme", None, Connection.objects.get(pk="second"), "acme"]

    class Several(DealSync):
        def get_connections(self, deal: Deal) -> Any:
            return given

    with rebound(Several):
        deal.title = "Renamed"
        deal.save()
    made = Invocation.objects.order_by("id")
    assert [i.connection_id for i in made] == ["acme", "second"]
    assert len({i.uuid for i in made}) == 2


@contextmanager
def rebound(sync: type[xkit_crm.ModelSync]) -> Iterator[None]:
    """Bind `Deal` by this class during the block, and by its own afterwards."""
    from tests.products.crm import DealSync

    xkit_crm.unregister(Deal)
    xkit_crm.register(Deal)(sync)
    try:
        yield
    finally:
        xkit_crm.unregister(Deal)
        xkit_crm.register(Deal)(DealSync)


# -- the ways in which Django saves ---------------------------------------------------------------


def test_what_update_fields_leaves_out_is_told_as_the_database_has_it(deal: Deal) -> None:
    title = deal.title
    deal.title, deal.views = "not saved", 7
    deal.save(update_fields=["views"])
    mine, theirs = Deal.objects.get(), Deal.objects.get()
    theirs.title = "theirs"
    theirs.save()
    mine.views = 8
    mine.save(update_fields=["views"])
    told = [(payload["name"], payload["views"]) for _, payload in fired()]
    assert told == [(title, 7), ("theirs", 7), ("theirs", 8)]


def test_a_relation_that_update_fields_leaves_out_is_the_one_that_is_stored(deal: Deal) -> None:
    deal.owner = User.objects.create(username="grace", email="grace@example.com")
    deal.views = 7
    deal.save(update_fields=["views"])
    ((_, payload),) = fired()
    assert payload["owner_email"] is None
    assert deal.owner.username == "grace"


def test_update_fields_fires_only_for_what_it_writes(deal: Deal) -> None:
    deal.title, deal.note = "Renamed", "noted"
    deal.save(update_fields=["note"])
    assert fired() == []
    deal.save(update_fields=["title"])
    assert events() == ["deal_updated"]


def test_refresh_from_db_is_no_change(deal: Deal) -> None:
    Deal.objects.filter(pk=deal.pk).update(title="Changed elsewhere")
    deal.refresh_from_db()
    deal.save()
    assert fired() == []


def test_refreshing_takes_back_a_change_that_was_not_saved(deal: Deal) -> None:
    deal.title = "Renamed"
    deal.refresh_from_db(fields=["title"])
    deal.save()
    assert fired() == []


def test_deferred_fields_are_not_loaded_and_not_missed(
    deal: Deal, django_assert_num_queries
) -> None:
    deferred = Deal.objects.defer("title").get(pk=deal.pk)
    with django_assert_num_queries(1):
        deferred.save()
    assert fired() == []
    deferred.title = "Renamed"
    deferred.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed"]


def test_a_deferred_field_that_was_read_is_no_change(deal: Deal) -> None:
    deferred = Deal.objects.only("pk", "customer").get(pk=deal.pk)
    assert deferred.title == "Sales contract"
    deferred.save()
    assert fired() == []


def test_get_or_create_fires_once(customer: Customer) -> None:
    for _ in range(2):
        Deal.objects.get_or_create(customer=customer, title="One")
    assert events() == ["deal_created"]


def test_update_or_create_fires_for_what_it_did(customer: Customer) -> None:
    for amount in (1, 2, 2):
        Deal.objects.update_or_create(
            customer=customer, title="One", defaults={"amount": Decimal(amount)}
        )
    assert events()[:2] == ["deal_created", "deal_updated"]


def test_a_copy_made_by_clearing_the_key_is_a_new_row(deal: Deal) -> None:
    deal.pk = None
    deal.save()
    assert events() == ["deal_created"]


def test_a_row_saved_without_being_loaded_is_updated(deal: Deal) -> None:
    Deal(pk=deal.pk, customer=deal.customer, title="Written blind").save()
    assert events() == ["deal_updated"]


def test_a_list_changed_in_place_is_a_change(deal: Deal) -> None:
    deal.tags.append("urgent")
    deal.save()
    assert [payload["tags"] for _, payload in fired()] == [["urgent"]]


def test_what_the_database_computes_is_read_back(deal: Deal) -> None:
    deal.views = F("views") + 3
    deal.save()
    assert [payload["views"] for _, payload in fired()] == [3]


def test_fixtures_fire_nothing(deal: Deal) -> None:
    text = serializers.serialize("json", [deal]).replace("Sales contract", "Loaded")
    for loaded in serializers.deserialize("json", text):
        loaded.save()
    assert Deal.objects.get().title == "Loaded"
    assert fired() == []


def test_a_related_row_is_followed_and_a_change_of_the_relation_fires(deal: Deal) -> None:
    deal.owner = User.objects.create(username="ada", email="ada@example.com")
    deal.save()
    assert [payload["owner_email"] for _, payload in fired()] == ["ada@example.com"]


def test_an_empty_address_is_null_and_not_a_violation(deal: Deal) -> None:
    deal.owner = User.objects.create(username="ada", email="")
    deal.save()
    assert [payload["owner_email"] for _, payload in fired()] == [None]


def test_a_pickled_row_stays_the_same_row(deal: Deal) -> None:
    deal.title = "Renamed"
    deal.save()
    again = pickle.loads(pickle.dumps(deal))  # noqa: S301
    again.title = "Renamed again"
    again.save()
    assert [payload["name"] for _, payload in fired()] == ["Renamed", "Renamed again"]


def test_capture_is_still_called_by_django(customer: Customer) -> None:
    """Django's `_save_table` is not a public name; should it move, this says so first."""
    assert Deal._save_table is not models.Model._save_table
    DealFactory.create(customer=customer)
    assert events() == ["deal_created"]


# -- proxies and inheritance ----------------------------------------------------------------------


def test_a_proxy_is_the_same_row(deal: Deal) -> None:
    proxy = DealProxy.objects.get(pk=deal.pk)
    proxy.title = "Through the proxy"
    proxy.save()
    proxy.delete()
    assert events() == ["deal_updated", "deal_deleted"]
    assert {i.content_type.model for i in Invocation.objects.all()} == {"deal"}


def test_a_row_of_an_inheriting_model_is_a_row_of_what_it_inherits(customer: Customer) -> None:
    big = BigDeal.objects.create(customer=customer, title="Big", discount=5)
    big = BigDeal.objects.get(pk=big.pk)
    big.discount = 6
    big.save()
    big.title = "Bigger"
    big.save()
    big.delete()
    assert events() == ["deal_created", "deal_updated", "deal_deleted"]
    assert {i.content_type.model for i in Invocation.objects.all()} == {"deal"}


def test_an_abstract_model_can_not_be_bound() -> None:
    class Abstract(models.Model):
        class Meta:
            abstract = True
            app_label = "products"

    with pytest.raises(xkit_crm.exceptions.ConfigurationError, match="abstract"):

        @xkit_crm.register(Abstract)
        class Sync(xkit_crm.ModelSync):
            crm_object = "opportunity"
            on_create = "deal_created"


# -- payloads that violate the schema -------------------------------------------------------------


def test_an_invalid_payload_stops_the_save_and_names_every_path(
    deal: Deal, django_assert_num_queries
) -> None:
    deal.title = "x" * 90
    deal.tags = ["a", 1]
    with pytest.raises(PayloadInvalid) as raised, transaction.atomic():
        deal.save()
    assert {problem.path for problem in raised.value.errors} == {"payload.name", "payload.tags[1]"}
    assert "DealSync" in str(raised.value)
    deal.refresh_from_db()
    assert deal.title == "Sales contract"
    assert fired() == []


def test_an_invalid_payload_may_be_recorded_instead(deal: Deal, settings) -> None:
    settings.XKIT_CRM = {**settings.XKIT_CRM, "INVALID_PAYLOAD": "record"}
    deal.title = "x" * 90
    deal.save()
    (invocation,) = Invocation.objects.all()
    assert invocation.status == "failed"
    assert invocation.error is not None
    assert invocation.error.errors[0].path == "payload.name"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_capture_works_where_the_server_binds_the_parameters(
    deal: Deal, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**database.settings_dict["OPTIONS"], "server_side_binding": True}
    monkeypatch.setitem(database.settings_dict, "OPTIONS", options)
    database.close()
    try:
        deal.title = "Renamed"
        deal.save()
        assert [payload["name"] for _, payload in fired()] == ["Renamed"]
    finally:
        database.close()


# -- another database -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_row_in_another_database_is_captured_once_it_is_committed(
    connection: Connection,
) -> None:
    from tests.products.models import Elsewhere

    with transaction.atomic(using="other"):
        Elsewhere.objects.create(title="Far", connection_id="acme")
        assert fired() == []
    assert fired() == [("deal_created", {"name": "Far"})]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_rollback_in_another_database_leaves_nothing(connection: Connection) -> None:
    from tests.products.models import Elsewhere

    with pytest.raises(RuntimeError), transaction.atomic(using="other"):
        Elsewhere.objects.create(title="Far", connection_id="acme")
        raise RuntimeError
    assert fired() == []
