"""Execution of one transaction on a connection to PostgreSQL."""

import contextlib
from typing import TYPE_CHECKING, Any, NoReturn

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from receiver.domain.errors import StoreUnavailable
from receiver.store.postgres.sql import render, then, together
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
"""Errors that the state of the database causes, not the statement."""


def drop(connection: "Connection") -> None:
    """Close a connection at once. One that the pool has already found closed is left alone."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


class Uncertain(Exception):
    """A COMMIT without an answer: the connection failed, and the outcome is unknown."""


class Drive:
    """An execution of one transaction on one connection. `commit` is the SQL that ends it."""

    def __init__(self, transaction: Transaction[Any], commit: str) -> None:
        self._transaction = transaction
        self._commit = commit
        self._committed = self._over = False
        self._waiting: list[Write] = []
        self._result: Any = None

    async def run(self, connection: "Connection") -> Any:
        """Run and commit the transaction. Returns its result. Raises `Uncertain` for an unknown outcome."""
        try:
            statement = next(self._transaction)
            while True:
                try:
                    found = await self._execute(connection, statement)
                # Not thrown into the transaction: `finish` or `fail` resumes it once the outcome is known.
                except Uncertain:
                    raise
                except Exception as error:  # noqa: BLE001  # the transaction rolls back its reservations
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
        """Return the result, once the commit has proved to be stored."""
        if not self._over:
            try:
                self._transaction.send(())
            except StopIteration as done:
                return done.value
            raise RuntimeError("a transaction goes on behind its commit")
        return self._result

    def fail(self, error: StoreUnavailable) -> NoReturn:
        """Raise `error`, first inside the transaction, because nothing was stored."""
        if not self._over:
            self._transaction.throw(error)
        raise error

    async def _execute(self, connection: "Connection", statement: Statement) -> Rows:
        if statement is Step.IN_ORDER:
            # The function takes the lock first and then reads, in a statement with a newer snapshot, so the
            # generation stays current for as long as the lock is held. The waiting writes go along, because
            # a round trip costs more than they do.
            writes, self._waiting = self._waiting, []
            sql, values = then(writes, "in_order()")
            return await connection.fetch(sql, *values)
        if isinstance(statement, QueryStatement | Step):
            await self._flush(connection)
            return await self._ask(connection, statement)
        if not statement.values:
            return ()
        # All parts of one statement see the same snapshot, so a table may be written only once in it.
        if any(one.table == statement.table for one in self._waiting):
            await self._flush(connection)
        self._waiting.append(statement)
        return ()

    async def _ask(self, connection: "Connection", statement: QueryStatement | Step) -> Rows:
        if statement is Step.COMMIT:
            await self._end(connection)
            return ()
        assert isinstance(statement, QueryStatement)  # noqa: S101  # there is no other step
        sql, values = render(statement)
        return await connection.fetch(sql, *values)

    async def _flush(self, connection: "Connection") -> None:
        """Send the waiting writes in one statement."""
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
