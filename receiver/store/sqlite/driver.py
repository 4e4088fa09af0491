"""The SQLite driver: one thread owns the only writing connection and runs a whole transaction in one call.

Readers are `aiosqlite` connections that cannot write and never checkpoint. One more connection moves the
write-ahead log into the file (a checkpoint) while commits continue. Figures: receiver/store/README.md.
"""

import asyncio
import contextlib
import functools
import queue
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import aiosqlite

from receiver.domain.errors import Misconfigured, NotReady, StoreUnavailable
from receiver.store.migrations import Migration, migrations
from receiver.store.sqlite.file_lock import FileLock
from receiver.store.sqlite.readers import BUSY_MS, Readers, connect
from receiver.store.sqlite.sql import many_sql, pieces, render
from receiver.store.statements import QueryStatement, Rows, Statement, Step, Transaction

Result = TypeVar("Result")

APPLICATION_ID = 0x52427631
FAR = 2
"""Steps by which a checkpoint may lag behind before commits wait for it. It bounds the length of the log."""
LONG = 2400
"""Pages of the log at which the writer moves the rest of it between two commits, so that it starts over."""
LOG_BYTES = 5000 * 4096
"""Bytes to which the log is grown at start, so that commits do not have to grow it: 5,000 pages of 4 KiB."""
STEP = 450
"""Changed rows, about 200 pages, after which a checkpoint moves the log into the file."""
GENERATION = "select value from meta where key = 'generation'"
MOVE = "pragma wal_checkpoint(passive)"
LOSES_WRITES = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""Errors after which the content of the disk is unknown: the process ends and starts again from the file."""
MAY_PASS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Primary error codes that prevent the use of a file for now, without a fault of the file."""
PRAGMAS = (
    "pragma synchronous = full",
    "pragma foreign_keys = on",
    "pragma trusted_schema = off",
    "pragma cell_size_check = on",
    "pragma mmap_size = 0",
    "pragma cache_size = -16000",
    "pragma temp_store = memory",
    "pragma wal_autocheckpoint = 0",  # commits never checkpoint: between_commits does, one move at a time
    "pragma journal_size_limit = 67108864",
)
MOVER = ("pragma synchronous = full", "pragma mmap_size = 0", "pragma cell_size_check = on")


