"""Statements as data, and transactions as generators that yield them.

A transaction yields statements and receives their rows; the driver decides how to run it. Parameters are
named (`:now`). A list parameter, written `id in (:ids)`, holds only ids or keywords of this service. The
functions and steps of this module cover the differences between the dialects; all other SQL, apart from DDL,
is shared by SQLite and PostgreSQL.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeAlias, TypeVar

from handlers.values import immutable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = Sequence[Any]
Result = TypeVar("Result")


class Lock(Enum):
    """The row lock of a query: none, `FOR UPDATE` or `FOR UPDATE SKIP LOCKED`.

    SQLite takes no row locks: it has one writer, so no other transaction changes the rows.
    """

    NONE = auto()
    WAIT = auto()
    SKIP = auto()


@immutable
class QueryStatement:
    """SQL with named parameters. Returns rows."""

    sql: str
    parameters: Mapping[str, Any]
    lock: Lock = Lock.NONE


@immutable
class InsertStatement:
    """An `INSERT` of many rows, with values in the order of `schema.TABLES`.

    `numbered` events have their `seq`, which another database assigned, as the first value.
    """

    table: str
    values: Sequence[Sequence[Any]]
    numbered: bool = False


@immutable
class AddStatement:
    """An `INSERT` of many rows. One with the key of a row that is there adds its `sums` to that row."""

    table: str
    key: tuple[str, ...]
    sums: tuple[str, ...]
    values: Sequence[Sequence[Any]]

    @property
    def conflict(self) -> str:
        """Return the clause of the SQL that adds to the rows that are there, in both dialects."""
        sums = ", ".join(f"{name} = {self.table}.{name} + excluded.{name}" for name in self.sums)
        return f" on conflict ({', '.join(self.key)}) do update set {sums}"


@immutable
class UpdateStatement:
    """An `UPDATE` of many rows: each row of values holds the `columns`, then the `key` columns."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    values: Sequence[Sequence[Any]]


@immutable
class DeleteStatement:
    """A `DELETE` of many rows by their ids."""

    table: str
    ids: Sequence[str]

    @property
    def values(self) -> Sequence[Sequence[str]]:
        """Return the rows of values to bind: one id each."""
        return [(one,) for one in self.ids]


class Step(Enum):
    """A step of a transaction that is no SQL.

    `IN_ORDER`: serialize with other transactions that take this step, from here to the commit, so that later
    writes become visible in the order in which they are made. Returns the current generation as one row.
    `COMMIT`: commit now, for a transaction that must know whether the commit succeeded.
    """

    IN_ORDER = auto()
    COMMIT = auto()


Write: TypeAlias = InsertStatement | AddStatement | UpdateStatement | DeleteStatement
"""A statement without result rows. A driver may send several together: each table once, in any order."""
Statement: TypeAlias = QueryStatement | Write | Step
Transaction: TypeAlias = Generator[Statement, Rows, Result]


def query(sql: str, **parameters: Any) -> QueryStatement:
    """SELECT ..., or any other SQL that both engines share, with named parameters. Returns rows."""
    return QueryStatement(sql, parameters)


def for_update(sql: str, **parameters: Any) -> QueryStatement:
    """SELECT ... FOR UPDATE: lock the rows until the commit, wait for locked ones. Returns rows."""
    return QueryStatement(sql, parameters, Lock.WAIT)


def skip_locked(sql: str, **parameters: Any) -> QueryStatement:
    """SELECT ... FOR UPDATE SKIP LOCKED: lock the rows until the commit, skip locked ones. Returns rows."""
    return QueryStatement(sql, parameters, Lock.SKIP)


def insert(table: str, values: Sequence[Sequence[Any]]) -> InsertStatement:
    """INSERT INTO `table` VALUES (...), (...): each row in the order of `schema.TABLES`."""
    return InsertStatement(table, values)


def add_to(
    table: str, key: tuple[str, ...], sums: tuple[str, ...], values: Sequence[Sequence[Any]]
) -> AddStatement:
    """INSERT INTO `table` ... ON CONFLICT (`key`) DO UPDATE: add `sums` to a row that is there.

    Each row of values is in the order of `schema.TABLES`. No two rows have the same key.
    """
    return AddStatement(table, key, sums, values)


def update(
    table: str, columns: tuple[str, ...], values: Sequence[Sequence[Any]], key: tuple[str, ...] = ("id",)
) -> UpdateStatement:
    """UPDATE `table` SET `columns` WHERE `key`, for many rows.

    Each row of values holds the new values of `columns`, then those of the `key` columns.
    """
    return UpdateStatement(table, columns, key, values)


def delete(table: str, ids: Sequence[str]) -> DeleteStatement:
    """DELETE FROM `table` WHERE id IN (`ids`)."""
    return DeleteStatement(table, ids)


def to_ms(moment: datetime | None) -> int | None:
    """Return the stored form of a moment: milliseconds since 1970. None stays None.

    Only whole milliseconds are stored, because no more is shown. Why: receiver/README.md#whole-milliseconds
    """
    return None if moment is None else ms(moment)


def ms(moment: datetime) -> int:
    """Return a moment in whole milliseconds since 1970."""
    return (moment - EPOCH) // MILLISECOND


def from_ms(stored: int | None) -> datetime | None:
    """Return the moment of a stored value. None stays None."""
    return None if stored is None else moment(stored)


def moment(stored: int) -> datetime:
    """Return the moment that is `stored` milliseconds after 1970."""
    return EPOCH + stored * MILLISECOND


def one_or_none(found: Rows) -> Any | None:
    """Return the row of a `SELECT` that finds at most one row, or None."""
    return found[0] if found else None


def chunks(items: Sequence[Result], size: int) -> Iterable[Sequence[Result]]:
    """Return `items` in slices of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
