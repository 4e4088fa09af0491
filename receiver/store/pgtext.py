"""Statements as PostgreSQL's SQL: numbered parameters, arrays for lists, `unnest` for many rows."""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from receiver.store.schema import TABLES
from receiver.store.statements import Insert, Lock, Query, Update

LOCKS = {Lock.NONE: "", Lock.WAIT: " for update", Lock.SKIP: " for update skip locked"}
_NAME = re.compile(r"(\bin \()?(?<![:\w]):([a-z_][a-z_0-9]*)(\))?")


def render(query: Query) -> tuple[str, list[Any]]:
    """A query's SQL and what is bound to it, in order."""
    sql, names = _numbered(query.sql, query.lock)
    return sql, [_clean(query.parameters[name]) for name in names]


def many(statement: Insert | Update) -> tuple[str, list[list[Any]]]:
    """The SQL that takes all rows at once, and its columns of values."""
    if isinstance(statement, Insert):
        sql = _insert_sql(statement.table)
        width = len(TABLES[statement.table])
    else:
        sql = _update_sql(statement.table, statement.columns, statement.key)
        width = len(statement.columns) + len(statement.key)
    return sql, _columns(statement.values, width)


@functools.lru_cache(maxsize=1024)
def _numbered(sql: str, lock: Lock) -> tuple[str, tuple[str, ...]]:
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        opening, name, closing = found.groups()
        if name not in names:
            names.append(name)
        mark = f"${names.index(name) + 1}"
        return f"= any({mark})" if opening and closing else f"{opening or ''}{mark}{closing or ''}"

    return _NAME.sub(number, sql) + LOCKS[lock], tuple(names)


@functools.cache
def _insert_sql(table: str) -> str:
    columns = TABLES[table]
    return f"insert into {table} ({', '.join(columns)}) select * from unnest({_arrays(columns.values())})"


@functools.cache
def _update_sql(table: str, columns: tuple[str, ...], key: tuple[str, ...]) -> str:
    types = TABLES[table]
    names = (*columns, *key)
    changes = ", ".join(f"{column} = fresh.{column}" for column in columns)
    where = " and ".join(f"{table}.{column} = fresh.{column}" for column in key)
    arrays = _arrays(types[name] for name in names)
    return f"update {table} set {changes} from unnest({arrays}) as fresh({', '.join(names)}) where {where}"


def _arrays(types: Iterable[str]) -> str:
    return ", ".join(f"${place}::{type_}[]" for place, type_ in enumerate(types, 1))


def _columns(values: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    if not values:
        return [[] for _ in range(width)]
    return [[_clean(value) for value in column] for column in zip(*values, strict=True)]


def _clean(value: Any) -> Any:
    """Text as PostgreSQL can hold it: it has no NUL."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, list):
        return [_clean(one) for one in value]
    return value
