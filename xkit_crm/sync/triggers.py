"""Triggers: on PostgreSQL, rows that are written past the capture are told of too.

A product puts `capture_triggers()` into a model's `Meta.triggers`. Whoever writes a row then, be it
psql, raw SQL or another service, leaves a mark at their commit, unless the capture told of that
very write in the same transaction; `taking_in.py` makes events of the marks. A binding
`by_triggers` has no other capture. Needs the extra `triggers` (django-pgtrigger); without it, and
on other databases, nothing here does or costs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from xkit_crm.exceptions import ConfigurationError
from xkit_crm.models import EventDefinition, Invocation, MarkedRow
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import Source
from xkit_crm.sync import capture, echo

if TYPE_CHECKING:
    import pgtrigger

#: Says to the triggers, within a transaction, that what is written now is not to be marked.
_QUIET: Final = "xkit_crm.quiet"

_in_use = False


def capture_triggers(*fields: str) -> list[pgtrigger.Trigger]:
    """The triggers of a bound model, for its `Meta.triggers`; `makemigrations` then writes them.

    With `fields` an update counts only where one of these changed: those that the binding watches.
    Raises `ConfigurationError` where django-pgtrigger is not installed.
    """
    try:
        import pgtrigger
    except ImportError as error:
        raise ConfigurationError(
            "capture_triggers() needs django-pgtrigger.",
            hint='Install "xkit_crm[triggers]" and add "pgtrigger" to INSTALLED_APPS.',
        ) from error
    _use()

    class Marking(pgtrigger.Trigger):
        marks = fields
        when = pgtrigger.After
        timing = pgtrigger.Deferred

        def get_condition(self, model: Any) -> pgtrigger.Condition:
            conditions = [f"current_setting('{_QUIET}', true) IS DISTINCT FROM 'on'"]
            if self.operation is pgtrigger.Update:
                conditions.append(_differs(model, fields))
            return pgtrigger.Condition(" AND ".join(conditions))

        def get_func(self, model: Any) -> str:
            return _function(model)

    return [
        Marking(name="xkit_mark", operation=pgtrigger.Insert | pgtrigger.Delete),
        Marking(name="xkit_mark_update", operation=pgtrigger.Update),
    ]


def may_mark(database: BaseDatabaseWrapper) -> bool:
    """Whether anything is marked there: some model has triggers, and the database takes them."""
    return _in_use and database.vendor == "postgresql"


def are_on(model: type[models.Model]) -> bool:
    """Whether the model's `Meta` has them."""
    return bool(_of(model))


def left_out(model: type[models.Model], columns: Collection[str]) -> list[str]:
    """Which of these columns may change without being marked, by attribute name."""
    named = {field for one in _of(model) for field in one.marks}
    watched = {model._meta.get_field(name).attname for name in named}  # type: ignore[union-attr]
    return sorted(set(columns) - watched) if named else []


def _of(model: type[models.Model]) -> list[Any]:
    opts: Any = model._meta.concrete_model._meta  # type: ignore[union-attr]
    return [one for one in getattr(opts, "triggers", ()) if hasattr(one, "marks")]


def mark_now() -> None:
    """Have marked what this transaction has written so far, as its commit would: for tests, whose
    transactions end without one."""
    database = connections[router.db_for_write(MarkedRow)]
    if may_mark(database) and database.in_atomic_block:
        with database.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


# -- what the database does -----------------------------------------------------------------------


def _differs(model: type[models.Model], names: Sequence[str]) -> str:
    """Whether an update changes one of these fields, or with none of them anything that counts."""
    found = [model._meta.get_field(name) for name in names] or [
        one for one in model._meta.local_concrete_fields if not getattr(one, "auto_now", False)
    ]
    columns = {model._meta.pk.column, *(one.column for one in found)}  # type: ignore[union-attr]
    ordered = sorted(f'"{column}"' for column in columns)
    old, new = (", ".join(f"{side}.{column}" for column in ordered) for side in ("OLD", "NEW"))
    return f"ROW({old}) IS DISTINCT FROM ROW({new})"


