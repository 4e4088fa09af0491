"""Tests of `ringback serve`: its options, its socket, open files, and that freed memory goes back."""

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from receiver import observability
from receiver.cli import serve as module
from receiver.config.load import Loaded
from receiver.domain.errors import Misconfigured, NotReady
from receiver.work.heartbeat import Role
from tests.receiver.scripted_service import run

MIB = 1 << 20
SERVED = """
from receiver.cli.serve import give_back_memory
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

give_back_memory()
before = resident()
for _ in range(3):
    bodies = [b"x" * (20 << 20), b"y" * (10 << 20)]
    del bodies
print(resident() - before)
"""


def test_a_large_body_is_not_kept_for_the_next_one() -> None:
    told = subprocess.run([sys.executable, "-c", SERVED], capture_output=True, check=True, timeout=100)
    assert int(told.stdout) < 5 * MIB


@pytest.fixture
def served(alone: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return the log's arguments, then the address and role of the service. Nothing is served."""
    calls: list[tuple[Any, ...]] = []

    def whole(loaded: Loaded, listening: socket.socket, role: Role) -> int:
        calls.append((loaded.settings.host, loaded.settings.port, listening.getsockname(), role))
        listening.close()
        return 3

    monkeypatch.setattr(observability, "set_up", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(module, "_whole", whole)
    monkeypatch.setattr(module, "uvloop", SimpleNamespace(run=lambda code: code))
    for name in ("more_files", "give_back_memory"):
        monkeypatch.setattr(module, name, lambda: None)
    return calls


def test_the_settings_are_served_and_their_secrets_hidden_in_the_log(
    alone: Path, served: list[tuple[Any, ...]]
) -> None:
    (alone / "ringback.toml").write_text(
        'port = 0\nlog_level = "debug"\n[providers.aiml]\napi_key = "canary"'
    )
    assert run("serve").exit_code == 3
    assert served[0] == ("debug", None, ("canary",))
    host, port, address, role = served[1]
    assert (host, (host, port), role) == ("127.0.0.1", address, Role.ALL)
    assert port != 0


def test_the_options_override_the_settings(alone: Path, served: list[tuple[Any, ...]]) -> None:
    (alone / "ringback.toml").write_text('port = 1\nhost = "nowhere"')
    postgres = {"RINGBACK_DATABASE_URL": "postgresql://me@db/x"}
    assert run("serve", "--host", "localhost", "--port", "0", "--role", "worker", **postgres).exit_code == 3
    host, _, address, role = served[1]
    assert (host, address[0], role) == ("localhost", "127.0.0.1", Role.WORKER)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--role", "api"),
            "Error: --role needs PostgreSQL: set database_url to postgresql://user@host/database",
        ),
        (
            ("--host", ""),
            "Error: Invalid value for --host: must be an address; without it the setting holds",
        ),
        (("--port", "-1"), "Error: Invalid value for '--port': '-1' must be a whole number from 0 to 65535"),
    ],
)
def test_an_option_that_cannot_be_right_is_told(
    served: list[tuple[Any, ...]], options: tuple[str, str], says: str
) -> None:
    result = run("serve", *options)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, says)
    assert served == []


def test_a_port_that_is_taken_may_become_free() -> None:
    with module._listen("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(NotReady) as raised:
            module._listen("127.0.0.1", port)
    assert str(raised.value).startswith(f"port: cannot listen on 127.0.0.1:{port}: ")
    with module._listen("127.0.0.1", port) as again:
        assert again.getsockname() == ("127.0.0.1", port)


def test_an_address_of_another_machine_may_still_come() -> None:
    with pytest.raises(NotReady) as raised:
        module._listen("192.0.2.1", 0)
    assert str(raised.value).startswith("host: cannot listen on 192.0.2.1:0: ")
    assert str(raised.value).endswith("; name an address of this machine")


def test_a_text_that_is_no_host_is_a_mistake() -> None:
    with pytest.raises(Misconfigured) as raised:
        module._listen("a\0b", 0)
    assert not isinstance(raised.value, NotReady)
    assert str(raised.value) == "host: 'a\\x00b' is not a host name or address"


@pytest.fixture
def files() -> Iterator[tuple[int, int]]:
    """Yield the limits of open files, and restore them."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_as_many_files_may_be_open_as_the_system_allows(files: tuple[int, int]) -> None:
    soft, hard = files
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    module.more_files()
    expected = module.MOST_FILES if hard == resource.RLIM_INFINITY else hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (expected, hard)
