"""Rows in and out by statements that are written out and kept.

Written: many rows with values of their own in one go, without making models of them. Django's
`bulk_update` builds one CASE for each row and column, and `bulk_create` an instance for each row.
Here PostgreSQL takes all rows as one JSON value, in one statement; other databases run one prepared
statement for each row, without waiting for a network between them.

Read: models, without what Django does around them. It composes its own statements anew each time,
which takes longer than the database needs to answer one about a few rows, and sets each field of
each row by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DataError, connections, models, router, transaction
from django.db.models.base import ModelState

from xkit_crm.delivery import cursors

#: From so many rows on it pays to prepare for many.
MANY = 10
#: What a row is found by, and what it gets.
Change = tuple[Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that writes rows of a model, and what it is run with: once where the database
    takes all rows as one value, and for each row where it doesn't."""

    using: str = ""
    statement: str = ""
    runs: Sequence[Sequence[Any]] = ()
    many: bool = False
    #: How many rows it has to meet, where it matters.
    expected: int | None = None


class Fewer(Exception):
    """A write met fewer rows than it has to."""


def update_each(model: type[models.Model], changes: Sequence[Change]) -> int:
    """Update each row that meets its criteria; gives how many there were."""
    return together([updating(model, changes)])[0]


def updating(
    model: type[models.Model],
    changes: Sequence[Change],
    *,
    where: tuple[type[models.Model], Mapping[str, str]] | None = None,
    every: bool = False,
) -> Write:
    """What updates each row that meets its criteria; with `every` all of them have to.

    Criteria and values are by attribute name (`connection_id`), the same names in every change.
    With `where` nothing is updated unless there is a row of that model with these texts.
    """
    if not changes:
        return Write()
    criteria, values = (tuple(part) for part in changes[0])
    using = router.db_for_write(model)
    other = None if where is None else (where[0], tuple(where[1]))
    texts = () if where is None else tuple(where[1].values())
    runs: Sequence[Sequence[Any]]
    if _takes_sets(using):
        # `old` and `new`, since a row may be found by what it gets another value of.
        names = _named("old", criteria) + _named("new", values)
        rows = [(*found.values(), *wanted.values()) for found, wanted in changes]
        shared, parameters = _set(names, rows)
        statement = _update(model, using, values, criteria, other, shared)
        runs = [[*parameters, *texts]]
    else:
        statement = _update(model, using, values, criteria, other)
        fields = _fields(model, values + criteria) + (() if other is None else _fields(*other))
        each = [(*wanted.values(), *found.values(), *texts) for found, wanted in changes]
        runs = _prepared(using, fields, each)
    many = len(changes) >= MANY
    return Write(using, statement, runs, many, len(changes) if every else None)


def inserting(
    model: type[models.Model], rows: Sequence[Mapping[str, Any]], *, ignore: bool = False
) -> Write:
    """What inserts rows, each by attribute name, the same names in every one.

    With `ignore` those that are there already (by any unique constraint) are left out.
    """
    if not rows:
        return Write()
    names, using = tuple(rows[0]), router.db_for_write(model)
    values = [tuple(row.values()) for row in rows]
    if _takes_sets(using):
        shared, parameters = _set(_named("new", names), values)
        statement = _insert(model, using, names, shared, ignore=ignore)
        return Write(using, statement, [parameters], len(rows) >= MANY)
    statement = _insert(model, using, names, ignore=ignore)
    return Write(using, statement, _prepared(using, _fields(model, names), values))


def together(writes: Sequence[Write]) -> list[int]:
    """Write all of it or nothing; gives how many rows each write met.

    They must be of one database and touch different rows. Raises `Fewer` where one met fewer than
    it has to.
    """
    some = [write for write in writes if write.runs]
    if not some:
        return [0] * len(writes)
    using = some[0].using
    if len(some) == 1 and some[0].expected is None:
        counts = iter([_run(some[0])])
    elif _takes_sets(using):
        counts = iter(_run_as_one(some, using))
    else:
        with transaction.atomic(using=using):
            counts = iter([_run(write) for write in some])
    return [next(counts) if write.runs else 0 for write in writes]


