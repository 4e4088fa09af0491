"""Connections of SQLite beside the writing one: those that only read, and how each is opened."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import aiosqlite

from receiver.domain.errors import StoreUnavailable
from receiver.store.sqlite.sql import render
from receiver.store.statements import Transaction

Result = TypeVar("Result")

READERS = 2
"""Connections for reading transactions."""
BUSY_MS = 1500
"""Milliseconds for which a connection waits for a lock that another program holds on the file."""
PRAGMAS = (
    "pragma query_only = on",
    "pragma wal_autocheckpoint = 0",
    f"pragma busy_timeout = {BUSY_MS}",
)


class Readers:
    """The connections for reading transactions. They cannot write and never checkpoint."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._count = 0

    async def open(self, path: Path) -> None:
        """Open all connections. Raises `sqlite3.Error` when that fails."""
        for _ in range(READERS):
            self._free.put_nowait(await connect(path, PRAGMAS))
            self._count += 1

    async def close(self) -> None:
        """Close each connection once the transaction that runs on it has ended, and let no other begin."""
        count, self._count = self._count, 0
        for _ in range(count):
            connection = await self._free.get()
            await connection.close()

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction on one snapshot. Raises `StoreUnavailable` when reading fails."""
        async with self._connection() as connection:
            try:
                await connection.execute("begin")
                statement = next(transaction)
                while True:
                    found = await connection.execute_fetchall(*render(statement))
                    statement = transaction.send(list(found))
            except StopIteration as done:
                result: Result = done.value
                return result
            except sqlite3.DatabaseError:
                raise StoreUnavailable("the database cannot be read now") from None

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosqlite.Connection]:
        if not self._count:
            raise StoreUnavailable("the database is not open")
        connection = await self._free.get()
        try:
            yield connection
        finally:
            try:
                await connection.rollback()
            finally:
                self._free.put_nowait(connection)


async def connect(path: Path, pragmas: tuple[str, ...]) -> aiosqlite.Connection:
    """Return a new connection to the file with these settings. Raises `sqlite3.Error` when that fails."""
    connection = await aiosqlite.connect(path, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        for pragma in pragmas:
            await connection.execute(pragma)
    except BaseException:
        await connection.close()
        raise
    return connection