class SqliteDriver:
    """A driver for one SQLite file. Calls `on_fatal` when the file must not be used any more."""

    writers = 1
    shared = False
    in_parts = False
    scan = 1.0

    def __init__(self, path: Path, *, on_fatal: Callable[[str], None]) -> None:
        self._path = path.resolve()
        self._on_fatal = on_fatal
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock: FileLock | None = None
        self._connection: sqlite3.Connection | None = None
        self._readers = Readers()
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._mover: aiosqlite.Connection | None = None
        self._moving: asyncio.Task[None] | None = None
        self._changed = self._moved = 0

    async def open(self) -> None:
        """Lock the file and open all connections. Raises `Misconfigured` when that fails."""
        self._lock = FileLock(self._path)
        try:
            self._thread.start()
            await self._on_writer(functools.partial(self._told, self._connect))
            await self._readers.open(self._path)
            self._mover = await connect(self._path, MOVER)
        except sqlite3.Error as error:
            await self.close()
            raise self._cannot(error) from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish the queued work and close all connections."""
        if self._moving is not None:
            await asyncio.wait([self._moving])
        if self._mover is not None:
            await self._mover.close()
            self._mover = None
        await self._readers.close()
        if self._thread.is_alive():
            await self._on_writer(self._disconnect)
            self._work.put(None)
            self._thread.join()
        # Last: closing a descriptor of the file ends the locks that SQLite holds on it in this process.
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def write(self, transaction: Transaction[Result]) -> Result:
        """Run `transaction` and commit it. Raises `StoreUnavailable` when nothing could be stored."""
        return await self._on_writer(functools.partial(self._commit, transaction))

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run `transaction` like `write`: with one writer, no other transaction writes meanwhile."""
        return await self.write(transaction)

    async def between_commits(self) -> None:
        """Start to move the log into the file once enough rows have changed. Waits only for a late move."""
        behind = self._changed - self._moved
        if behind < STEP or self._mover is None:
            return
        if self._moving is not None and not self._moving.done():
            if behind < FAR * STEP:
                return
            await asyncio.wait([self._moving])
        # A task on a connection of its own: on the writer's thread each move delayed commits by 8 ms.
        self._moved = self._changed
        self._moving = asyncio.create_task(self._move_log(self._mover))

    async def _move_log(self, mover: aiosqlite.Connection) -> None:
        try:
            (found,) = await mover.execute_fetchall(MOVE)
            if found["log"] >= LONG:
                await self._on_writer(self._finish_log)
        except sqlite3.Error as error:
            self._see_fatal(error)

    def _finish_log(self) -> None:
        """Move the rest of the log, so that the next commit starts it over."""
        self._writer.execute(MOVE).fetchall()
        # The next move begins after that commit: receiver/README.md#the-log-moves-beside-commits
        self._moved = self._changed

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction on one snapshot. Raises `StoreUnavailable` when reading fails."""
        return await self._readers.read(transaction)

    def tell(self, word: str) -> None:
        """Do nothing: no other process serves the file."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Do nothing: no other process serves the file."""

    async def skew(self) -> timedelta:
        """Return zero: the file has no clock of its own."""
        return timedelta()

    async def pending(self) -> list[Migration]:
        """Return the migrations that have not run. Raises `Misconfigured` when the file is too new."""
        return await self._on_writer(functools.partial(self._told, self._pending))

    async def migrate(self) -> list[Migration]:
        """Run the pending migrations, each in a transaction, and grow the log. Returns those migrations."""
        return await self._on_writer(functools.partial(self._told, self._migrate))

    # From here on: the work of the writer's thread.

    def _serve(self) -> None:
        while (job := self._work.get()) is not None:
            job()

    def _see_fatal(self, error: sqlite3.Error) -> None:
        if getattr(error, "sqlite_errorcode", None) in LOSES_WRITES:
            self._on_fatal(f"the disk does not keep what is written: {error}")

    async def _on_writer(self, job: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # a result, where there is no error

        def work() -> None:
            # The future belongs to the loop, so this thread never touches it: the loop settles it.
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001  # raised in the caller instead
                loop.call_soon_threadsafe(settle, None, error)
            else:
                loop.call_soon_threadsafe(settle, result, None)

        self._work.put(work)
        return await future

    def _connect(self) -> None:
        lock = self._held
        lock.hold()
        created = self._path.stat().st_size == 0
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=BUSY_MS / 1000, cached_statements=512
        )
        self._writer.row_factory = sqlite3.Row
        # `auto_vacuum` can be set only before anything else is written to a new file.
        if created:
            self._writer.execute("pragma auto_vacuum = incremental")
        # Checked before the journal mode is changed, so that a file of another program stays as it is.
        self._version()
        mode = self._writer.execute("pragma journal_mode = wal").fetchone()[0]
        if mode != "wal":
            raise Misconfigured("database_url", f"{self._path.name} does not take write-ahead logging")
        for pragma in PRAGMAS:
            self._writer.execute(pragma)
        # A read makes sure that the log exists, because `watch` records its identity.
        self._writer.execute("select 1 from sqlite_master").fetchall()
        lock.watch()

    @property
    def _held(self) -> FileLock:
        if self._lock is None:
            raise StoreUnavailable("the database is not open")
        return self._lock

    @property
    def _writer(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable("the database is not open")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, transaction: Transaction[Result]) -> Result:
        try:
            self._writer.execute("begin immediate")
            try:
                result = drive(self._writer, transaction)
                # A transaction that yielded `Step.COMMIT` is already committed.
                if self._writer.in_transaction:
                    self._writer.execute("commit")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            self._see_fatal(error)
            raise StoreUnavailable("the database does not take writes now") from error
        # A file that was removed or replaced is never read again: a commit to it must not be acknowledged.
        # The check takes two microseconds. Why: receiver/README.md#the-file-is-watched
        if not self._held.in_place():
            self._on_fatal(f"{self._path} or its log was removed or replaced; nothing more can be stored")
            raise StoreUnavailable("the database's file is gone")
        self._changed = self._writer.total_changes
        return result

    def _version(self) -> int:
        return version_of(self._writer, self._path.name)

    def _pending(self) -> list[Migration]:
        return pending_of(self._writer, self._path.name)

    def _migrate(self) -> list[Migration]:
        ran = self._pending()
        for migration in ran:
            self._writer.executescript(
                f"begin immediate;\n{migration.sql}\n"
                f"pragma application_id = {APPLICATION_ID};\n"
                f"pragma user_version = {migration.version};\ncommit;"
            )
        self._make_room()
        return ran

    def _make_room(self) -> None:
        """Grow the log, and the file by as many free pages, before the first commit.

        On ext4 a commit that appends to the log waits for the file system's own journal: 4 ms, against 0.1 ms
        for a commit that overwrites existing pages of the log.
        """
        # The growth only makes commits faster: a failure, such as a full disk, does not prevent the start.
        with contextlib.suppress(sqlite3.OperationalError):
            self._writer.executescript(
                "create table if not exists ballast (room blob) strict;"
                f"insert into ballast values (zeroblob({LOG_BYTES}));"
            )
        self._writer.executescript(
            "drop table if exists ballast; pragma wal_checkpoint(restart); pragma shrink_memory;"
        )

    def _told(self, job: Callable[[], Result]) -> Result:
        """Run `job`. Raises `Misconfigured` when the database cannot be used, `NotReady` if that may pass."""
        try:
            return job()
        except sqlite3.DatabaseError as error:
            raise self._cannot(error) from None

    def _cannot(self, error: sqlite3.Error) -> Misconfigured:
        passes = getattr(error, "sqlite_errorcode", 0) & 0xFF in MAY_PASS
        return (NotReady if passes else Misconfigured)(
            "database_url", f"cannot use the database {self._path}: {error}"
        )