def _run(write: Write) -> int:
    with _cursor(write.using, many=write.many) as cursor:
        _require_room(cursor, write)
        if len(write.runs) == 1:
            cursor.execute(write.statement, write.runs[0])
        else:
            cursor.executemany(write.statement, write.runs)
        met = int(cursor.rowcount)
    if write.expected is not None and met < write.expected:
        raise Fewer
    return met


#: Every database takes so many characters at once.
_ROOM = 500_000


def _require_room(cursor: Any, write: Write) -> None:
    """Raise where MariaDB or MySQL would: they hang up in the middle of what is too large, mostly
    before they have said so."""
    if connections[write.using].vendor != "mysql":
        return
    largest = max(sum(len(value) for value in run if isinstance(value, str)) for run in write.runs)
    if largest > _ROOM:
        cursor.execute("SELECT @@max_allowed_packet")
        (room,) = cursor.fetchone()
        if largest > room:
            raise DataError(f"{largest} characters are more than max_allowed_packet, {room}.")


def _cursor(using: str, *, many: bool) -> AbstractContextManager[Any]:
    """A statement about many rows is planned for them: that is little of what it takes."""
    return connections[using].cursor() if many else cursors.cursor(using)


#: What a division by zero is called by databases.
_DIVISION_BY_ZERO = "22012"


def _run_as_one(writes: Sequence[Write], using: str) -> list[int]:
    """All in one statement: one round trip in place of one each and two around them."""
    parts = (f"w{at} AS ({write.statement} RETURNING 1)" for at, write in enumerate(writes))
    # What fails takes everything with it, and dividing is what SQL can be made to fail by.
    counts = (
        f"(SELECT count(*) FROM w{at})"  # noqa: S608 - our own names only
        if write.expected is None
        else f"(SELECT count(*) / (count(*) = {write.expected})::int FROM w{at})"  # noqa: S608
        for at, write in enumerate(writes)
    )
    statement = f"WITH {', '.join(parts)} SELECT {', '.join(counts)}"
    connection = connections[using]
    # In somebody's transaction it must not take theirs with it.
    around = transaction.atomic(using=using) if connection.in_atomic_block else nullcontext()
    try:
        many = any(write.many for write in writes)
        with around, _cursor(using, many=many) as cursor:
            cursor.execute(statement, [value for write in writes for value in write.runs[0]])
            return [int(count) for count in cursor.fetchone()]
    except DataError as raised:
        cause = raised.__cause__  # psycopg 3 says `sqlstate`, psycopg2 `pgcode`
        if _DIVISION_BY_ZERO in (getattr(cause, "sqlstate", ""), getattr(cause, "pgcode", "")):
            raise Fewer from raised
        raise


@contextmanager
def found_by(index: str, model: type[models.Model]) -> Iterator[None]:
    """Rows of the model that are updated or locked in this block are found by this index.

    MariaDB and MySQL lock all that they look at, and by an index of their choice that is much of
    what others write: they would wait for whoever saves a row of another customer, who may be about
    to wait for them. Other databases wait for what they were asked for.
    """
    using = router.db_for_write(model)
    connection = connections[using]
    if connection.vendor != "mysql":
        yield
        return
    table, hint = _table(model, using), f"FORCE INDEX ({connection.ops.quote_name(index)})"

    def run(execute: Any, statement: str, *others: Any) -> Any:
        for begin, end in (("UPDATE", "SET"), ("FROM", "WHERE")):
            plain = f"{begin} {table} {end} "
            if plain in statement:
                statement = statement.replace(plain, f"{begin} {table} {hint} {end} ", 1)
                break
        return execute(statement, *others)

    with connection.execute_wrapper(run):
        yield


_Model = TypeVar("_Model", bound=models.Model)


