"""The store: reads and writes over one database; a write is durable before it returns."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from receiver.domain.errors import Misconfigured
from receiver.store.group_commit import BatchedWrite, GroupCommit
from receiver.store.migrations import Migration
from receiver.store.postgres.url import is_postgres, target
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.statements import Transaction

Item = TypeVar("Item")
Told = TypeVar("Told")
Result = TypeVar("Result")

SQLITE = "sqlite:///"


class Driver(Protocol):
    """A database engine that runs transactions.

    `writers` is the number of writing transactions that it runs at once, `shared` whether other processes
    may serve the same database, `scan` the maximum number of seconds between two reads of due work, and
    `in_parts` whether its history lies in partitions that can be dropped.
    """

    writers: int
    shared: bool
    scan: float
    in_parts: bool

    async def open(self) -> None:
        """Connect. Raises `Misconfigured` with the reason when that is impossible."""

    async def close(self) -> None:
        """Finish queued work and disconnect."""

    async def write(self, transaction: Transaction[Result]) -> Result:
        """Run a transaction to its commit. Returns its result."""

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run a transaction to its commit while no other transaction runs, in any process."""

    async def between_commits(self) -> None:
        """Do the maintenance that belongs between two transactions, if any is due."""

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction. Returns its result."""

    def tell(self, word: str) -> None:
        """Send a hint to the other processes, soon and together with other hints."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with each hint of other processes; an empty one means that some may be missed."""

    async def skew(self) -> timedelta:
        """Return how far the database's clock is ahead of this machine's."""

    async def pending(self) -> list[Migration]:
        """Return the migrations that have not run."""

    async def migrate(self) -> list[Migration]:
        """Run the pending migrations and return them."""


class Store:
    """A database: writes go through one group commit, reads run beside it.

    `committed` is called with the seconds and the writes of each transaction of the group commit; with 0
    writes for one that failed because the database was unavailable.
    """

    def __init__(self, driver: Driver, committed: Callable[[float, int], None] | None = None) -> None:
        self.driver = driver
        self._commit = GroupCommit(driver.write, driver.between_commits, driver.writers, committed)

    async def open(self, *, migrate: bool) -> None:
        """Connect and run pending migrations.

        Raises `Misconfigured` when the database cannot be used, or migrations are pending and `migrate` is
        false.
        """
        await self.driver.open()
        try:
            pending = await self.driver.pending()
            if pending and not migrate:
                raise Misconfigured(
                    "migrate_on_start", f"is off and {len(pending)} migration(s) wait; run `ringback migrate`"
                )
            await self.driver.migrate()
        except BaseException:
            await self.driver.close()
            raise

    async def close(self) -> None:
        """Store the queued writes and disconnect."""
        await self._commit.close()
        await self.driver.close()

    @property
    def shared(self) -> bool:
        """Return whether other processes may serve the same database."""
        return self.driver.shared

    @property
    def in_parts(self) -> bool:
        """Return whether old history is dropped in partitions instead of being deleted row by row."""
        return self.driver.in_parts

    @property
    def scan(self) -> float:
        """Return the seconds between two reads of due work: hints only make the next one earlier."""
        return self.driver.scan

    async def skew(self) -> timedelta:
        """Return how far the database's clock is ahead of this machine's."""
        return await self.driver.skew()

    def tell(self, word: str) -> None:
        """Send a hint to the other processes."""
        self.driver.tell(word)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with each hint of other processes; an empty one means that some may be missed."""
        self.driver.listen(heard)

    def share(self, live: int) -> None:
        """Divide the concurrent transactions among `live` replicas: fewer at once, each of them larger."""
        self._commit.writers = max(1, self.driver.writers // live)

    async def do(
        self, verb: BatchedWrite[Item, Told], item: Item, *, reserved: bool = False, patient: bool = False
    ) -> Told:
        """Return the result of `verb` for `item` once it is durable.

        `reserved` allows a longer queue, and `patient` a short wait, so that fewer transactions are needed.
        """
        return await self._commit.do(verb, item, reserved=reserved, patient=patient)

    async def write(self, transaction: Callable[[], Transaction[Result]], *, last: bool = False) -> Result:
        """Run one transaction in the same commit as other queued writes. Returns its result.

        With `last` it runs behind all of them: for a transaction that may take the order lock
        (`Step.IN_ORDER`), for which other writers wait until the commit, and that itself waits for no row of
        another transaction.
        """
        result: Result = await self._commit.do(LAST if last else SINGLE, transaction)
        return result

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run one transaction while no other runs, in any process. Returns its result.

        Raises `StoreUnavailable` when running transactions do not end soon.
        """
        return await self.driver.alone(transaction)

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction. Returns its result."""
        return await self.driver.read(transaction)


def _singly(transactions: Sequence[Callable[[], Transaction[Any]]]) -> Transaction[list[Any]]:
    results: list[Any] = []
    for transaction in transactions:
        answer = yield from transaction()
        results.append(answer)
    return results


SINGLE: BatchedWrite[Callable[[], Transaction[Any]], Any] = BatchedWrite(name="single", run=_singly)
# Claims use `LAST`: with a limit of running jobs they take the order lock, and they skip locked rows.
LAST: BatchedWrite[Callable[[], Transaction[Any]], Any] = BatchedWrite(
    name="last", run=_singly, in_order=True, last=True
)


def database_path(url: str) -> Path:
    """Return the file of a `sqlite:///` URL. Raises `Misconfigured` when it names no plain file."""
    path = url.removeprefix(SQLITE)
    if (
        not url.startswith(SQLITE)
        or not Path(path).name
        or path == ":memory:"
        or set(path) & {"?", "#", "\0"}
    ):
        raise Misconfigured(
            "database_url",
            "must be sqlite:///path, with the path of a file and no more, or postgresql://user@host/database",
        )
    return Path(path)


def existing(url: str) -> Path:
    """Return the file of a `sqlite:///` URL. Raises `Misconfigured` when it does not exist."""
    path = database_path(url)
    if not path.is_file():
        raise Misconfigured("database_url", f"there is no file {path}")
    return path


def open_driver(url: str, *, on_fatal: Callable[[str], None]) -> Driver:
    """Return the driver for a database URL, not yet connected.

    Raises `Misconfigured` for a wrong URL and for a SQLite file in a folder that does not exist.
    """
    if is_postgres(url):
        # A service over SQLite spares the memory of the other driver.
        from receiver.store.postgres.driver import PostgresDriver  # noqa: PLC0415  # see above

        return PostgresDriver(target(url))
    path = database_path(url)
    if not path.parent.is_dir():
        raise Misconfigured("database_url", f"the folder {path.parent} does not exist; make it")
    return SqliteDriver(path, on_fatal=on_fatal)
