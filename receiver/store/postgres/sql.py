"""Conversion of statements to PostgreSQL: numbered parameters, arrays for lists, `unnest` for many rows."""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from receiver.store.schema import columns
from receiver.store.statements import (
    AddStatement,
    DeleteStatement,
    InsertStatement,
    Lock,
    QueryStatement,
    Write,
)

LOCKS = {Lock.NONE: "", Lock.WAIT: " for update", Lock.SKIP: " for update skip locked"}
# The lookbehind excludes casts, such as `::text`.
_NAME = re.compile(r"(\bin \()?(?<![:\w]):([a-z_][a-z_0-9]*)(\))?")


def render(query: QueryStatement) -> tuple[str, list[Any]]:
    """Return the SQL of a query and its parameters, in order."""
    sql, names = _placed(query.sql, query.lock)
    return sql, [clean(query.parameters[name]) for name in names]


def together(writes: Sequence[Write]) -> tuple[str, list[Any]]:
    """Return one SQL statement for all `writes`, and its parameters.

    A write of one row has a parameter for each value, one of several rows an array for each column.
    """
    parts, bound = _parts(writes)
    return _with(parts[:-1], parts[-1]), bound


def then(writes: Sequence[Write], value: str) -> tuple[str, list[Any]]:
    """Return one SQL statement for all `writes` that then selects `value`, and its parameters.

    The writes are done, with all their waits for locks, before `value` is evaluated.
    """
    parts, bound = _parts(writes)
    # PostgreSQL may carry out parts in any order, but it has to count the rows of each before the condition
    # holds, and the condition before the value.
    counts = [f"(select count(*) from part{place}) >= 0" for place in range(len(parts))]
    where = f" where {' and '.join(counts)}" if counts else ""
    return _with([f"{part} returning 1" for part in parts], f"select {value} as value{where}"), bound


def _parts(writes: Sequence[Write]) -> tuple[list[str], list[Any]]:
    parts: list[str] = []
    bound: list[Any] = []
    for write in writes:
        # Arrays of one value take twice as long as the value, here and in the server.
        single = len(write.values) == 1
        parts.append(_sql(write, len(bound) + 1, single))
        bound += _row(write) if single else _columns(write)
    return parts, bound


def _with(parts: Sequence[str], last: str) -> str:
    # One statement with data-modifying parts saves a round trip for each write.
    first = [f"part{place} as ({part})" for place, part in enumerate(parts)]
    return f"with {', '.join(first)} {last}" if first else last


def _sql(write: Write, first: int, single: bool) -> str:
    if isinstance(write, InsertStatement):
        return _insert_sql(write.table, first, single, write.numbered)
    if isinstance(write, AddStatement):
        return _insert_sql(write.table, first, single, False) + write.conflict
    if isinstance(write, DeleteStatement):
        wanted = f"= ${first}::text" if single else f"= any(${first}::text[])"
        return f"delete from {write.table} where id {wanted}"
    return _update_sql(write.table, write.columns, write.key, first, single)


def _row(write: Write) -> list[Any]:
    (row,) = write.values
    return [
        clean(value) if type_ == "text" else value for type_, value in zip(_types(write), row, strict=True)
    ]


def _columns(write: Write) -> list[Sequence[Any]]:
    return [
        _cleaned(column) if type_ == "text" else column
        for type_, column in zip(_types(write), zip(*write.values, strict=True), strict=True)
    ]


def _types(write: Write) -> Iterable[str]:
    if isinstance(write, InsertStatement):
        return columns(write.table, numbered=write.numbered).values()
    if isinstance(write, AddStatement):
        return columns(write.table).values()
    if isinstance(write, DeleteStatement):
        return ("text",)
    types = columns(write.table)
    return [types[name] for name in (*write.columns, *write.key)]


def _cleaned(column: Sequence[str | None]) -> Sequence[str | None]:
    # Text with NUL is rare: one search of the joined column costs less than a search of every value.
    return [clean(text) for text in column] if "\0" in "".join(filter(None, column)) else column


@functools.lru_cache(maxsize=1024)
def _placed(sql: str, lock: Lock) -> tuple[str, tuple[str, ...]]:
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        opening, name, closing = found.groups()
        if name not in names:
            names.append(name)
        mark = f"${names.index(name) + 1}"
        return f"= any({mark})" if opening and closing else f"{opening or ''}{mark}{closing or ''}"

    return _NAME.sub(number, sql) + LOCKS[lock], tuple(names)


@functools.cache
def _insert_sql(table: str, first: int, single: bool, numbered: bool) -> str:
    types = columns(table, numbered=numbered)
    return f"insert into {table} ({', '.join(types)}) {_source(types.values(), first, single)}"


@functools.cache
def _update_sql(table: str, changed: tuple[str, ...], key: tuple[str, ...], first: int, single: bool) -> str:
    types = columns(table)
    names = (*changed, *key)
    changes = ", ".join(f"{column} = fresh.{column}" for column in changed)
    where = " and ".join(f"{table}.{column} = fresh.{column}" for column in key)
    rows = _source((types[name] for name in names), first, single)
    return f"update {table} set {changes} from ({rows}) as fresh({', '.join(names)}) where {where}"


def _source(types: Iterable[str], first: int, single: bool) -> str:
    array = "" if single else "[]"
    places = ", ".join(f"${place}::{type_}{array}" for place, type_ in enumerate(types, first))
    return f"values ({places})" if single else f"select * from unnest({places})"


def clean(value: Any) -> Any:
    """Return `value` with each NUL in text replaced by U+FFFD: PostgreSQL cannot store NUL in text."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, list):
        return [clean(one) for one in value]
    return value
