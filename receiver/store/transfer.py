"""The move of a SQLite database to PostgreSQL: in batches, so that an interrupted move can be resumed."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from handlers import json
from handlers.values import immutable
from receiver.domain.errors import Misconfigured
from receiver.store.partitions import DAY, gaps, make, parts
from receiver.store.postgres.sql import clean
from receiver.store.schema import columns
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.statements import InsertStatement, Transaction, one_or_none, query

if TYPE_CHECKING:
    from receiver.store.postgres.driver import PostgresDriver

BATCH = 200
"""Rows of a table in one batch."""
BATCHES = {"input_piece": 16}
"""Rows in one batch, by table, of tables with large rows (up to 256 KiB)."""
PARTS, PART_DAYS = 8, 7
"""The most partitions that the moved history is divided into, and the fewest days that one covers."""
MOVING = "moving"
"""The key in `meta` that marks a database until the move into it is finished."""
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
    "endpoint_health": ("endpoint",),
    "endpoint_version": ("endpoint", "since"),
    "api_key": ("id",),
    "account": ("name",),
    "taken": ("target", "reason"),
    "erased": ("id",),
    "source_message": ("id",),
    "replay": ("id",),
    "hold": ("lane",),
    "rollup": ("metric", "grain", "at", "label1", "label2", "label3", "label4", "bucket"),
    "rollup_change": ("id",),
    "meta": ("key",),
}
"""The tables to move, each with its key. Rows are copied in the order of the key."""
NUMBERED = "event"
"""The table that keeps the `seq` of its rows in the source."""
OWN = ("generation", "probe")
"""Keys of rows of `meta` that belong to one database and are not moved."""


@immutable
class Moved:
    """A moved table: the number of its rows and their checksum, equal in source and target."""

    table: str
    count: int
    checksum: str


def all_columns(table: str) -> Mapping[str, str]:
    """Return the columns of a table that are moved, with their types."""
    return columns(table, numbered=table == NUMBERED)


async def move(
    source: SqliteDriver, target: "PostgresDriver", progress: Callable[[str, int], None]
) -> list[Moved]:
    """Copy the rows that `target` lacks, then compare all rows. Returns the moved tables.

    `progress` is called after every batch with the table and the number of its rows so far, and once for each
    table after the comparison. Raises `Misconfigured` when the target holds other data, or a table differs
    after the copy.
    """
    await target.write(_begin())
    # Partitions come first: rows stored before their partition exists stay in the default partition, which is
    # deleted row by row. Why: receiver/README.md#history-in-partitions
    oldest, now = await source.read(_oldest()), _now()
    width = max(PART_DAYS, (now - oldest) // DAY // PARTS + 1)
    await target.alone(make(gaps(await target.read(parts()), oldest, now, width)))
    for table in KEYS:
        await _copy(table, source, target, progress)
    moved = [await _compared(table, source, target, progress) for table in KEYS]
    await target.write(_finish())
    return moved


def unfinished() -> Transaction[bool]:
    """Return whether a move into this database has begun and is not finished."""
    return bool((yield query("select 1 as found from meta where key = :mark", mark=MOVING)))


def _begin() -> Transaction[None]:
    if not (yield from unfinished()):
        for table in ("job", "event", "endpoint", "api_key"):
            if (yield query(f"select 1 as found from {table} limit 1")):
                raise Misconfigured(
                    "--to", f"its table {table} is not empty; a move needs a database of its own"
                )
        yield query("insert into meta values (:mark, '')", mark=MOVING)
        # The source brings the mark of its feed along, so that its readers go on at their places.
        yield query("delete from meta where key = 'feed'")


def _oldest() -> Transaction[int]:
    """Return the creation time of the oldest job or delivery, in milliseconds; now, if there is none."""
    firsts = []
    for table in ("job", "delivery"):
        found = yield query(f"select min(created_at) as first from {table}")
        firsts.append(found[0]["first"])
    return min((first for first in firsts if first is not None), default=_now())


def _now() -> int:
    return time.time_ns() // 1_000_000


def _finish() -> Transaction[None]:
    yield query("delete from meta where key = :mark or key like :places", mark=MOVING, places=f"{MOVING}:%")
    # The events brought their `seq` along, so the sequence has not advanced: new events continue behind them.
    yield query("select setval(pg_get_serial_sequence('event', 'seq'), coalesce(max(seq), 1)) from event")


async def _copy(
    table: str, source: SqliteDriver, target: "PostgresDriver", progress: Callable[[str, int], None]
) -> None:
    place, count = await target.read(_place(table))
    while found := await source.read(_behind(table, place)):
        place = [found[-1][column] for column in KEYS[table]]
        count += len(found)
        await target.write(_take(table, [tuple(row) for row in found], place, count))
        progress(table, count)


def _take(table: str, found: list[tuple[Any, ...]], place: list[Any], count: int) -> Transaction[None]:
    # The position is stored in the transaction of its rows, so a resumed move neither repeats nor skips one.
    yield InsertStatement(table, found, numbered=table == NUMBERED)
    position = json.write([[_shown(one) for one in place], count]).decode()
    yield query(
        "insert into meta values (:mark, :told) on conflict (key) do update set value = excluded.value",
        mark=f"{MOVING}:{table}",
        told=position,
    )


def _place(table: str) -> Transaction[tuple[list[Any] | None, int]]:
    row = one_or_none((yield query("select value from meta where key = :mark", mark=f"{MOVING}:{table}")))
    if row is None:
        return None, 0
    place, count = json.read(row["value"].encode())
    return [_read(one) for one in place], count


def _behind(table: str, place: list[Any] | None) -> Transaction[list[Any]]:
    # Keyset pagination by the whole key: it reads one index range, however far the move has come.
    key = KEYS[table]
    named = dict(zip((f"k{index}" for index in range(len(key))), place or (), strict=False))
    behind = f"({', '.join(key)}) > ({', '.join(f':{name}' for name in named)})" if named else "1 = 1"
    if table == "meta":
        behind += f" and key not in ({', '.join(repr(name) for name in OWN)}) and key not like '{MOVING}%'"
    names, order, most = ", ".join(all_columns(table)), ", ".join(key), BATCHES.get(table, BATCH)
    found = yield query(f"select {names} from {table} where {behind} order by {order} limit {most}", **named)
    return list(found)


async def _compared(
    table: str, source: SqliteDriver, target: "PostgresDriver", progress: Callable[[str, int], None]
) -> Moved:
    ours, theirs = await _summed(table, source), await _summed(table, target)
    progress(f"{table}, compared", ours.count)
    if ours != theirs:
        raise Misconfigured(
            "--to",
            f"its table {table} has {theirs.count} rows that differ from the {ours.count} of the source: one "
            "of the two was changed after the move began; make the database of --to anew, and move again",
        )
    return ours


async def _summed(table: str, driver: "SqliteDriver | PostgresDriver") -> Moved:
    digest, count = hashlib.sha256(), 0
    place: list[Any] | None = None
    while found := await driver.read(_behind(table, place)):
        for row in found:
            digest.update(repr([_plain(value) for value in row]).encode())
        place = [found[-1][column] for column in KEYS[table]]
        count += len(found)
    return Moved(table, count, digest.hexdigest()[:16])


def _plain(value: Any) -> Any:
    # The target stores text without NUL, so the source is cleaned in the same way before the comparison.
    return clean(bytes(value) if isinstance(value, memoryview) else value)


def _shown(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _read(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
