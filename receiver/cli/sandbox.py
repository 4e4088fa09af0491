"""`ringback sandbox`."""

import asyncio
import contextlib
import signal
import socket
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import fields

import click
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config

from receiver.api.server import SignalFree
from receiver.cli.params import Real, Whole
from receiver.domain.errors import cannot_listen
from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.sandbox.app import application
from receiver.sandbox.speakers import SPEAKERS
from receiver.sandbox.world import OUTCOMES, QUIRKS, Knobs, World

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
        raise click.ClickException(cannot_listen(host, port, error)) from None
    config = Config(
        app,
        log_level="critical",
        access_log=False,
        date_header=False,
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
    client = HttpClient(guard(LOOPBACK, http=False), agent="ringback-sandbox")
    made = World(client, knobs)
    try:
        yield made
    finally:
        await made.close()
        await client.close()


def stopping() -> asyncio.Event:
    """Return an event that Ctrl-C, SIGTERM and the end of the terminal set; `nohup` keeps off the last."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stopped.set)
    return stopped


QUIRK_HELP = {
    "late": "callbacks that come late",
    "lost": "callbacks that never come",
    "doubled": "callbacks that come three times",
    "reordered": "final callbacks that overtake progress",
    "forged": "forged callbacks before the real ones",
    "lost-answer": "submissions whose answer is cut off",
    "throttled": "submissions answered 429 the first time",
    "slow": "submissions answered after --latency",
}
SECONDS_HELP = {
    "takes": (1.0, "Seconds that a generation takes."),
    "delay": (3.0, "Delay of a late callback, in seconds."),
    "latency": (2.0, "Delay of a slow answer, in seconds."),
    "every-answer": (0.0, "Delay of every answer, in seconds."),
}


def knobbed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that turn the providers' knobs."""
    for name, (default, text) in reversed(SECONDS_HELP.items()):
        kind = Real(0)
        command = click.option(f"--{name}", type=kind, default=default, show_default=True, help=text)(command)
    for quirk in reversed(QUIRKS):
        text = f"Share of {QUIRK_HELP[quirk]}, 0 to 1."
        command = click.option(f"--{quirk}", type=Real(0, 1), default=0.0, help=text)(command)
    return command


@click.command()
@click.option("--port", type=Whole(0, 65535), default=9090, show_default=True, help="Where to listen.")
@knobbed
def sandbox(port: int, **shares: float) -> None:
    """Run simulated providers only, each at http://127.0.0.1:PORT/<handler>.

    Prints settings that use them, ready for ringback.toml. A word in a job's prompt does for that job what an
    option does for a share of all: late, lost, doubled, reordered, forged, lost-answer, throttled, slow. The
    words fail, refused, blocked and empty choose its outcome; blocked closes the account for half a minute.

    \b
    Example:
      ringback sandbox --port 9090 --lost 0.2 --doubled 0.1
    """
    knobs = Knobs(**{one.name: shares[one.name] for one in fields(Knobs)})
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(port, knobs))


async def _run(port: int, knobs: Knobs) -> None:
    stopped = stopping()
    async with world(knobs) as made, listening(application(made), port) as url:
        click.echo(settings_for(url))
        await stopped.wait()


def settings_for(url: str) -> str:
    """Return settings, as TOML, of a service that uses the simulated providers at `url`."""
    lines = [
        f"# Simulated providers at {url}",
        f"# accepted so far: {url}/_ledger",
        "# Words in a prompt:",
        *textwrap.wrap(", ".join((*QUIRKS, *OUTCOMES)), 76, initial_indent="#   ", subsequent_indent="#   "),
        "# For ringback.toml (any api_key will do; one that holds `wrong` is refused):",
        'public_url = "http://127.0.0.1:8080"  # for callbacks; without it, polls only',
        'egress_allow = ["127.0.0.0/8"]        # this machine may be called',
    ]
    for name in SPEAKERS:
        lines += ["", f"[providers.{name}]", 'api_key = "sandbox"', f'base_url = "{url}/{name}"']
    return "\n".join(lines)
