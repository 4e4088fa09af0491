"""Conversion of statements to SQLite's SQL."""

import functools
import json
from collections.abc import Iterator
from typing import Any

from receiver.store.schema import TABLES
from receiver.store.statements import (
    AddStatement,
    DeleteStatement,
    InsertStatement,
    QueryStatement,
    Statement,
    Write,
)

PIECES = (64, 32, 16)
"""Rows of one statement: few sizes, so that few statements are prepared."""


def pieces(count: int) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of pieces that cover `count` rows: a few fixed sizes, then the rest.

    One statement takes many rows, because Python releases the interpreter lock at every step of a statement,
    and each release can wait for the event loop's thread. Why: receiver/README.md#many-rows-in-one-statement
    """
    start = 0
    for size in PIECES:
        while count - start >= size:
            yield start, size
            start += size
    if start < count:
        yield start, count - start


def render(statement: Statement) -> tuple[str, dict[str, Any]]:
    """Return the SQL of a query and its parameters. A list parameter becomes a JSON array.

    Raises `TypeError` for a statement that is not a query, because readers cannot write.
    """
    if not isinstance(statement, QueryStatement):
        raise TypeError("readers only ask")
    lists = tuple(name for name, value in statement.parameters.items() if isinstance(value, list))
    if not lists:
        return statement.sql, dict(statement.parameters)
    bound = {
        name: json.dumps(value) if name in lists else value for name, value in statement.parameters.items()
    }
    return _with_lists(statement.sql, lists), bound


@functools.lru_cache(maxsize=512)
def _with_lists(sql: str, lists: tuple[str, ...]) -> str:
    # One parameter for a list of any length, so the SQL does not depend on the length and stays prepared.
    for name in lists:
        sql = sql.replace(f"(:{name})", f"(select value from json_each(:{name}))")
    return sql


def many_sql(statement: Write, count: int) -> str:
    """Return the SQL that writes `count` rows at once. The values of all rows are bound in order."""
    if isinstance(statement, InsertStatement):
        return _insert_sql(statement.table, count)
    if isinstance(statement, AddStatement):
        return _insert_sql(statement.table, count) + statement.conflict
    if isinstance(statement, DeleteStatement):
        return f"delete from {statement.table} where id in ({', '.join('?' * count)})"
    return _update_sql(statement.table, statement.columns, statement.key, count)


@functools.cache
def _insert_sql(table: str, count: int) -> str:
    columns = TABLES[table]
    return f"insert into {table} ({', '.join(columns)}) values {_marks(len(columns), count)}"


@functools.cache
def _update_sql(table: str, columns: tuple[str, ...], key: tuple[str, ...], count: int) -> str:
    names = (*columns, *key)
    changes = ", ".join(f"{column} = fresh.column{place}" for place, column in enumerate(columns, 1))
    where = " and ".join(
        f"{table}.{column} = fresh.column{place}" for place, column in enumerate(key, 1 + len(columns))
    )
    return f"update {table} set {changes} from (values {_marks(len(names), count)}) as fresh where {where}"


def _marks(width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * count)
