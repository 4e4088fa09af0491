"""On which engine the tests run: SQLite, PostgreSQL of a version that can be had, or behind a pooler."""

import atexit
from pathlib import Path

from tests.cluster import Cluster
from tests.pooler import Pooler

SQLITE = "sqlite"
VERSIONS = {"postgresql": 16, "postgresql18": 18, "pgbouncer": 18}
POOLED = "pgbouncer"
NEWEST = "postgresql18"


class Engines:
    """The engine that was chosen, and the databases that were made."""

    def __init__(self) -> None:
        self.name = SQLITE
        self._cluster: Cluster | None = None
        self._pooler: Pooler | None = None
        self._urls: dict[Path, str] = {}

    @property
    def sqlite(self) -> bool:
        """Whether it is SQLite."""
        return self.name == SQLITE

    @property
    def cluster(self) -> Cluster:
        """The server of this process, made when it is first asked for."""
        if self._cluster is None:
            self._cluster = Cluster(VERSIONS[self.name])
            atexit.register(self._cluster.remove)
            self._cluster.make()
        return self._cluster

    @property
    def pooler(self) -> Pooler:
        """The pooler of this process, made when it is first asked for."""
        if self._pooler is None:
            self._pooler = Pooler(self.cluster)
            atexit.register(self._pooler.remove)
            self._pooler.start()
        return self._pooler

    def url(self, path: Path) -> str:
        """The database that lies at `path`, or that stands for it; the same each time."""
        if self.sqlite:
            return f"sqlite:///{path}"
        if path not in self._urls:
            url = self.cluster.database()
            self._urls[path] = self.pooler.url(url.rsplit("/", 1)[1]) if self.name == POOLED else url
        return self._urls[path]


ENGINES = Engines()