def read(
    model: type[_Model],
    statement: str,
    parameters: Mapping[str, Any],
    *,
    using: str | None = None,
    many: bool = False,
) -> list[tuple[_Model, tuple[Any, ...]]]:
    """Run a statement that begins with `columns`; gives each row as a model, and what else the
    statement gives beside it. Of `many` rows each takes less, and the first a little more."""
    using = using or router.db_for_read(model)
    connection, width = connections[using], len(_columns_read(model))
    make, adapt = made(model, using), connection.ops.adapt_unknown_value
    with _cursor(using, many=many) as cursor:
        if many:
            cursors.read_times_fast(cursor, connection)
        cursor.execute(statement, {name: adapt(value) for name, value in parameters.items()})
        rows = cursor.fetchall()
    return [(make(row[:width]), tuple(row[width:])) for row in rows]


def made(model: type[_Model], using: str) -> Callable[[Sequence[Any]], _Model]:
    """What makes stored models of rows of the model's `columns`."""
    connection, columns = connections[using], _columns_read(model)
    names = [col.target.attname for col in columns]
    converters = [
        (at, every, col)
        for at, col in enumerate(columns)
        if (every := connection.ops.get_db_converters(col) + col.get_db_converters(connection))
    ]

    def make(row: Sequence[Any]) -> _Model:
        values = list(row)
        for at, every, col in converters:
            for convert in every:
                values[at] = convert(values[at], col, connection)
        instance = model.__new__(model)  # as `pickle` has Django make one
        instance._state = state = ModelState()
        state.adding, state.db = False, using
        instance.__dict__.update(zip(names, values, strict=True))
        return instance

    return make


def columns(model: type[models.Model], table: str) -> str:
    """The columns that `read` wants, of this table's name in the statement."""
    return ", ".join(f"{table}.{col.target.column}" for col in _columns_read(model))


def one_of(texts: Collection[str], *, using: str) -> tuple[str, dict[str, Any]]:
    """What says after a column that it holds one of these texts, and its parameters."""
    if _takes_sets(using):
        # Of a thousand places the driver would have to find each in the statement.
        return "= ANY(%(texts)s)", {"texts": list(texts)}
    each = {f"text{at}": text for at, text in enumerate(texts)}
    return f"IN ({', '.join(f'%({name})s' for name in each)})", each


@cache
def _columns_read(model: type[models.Model]) -> tuple[Any, ...]:
    table = model._meta.db_table
    return tuple(field.get_col(table) for field in model._meta.concrete_fields)


def _takes_sets(using: str) -> bool:
    """Whether the database takes all rows as one JSON value."""
    return connections[using].vendor == "postgresql"


def _prepared(
    using: str, fields: Sequence[models.Field], rows: Sequence[Any]
) -> Sequence[Sequence[Any]]:
    connection = connections[using]
    return [
        [
            field.get_db_prep_save(value, connection)
            for field, value in zip(fields, row, strict=True)
        ]
        for row in rows
    ]


