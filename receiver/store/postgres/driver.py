"""The PostgreSQL driver: pools of connections. Each statement of a transaction is awaited in turn.

A transaction that writes leaves a receipt, a row with a key of its own. When the connection fails between
COMMIT and its answer, the driver inserts the same row on another connection. A conflict proves that the
transaction was stored; an insert without conflict proves that it was not and never will be, because its own
receipt would now conflict. See also receiver/store/README.md.
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
"""The oldest supported version of the server, in the form of `server_version_num`."""
CONNECT_SECONDS = 5.0
"""Seconds to connect, to get a connection from the pool, and to close a pool."""
STATEMENT_SECONDS = 10.0
"""Seconds after which the server cancels a statement. The client waits 2 s longer, for a silent server."""
MIGRATION_SECONDS = 3600.0
"""Seconds for one migration, and for the wait while another replica migrates."""
RESOLVE_SECONDS = 20.0
"""Seconds to find the outcome of a COMMIT without an answer before the caller gets `StoreUnavailable`."""
RECEIPTS = 1000
"""Transactions after which a replica deletes its old receipts."""
FORGET = "delete from receipt where (replica = $1 and number < $2) or written_at < now() - interval '1 day'"
POOLED_SCAN = 0.25
"""Seconds between scans for due work behind a pooler, where no hints are received."""
MIGRATING = 0x52427632
"""The advisory lock of migrations: one replica migrates at a time."""
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
"""Settings of every session, or of every transaction behind a pooler. Plans are made once and without
sequential scans, because a table that is small when a statement is prepared grows later.
"""
WRITERS = 2
"""Transactions that write at the same time."""
CONFLICTS = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
)
OURS = "select exists (select from pg_class where relname = 'migration' and pg_table_is_visible(oid))"
"""A query of the catalog: `to_regclass` may answer from a cache that is older than the wait for a lock."""
FOREIGN = (
    "select count(*) > 0 and count(*) filter (where relname = 'migration') = 0 from pg_class "
    "where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace"
)
GATE = 0x52427633
"""An advisory lock that every transaction shares. A transaction that creates or drops tables takes it
exclusively, so that no other transaction holds locks on tables meanwhile.
"""
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
    """Do nothing: transactions leave no state in a session, so no reset is necessary."""


class PostgresDriver:
    """A driver for one PostgreSQL database."""

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
        """Connect. Raises `Misconfigured` when the database cannot be reached or used."""
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
        """Delete the receipts of this process and disconnect."""
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
        """Run `transaction` and commit it.

        Raises `StoreUnavailable` when nothing could be stored, or when the outcome of the commit cannot be
        found out, and `Contended` after a conflict with another transaction.
        """
        return await self._write(transaction, SHARED)

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run `transaction` while no other runs in any process.

        Raises `StoreUnavailable` when the others do not end within 500 ms.
        """
        return await self._write(transaction, ALONE)

    async def _write(self, transaction: Transaction[Result], gate: str) -> Result:
        # The receipt and COMMIT are one message, so the receipt costs no round trip.
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
        # A unique violation may be permanent: the other row can be there already. The other conflicts pass.
        except CONFLICTS as error:
            raise Contended(passes=not isinstance(error, asyncpg.UniqueViolationError)) from error
        finally:
            self._in_doubt.discard(receipt)
        return result

    async def between_commits(self) -> None:
        """Delete old receipts, once per `RECEIPTS` transactions."""
        if self._last - self._pruned < RECEIPTS:
            return
        # A receipt in doubt is kept: without it a stored transaction would look as if it was not stored.
        self._pruned = self._last
        await self._forget(min(self._in_doubt, default=self._last + 1))

    async def _forget(self, before: int) -> None:
        """Delete this process's receipts before a number, and those of ended processes, older than a day."""
        with contextlib.suppress(StoreUnavailable):
            async with self._connection() as connection:
                await connection.execute(FORGET, self._replica, before)

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction on one snapshot. Raises `StoreUnavailable` when reading fails."""
        try:
            result: Result = await self._drive(SNAPSHOT, SHARED, Drive(transaction, "commit"), self._readers)
        except (Uncertain, *CONFLICTS):
            raise StoreUnavailable("the database cannot be read now") from None
        return result

    async def pending(self) -> list[Migration]:
        """Return the migrations that have not run. Raises `Misconfigured` when the database is too new."""
        async with self._connection() as connection:
            return await self._pending(connection)

    async def migrate(self) -> list[Migration]:
        """Run the pending migrations in one transaction, one replica at a time, and return them.

        Raises `Misconfigured` when the role may not create tables.
        """
        async with self._connection() as connection:
            try:
                async with connection.transaction():
                    await connection.execute(
                        f"set local statement_timeout = 0; set local lock_timeout = 0; "
                        f"select pg_advisory_xact_lock({MIGRATING})",
                        timeout=MIGRATION_SECONDS,
                    )
                    # Read under the lock: another replica may have migrated during the wait.
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
        """Send a hint to the other replicas, soon and together with others."""
        self._bell.tell(word)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with the hints of other replicas. Behind a pooler, none are received."""
        if not self._target.pooled:
            self._bell.listen(heard)

    async def _ring(self, words: str) -> None:
        async with self._connection(self._readers) as connection:
            await connection.execute("select pg_notify($1, $2)", CHANNEL, words)

    async def skew(self) -> timedelta:
        """Return the lead of the database's clock over this machine's, in whole milliseconds."""
        loop = asyncio.get_running_loop()
        async with self._connection() as connection:
            started, before = loop.time(), time.time_ns() / 1e6
            theirs = await connection.fetchval(
                "select (extract(epoch from clock_timestamp()) * 1000)::bigint"
            )
            # Half of the round trip, in milliseconds: the server is taken to read its clock in the middle.
            half = (loop.time() - started) * 500
        return timedelta(milliseconds=round(theirs - before - half))

    async def _pool(self, size: int) -> "Pool":
        # A pooler in transaction mode shares sessions: prepared statements and session settings do not work
        # there, so the settings are part of each transaction (`POOLED`).
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
        """Return whether the transaction with this receipt was stored. If not, it never will be."""
        ends = asyncio.get_running_loop().time() + RESOLVE_SECONDS
        while True:
            try:
                async with self._connection() as connection:
                    # The insert waits while the transaction in doubt is still open on the server.
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
    """Roll back an open transaction, or close the connection if that fails."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("rollback")
    except (asyncpg.PostgresError, *AWAY):
        drop(connection)
