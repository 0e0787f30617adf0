"""A save of a table, or by a key, that isn't what it seems, and what it fires."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django import VERSION
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.db import models
from django.db.models import F
from django.test.utils import isolate_apps

import xkit_crm
from tests.sync.saving import statements, told
from xkit_crm import catalogue
from xkit_crm.delivery import cursors
from xkit_crm.models import Connection

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(database.vendor != "postgresql", reason="PostgreSQL only"),
]


@contextmanager
def another(
    key: models.Field, *, told: dict[str, Any] | None = None, **more: models.Field
) -> Iterator[type[models.Model]]:
    """A bound model with this primary key, in this block; `told` is how it is bound otherwise."""
    with isolate_apps("tests.products"):
        meta = type("Meta", (), {"app_label": "products"})
        columns: dict[str, Any] = {
            "__module__": __name__,
            "Meta": meta,
            "key": key,
            "title": models.CharField(max_length=100),
            **more,
        }
        model = type("Another", (models.Model,), columns)
    with database.schema_editor() as editor:
        editor.create_model(model)
    binding = {
        "crm_object": "opportunity",
        "on_create": "deal_created",
        "on_update": "deal_updated",
        "payload": {"name": "title"},
        "get_connections": lambda self, row: ["acme"],
        **(told or {}),
    }
    xkit_crm.register(model)(type("AnotherSync", (xkit_crm.ModelSync,), binding))
    ContentType.objects.get_for_model(model)
    catalogue.objects()
    try:
        yield model
    finally:
        xkit_crm.unregister(model)
        ContentType.objects.clear_cache()


class PrefixedAutoField(models.BigAutoField):
    """A number that the product knows by another name."""

    def from_db_value(self, value: int, *_: object) -> str:
        return f"deal_{value}"

    def get_prep_value(self, value: Any) -> Any:
        return value if value is None else int(str(value).removeprefix("deal_"))

    def to_python(self, value: Any) -> Any:
        return value


def test_a_key_that_is_no_number_to_the_product_is_told_as_it_knows_it(
    connection: Connection,
) -> None:
    with another(PrefixedAutoField(primary_key=True)) as model:
        row: Any = model(title="Apple")
        row.save()
        row.title = "Pear"
        row.save()
        assert [pk for _, pk, _ in told()] == [row.pk, row.pk]


@pytest.mark.parametrize("title", ["Apple", "moved"])
def test_a_row_that_a_trigger_puts_elsewhere_is_told_of(connection: Connection, title: str) -> None:
    with another(models.CharField(max_length=20, primary_key=True)) as model:
        with database.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE elsewhere (LIKE products_another);"
                "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                "    INSERT INTO elsewhere SELECT NEW.*; RETURN NULL; END $$;"
                "CREATE TRIGGER move BEFORE INSERT ON products_another FOR EACH ROW"
                "    WHEN (NEW.title = 'moved') EXECUTE FUNCTION move()"
            )
        row: Any = model(key="one", title=title)
        (statement,) = statements(lambda: row.save(force_insert=True))
        assert statement.startswith("WITH saved AS (INSERT")
        assert told() == [("deal_created", "one", {"name": title})]


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_table_with_rules_is_written_as_ever(connection: Connection, event: str) -> None:
    with another(models.BigAutoField(primary_key=True)) as model:
        with database.cursor() as cursor:
            cursor.execute("CREATE TABLE seen (title text)")
            cursor.execute(
                f"CREATE RULE seen AS ON {event} TO products_another "  # noqa: S608
                "DO ALSO INSERT INTO seen VALUES (NEW.title)"
            )
        row: Any = model(title="Apple")
        row.save()
        row.title = "Pear"
        row.save()
        assert [payload["name"] for *_, payload in told()] == ["Apple", "Pear"]


def test_a_row_with_a_key_of_several_columns_is_saved_as_ever(connection: Connection) -> None:
    several = models.CompositePrimaryKey("key", "region")  # type: ignore[attr-defined]
    with another(models.IntegerField(), region=models.IntegerField(), pk=several) as model:
        row: Any = model(key=1, region=2, title="Apple")
        row.save()
        assert model._base_manager.get() == row
        assert [payload["name"] for *_, payload in told()] == ["Apple"]


@pytest.mark.skipif(VERSION < (6, 0), reason="Django leaves it as it was")
def test_what_the_database_computes_is_told_as_it_is_now(connection: Connection) -> None:
    twice = models.GeneratedField(  # type: ignore[attr-defined]
        expression=F("price") * 2, output_field=models.IntegerField(), db_persist=True
    )
    told_as = {"get_amount": lambda self, row: row.twice, "watch": ["price"]}
    key, price = models.BigAutoField(primary_key=True), models.IntegerField(default=1)
    with another(key, told=told_as, price=price, twice=twice) as model:
        row: Any = model.objects.create()  # type: ignore[attr-defined]
        row.price = 5
        row.save()
        assert [payload["amount"] for *_, payload in told()] == [2, 10]


class ThroughField(models.IntegerField):
    """A number that a function of the database is given, which takes any type."""

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> Any:
        return "CAST(to_jsonb(%s) AS text)::integer", (value,)


def test_what_a_function_is_given_has_its_type(connection: Connection) -> None:
    key = models.BigAutoField(primary_key=True)
    with another(key, number=ThroughField(default=1)) as model:
        for number in range(4 * cursors.THRESHOLD):
            model(title="Apple", number=number).save()
        assert len(told()) == 4 * cursors.THRESHOLD
