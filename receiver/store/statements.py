"""The seam below the SQL: statements as data, and transactions as generators that yield them.

A transaction yields statements and receives their rows; the driver decides how it runs. Parameters are
named (`:now`); a list stands for a set of our own ids or words, `id in (:ids)`. These are the words of
dialect; DDL aside, everything else is SQL that SQLite and PostgreSQL share.
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
    """What becomes of rows that another transaction works on: left alone, waited for, or passed by.

    Where there is only one writer, nobody else works on them.
    """

    NONE = auto()
    WAIT = auto()
    SKIP = auto()


@immutable
class QueryStatement:
    """SQL with named parameters; its rows come back."""

    sql: str
    parameters: Mapping[str, Any]
    lock: Lock = Lock.NONE


@immutable
class InsertStatement:
    """Many rows into a table, values in the order of `schema.TABLES`; nothing comes back. `numbered` events
    bring their own `seq` in front: they were numbered elsewhere.
    """

    table: str
    values: Sequence[Sequence[Any]]
    numbered: bool = False


@immutable
class UpdateStatement:
    """Many rows of a table changed: each value row holds the `columns`, then the `key` columns."""

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    values: Sequence[Sequence[Any]]


@immutable
class DeleteStatement:
    """Many rows of a table removed by their ids."""

    table: str
    ids: Sequence[str]

    @property
    def values(self) -> Sequence[Sequence[str]]:
        """The rows of values that it binds."""
        return [(one,) for one in self.ids]


class Step(Enum):
    """What a transaction may ask of its driver besides rows.

    `IN_ORDER`: from here to the commit no other transaction is between these two, so that what both write
    afterwards becomes visible in the order in which it was written; the present generation comes back, as
    one row. `COMMIT`: the end, for a transaction that must know whether it was reached.
    """

    IN_ORDER = auto()
    COMMIT = auto()


Write: TypeAlias = InsertStatement | UpdateStatement | DeleteStatement
"""What brings nothing back, so that a driver may send several together: each table once, in any order."""
Statement: TypeAlias = QueryStatement | Write | Step
Transaction: TypeAlias = Generator[Statement, Rows, Result]


def query(sql: str, **parameters: Any) -> QueryStatement:
    """A statement by its SQL."""
    return QueryStatement(sql, parameters)


def for_update(sql: str, **parameters: Any) -> QueryStatement:
    """A statement whose rows are ours until the commit."""
    return QueryStatement(sql, parameters, Lock.WAIT)


def skip_locked(sql: str, **parameters: Any) -> QueryStatement:
    """A statement that passes by the rows of other transactions; those that it tells are ours."""
    return QueryStatement(sql, parameters, Lock.SKIP)


def insert(table: str, values: Sequence[Sequence[Any]]) -> InsertStatement:
    """A batch of new rows."""
    return InsertStatement(table, values)


def update(
    table: str, columns: tuple[str, ...], values: Sequence[Sequence[Any]], key: tuple[str, ...] = ("id",)
) -> UpdateStatement:
    """A batch of changed rows."""
    return UpdateStatement(table, columns, key, values)


def delete(table: str, ids: Sequence[str]) -> DeleteStatement:
    """A batch of rows out of a table."""
    return DeleteStatement(table, ids)


def to_ms(moment: datetime | None) -> int | None:
    """A moment as it is stored: whole milliseconds since 1970, what is shown of it and no more."""
    return None if moment is None else ms(moment)


def ms(moment: datetime) -> int:
    """A moment that is there, as it is stored."""
    return (moment - EPOCH) // MILLISECOND


def from_ms(stored: int | None) -> datetime | None:
    """A stored moment."""
    return None if stored is None else moment(stored)


def moment(stored: int) -> datetime:
    """A stored moment that is there."""
    return EPOCH + timedelta(milliseconds=stored)


def one_or_none(found: Rows) -> Any | None:
    """The one row, or None."""
    return found[0] if found else None


def chunks(items: Sequence[Result], size: int) -> Iterable[Sequence[Result]]:
    """`items` in pieces of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
