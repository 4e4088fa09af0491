"""A pooler for the tests: Debian's pgbouncer in transaction mode, ended by its process id."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import PATIENCE, Cluster
from tests.ports import free_port
from tests.processes import dies_with_us

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
server_idle_timeout = 1
server_check_delay = 0
logfile = {folder}/log
"""


def program() -> str:
    """Return the path of pgbouncer."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found is not None, "pgbouncer is not installed: run tests/servers.sh"
    return found


@dataclass(slots=True)
class Pooler:
    """One pgbouncer, with `size` connections to each database and perhaps `more` settings."""

    server: Cluster
    size: int = 4
    more: str = ""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ringback-pooler-")))
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start pgbouncer and wait until it accepts connections."""
        self.folder.chmod(0o777)
        self.port = free_port()
        text = (SETTINGS + self.more).format(
            server=self.server.port, port=self.port, folder=self.folder, size=self.size
        )
        (self.folder / "settings").write_text(text)
        (self.folder / "users").write_text('"postgres" ""\n')
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [program(), "-q", *as_nobody, self.folder / "settings"],
            preexec_fn=dies_with_us,  # noqa: PLW1509  # one prctl call
        )
        ends = time.monotonic() + PATIENCE
        while not self.server.answers(self.port):
            assert self.process.poll() is None, "pgbouncer does not start"
            assert time.monotonic() < ends, "pgbouncer does not come up"

    def url(self, name: str) -> str:
        """Return the URL of a database behind the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}?pooler=transaction"

    def remove(self) -> None:
        """Stop pgbouncer and remove its files."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)
