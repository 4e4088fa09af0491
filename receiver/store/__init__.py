"""The store: verbs of intent over one database, durable before they answer."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from receiver.domain.errors import Misconfigured
from receiver.store.group_commit import BatchedWrite, GroupCommit
from receiver.store.migrations import Migration
from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import is_postgres, target
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.statements import Transaction

Item = TypeVar("Item")
Told = TypeVar("Told")
Result = TypeVar("Result")

SQLITE = "sqlite:///"


class Driver(Protocol):
    """What the SQL stands on. `writers` is how many transactions that write it runs at once, `shared` whether
    other processes may serve the same database, `scan` how many seconds may pass between two looks at what is
    due there, `in_parts` whether its history lies in parts that can be dropped."""

    writers: int
    shared: bool
    scan: float
    in_parts: bool

    async def open(self) -> None:
        """Connect, or say what is wrong (`Misconfigured`)."""

    async def close(self) -> None:
        """Finish and disconnect."""

    async def write(self, transaction: Transaction[Result]) -> Result:
        """Run to the commit."""

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run to the commit while nobody else runs anything."""

    async def between_commits(self) -> None:
        """Do what is best done between two transactions, if anything is due."""

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction."""

    def tell(self, word: str) -> None:
        """Pass a hint on to the other processes, soon and together with others."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Hear their hints from now on; an empty one says that some may have been missed."""

    async def skew(self) -> timedelta:
        """How far the database's clock is ahead of this machine's."""

    async def pending(self) -> list[Migration]:
        """Migrations that have not run."""

    async def migrate(self) -> list[Migration]:
        """Run them."""


class Store:
    """Writes go through one group commit, reads beside it."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._commit = GroupCommit(driver.write, driver.between_commits, driver.writers)

    async def open(self, *, migrate: bool) -> None:
        """Connect and bring the database up to date; `Misconfigured` when that may not be."""
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
        """Store what is queued and disconnect."""
        await self._commit.close()
        await self.driver.close()

    @property
    def shared(self) -> bool:
        """Whether other processes may serve the same database."""
        return self.driver.shared

    @property
    def in_parts(self) -> bool:
        """Whether old history is dropped in parts instead of being deleted row by row."""
        return self.driver.in_parts

    @property
    def scan(self) -> float:
        """Seconds between two looks at what is due: hints only make it earlier."""
        return self.driver.scan

    async def skew(self) -> timedelta:
        """How far the database's clock is ahead of this machine's."""
        return await self.driver.skew()

    def tell(self, word: str) -> None:
        """Pass a hint on to the other processes."""
        self.driver.tell(word)

    def listen(self, heard: Callable[[str], None]) -> None:
        """Hear their hints; an empty one says that some may have been missed."""
        self.driver.listen(heard)

    def share(self, live: int) -> None:
        """So many replicas write: each with fewer transactions at once, which are larger for it."""
        self._commit.writers = max(1, self.driver.writers // live)

    async def do(self, verb: BatchedWrite[Item, Told], item: Item, *, reserved: bool = False) -> Told:
        """Return the result of `verb` for `item`, once it is durable; a `reserved` one finds room longer."""
        return await self._commit.do(verb, item, reserved=reserved)

    async def write(self, transaction: Callable[[], Transaction[Result]], *, last: bool = False) -> Result:
        """Run one transaction of its own kind, in the company of whatever else is written; `last` of all
        when it may begin what others wait for and itself waits for nobody.
        """
        told: Result = await self._commit.do(LAST if last else SINGLE, transaction)
        return told

    async def alone(self, transaction: Transaction[Result]) -> Result:
        """Run one transaction while nobody, in no process, runs another; `StoreUnavailable` if they do not
        make room soon."""
        return await self.driver.alone(transaction)

    async def read(self, transaction: Transaction[Result]) -> Result:
        """Run a reading transaction."""
        return await self.driver.read(transaction)


def _singly(transactions: Sequence[Callable[[], Transaction[Any]]]) -> Transaction[list[Any]]:
    told: list[Any] = []
    for transaction in transactions:
        answer = yield from transaction()
        told.append(answer)
    return told


SINGLE: BatchedWrite[Callable[[], Transaction[Any]], Any] = BatchedWrite("single", _singly)
LAST: BatchedWrite[Callable[[], Transaction[Any]], Any] = BatchedWrite(
    "last", _singly, in_order=True, last=True
)


def database_path(url: str) -> Path:
    """The file of a `sqlite:///` URL, or `Misconfigured`."""
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
    """The file of a `sqlite:///` URL that must be there."""
    path = database_path(url)
    if not path.is_file():
        raise Misconfigured("database_url", f"there is no file {path}")
    return path


def open_driver(url: str, *, on_fatal: Callable[[str], None]) -> Driver:
    """The driver for a database URL, not yet connected."""
    if is_postgres(url):
        return PostgresDriver(target(url))
    path = database_path(url)
    if not path.parent.is_dir():
        raise Misconfigured("database_url", f"the folder {path.parent} does not exist; make it")
    return SqliteDriver(path, on_fatal=on_fatal)