def drive(connection: sqlite3.Connection, transaction: Transaction[Result]) -> Result:
    """Run the statements of a transaction, without `begin` and `commit`, and return its result."""
    try:
        statement = next(transaction)
        while True:
            try:
                found = _execute(connection, statement)
            except sqlite3.Error as error:
                statement = transaction.throw(error)
            else:
                statement = transaction.send(found)
    except StopIteration as done:
        result: Result = done.value
        return result


def _execute(connection: sqlite3.Connection, statement: Statement) -> Rows:
    if isinstance(statement, QueryStatement):
        return connection.execute(*render(statement)).fetchall()
    if statement is Step.IN_ORDER:
        return connection.execute(GENERATION).fetchall()
    if statement is Step.COMMIT:
        connection.execute("commit")
        return ()
    values = statement.values
    for start, size in pieces(len(values)):
        piece = values[start : start + size]
        connection.execute(many_sql(statement, size), [value for row in piece for value in row])
    return ()


def version_of(connection: sqlite3.Connection, name: str) -> int:
    """Return the schema version of a file, 0 for an empty one. Raises `Misconfigured` for a foreign file."""
    application = connection.execute("pragma application_id").fetchone()[0]
    version: int = connection.execute("pragma user_version").fetchone()[0]
    if application != APPLICATION_ID and (application or version):
        raise Misconfigured("database_url", f"{name} belongs to another program")
    if version == 0 and connection.execute("select 1 from sqlite_master").fetchone():
        raise Misconfigured("database_url", f"{name} holds tables that are not ours")
    return version


def pending_of(connection: sqlite3.Connection, name: str) -> list[Migration]:
    """Return the pending migrations of a file. Raises `Misconfigured` if it is foreign or too new."""
    known = migrations("sqlite")
    version = version_of(connection, name)
    if version > known[-1].version:
        raise Misconfigured(
            "database_url", f"{name} has schema {version}, this program knows {known[-1].version}; upgrade it"
        )
    return [migration for migration in known if migration.version > version]
