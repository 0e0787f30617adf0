"""Triggers: on PostgreSQL, rows that are written past the capture are told of too.

A product puts `capture_triggers()` into a model's `Meta.triggers`. Whoever writes a row then, be it
psql, raw SQL or another service, leaves a mark at their commit, unless the capture told of that
very write in the same transaction. The worker and the sweep call `take_in`, which compares what is
marked with what was last told and puts what differs into the outbox. A binding `by_triggers` has
no other capture. Needs the extra `triggers` (django-pgtrigger); without it, and on other databases,
nothing here does or costs anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from xkit_crm import catalogue
from xkit_crm.catalogue import Event
from xkit_crm.conf import settings
from xkit_crm.delivery import outbox
from xkit_crm.delivery.outbox import Captured
from xkit_crm.exceptions import ConfigurationError, NotFound, PayloadInvalid, Problem
from xkit_crm.models import EventDefinition, Invocation, MarkedRow, RecordLink
from xkit_crm.models.event_definition import EventType
from xkit_crm.models.invocation import InvocationStatus, Source
from xkit_crm.sync import bindings, capture, echo, firing, walking
from xkit_crm.sync.bindings import Binding
from xkit_crm.sync.digests import digests
from xkit_crm.sync.reconcile import changed_keys, volatile_keys
from xkit_crm.sync.walking import Place

if TYPE_CHECKING:
    import pgtrigger

logger = logging.getLogger(__name__)

#: Marks that are taken in one transaction.
LIMIT: Final = 500
#: Seconds of one look that go to marks.
SECONDS: Final = 1.0
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
    if _in_use and database.vendor == "postgresql" and database.in_atomic_block:
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
    which has an id of its own) and by a later command than the row as it is now. Which command that
    was can't be told where the row was written once more in a savepoint that was rolled back.
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
                told := EXISTS ({told} AND i.cmin::text::bigint > written);
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


# -- what is marked is taken in -------------------------------------------------------------------


def take_in(limit: int = LIMIT) -> int:
    """Tell of what is marked and differs from what was told; gives how many marks are done with.

    A mark goes in the transaction in which what it gave rise to is put into the outbox. All are
    left to another process that is at it, and rows that somebody is writing for the next time. One
    query where nothing is marked, none where no model has triggers.
    """
    home = router.db_for_write(MarkedRow)
    if not _in_use or connections[home].vendor != "postgresql":
        return 0
    marks = MarkedRow.objects.using(home)
    if not marks.exists():
        return 0
    catalogue.refresh_if_stale()
    bindings.refresh_rows_if_stale(interval=settings.REFRESH_INTERVAL)
    with transaction.atomic(using=home):
        if not _is_alone(home):
            return 0
        done: list[int] = []
        after = 0
        # Rows that somebody keeps for long hold up none behind them.
        while not done and (batch := list(marks.filter(id__gt=after).order_by("id")[:limit])):
            by_model: dict[str, set[str]] = {}
            for mark in batch:
                by_model.setdefault(mark.model, set()).add(mark.object_pk)
            left = {
                (label, pk)
                for label, pks in by_model.items()
                for pk in _take_in_rows(label, sorted(pks), using=home)
            }
            done = [mark.pk for mark in batch if (mark.model, mark.object_pk) not in left]
            after = batch[-1].pk
        marks.filter(pk__in=done).delete()
    return len(done)


def _is_alone(using: str) -> bool:
    """Whether nobody else takes in until this transaction ends. What two would tell of a row that
    goes and comes back could be put into the outbox in the wrong order: one that is gone can't be
    locked."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext(%s))", [MarkedRow._meta.db_table])
        return bool(cursor.fetchone()[0])


def take_in_for(seconds: float = SECONDS) -> int:
    """Take in batch after batch until nothing is marked, or for about so long.

    Trouble goes to the log and is met again the next time: it must not stop the delivery.
    """
    until, done = time.monotonic() + seconds, 0
    try:
        while taken := take_in():
            done += taken
            if time.monotonic() >= until:
                break
    except Exception:
        logger.exception("Marked rows were not taken in; they are kept for the next look.")
    return done


