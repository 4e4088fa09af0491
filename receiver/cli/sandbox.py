"""The command `ringback sandbox`."""

import asyncio
import contextlib
import signal
import socket
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import fields
from pathlib import Path

import click
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config

from handlers.description.loading import BadDescription
from receiver.api.server import SignalFree
from receiver.cli.params import Real, Whole
from receiver.domain.errors import cannot_listen
from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.sandbox.app import application
from receiver.sandbox.providers import SPEAKERS, account_settings, settings_of, speaker_in
from receiver.sandbox.speakers import Speaker
from receiver.sandbox.world import OUTCOMES, QUIRKS, Knobs, World

LOOPBACK = ("127.0.0.0/8", "::1/128")
"""The networks to which the simulated providers may send callbacks over plain http."""


class Later:
    """A placeholder for an ASGI application. Its `app` is set once the URL that serves it is known."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to `app`."""
        await self.app(scope, receive, send)


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve `app` on this machine as long as the context lasts. Yields its URL."""
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
    """Yield a `World` that sends callbacks to this machine or, over https only, to public addresses."""
    client = HttpClient(guard(LOOPBACK, http=False), agent="ringback-sandbox")
    made = World(client=client, knobs=knobs)
    try:
        yield made
    finally:
        await made.close()
        await client.close()


def stopping() -> asyncio.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set. Under `nohup`, SIGHUP stays ignored."""
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
"""The second half of the help of each quirk's option."""
SECONDS_HELP = {
    "takes": (1.0, "Seconds that a generation takes."),
    "delay": (3.0, "Delay of a late callback, in seconds."),
    "latency": (2.0, "Delay of a slow answer, in seconds."),
    "every-answer": (0.0, "Delay of every answer, in seconds."),
}
"""The default and the help of each option in seconds."""


def knobbed(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the knobs of the simulated providers to a command."""
    # click lists the option that was added last first, hence the reversed order.
    for name, (default, text) in reversed(SECONDS_HELP.items()):
        kind = Real(0)
        command = click.option(f"--{name}", type=kind, default=default, show_default=True, help=text)(command)
    for quirk in reversed(QUIRKS):
        text = f"Share of {QUIRK_HELP[quirk]}, 0 to 1."
        command = click.option(f"--{quirk}", type=Real(0, 1), default=0.0, help=text)(command)
    return command


@click.command()
@click.option("--port", type=Whole(0, 65535), default=9090, show_default=True, help="Where to listen.")
@click.option(
    "--description",
    "descriptions",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Simulate the provider of this file, too; repeatable.",
)
@knobbed
def sandbox(port: int, descriptions: tuple[Path, ...], **shares: float) -> None:
    """Run only the simulated providers, each at http://127.0.0.1:PORT/<handler>.

    Prints settings that use them, ready for ringback.toml. The options --late to --slow apply a fault to a
    share of all jobs. The same words in a prompt apply it to that job: late, lost, doubled, reordered,
    forged, lost-answer, throttled, slow. The words fail, refused, blocked and empty choose the job's outcome;
    blocked answers its submission as an account without credit does, each time anew.

    \b
    Example:
      ringback sandbox --port 9090 --lost 0.2 --doubled 0.1
      ringback sandbox --description acme.toml
    """
    knobs = Knobs(**{one.name: shares[one.name] for one in fields(Knobs)})
    try:
        own = {path: speaker_in(path) for path in descriptions}
    except BadDescription as error:
        raise click.ClickException(str(error)) from None
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(port, knobs, own))


async def _run(port: int, knobs: Knobs, own: Mapping[Path, Speaker]) -> None:
    stopped = stopping()
    speakers = {one.name: one for one in own.values()}
    async with world(knobs) as made, listening(application(made, speakers), port) as url:
        click.echo(settings_for(url))
        for path, speaker in own.items():
            proved = settings_of(speaker.dialect.told, f"{url}/{speaker.name}") if speaker.dialect else {}
            lines = [*account_lines(speaker.name, url), f'description = "{path.resolve()}"']
            click.echo("\n".join(["", *lines, *(f'{name} = "{value}"' for name, value in proved.items())]))
        await stopped.wait()


def settings_for(url: str) -> str:
    """Return the settings, as TOML, for a service that uses the simulated providers at `url`."""
    lines = [
        f"# Simulated providers at {url}",
        f"# accepted so far: {url}/_ledger",
        f"# keeps deliveries: {url}/_inbox",
        "# Words in a prompt:",
        *textwrap.wrap(", ".join((*QUIRKS, *OUTCOMES)), 76, initial_indent="#   ", subsequent_indent="#   "),
        "# For ringback.toml (any api_key will do; one that holds `wrong` is refused):",
        'public_url = "http://127.0.0.1:8080"  # for callbacks; without it, polls only',
        'egress_allow = ["127.0.0.0/8"]        # this machine may be called',
    ]
    for name in SPEAKERS:
        lines += ["", *account_lines(name, url)]
        lines += [
            f'{setting} = "{value}"' for setting, value in account_settings(name, f"{url}/{name}").items()
        ]
    return "\n".join(lines)


def account_lines(name: str, url: str) -> list[str]:
    """Return the settings of an account at a simulated provider, as TOML."""
    return [f"[providers.{name}]", 'api_key = "sandbox"', f'base_url = "{url}/{name}"']
