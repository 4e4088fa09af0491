"""The real SQL on SQLite in memory, with a driver that is away, loses or forgets as the script has it."""

import asyncio
import contextlib
import functools
import sqlite3
import zlib
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from receiver.domain.errors import StoreUnavailable
from receiver.store.migrations import Migration, migrations
from receiver.store.sqlite.driver import drive
from receiver.store.statements import Rows, Statement, Step, Transaction

Result = TypeVar("Result")

WRITE_SECONDS = 0.002
READ_SECONDS = 0.04
"""Seconds of the longest read: a state may be that old when its reader acts on it."""


class Fate(Enum):
    """The fate of a transaction."""

    STORED = auto()
    AWAY = auto()
    LOST = auto()
    UNKNOWN = auto()
    """A stored transaction with a lost answer."""
    CRASH_BEFORE = auto()
    CRASH_AFTER = auto()


CUT = frozenset({Fate.LOST, Fate.UNKNOWN})


@functools.cache
def template() -> bytes:
    """Return an empty database with every migration."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in migrations("sqlite"):
            connection.executescript(f"begin;\n{migration.sql}\ncommit;")
        return connection.serialize()


class Database:
    """One database that every process of a run shares. `committed` is called after each commit."""

    def __init__(self, *, shared: bool, chance: str) -> None:
        self.shared = shared
        self.chance = chance
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.deserialize(template())
        self.connection.row_factory = sqlite3.Row
        self.committed: Callable[[], object] = lambda: None
        self.heard: dict[str, Callable[[str], None]] = {}
        self._seen = 0

    def ask(self, sql: str, **parameters: Any) -> list[sqlite3.Row]:
        """Return the rows as they are stored now."""
        return self.connection.execute(sql, parameters).fetchall()

    def write(self, transaction: Transaction[Result], fate: Fate) -> Result:
        """Run a transaction to its commit or its fate. Returns its result."""
        self.connection.execute("begin immediate")
        try:
            result = drive(
                self.connection, _fated(transaction, self._commit, fate) if fate in CUT else transaction
            )
        except BaseException:
            self._end("rollback")
            self._tell()
            raise
        self._end("commit")
        self._tell()
        return result

    def read(self, transaction: Transaction[Result]) -> Result:
        """Run a read-only transaction. Returns its result."""
        return drive(self.connection, transaction)

    def _commit(self) -> None:
        self._end("commit")

    def _end(self, how: str) -> None:
        if self.connection.in_transaction:
            self.connection.execute(how)

    def _tell(self) -> None:
        if self.connection.total_changes != self._seen:
            self._seen = self.connection.total_changes
            self.committed()


def _fated(transaction: Transaction[Result], commit: Callable[[], None], fate: Fate) -> Transaction[Result]:
    """Run the transaction, with its COMMIT answered as its fate says."""
    found: Rows = ()
    statement: Statement = next(transaction)
    while True:
        try:
            if statement is Step.COMMIT and fate is Fate.LOST:
                statement = transaction.throw(StoreUnavailable("the database went away"))
            elif statement is Step.COMMIT and fate is Fate.UNKNOWN:
                commit()
                statement = transaction.throw(StoreUnavailable("the database went away"))
            else:
                try:
                    found = yield statement
                except sqlite3.Error as error:
                    statement = transaction.throw(error)
                else:
                    statement = transaction.send(found)
        except StopIteration as done:
            result: Result = done.value
            return result


class Process(Protocol):
    """The process that a driver serves."""

    name: str

    def passed_on(self, heard: Callable[[str], None], word: str) -> None:
        """Pass a hint to another process, a moment later."""

    def fate(self) -> Fate:
        """Return the fate of the transaction that begins now."""

    def next_fate(self) -> Fate:
        """Return the fate of the write that begins now."""

    def crash(self) -> None:
        """Crash at once."""

    def skew(self) -> timedelta:
        """Return how far the database's clock is ahead of this process's."""


class InlineDriver:
    """A driver that runs each transaction whole, at one moment of virtual time."""

    writers = 1
    in_parts = False
    scan = 10.0

    def __init__(self, database: Database, process: Process) -> None:
        self._database = database
        self._process = process
        self.shared = database.shared

    async def open(self) -> None:
        """Do nothing: there is no connection to open."""

    async def close(self) -> None:
        """End the receipt of hints: there is no connection to close."""
        self._database.heard.pop(self._process.name, None)

    async def write(self, transaction: Transaction[Result]) -> Result:
        """Run a transaction to its commit or its fate. Returns its result."""
        await asyncio.sleep(WRITE_SECONDS * (0.5 + self._jitter()))
        fate = self._process.next_fate()
        if fate is Fate.AWAY:
            transaction.close()
            raise StoreUnavailable("the database is away")
        if fate is Fate.CRASH_BEFORE:
            self._process.crash()
            await _never()
        result = self._database.write(transaction, fate)
        if fate is Fate.CRASH_AFTER:
            self._process.crash()
            await _never()
        return result

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run a transaction like any other: transactions never overlap."""
        return await self.write(transaction)

    async def between_commits(self) -> None:
        """Do nothing: no work is put off."""

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a read-only transaction. Its answer takes a moment."""
        if self._process.fate() is Fate.AWAY:
            raise StoreUnavailable("the database cannot be read now")
        result = self._database.read(transaction)
        await asyncio.sleep(READ_SECONDS * self._jitter() ** 3)
        return result

    def tell(self, word: str) -> None:
        """Pass a hint on to the other processes."""
        if self.shared:
            for name, heard in self._database.heard.items():
                if name != self._process.name:
                    self._process.passed_on(heard, word)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Pass hints of other processes to `heard` from now on."""
        self._database.heard[self._process.name] = heard

    async def skew(self) -> timedelta:
        """Return how far the database's clock is ahead of this process's."""
        return self._process.skew()

    async def pending(self) -> list[Migration]:
        """Return nothing: the template has every migration."""
        return []

    async def migrate(self) -> list[Migration]:
        """Return nothing: the template has every migration."""
        return []

    def _jitter(self) -> float:
        loop = asyncio.get_running_loop()
        text = f"{self._database.chance}|{self._process.name}|{loop.time():.6f}"
        return (zlib.crc32(text.encode()) % 10_000) / 10_000


async def _never() -> None:
    await asyncio.get_running_loop().create_future()
