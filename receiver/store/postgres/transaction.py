"""One transaction on its way over a connection to PostgreSQL."""

import contextlib
from typing import TYPE_CHECKING, Any, NoReturn

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from receiver.domain.errors import StoreUnavailable
from receiver.store.postgres.sql import render, together
from receiver.store.statements import QueryStatement, Rows, Statement, Step, Transaction, Write

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""What tells of the database and not of what was asked of it."""


def drop(connection: "Connection") -> None:
    """End a connection at once; one that the pool has already noticed to be gone is nobody's to end."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


class Uncertain(Exception):
    """The connection died while a COMMIT was on its way."""


class Drive:
    """One transaction on its way over one connection."""

    def __init__(self, transaction: Transaction[Any], commit: str) -> None:
        self._transaction = transaction
        self._commit = commit
        self._committed = self._over = False
        self._waiting: list[Write] = []
        self._result: Any = None

    async def run(self, connection: "Connection") -> Any:
        """To the end; `Uncertain` when nobody knows whether it was committed."""
        try:
            statement = next(self._transaction)
            while True:
                try:
                    found = await self._execute(connection, statement)
                except Uncertain:
                    raise
                except Exception as error:  # noqa: BLE001  # the transaction undoes its promises
                    statement = self._transaction.throw(error)
                else:
                    statement = self._transaction.send(found)
        except StopIteration as done:
            self._over, self._result = True, done.value
        if not self._committed:
            await self._flush(connection)
            await self._end(connection)
        return self._result

    def finish(self) -> Any:
        """The result, when the commit turned out to be stored."""
        if not self._over:
            try:
                self._transaction.send(())
            except StopIteration as done:
                return done.value
            raise RuntimeError("a transaction goes on behind its commit")
        return self._result

    def fail(self, error: StoreUnavailable) -> NoReturn:
        """Tell the transaction that nothing was stored."""
        if not self._over:
            self._transaction.throw(error)
        raise error

    async def _execute(self, connection: "Connection", statement: Statement) -> Rows:
        if isinstance(statement, QueryStatement | Step):
            await self._flush(connection)
            return await self._ask(connection, statement)
        if not statement.values:
            return ()
        if any(one.table == statement.table for one in self._waiting):
            await self._flush(connection)
        self._waiting.append(statement)
        return ()

    async def _ask(self, connection: "Connection", statement: QueryStatement | Step) -> Rows:
        if statement is Step.COMMIT:
            await self._end(connection)
            return ()
        if statement is Step.IN_ORDER:
            return await connection.fetch("select in_order() as value")
        assert isinstance(statement, QueryStatement)  # noqa: S101  # there is no other step
        sql, values = render(statement)
        return await connection.fetch(sql, *values)

    async def _flush(self, connection: "Connection") -> None:
        """Send what was to be written, in one statement."""
        if self._waiting:
            writes, self._waiting = self._waiting, []
            sql, values = together(writes)
            await connection.execute(sql, *values)

    async def _end(self, connection: "Connection") -> None:
        try:
            await connection.execute(self._commit)
        except AWAY as error:
            drop(connection)
            raise Uncertain from error
        self._committed = True