def _take_in_rows(label: str, pks: Sequence[str], *, using: str) -> set[str]:
    """Take in these rows of a model; gives those that are left for later.

    A row that nobody can deal with must not hold up the others: what fails is split until it is
    alone, and then told in the log. Trouble with the database itself is raised.
    """
    try:
        with transaction.atomic(using=using):
            return _take_in_model(label, pks, using=using)
    except OperationalError:
        raise
    except Exception:
        if len(pks) == 1:
            logger.exception(
                "%s %s was written past the capture and can't be told of. Correct it, then run "
                "xkit_reconcile.",
                label,
                pks[0],
            )
            return set()
        middle = len(pks) // 2
        return _take_in_rows(label, pks[:middle], using=using) | _take_in_rows(
            label, pks[middle:], using=using
        )


def _take_in_model(label: str, pks: Sequence[str], *, using: str) -> set[str]:
    try:
        model = apps.get_model(label)
    except LookupError:  # its app is not installed any more
        return set()
    bound = [
        binding
        for binding in bindings.registered()
        if issubclass(binding.model, model) or issubclass(model, binding.model)
    ]
    if not bound:
        return set()
    keys = {model._meta.pk.to_python(pk): pk for pk in pks}
    manager = model._base_manager.using(using)
    rows = list(
        manager.filter(pk__in=keys)
        .order_by("pk")
        .select_for_update(no_key=True, skip_locked=True, of=("self",))
    )
    locked = {row.pk for row in rows}
    left = set(manager.filter(pk__in=keys.keys() - locked).values_list("pk", flat=True))
    gone = {str(pk) for pk in keys.keys() - locked - left}
    for binding in bound:
        own, lost = rows, gone
        if binding.model is not model:
            own = walking.same_rows(binding, rows, using=using)
            lost = walking.gone_too(binding, model, gone)
        _tell(binding, own, lost, using=using)
    return {keys[pk] for pk in left}


def _tell(
    binding: Binding, rows: Sequence[models.Model], gone: Collection[str], *, using: str
) -> None:
    """Put into the outbox what makes the CRMs know these rows as they are."""
    try:
        telling = _Telling(binding)
    except NotFound as error:
        logger.warning("Rows of %s can't be told of: %s", binding.model._meta.label, error)
        return
    telling.relations.fetch(rows, telling.look)
    telling.read(rows, gone)
    for row in rows:
        telling.row(row)
    for pk in sorted(gone):
        telling.gone(pk)
    firing.put(telling.captured, using=using)


@dataclass(slots=True)
class _Said:
    """What a connection's CRM was last told of a row, or is about to be."""

    digests: dict[str, str] = field(default_factory=dict)
    #: It has a record of the row, or gets one by what is under way.
    has_record: bool = False

    def hear(self, event_type: str, payload: dict[str, Any], folded: Iterable[Any]) -> None:
        if event_type == EventType.DELETE:
            self.digests, self.has_record = {}, False
            return
        self.digests |= digests(payload)
        for one in folded:
            self.digests |= digests(one["payload"])


