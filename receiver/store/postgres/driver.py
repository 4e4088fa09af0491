"""PostgreSQL: a pool of connections, each statement of a transaction awaited in turn.

A transaction that writes leaves a receipt: a row whose key only this transaction writes. When the connection
dies between COMMIT and its answer, somebody else writes that row: a conflict tells that the transaction was
stored; no conflict tells that it was not, and never will be. The figures are in the README of this folder.
"""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.pool import PoolConnectionProxy

from receiver.domain.errors import Contended, Misconfigured, StoreUnavailable
from receiver.store.migrations import Migration, migrations
from receiver.store.postgres.errors import refusal
from receiver.store.postgres.notify import CHANNEL, Bell
from receiver.store.postgres.transaction import AWAY, Drive, Uncertain, drop
from receiver.store.postgres.url import PostgresTarget, addresses
from receiver.store.statements import Transaction

Result = TypeVar("Result")

OLDEST = 140000
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 10.0
MIGRATION_SECONDS = 3600.0
RESOLVE_SECONDS = 20.0
"""How long the fate of a COMMIT without an answer is asked for before the caller is told to come again."""
RECEIPTS = 1000
"""Transactions after which a replica's old receipts go."""
FORGET = "delete from receipt where (replica = $1 and number < $2) or written_at < now() - interval '1 day'"
POOLED_SCAN = 0.25
MIGRATING = 0x52427632
SETTINGS = {
    "application_name": "ringback",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "synchronous_commit": "on",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5s",
    "timezone": "UTC",
}
WRITERS = 2
CONFLICTS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
)
OURS = "select exists (select from pg_class where relname = 'migration' and pg_table_is_visible(oid))"
"""Asked of the catalogue: `to_regclass` may answer from what the session knew before it waited for a lock."""
FOREIGN = (
    "select count(*) > 0 and count(*) filter (where relname = 'migration') = 0 from pg_class "
    "where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace"
)
GATE = 0x52427633
"""Shared by every transaction; whoever makes or drops tables takes it alone, so that none is held then."""
SHARED = f"; select pg_advisory_xact_lock_shared({GATE})"
ALONE = f"; set local lock_timeout = '500ms'; select pg_advisory_xact_lock({GATE})"
SNAPSHOT = "begin isolation level repeatable read read only"
POOLED = "".join(
    f"; set local {name} = '{value}'" for name, value in SETTINGS.items() if name != "application_name"
)
if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]


async def _as_it_is(_connection: object) -> None:
    """Nothing here leaves anything in a session."""


