"""Moving a database from a file to a server, batch by batch, so that it can be taken up where it stopped."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from handlers import json
from handlers.values import immutable
from receiver.domain.errors import Misconfigured
from receiver.store.partitions import DAY, gaps, make, parts
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.sql import clean
from receiver.store.schema import columns
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.statements import InsertStatement, Transaction, one_or_none, query

BATCH = 200
BATCHES = {"input_piece": 16}
"""Rows of a table in one batch, where they are large."""
PARTS, PART_DAYS = 8, 7
"""In at most how many parts the history that is moved will lie, and of how many days at least."""
MOVING = "moving"
"""The mark in `meta` of a database whose move is not finished."""
KEYS: Mapping[str, tuple[str, ...]] = {
    "job": ("id",),
    "input_piece": ("job", "number"),
    "job_label": ("label", "job"),
    "idempotency": ("owner", "key"),
    "evidence": ("job", "id"),
    "event": ("seq",),
    "delivery": ("id",),
    "attempt": ("delivery", "id"),
    "due": ("id",),
    "endpoint": ("id",),
    "api_key": ("id",),
    "account": ("name",),
    "taken": ("target", "reason"),
    "erased": ("id",),
    "hold": ("lane",),
    "meta": ("key",),
}
"""What is moved, each table in the order of its key."""
NUMBERED = "event"
"""The table whose rows keep the number that the store gave them."""
OWN = ("generation", "probe")
"""Rows of `meta` that each database has for itself."""


@immutable
class Moved:
    """A table that was moved: how many rows, and their checksum, the same on both sides."""

    table: str
    count: int
    checksum: str


def all_columns(table: str) -> Mapping[str, str]:
    """What is moved of a table: its columns with their types."""
    return columns(table, numbered=table == NUMBERED)


async def move(
    source: SqliteDriver, target: PostgresDriver, progress: Callable[[str, int], None]
) -> list[Moved]:
    """Copy what `target` has not yet, then compare all of it; `progress` is told after every batch.

    `Misconfigured` when the target holds something else, or what came of it is not equal.
    """
    await target.write(_begin())
    oldest, now = await source.read(_oldest()), _now()
    width = max(PART_DAYS, (now - oldest) // DAY // PARTS + 1)
    await target.alone(make(gaps(await target.read(parts()), oldest, now, width)))
    for table in KEYS:
        await _copy(table, source, target, progress)
    moved = [await _compared(table, source, target, progress) for table in KEYS]
    await target.write(_finish())
    return moved


def unfinished() -> Transaction[bool]:
    """Whether a move into this database has begun and not ended."""
    return bool((yield query("select 1 as found from meta where key = :mark", mark=MOVING)))


def _begin() -> Transaction[None]:
    if not (yield from unfinished()):
        for table in ("job", "event", "endpoint", "api_key"):
            if (yield query(f"select 1 as found from {table} limit 1")):
                raise Misconfigured(
                    "--to", f"its table {table} is not empty; a move needs a database of its own"
                )
        yield query("insert into meta values (:mark, '')", mark=MOVING)


def _oldest() -> Transaction[int]:
    """When the oldest thing began that has a place in time."""
    firsts = []
    for table in ("job", "delivery"):
        found = yield query(f"select min(created_at) as first from {table}")
        firsts.append(found[0]["first"])
    return min((first for first in firsts if first is not None), default=_now())


def _now() -> int:
    return time.time_ns() // 1_000_000


def _finish() -> Transaction[None]:
    yield query("delete from meta where key = :mark or key like :places", mark=MOVING, places=f"{MOVING}:%")
    yield query("select setval(pg_get_serial_sequence('event', 'seq'), coalesce(max(seq), 1)) from event")


async def _copy(
    table: str, source: SqliteDriver, target: PostgresDriver, progress: Callable[[str, int], None]
) -> None:
    place, count = await target.read(_place(table))
    while found := await source.read(_behind(table, place)):
        place = [found[-1][column] for column in KEYS[table]]
        count += len(found)
        await target.write(_take(table, [tuple(row) for row in found], place, count))
        progress(table, count)


def _take(table: str, found: list[tuple[Any, ...]], place: list[Any], count: int) -> Transaction[None]:
    yield InsertStatement(table, found, numbered=table == NUMBERED)
    told = json.write([[_shown(one) for one in place], count]).decode()
    yield query(
        "insert into meta values (:mark, :told) on conflict (key) do update set value = excluded.value",
        mark=f"{MOVING}:{table}",
        told=told,
    )


def _place(table: str) -> Transaction[tuple[list[Any] | None, int]]:
    row = one_or_none((yield query("select value from meta where key = :mark", mark=f"{MOVING}:{table}")))
    if row is None:
        return None, 0
    place, count = json.read(row["value"].encode())
    return [_read(one) for one in place], count


def _behind(table: str, place: list[Any] | None) -> Transaction[list[Any]]:
    key = KEYS[table]
    named = dict(zip((f"k{index}" for index in range(len(key))), place or (), strict=False))
    behind = f"({', '.join(key)}) > ({', '.join(f':{name}' for name in named)})" if named else "1 = 1"
    if table == "meta":
        behind += f" and key not in ({', '.join(repr(name) for name in OWN)}) and key not like '{MOVING}%'"
    names, order, most = ", ".join(all_columns(table)), ", ".join(key), BATCHES.get(table, BATCH)
    found = yield query(f"select {names} from {table} where {behind} order by {order} limit {most}", **named)
    return list(found)


async def _compared(
    table: str, source: SqliteDriver, target: PostgresDriver, progress: Callable[[str, int], None]
) -> Moved:
    ours, theirs = await _summed(table, source), await _summed(table, target)
    progress(f"{table}, compared", ours.count)
    if ours != theirs:
        raise Misconfigured(
            "--to",
            f"its table {table} has {theirs.count} rows that differ from the {ours.count} of the source",
        )
    return ours


async def _summed(table: str, driver: SqliteDriver | PostgresDriver) -> Moved:
    digest, count = hashlib.sha256(), 0
    place: list[Any] | None = None
    while found := await driver.read(_behind(table, place)):
        for row in found:
            digest.update(repr([_plain(value) for value in row]).encode())
        place = [found[-1][column] for column in KEYS[table]]
        count += len(found)
    return Moved(table, count, digest.hexdigest()[:16])


def _plain(value: Any) -> Any:
    return clean(bytes(value) if isinstance(value, memoryview) else value)


def _shown(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _read(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