class _Telling:
    """One binding's events of some rows."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.creates, self.updates, self.deletes = (
            walking.event_of(binding, moment) for moment in bindings.MOMENTS
        )
        self.crm_object_id = catalogue.crm_object(binding.crm_object).id
        self.volatile = volatile_keys(binding)
        self.relations = walking.Relations(binding)
        self.row_of = outbox.rows_of(binding.model, crm_object=binding.crm_object)
        self.goes_to: dict[str, list[str] | Problem] = {}
        self.said: dict[Place, _Said] = {}
        self.captured: list[Captured] = []

    def look(self, row: models.Model) -> None:
        """Read what the rows will be asked for."""
        walking.read_all(self.binding, row, self.updates, self.creates)

    def read(self, rows: Sequence[models.Model], gone: Collection[str]) -> None:
        """What was last told of these rows, in three queries: first what is under way, so that what
        is delivered in between is seen twice and not overlooked."""
        self.goes_to = {str(row.pk): walking.connection_ids_of(self.binding, row) for row in rows}
        content_type = ContentType.objects.get_for_model(self.binding.model)
        of_rows = {"content_type": content_type, "object_pk__in": {*self.goes_to, *gone}}
        invocations = Invocation.objects.filter(**of_rows, event__crm_object_id=self.crm_object_id)
        columns = ("object_pk", "connection_id", "status", "event__type", "payload", "folded")
        under_way = list(invocations.open().order_by("id").values_list(*columns))
        for link in RecordLink.objects.filter(**of_rows, crm_object_id=self.crm_object_id):
            self.said[link.object_pk, link.connection_id] = _Said(dict(link.delivered), True)
        for values in under_way:
            self._hear(*values, is_open=True)
        # Its other connections may know a row of which one has no record.
        unknown = {
            (pk, connection_id)
            for pk, ids in self.goes_to.items()
            for connection_id in (() if isinstance(ids, Problem) else ids)
            if (pk, connection_id) not in self.said
        }
        last = invocations.filter(
            object_pk__in={pk for pk, _ in unknown},
            connection_id__in={connection_id for _, connection_id in unknown},
        ).order_by("object_pk", "connection_id", "-id")
        for values in last.distinct("object_pk", "connection_id").values_list(*columns):
            if values[:2] in unknown:
                self._hear(*values, is_open=False)

    def _hear(
        self,
        pk: str | None,
        connection_id: str,
        status: str,
        event_type: str,
        payload: dict[str, Any],
        folded: list[Any] | None,
        *,
        is_open: bool,
    ) -> None:
        said = self.said.setdefault((str(pk), connection_id), _Said())
        # What a workflow engine was given may have made a record that nobody told us of.
        said.has_record = said.has_record or is_open or status == InvocationStatus.DEFERRED
        said.hear(event_type, payload, folded or ())

    def row(self, row: models.Model) -> None:
        ids = self.goes_to[str(row.pk)]
        if isinstance(ids, Problem):
            logger.warning("%s %s: %s", self.binding.model._meta.label, row.pk, ids)
            return
        for connection_id in ids:
            said = self.said.get((str(row.pk), connection_id), _Said())
            event = self.updates if said.has_record else self.creates or self.updates
            if event is None:
                continue
            payload, problems = walking.payload_of(self.binding, event, row)
            if not said.digests or problems or changed_keys(payload, said.digests, self.volatile):
                self._put(event, row.pk, connection_id, payload, problems)

    def gone(self, pk: str) -> None:
        """The row is no more: tell those who have a record of it."""
        for (other, connection_id), said in self.said.items():
            if other != pk or not said.has_record:
                continue
            if self.deletes is not None:
                problems = self.deletes.validator.validate({})
                self._put(self.deletes, pk, connection_id, {}, problems)
            elif not self.binding.on_delete:
                RecordLink.objects.filter(
                    content_type=ContentType.objects.get_for_model(self.binding.model),
                    object_pk=pk,
                    connection_id=connection_id,
                    crm_object_id=self.crm_object_id,
                ).delete()

    def _put(
        self,
        event: Event,
        pk: Any,
        connection_id: str,
        payload: dict[str, Any],
        problems: Sequence[Problem],
    ) -> None:
        error = None
        if problems:  # nobody is there to be told, so it fails where an operator sees it
            error = PayloadInvalid(
                f"{self.binding.model._meta.label} {pk}, written past the capture, gives an "
                f"invalid payload for {event.slug}.",
                hint=f"Correct the row, or the payload of {self.binding.origin}.",
                errors=list(problems),
            )
        self.captured.append(Captured(event.id, payload, [connection_id], self.row_of(pk), error))