def _function(model: type[models.Model]) -> str:
    """The body of the trigger function, run for each row at the commit.

    An invocation counts where it was captured in this transaction (savepoints included, each of
    which has an id of its own) and by no earlier command than the row as it is now: one that wrote
    both is a save of ours (`one_statement.py`). Which command that was can't be told where the row
    was written once more in a savepoint that was rolled back.
    """
    opts: Any = model._meta.concrete_model._meta  # type: ignore[union-attr]
    column = getattr(opts.pk, "column", None)
    if column is None:
        raise ConfigurationError(f"{opts.label} has a composite primary key: it can't be marked.")
    quote = '"{}"'.format
    table, pk = quote(opts.db_table), quote(column)
    invocations, events, types, marks = (
        quote(one._meta.db_table) for one in (Invocation, EventDefinition, ContentType, MarkedRow)
    )
    content_type = (
        f"(SELECT id FROM {types} "  # noqa: S608 - names of our own and the model's only
        f"WHERE app_label = '{opts.app_label}' AND model = '{opts.model_name}')"
    )
    # How far a transaction id is from ours, as 32 bits go round: an invocation's, and that of who
    # has written the row since.
    apart, since = (f"(({xid} - own) & 4294967295)" for xid in ("i.xmin::text::bigint", "over"))
    told = f"""
        SELECT FROM {invocations} i
        WHERE i.content_type_id = {content_type} AND i.object_pk = row_pk
            AND i.source = '{Source.MODEL.value}'
            AND CASE WHEN {apart} = 0 THEN TRUE
                WHEN {apart} < 2147483648 AND i.created_at > now() - interval '1 day'
                THEN pg_xact_status((own + {apart})::text::xid8) = 'in progress'
                ELSE FALSE END
    """
    deletes = f"(SELECT id FROM {events} WHERE type = '{EventType.DELETE.value}')"  # noqa: S608
    insert = f"INSERT INTO {marks} (model, object_pk) VALUES ('{opts.label_lower}', "  # noqa: S608
    return f"""
        DECLARE
            own CONSTANT bigint := pg_current_xact_id()::text::bigint;
            row_pk text;
            written bigint;
            over bigint;
            told boolean;
        BEGIN
            IF TG_OP = 'DELETE' THEN
                row_pk := OLD.{pk}::text;
                told := EXISTS ({told} AND i.event_id IN {deletes});
            ELSE
                row_pk := NEW.{pk}::text;
                SELECT cmin::text::bigint, xmax::text::bigint INTO written, over
                FROM {table} WHERE {pk} = NEW.{pk};
                IF NOT FOUND THEN
                    RETURN NULL;
                END IF;
                told := EXISTS ({told} AND i.cmin::text::bigint >= written);
                IF told AND over <> 0 AND {since} < 2147483648
                    AND own + {since} < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                THEN
                    told := pg_xact_status((own + {since})::text::xid8) IS DISTINCT FROM 'aborted';
                END IF;
            END IF;
            IF TG_OP = 'UPDATE' AND OLD.{pk} <> NEW.{pk} THEN
                {insert} OLD.{pk}::text);
            END IF;
            IF NOT told THEN
                {insert} row_pk);
            END IF;
            RETURN NULL;
        END;
    """  # noqa: S608


def _use() -> None:
    global _in_use
    _in_use = True
    connection_created.connect(_follow, dispatch_uid="xkit_crm.triggers")
    for database in connections.all(initialized_only=True):
        _follow(connection=database)


def _follow(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    wrappers = connection.execute_wrappers
    if connection.vendor == "postgresql" and _quietly not in wrappers:
        wrappers.insert(0, _quietly)


def _quietly(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Have what is written in `muted()` and `applying()` not marked.

    The triggers ask when a row is written, since at the commit the block may be over; and the
    database forgets it with the transaction, however connections are pooled.
    """
    if not (capture.is_muted() or echo.is_applying()) or not _writes(sql):
        return execute(sql, params, many, context)
    database: BaseDatabaseWrapper = context["connection"]
    if database.get_autocommit() and not database.in_atomic_block:
        with transaction.atomic(using=database.alias):
            _set_quiet(database, "on")
            return execute(sql, params, many, context)
    _set_quiet(database, "on")
    result = execute(sql, params, many, context)
    _set_quiet(database, "")
    return result


def _writes(sql: Any) -> bool:
    # What psycopg composes is no text yet, and may be anything.
    word = sql.split(None, 1)[0].upper() if isinstance(sql, str) and sql.strip() else "WITH"
    return word in ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH")


def _set_quiet(database: BaseDatabaseWrapper, value: str) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [_QUIET, value])