class _Encoder(DjangoJSONEncoder):
    """Times to the microsecond: Django's JSON has milliseconds, as JavaScript does."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if hasattr(o, "isoformat") else super().default(o)


def _named(prefix: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{prefix}_{name}" for name in names)


def _set(
    names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[tuple[str, ...], list[Any]]:
    """The names of what is the same in all of many rows, so that it is told once; and what the
    statement takes: that as one JSON value, the rows' own as another, and how many rows there are.
    """
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    many = len(rows) >= MANY
    shared = {name: values[0] for name, values in columns.items() if many and _is_one(values)}
    if len(shared) == len(names):  # of rows without anything of their own there would be none
        shared = {}
    own = {name: values for name, values in columns.items() if name not in shared}
    each = [dict(zip(own, row, strict=True)) for row in zip(*own.values(), strict=True)]
    told = [_encoder.encode(shared)] if shared else []
    return tuple(shared), [*told, _encoder.encode(each), len(rows)]


def _is_one(values: tuple[Any, ...]) -> bool:
    """Whether they are all the same. What Python takes for that need not be it in JSON: 1 and True
    are two there."""
    first = values[0]
    if not isinstance(first, str | int | datetime | None):
        return False
    return values.count(first) == len(values) and len(set(map(type, values))) == 1


_encoder = _Encoder(ensure_ascii=False, separators=(",", ":"))


# -- statements -----------------------------------------------------------------------------------


@cache
def _fields(model: type[models.Model], names: tuple[str, ...]) -> tuple[models.Field, ...]:
    by_name = {field.attname: field for field in model._meta.concrete_fields}
    return tuple(by_name[name] for name in names)


def _columns(model: type[models.Model], using: str, names: tuple[str, ...]) -> list[str]:
    quote = connections[using].ops.quote_name
    return [quote(str(field.column)) for field in _fields(model, names)]


def _table(model: type[models.Model], using: str) -> str:
    return connections[using].ops.quote_name(model._meta.db_table)


def _recordset(
    model: type[models.Model], using: str, shared: tuple[str, ...], **parts: tuple[str, ...]
) -> str:
    """The rows that `_set` makes parameters of, as a table `rows` typed as the model's columns."""
    typed: dict[bool, list[str]] = {True: [], False: []}
    for prefix, names in parts.items():
        for name, field in zip(_named(prefix, names), _fields(model, names), strict=True):
            typed[name in shared].append(f'"{name}" {field.rel_db_type(connections[using])}')
    alike = f"jsonb_to_record(%s::jsonb) AS alike({', '.join(typed[True])}), " if shared else ""
    # Unless it is told, the planner takes any such table for a hundred rows, and reads all of a
    # table of some thousands rather than look each of a few up.
    return (
        f"(SELECT * FROM {alike}"  # noqa: S608
        f"jsonb_to_recordset(%s::jsonb) AS own({', '.join(typed[False])}) LIMIT %s) AS rows"
    )


_Other = tuple[type[models.Model], tuple[str, ...]] | None


def _and_exists(using: str, other: _Other) -> str:
    if other is None:
        return ""
    model, names = other
    found = [f"{column} = %s" for column in _columns(model, using, names)]
    return f" AND EXISTS (SELECT 1 FROM {_table(model, using)} WHERE {' AND '.join(found)})"  # noqa: S608


@cache
def _update(
    model: type[models.Model],
    using: str,
    values: tuple[str, ...],
    criteria: tuple[str, ...],
    other: _Other,
    shared: tuple[str, ...] = (),
) -> str:
    table, source = _table(model, using), ""
    gets, found = _columns(model, using, values), _columns(model, using, criteria)
    if _takes_sets(using):
        source = f"FROM {_recordset(model, using, shared, old=criteria, new=values)} "
        gets = [f'{to} = rows."new_{name}"' for name, to in zip(values, gets, strict=True)]
        named = zip(criteria, found, strict=True)
        found = [f'{table}.{column} = rows."old_{name}"' for name, column in named]
    else:
        gets, found = [f"{to} = %s" for to in gets], [f"{column} = %s" for column in found]
    if connections[using].vendor == "mysql" and str(model._meta.pk.attname) in criteria:
        # By another index it would be locked in another order than by who finds it by its key.
        table += " FORCE INDEX (PRIMARY)"
    return (
        f"UPDATE {table} SET {', '.join(gets)} {source}"  # noqa: S608 - our own names only
        f"WHERE {' AND '.join(found)}{_and_exists(using, other)}"
    )


@cache
def _insert(
    model: type[models.Model],
    using: str,
    names: tuple[str, ...],
    shared: tuple[str, ...] = (),
    *,
    ignore: bool,
) -> str:
    into = f"INTO {_table(model, using)} ({', '.join(_columns(model, using, names))}) "
    if _takes_sets(using):
        values = ", ".join(f'rows."new_{name}"' for name in names)
        rows = _recordset(model, using, shared, new=names)
        conflict = " ON CONFLICT DO NOTHING" if ignore else ""
        return f"INSERT {into}SELECT {values} FROM {rows}{conflict}"  # noqa: S608
    how = {"sqlite": "OR IGNORE "}.get(connections[using].vendor, "IGNORE ") if ignore else ""
    return f"INSERT {how}{into}VALUES ({', '.join(['%s'] * len(names))})"
