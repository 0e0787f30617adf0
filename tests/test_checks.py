"""Wrong configuration is found by `manage.py check`, with an id and a hint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import models

import xkit_crm
from tests.objects import OBJECTS
from tests.products.models import BigDeal, Deal, DealProxy, Edition
from xkit_crm.checks.bindings import check_definitions
from xkit_crm.models import Connection, EventAction, EventDefinition, ObjectMapping
from xkit_crm.sync.bindings import ModelSync

NONE, SECOND = timedelta(), timedelta(seconds=1)
REMOTE = {"base_url": "https://x", "publishable_key": "xpk_a", "secret_key": "xsk_a"}


def found(**options: Any) -> dict[str, Any]:
    """Our own messages by id; those that need the database only where it is named."""
    tags = ["xkit_crm", *(["database"] if "databases" in options else [])]
    messages = run_checks(tags=tags, **options)
    return {m.id: m for m in messages if str(m.id).startswith("xkit_crm.")}


@pytest.mark.parametrize(
    ("value", "number", "hint"),
    [
        ([], "E001", "XKIT_CRM = {}"),
        ({"DELIVRY": "worker"}, "E002", "DELIVERY"),
        ({"MAX_ATTEMPTS": "many"}, "E003", "type"),
        ({"IDEMPOTENCY_WINDOW": 3600}, "E003", "type"),
        ({"INVALID_PAYLOAD": "ignore"}, "E003", "one of them"),
        ({"DELIVERY": "no.such.backend"}, "E004", "immediate"),
        ({"DELIVERY": "xkit_crm.conf.NAMES"}, "E004", "function"),
        ({"PROVIDERS": {"acme": "no.such.Provider"}}, "E005", "PROVIDERS"),
        ({"ENCRYPTION_KEYS": ["short"]}, "E006", "secrets"),
        ({"REMOTE": {"base_url": "https://x"}}, "E007", "all three"),
        ({"REMOTE": {**REMOTE, "base_url": "crm.example.com"}}, "E007", "https://"),
        ({"LINK_ORIGINS": ["https://app.example.com/"]}, "E003", "slash"),
        ({"LINK_ORIGINS": ["https://app.example.com/crm"]}, "E003", "path"),
        ({"LINK_ORIGINS": ["app.example.com"]}, "E003", "https://"),
        ({"LINK_ORIGINS": ["https://App.example.com"]}, "E003", "small letters"),
        ({"LINK_ORIGINS": ["https://app.example.com:443"]}, "E003", "port"),
        ({"LINK_ORIGINS": [None]}, "E003", "https://"),
        ({"PROVIDER_OPTIONS": {"salesfroce": {}}}, "E008", "'salesforce'"),
        ({"PROVIDER_OPTIONS": {"hubspot": "an id"}}, "E008", "client_id"),
        ({"PROVIDER_OPTIONS": {"hubspot": {"client_id": "an id"}}}, "E008", "both"),
        ({"LINK_CRMS": ["hubspto"]}, "E008", "'hubspot'"),
        ({"LINK_CRMS": 7}, "E003", "type"),
        ({"LINK_CRMS": [["hubspot"]]}, "E008", "'hubspot'"),
        ({"LINK_CRMS": ["zoho"]}, "W020", "client_secret"),
        ({"LINK_CRMS": ["zoho"], "PROVIDER_OPTIONS": {"zoho": "an id"}}, "E008", "client_id"),
        ({"PROVIDER_OPTIONS": {"zoho": {"client_di": "an id"}}}, "E008", "'client_id'"),
        ({"PROVIDER_OPTIONS": {"zoho": {"triggers": []}}}, "E008", "'trigger'"),
        ({"PROVIDER_OPTIONS": {"hubspot": {"version": "v3"}}}, "E008", "Known are"),
        ({"PROVIDER_OPTIONS": {"hubspot": {"scopes": "oauth"}}}, "E008", "list"),
        ({"PROVIDER_OPTIONS": {"hubspot": {"base_url": "nonsense"}}}, "E008", "https://"),
        ({"PROVIDER_OPTIONS": {"hubspot": {"client_secret": 7}}}, "E008", "string"),
        ({"PRIVATE_HOSTS": ["https://10.0.0.1:80"]}, "E003", "without"),
        ({"PRIVATE_HOSTS": ["10.0.0.0/8"]}, "E003", "without"),
        ({"PRIVATE_HOSTS": ["erp.internal:8000"]}, "E003", "without"),
        ({"PRIVATE_HOSTS": [None]}, "E003", "without"),
        ({"METRICS_TOKEN": "short"}, "E023", "secrets"),
        ({"METRICS_TOKEN": None}, "E003", "type"),
        ({"KEEP_TALLIES": timedelta(days=6)}, "E003", "14 days"),
        ({"KEEP_TALLIES": 6}, "E003", "type"),
        ({"WEBHOOK": {"url": "https://x"}}, "E009", "both"),
        ({"WEBHOOK": {"url": "x", "secret": "k" * 24}}, "E009", "https://"),
        ({"WEBHOOK": {"url": None, "secret": "k" * 24}}, "E009", "https://"),
        ({"WEBHOOK": {"url": "https://x", "secret": ""}}, "E009", "secrets"),
        ({"WEBHOOK": {"url": "https://x", "secret": None}}, "E009", "secrets"),
        ({"WEBHOOK": {"url": "https://x", "secret": "whsec_..."}}, "E009", "secrets"),
        ({"WEBHOOK": {"url": "https://x", "secret": "whsec_abc"}}, "E009", "secrets"),
        ({"WEBHOOK": {"url": "https://x", "secret": "whsec_c2hvcnQ="}}, "E009", "secrets"),
    ],
)
def test_each_mistake_in_the_settings_has_its_id_and_hint(
    settings: Any, value: Any, number: str, hint: str
) -> None:
    settings.XKIT_CRM = value
    message = found()[f"xkit_crm.{number}"]
    assert hint in message.hint


@pytest.mark.parametrize(
    ("name", "values", "hint"),
    [
        ("LANE_LEASE", [NONE, -SECOND], "0:00:30"),
        ("RETRY_MAX", [NONE, -SECOND], "1:00:00"),
        ("BREAKER_PAUSE_MAX", [NONE, -SECOND], "0:01:00"),
        ("IDEMPOTENCY_WINDOW", [NONE, -SECOND], "1 day"),
        ("LINK_TOKEN_AGE", [NONE, -SECOND], "0:15:00"),
        ("LINK_SESSION_AGE", [NONE, -SECOND], "4:00:00"),
        ("KEEP_SUCCEEDED", [-SECOND], "90 days"),
        ("KEEP_FAILED", [-SECOND], "None"),
        ("RETRY_BASE", [-0.1, nan, inf, True], "2.0"),
        ("WAIT_TIMEOUT", [-1, nan, inf, True], "30.0"),
        ("REFRESH_INTERVAL", [-1, nan, inf, True], "5.0"),
        ("MAX_ATTEMPTS", [0, -1, True], "12"),
        ("BREAKER_THRESHOLD", [0, -1, True], "5"),
        ("MAX_BODY_BYTES", [0, -1, True], "1048576"),
        # After these, there is no date any more.
        ("LANE_LEASE", [timedelta.max], "0:00:30"),
        ("KEEP_SUCCEEDED", [timedelta.max], "90 days"),
        ("RETRY_BASE", [1e15], "2.0"),
    ],
)
def test_a_value_with_which_nothing_would_be_delivered_is_an_error(
    settings: Any, name: str, values: list[Any], hint: str
) -> None:
    for value in values:
        settings.XKIT_CRM = {name: value}
        message = found()["xkit_crm.E003"]
        assert name in message.msg
        assert isinstance(value, bool) or hint in message.hint


@pytest.mark.parametrize(
    "given",
    [
        {"RETRY_BASE": 0, "WAIT_TIMEOUT": 0, "REFRESH_INTERVAL": 0},
        {"KEEP_SUCCEEDED": NONE, "KEEP_FAILED": NONE},
        {"MAX_ATTEMPTS": 1, "BREAKER_THRESHOLD": 1, "MAX_BODY_BYTES": 1},
        {"REFRESH_INTERVAL": None, "KEEP_SUCCEEDED": None, "REMOTE": REMOTE},
        {"LINK_ORIGINS": ["http://localhost:8000", "https://app.example.com", "http://[::1]:81"]},
        {"DELIVERY": "tests.test_checks.found"},
    ],
)
def test_the_least_that_a_value_may_be_is_no_error(settings: Any, given: dict[str, Any]) -> None:
    settings.XKIT_CRM = given
    assert set(found()) == {"xkit_crm.W003"}


def test_tables_of_our_own_that_are_read_from_a_replica_are_an_error(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.products.routers.OwnLagging"]
    message = found()["xkit_crm.E028"]
    assert "replica" in message.msg
    assert "db_for_read" in message.hint


def test_good_settings_are_quiet(settings: Any) -> None:
    settings.XKIT_CRM = {
        "DELIVERY": "worker",
        "ENCRYPTION_KEYS": ["k" * 32],
        "RETRY_MAX": timedelta(minutes=5),
        "LINK_CRMS": ["sandbox", "odoo", "xkit", "salesforce", "hubspot"],
        "PRIVATE_HOSTS": ["erp.internal", "10.0.0.1", "::1", "ERP_2"],
        "PROVIDER_OPTIONS": {
            "salesforce": {"client_id": "a", "client_secret": "b", "version": "v68.0"},
            "hubspot": {"client_id": None, "scopes": ["oauth"], "base_url": "https://proxy/hs"},
            "zoho": {"trigger": []},
        },
        "WEBHOOK": {
            "url": "http://hooks.internal:8000/crm",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
    }
    assert set(found()) == {"xkit_crm.W003"}  # the model that the tests put elsewhere


def test_no_settings_at_all_are_good(settings: Any) -> None:
    del settings.XKIT_CRM
    assert set(found()) == {"xkit_crm.W003"}


def test_what_is_not_fit_for_production_is_said_on_deploy(settings: Any) -> None:
    settings.XKIT_CRM = {}
    assert {"xkit_crm.W001", "xkit_crm.W002"} <= set(found(include_deployment_checks=True))


def test_a_binding_that_names_no_connections_is_an_error() -> None:
    class Forgetful(ModelSync):
        crm_object = "forgotten"
        on_create = "made"

    xkit_crm.register(Deal)(Forgetful)
    try:
        assert "get_connections" in found()["xkit_crm.E010"].hint
    finally:
        _unbind("forgotten")


def test_a_path_that_leads_nowhere_is_an_error() -> None:
    class Misspelt(ModelSync):
        crm_object = "forgotten"
        on_create = "made"
        payload = {"name": "titel", "owner": "owner.email"}

        def get_connections(self, instance: Any) -> list[str]:
            return []

    xkit_crm.register(Deal)(Misspelt)
    try:
        message = found()["xkit_crm.E013"].msg
        assert "name" in message
        assert "did you mean title?" in message
    finally:
        _unbind("forgotten")


class Sync(ModelSync):
    crm_object = "opportunity"
    on_create = "deal_created"

    def get_connections(self, instance: Any) -> list[str]:
        return []


@contextmanager
def bound(model: type[models.Model], sync: type[ModelSync] = Sync) -> Iterator[None]:
    """Bind the model during the block."""
    xkit_crm.register(model)(sync)
    try:
        yield
    finally:
        xkit_crm.unregister(model)


def test_a_proxy_that_is_bound_is_an_error() -> None:
    with bound(DealProxy):
        message = found()["xkit_crm.E024"]
    assert "saved or deleted as products.Deal fires nothing" in message.msg
    assert "Register products.Deal" in message.hint


def test_a_model_with_a_composite_primary_key_is_an_error() -> None:
    class Comparison(models.Model):
        pk = models.CompositePrimaryKey("left", "right")
        left = models.IntegerField()
        right = models.IntegerField()

        class Meta:
            app_label = "composite"

    with bound(Comparison):
        assert "one column" in found()["xkit_crm.E025"].hint


def test_a_row_that_would_be_told_twice_is_an_error() -> None:
    with bound(BigDeal):
        message = found()["xkit_crm.E026"].msg
    assert "BigDeal is one of products.Deal too" in message
    assert "DealSync" in message


def test_a_row_that_may_be_saved_as_its_parent_is_warned_of() -> None:
    class Inherited(Sync):
        payload = {"name": "headline"}

    class Own(Sync):
        payload = {"name": "number"}

    with bound(Edition, Inherited):
        message = found()["xkit_crm.W027"]
    assert "columns of products.Publication (headline)" in message.msg
    assert "Bind products.Publication" in message.hint
    with bound(Edition, Own):
        assert "xkit_crm.W027" not in found()


@pytest.mark.django_db
def test_an_event_of_the_wrong_type_is_told_with_the_database(definitions: None) -> None:
    class Mistaken(ModelSync):
        crm_object = "contact"
        on_create = "contact_deleted"

        def get_connections(self, instance: Any) -> list[str]:
            return []

    xkit_crm.register(Deal)(Mistaken)
    try:
        assert "on_create" in found(databases=["default"])["xkit_crm.W014"].msg
    finally:
        _unbind("contact")


def _unbind(crm_object: str) -> None:
    from tests.products.crm import DealSync

    xkit_crm.unregister(Deal)
    xkit_crm.register(Deal)(DealSync)


@pytest.mark.django_db
def test_a_binding_to_an_event_that_is_not_defined_is_told_with_the_database(
    definitions: None,
) -> None:
    class Misspelt(ModelSync):
        crm_object = "contact"
        on_create = "contact_deletd"

        def get_connections(self, instance: Any) -> list[str]:
            return []

    xkit_crm.register(Deal)(Misspelt)
    try:
        assert "xkit_crm.W011" not in found()
        assert "contact_deleted" in found(databases=["default"])["xkit_crm.W011"].hint
    finally:
        _unbind("contact")


@pytest.mark.django_db
def test_a_payload_key_of_no_event_is_told_with_the_database(definitions: None) -> None:
    class Misspelt(ModelSync):
        crm_object = "contact"
        on_delete = "contact_deleted"
        payload = {"deleted_att": "modified_at"}

        def get_connections(self, instance: Any) -> list[str]:
            return []

    xkit_crm.register(Deal)(Misspelt)
    try:
        assert "deleted_at?" in found(databases=["default"])["xkit_crm.W015"].hint
    finally:
        _unbind("contact")
    assert "xkit_crm.W015" not in found(databases=["default"])


@pytest.mark.django_db
def test_bindings_with_nothing_loaded_are_told_with_the_database() -> None:
    assert "xkit_load" in found(databases=["default"])["xkit_crm.W011"].hint
    told = [one.msg for one in check_definitions(databases=["default"]) if "W011" in str(one.id)]
    assert len(told) == len(set(told)) > 0


@pytest.mark.django_db
def test_a_binding_that_leaves_out_what_is_required_is_told_with_the_database() -> None:
    event = {
        "type": "create",
        "payloadSchema": {"reason": {"type": "string", "required": True}},
    }
    objects = {**OBJECTS, "opportunity": {**OBJECTS["opportunity"]}}
    objects["opportunity"]["events"] = {
        **OBJECTS["opportunity"]["events"],
        "deal_created": event,
    }
    xkit_crm.define(objects)
    assert "reason" in found(databases=["default"])["xkit_crm.W012"].msg


@pytest.mark.django_db
def test_what_the_customers_have_not_decided_is_told_with_the_database(
    sandbox: Connection,
) -> None:
    assert "xkit_crm.W019" not in found(databases=["default"])
    EventAction.objects.filter(event__slug="deal_created").delete()
    assert "xkit_crm.W019" not in found()
    message = found(databases=["default"])["xkit_crm.W019"]
    assert message.msg == "opportunity.deal_created has no action in 1 connection(s): acme."
    assert "xkit_check_mappings" in message.hint
    Connection.objects.update(status="disabled")
    assert "xkit_crm.W019" not in found(databases=["default"])


@pytest.mark.django_db
def test_an_object_that_the_customer_opted_out_of_is_decided(sandbox: Connection) -> None:
    EventAction.objects.all().delete()
    ObjectMapping.objects.update(remote_object="")
    assert "xkit_crm.W019" not in found(databases=["default"])


@pytest.mark.django_db
def test_an_action_that_reads_a_key_which_is_gone_is_told_with_the_database(
    sandbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = EventDefinition.objects.get(slug="deal_created")
    del event.payload_schema["amount"]
    event.save()
    monkeypatch.setattr("xkit_crm.providers.registry.provider_for", None)  # no CRM is called
    message = found(databases=["default"])["xkit_crm.W019"].msg
    assert "opportunity.deal_created: the event has no payload key amount" in message