class PostgresDriver:
    """Runs transactions on a PostgreSQL database."""

    writers = WRITERS
    shared = True
    in_parts = True

    def __init__(self, target: PostgresTarget) -> None:
        self._target = target
        self._writers: Pool | None = None
        self._readers: Pool | None = None
        self._replica = secrets.token_hex(8)
        self._bell = Bell(target, self._replica, self._ring)
        self.scan = POOLED_SCAN if target.pooled else 1.0
        self._receipts = itertools.count(1)
        self._in_doubt: set[int] = set()
        self._pruned = self._last = 0

    async def open(self) -> None:
        """Connect; `Misconfigured` says what is wrong."""
        try:
            self._writers = await self._pool(WRITERS)
            self._readers = await self._pool(self._target.connections - WRITERS)
            await self._look_around()
        except BaseException as error:
            await self.close()
            cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
            if isinstance(cause, (asyncpg.PostgresError, ValueError, *AWAY)):
                raise refusal(cause, addresses(self._target.dsn)) from None
            raise

    async def close(self) -> None:
        """Disconnect, and leave no receipt behind."""
        await self._bell.close()
        if self._last:
            await self._forget(self._last + 1)
        for pool in (self._readers, self._writers):
            if pool is not None:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await pool.close()
                except TimeoutError:
                    pool.terminate()
        self._readers = self._writers = None

    async def write(self, transaction: Transaction[Result]) -> Result:
        """Run `transaction` to its commit; `StoreUnavailable` when nothing could be stored."""
        return await self._write(transaction, SHARED)

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run one beside which no other runs; soon, or `StoreUnavailable`."""
        return await self._write(transaction, ALONE)

    async def _write(self, transaction: Transaction[Result], gate: str) -> Result:
        receipt = next(self._receipts)
        drive = Drive(
            transaction,
            f"insert into receipt (replica, number) values ('{self._replica}', {receipt}); commit",
        )
        self._last = receipt
        self._in_doubt.add(receipt)
        try:
            result: Result = await self._drive("begin", gate, drive, self._writers)
        except Uncertain:
            result = await self._resolved(drive, receipt)
        except CONFLICTS as error:
            raise Contended(passes=not isinstance(error, asyncpg.UniqueViolationError)) from error
        finally:
            self._in_doubt.discard(receipt)
        return result

    async def between_commits(self) -> None:
        """Remove old receipts, now and then."""
        if self._last - self._pruned < RECEIPTS:
            return
        self._pruned = self._last
        await self._forget(min(self._in_doubt, default=self._last + 1))

    async def _forget(self, before: int) -> None:
        """Remove our receipts before a number, and those that processes left behind which ended long ago."""
        with contextlib.suppress(StoreUnavailable):
            async with self._connection() as connection:
                await connection.execute(FORGET, self._replica, before)

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction on one snapshot."""
        try:
            result: Result = await self._drive(SNAPSHOT, SHARED, Drive(transaction, "commit"), self._readers)
        except (Uncertain, *CONFLICTS):
            raise StoreUnavailable("the database cannot be read now") from None
        return result

    async def pending(self) -> list[Migration]:
        """The migrations that have not run; `Misconfigured` when the database is newer than this program."""
        async with self._connection() as connection:
            return await self._pending(connection)

    async def migrate(self) -> list[Migration]:
        """Bring the database up to date, one replica at a time; the migrations that ran."""
        async with self._connection() as connection:
            try:
                async with connection.transaction():
                    await connection.execute(
                        f"set local statement_timeout = 0; set local lock_timeout = 0; "
                        f"select pg_advisory_xact_lock({MIGRATING})",
                        timeout=MIGRATION_SECONDS,
                    )
                    waiting = await self._pending(connection)
                    for migration in waiting:
                        await connection.execute(migration.sql, timeout=MIGRATION_SECONDS)
                        await connection.execute(
                            "insert into migration values ($1, $2)", migration.version, migration.name
                        )
                    return waiting
            except asyncpg.InsufficientPrivilegeError:
                raise Misconfigured(
                    "database_url", "this role may not make tables; run `ringback migrate` as their owner"
                ) from None

    def tell(self, word: str) -> None:
        """Pass a hint on to the other replicas."""
        self._bell.tell(word)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Hear the hints of the other replicas; behind a pooler nobody can."""
        if not self._target.pooled:
            self._bell.listen(heard)

    async def _ring(self, words: str) -> None:
        async with self._connection(self._readers) as connection:
            await connection.execute("select pg_notify($1, $2)", CHANNEL, words)

    async def skew(self) -> timedelta:
        """How far the database's clock is ahead of ours, in whole milliseconds like every moment."""
        loop = asyncio.get_running_loop()
        async with self._connection() as connection:
            asked, before = loop.time(), time.time_ns() / 1e6
            theirs = await connection.fetchval(
                "select (extract(epoch from clock_timestamp()) * 1000)::bigint"
            )
            half = (loop.time() - asked) * 500
        return timedelta(milliseconds=round(theirs - before - half))

    async def _pool(self, size: int) -> "Pool":
        pooled = self._target.pooled
        return await asyncpg.create_pool(
            self._target.dsn,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS + 2,
            reset=_as_it_is,
            statement_cache_size=0 if pooled else 512,
            target_session_attrs=SessionAttribute.read_write,
            server_settings=None if pooled else SETTINGS,
        )

    async def _drive(self, begin: str, gate: str, drive: Drive, pool: "Pool | None") -> Any:
        session = POOLED if self._target.pooled else ""
        async with self._connection(pool) as connection:
            try:
                await connection.execute(begin + session + gate)
                return await drive.run(connection)
            except BaseException:
                await _give_up(connection)
                raise

    @contextlib.asynccontextmanager
    async def _connection(self, pool: "Pool | None" = None) -> AsyncIterator["Connection"]:
        pool = pool or self._writers
        if pool is None:
            raise StoreUnavailable("the database is not open")
        try:
            connection = await pool.acquire(timeout=CONNECT_SECONDS)
        except AWAY as error:
            raise StoreUnavailable("the database cannot be reached now") from error
        try:
            yield connection
        except AWAY as error:
            drop(connection)
            raise StoreUnavailable("the database does not answer now") from error
        finally:
            with contextlib.suppress(*AWAY):
                await pool.release(connection)

    async def _resolved(self, drive: Drive, receipt: int) -> Any:
        try:
            stored = await self._stored(receipt)
        except StoreUnavailable as error:
            drive.fail(error)
        return drive.finish() if stored else drive.fail(StoreUnavailable("the database went away"))

    async def _stored(self, receipt: int) -> bool:
        """Whether the transaction with this receipt was stored; afterwards it never will be."""
        ends = asyncio.get_running_loop().time() + RESOLVE_SECONDS
        while True:
            try:
                async with self._connection() as connection:
                    written = await connection.fetchval(
                        "insert into receipt (replica, number) values ($1, $2) "
                        "on conflict do nothing returning number",
                        self._replica,
                        receipt,
                    )
                    return written is None
            except StoreUnavailable:
                if asyncio.get_running_loop().time() > ends:
                    raise
                await asyncio.sleep(0.1)

    async def _look_around(self) -> None:
        async with self._connection() as connection:
            if connection.get_server_version()[0] * 10000 < OLDEST:
                raise Misconfigured("database_url", f"PostgreSQL {OLDEST // 10000} or newer is needed")
            if await connection.fetchval("show server_encoding") != "UTF8":
                raise Misconfigured("database_url", "the database must be encoded as UTF8")
            if await connection.fetchval(FOREIGN):
                raise Misconfigured("database_url", "the database holds tables that are not ours")

    async def _pending(self, connection: "Connection") -> list[Migration]:
        known = migrations("postgresql")
        version = 0
        if await connection.fetchval(OURS):
            version = await connection.fetchval("select coalesce(max(version), 0) from migration")
        if version > known[-1].version:
            raise Misconfigured(
                "database_url",
                f"the database has schema {version}, this program knows {known[-1].version}; upgrade it",
            )
        return [migration for migration in known if migration.version > version]


async def _give_up(connection: "Connection") -> None:
    """Leave no transaction open; a connection that cannot is ended."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("rollback")
    except (asyncpg.PostgresError, *AWAY):
        drop(connection)
