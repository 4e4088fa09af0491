"""A service on a temporary database with simulated providers: the base of the demo and `ringback dev`."""

import asyncio
import contextlib
import functools
import json
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import field
from pathlib import Path

import click

from handlers.values import immutable
from receiver.api import application
from receiver.api.callbacks import PREFIX, answer
from receiver.app import running
from receiver.config import Loaded, load
from receiver.sandbox.app import application as sandbox_app
from receiver.sandbox.command import listening, world
from receiver.sandbox.speakers import ACCOUNTS, SPEAKERS
from receiver.sandbox.world import Knobs, World
from receiver.server import server

HOST = "127.0.0.1"
GRACE = 1.0
IMPATIENT = {"poll_interval": 0.5, "backstop_after": 4.0}
"""A callback that is lost costs seconds, where real accounts wait for minutes before they ask."""


@immutable
class Playground:
    """A service that runs, with the key to it, its providers and where they are."""

    url: str
    key: str = field(repr=False)
    world: World
    providers: str

    def lines(self) -> list[str]:
        """Return all that a person needs to go on: addresses, and a call to start with."""
        body = json.dumps({"provider": "apiframe", "operation": "imagine", "input": {"prompt": "a tide"}})
        authorized = f"-H 'Authorization: Bearer {self.key}'"
        return [
            f"url:       {self.url}",
            f"key:       {self.key}",
            f"docs:      {self.url}/docs",
            f"accounts:  {', '.join(SPEAKERS)}",
            f"providers: {self.providers}/<handler>, accepted so far: {self.providers}/_ledger",
            "",
            f"export RINGBACK_URL={self.url} RINGBACK_API_KEY={self.key}",
            f"curl -s {self.url}/v1/jobs {authorized} -H 'Content-Type: application/json' -d '{body}'",
            f"{_program()} jobs submit apiframe --operation imagine --prompt 'a tide' --wait",
        ]


def _program() -> str:
    """Return how a shell finds this program: by its name, or by its path where PATH does not hold it."""
    return "ringback" if shutil.which("ringback") else shlex.quote(str(Path(sys.argv[0]).absolute()))


@contextlib.asynccontextmanager
async def playground(knobs: Knobs, *, port: int = 0, sandbox_port: int = 0) -> AsyncIterator[Playground]:
    """Serve on this machine until the context ends, and leave nothing of it."""
    bound = _bound(port)
    url = f"http://{HOST}:{bound.getsockname()[1]}"
    key = f"rb_{secrets.token_urlsafe(32)}"
    with contextlib.closing(bound), tempfile.TemporaryDirectory(prefix="ringback-") as folder:
        async with world(knobs) as made, listening(sandbox_app(made), sandbox_port) as providers:
            loaded = _settings(Path(folder), url, key, providers)
            async with running(loaded) as services:
                short = PREFIX.encode(), functools.partial(answer, services.callbacks, services.log_call)
                http = server(application(services), HOST, bound.getsockname()[1], GRACE, short=short)
                task = asyncio.create_task(http.serve(sockets=[bound]))
                try:
                    await http.up.wait()
                    yield Playground(url, key, made, providers)
                finally:
                    await services.drain()
                    http.should_exit = True
                    await task


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        reason = f"{error.strerror}; --port 0 takes a free one"
        raise click.ClickException(f"cannot listen on {HOST}:{port}: {reason}") from None
    return bound


def _settings(folder: Path, url: str, key: str, providers: str) -> Loaded:
    """Return settings of which nothing comes from this machine's own."""
    accounts = {
        name: {"api_key": f"sandbox-{name}", "base_url": f"{providers}/{name}"}
        | ACCOUNTS.get(name, {})
        | IMPATIENT
        for name in SPEAKERS
    }
    environment = {
        "RINGBACK_DATABASE_URL": f"sqlite:///{folder}/ringback.db",
        "RINGBACK_PUBLIC_URL": url,
        "RINGBACK_ADMIN_KEY": key,
        "RINGBACK_EGRESS_ALLOW": '["127.0.0.0/8", "::1/128"]',
        "RINGBACK_PROVIDERS": json.dumps(accounts),
        "RINGBACK_SHUTDOWN_GRACE": str(GRACE),
    }
    config = folder / "ringback.toml"
    config.touch()
    return load(config, environment)
