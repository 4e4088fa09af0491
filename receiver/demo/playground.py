"""A service on a temporary database, with simulated providers: the base of `ringback demo` and `dev`."""

import asyncio
import contextlib
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
from receiver.api import http_server
from receiver.app import running
from receiver.cli.sandbox import listening, world
from receiver.cli.terminal import wrapped
from receiver.config.load import Loaded, load
from receiver.domain.errors import cannot_listen
from receiver.sandbox.app import application as sandbox_app
from receiver.sandbox.providers import SPEAKERS, account_settings
from receiver.sandbox.world import Knobs, World

HOST = "127.0.0.1"
WIDTH = 80
"""The width of the output on a terminal, in characters."""
GRACE = 1.0
"""Seconds for running work after the stop."""
IMPATIENT = {"poll_interval": 0.5, "backstop_after": 4.0}
"""Seconds between polls and before the backstop: a lost callback costs seconds here, elsewhere minutes."""


@immutable
class Playground:
    """A running service: its URL, a key, the simulated providers and their URL."""

    url: str
    key: str = field(repr=False)
    world: World
    providers: str

    @property
    def inbox(self) -> str:
        """Return the URL of a receiver that keeps the deliveries that it gets."""
        return f"{self.providers}/_inbox"

    def lines(self, *, narrow: bool = False) -> list[str]:
        """Return lines for people: the addresses, and an example call.

        `narrow` breaks them for a terminal of 80 columns; otherwise each command is one line.
        """
        accounts = ", ".join(SPEAKERS)
        body = {"provider": "apiframe", "operation": "imagine", "input": {"prompt": "a tide"}}
        then = " \\\n  " if narrow else " "
        call = [
            f"curl -s {self.url}/v1/jobs",
            f"-H 'Authorization: Bearer {self.key}'",
            "-H 'Content-Type: application/json'",
            f"-d '{json.dumps(body, separators=(',', ':'))}'",
        ]
        return [
            f"url:       {self.url}",
            f"key:       {self.key}",
            f"docs:      {self.url}/docs",
            wrapped(f"accounts:  {accounts}", WIDTH if narrow else len(accounts) * 2, rest=" " * 11),
            f"providers: {self.providers}/<handler>",
            f"accepted:  {self.providers}/_ledger",
            f"inbox:     {self.inbox}",
            "",
            then.join(
                [
                    f"export RINGBACK_URL={self.url}",
                    f"RINGBACK_API_KEY={self.key}",
                    f"RINGBACK_INBOX={self.inbox}",
                ]
            ),
            then.join(call),
            f"{_program()} jobs submit apiframe --operation imagine --prompt 'a tide' --wait",
        ]


def _program() -> str:
    """Return the command that runs this program: its name, or its path when PATH does not lead to it."""
    return "ringback" if shutil.which("ringback") else shlex.quote(str(Path(sys.argv[0]).absolute()))


@contextlib.asynccontextmanager
async def playground(knobs: Knobs, *, port: int = 0, sandbox_port: int = 0) -> AsyncIterator[Playground]:
    """Yield a service that runs as long as the context lasts. Its files are removed afterwards."""
    # Bound before the service is built, because its settings contain the port.
    bound = _bound(port)
    url = f"http://{HOST}:{bound.getsockname()[1]}"
    key = f"rb_{secrets.token_urlsafe(32)}"
    with contextlib.closing(bound), tempfile.TemporaryDirectory(prefix="ringback-") as folder:
        async with world(knobs) as made, listening(sandbox_app(made), sandbox_port) as providers:
            loaded = _settings(Path(folder), url, key, providers)
            async with running(loaded) as app:
                http = http_server(app.api, HOST, bound.getsockname()[1], GRACE)
                task = asyncio.create_task(http.serve(sockets=[bound]))
                try:
                    await http.up.wait()
                    yield Playground(url, key, made, providers)
                finally:
                    await app.drain()
                    http.should_exit = True
                    await task


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise click.ClickException(cannot_listen(HOST, port, error)) from None
    return bound


def _settings(folder: Path, url: str, key: str, providers: str) -> Loaded:
    """Return settings that take nothing from the settings of this machine."""
    accounts = {
        name: {"api_key": f"sandbox-{name}", "base_url": f"{providers}/{name}"}
        | account_settings(name, f"{providers}/{name}")
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
    # An empty file of its own, because without one ./ringback.toml would be read.
    config = folder / "ringback.toml"
    config.touch()
    return load(config, environment)
