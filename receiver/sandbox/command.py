"""`ringback sandbox`."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import fields

import click
import uvloop
from rich.console import Console
from rich.table import Table
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config

from receiver.addresses import guard
from receiver.gateway import Gateway
from receiver.sandbox.app import application
from receiver.sandbox.speakers import SPEAKERS
from receiver.sandbox.world import OUTCOMES, QUIRKS, Knobs, World
from receiver.server import SignalFree

LOOPBACK = ("127.0.0.0/8", "::1/128")


class Later:
    """An application that is made only once the URL that it will be served at is known."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what was made meanwhile."""
        await self.app(scope, receive, send)


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve `app` on a port of this machine; its URL."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None
    config = Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        loop="none",
        timeout_graceful_shutdown=1,
    )
    server = SignalFree(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        await server.up.wait()
        yield f"http://{host}:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def world(knobs: Knobs) -> AsyncIterator[World]:
    """A world whose callbacks go to this machine, or out by https."""
    gateway = Gateway(guard(LOOPBACK, http=False), agent="ringback-sandbox")
    made = World(gateway, knobs)
    try:
        yield made
    finally:
        await made.close()
        await gateway.close()


def _shares(command: Callable[..., None]) -> Callable[..., None]:
    texts = {
        "late": "callbacks that come late",
        "lost": "callbacks that never come",
        "doubled": "callbacks that come three times",
        "reordered": "final callbacks that overtake progress",
        "forged": "forged callbacks before the real ones",
        "lost-answer": "submits whose answer is cut off",
        "throttled": "submits answered 429 the first time",
        "slow": "submits answered after --latency",
    }
    for quirk in reversed(QUIRKS):
        share = click.FloatRange(0, 1)
        command = click.option(f"--{quirk}", type=share, default=0.0, help=f"Share of {texts[quirk]}.")(
            command
        )
    return command


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9090, show_default=True, help="Where to listen."
)
@_shares
@click.option(
    "--takes", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds per generation."
)
@click.option(
    "--delay", type=click.FloatRange(0), default=3.0, show_default=True, help="Seconds that late is late."
)
@click.option(
    "--latency", type=click.FloatRange(0), default=2.0, show_default=True, help="Seconds that slow is slow."
)
@click.option("--every-answer", type=click.FloatRange(0), default=0.0, help="Seconds before every answer.")
def sandbox(port: int, **shares: float) -> None:
    """Run simulated providers only, each at http://127.0.0.1:PORT/<handler>.

    Shares go from 0 to 1. A word in a job's prompt does the same for that job: late, lost, doubled,
    reordered, forged, lost-answer, throttled, slow; and fail, refused, blocked, empty for its outcome.

    \b
    Example:
      ringback sandbox --port 9090 --lost 0.2 --doubled 0.1
    """
    knobs = Knobs(**{one.name: shares[one.name] for one in fields(Knobs)})
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(port, knobs))


async def _run(port: int, knobs: Knobs) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with world(knobs) as made, listening(application(made), port) as url:
        table = Table(title="simulated providers", title_justify="left")
        table.add_column("handler")
        table.add_column("base_url")
        for name in SPEAKERS:
            table.add_row(name, f"{url}/{name}")
        Console().print(table)
        click.echo(f"words in a prompt: {', '.join((*QUIRKS, *OUTCOMES))}\naccepted so far: {url}/_ledger")
        await stopped.wait()
