"""The engine of a run: SQLite, PostgreSQL in one of several versions, or PostgreSQL behind a pooler."""

import atexit
from pathlib import Path
from urllib.parse import urlsplit

from receiver.store.schema import TABLES
from tests.cluster import Cluster
from tests.pooler import Pooler

SQLITE = "sqlite"
VERSIONS = {"postgresql": 16, "postgresql18": 18, "pgbouncer": 18}
POOLED = "pgbouncer"
NEWEST = "postgresql18"


EMPTIED = (
    "; ".join(f"delete from {table}" for table in (*TABLES, "receipt"))
    + "; insert into meta values ('generation', '1'), ('feed', '0123abcd')"
    + "; do $$ begin perform setval(pg_get_serial_sequence('event', 'seq'), 1, false); end $$"
    + "; do $$ begin perform drop_history(low) from history; end $$"
)
"""Statements that empty a database."""
MADE = (
    "select concat_ws(' ', (select max(version) from migration), "
    "(select count(*) from pg_class where relnamespace = current_schema()::regnamespace "
    "and relkind in ('r', 'p') and not relispartition), "
    "(select count(*) from pg_proc where pronamespace = current_schema()::regnamespace), "
    "(select count(*) from pg_trigger where not tgisinternal))"
)
"""A query of the version of the schema and of the numbers of tables, functions and triggers."""


class Engines:
    """The chosen engine, and the databases that were created on it."""

    def __init__(self) -> None:
        self.name = SQLITE
        self._cluster: Cluster | None = None
        self._pooler: Pooler | None = None
        self._urls: dict[Path, str] = {}
        self._clean: list[str] = []
        self._fresh = ""

    @property
    def sqlite(self) -> bool:
        """Return whether the engine is SQLite."""
        return self.name == SQLITE

    @property
    def cluster(self) -> Cluster:
        """Return the server of this process, created at the first access."""
        if self._cluster is None:
            self._cluster = Cluster(VERSIONS[self.name])
            atexit.register(self._cluster.remove)
            self._cluster.make()
        return self._cluster

    @property
    def pooler(self) -> Pooler:
        """Return the pooler of this process, created at the first access."""
        if self._pooler is None:
            self._pooler = Pooler(self.cluster)
            atexit.register(self._pooler.remove)
            self._pooler.start()
        return self._pooler

    def url(self, path: Path) -> str:
        """Return the URL of the database at `path`, or of the one that stands for it; the same each time."""
        if self.sqlite:
            return f"sqlite:///{path}"
        if path not in self._urls:
            name = self._clean.pop() if self._clean else self._created()
            self._urls[path] = (self.pooler if self.name == POOLED else self.cluster).url(name)
        return self._urls[path]

    def _created(self) -> str:
        name = self.cluster.database().rsplit("/", 1)[1]
        self._fresh = self._fresh or self.cluster.sql(name, MADE)
        return name

    def give_back(self, folder: Path) -> None:
        """Empty the databases of a test that is over, and use them again.

        The test is known by its folder. To create a database takes longer than most tests. A database with a
        changed schema, or one more table, function or trigger, is not used again.
        """
        for path in [path for path in self._urls if path.is_relative_to(folder)]:
            name = urlsplit(self._urls.pop(path)).path.strip("/")
            if self.cluster.sql(name, f"{EMPTIED}; {MADE}") == self._fresh:
                self._clean.append(name)


ENGINES = Engines()
