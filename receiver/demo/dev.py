"""The command `ringback dev`: runs the service with simulated providers, for trials and tests."""

import contextlib
import json
import sys
from dataclasses import fields
from typing import Any

import click
import uvloop

from receiver import observability
from receiver.cli.params import Whole
from receiver.cli.sandbox import knobbed, stopping
from receiver.demo.playground import playground
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs


@click.command()
@click.option(
    "--port",
    type=Whole(0, 65535),
    default=8080,
    show_default=True,
    help="Where the service listens; 0 takes a free port.",
)
@click.option(
    "--sandbox-port",
    type=Whole(0, 65535),
    default=0,
    help="Where the providers listen; default: a free port.",
)
@click.option("--json", "as_json", is_flag=True, help="Print where everything is as one line of JSON.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="How much is logged.",
)
@knobbed
def dev(port: int, sandbox_port: int, as_json: bool, log_level: str, **shares: float) -> None:
    """Run the service with simulated providers on a temporary database, for trying and for tests.

    Prints its URL, an admin key and an example call. Endpoints on this machine can be reached. Words in a
    prompt make a job go wrong (`ringback sandbox --help` lists them). Ctrl-C stops the service and removes
    its database and keys.

    \b
    Example:
      ringback dev
      ringback dev --port 0 --json --takes 0.1
    """
    observability.set_up(log_level, None)
    knobs = Knobs(**{one.name: shares[one.name] for one in fields(Knobs)})
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_run(knobs, port, sandbox_port, as_json=as_json))


async def _run(knobs: Knobs, port: int, sandbox_port: int, *, as_json: bool) -> None:
    stopped = stopping()
    async with playground(knobs, port=port, sandbox_port=sandbox_port) as made:
        if as_json:
            addresses: dict[str, Any] = {"url": made.url, "key": made.key, "docs": f"{made.url}/docs"}
            addresses |= {"providers": made.providers, "inbox": made.inbox, "accounts": list(SPEAKERS)}
            click.echo(json.dumps(addresses))
        else:
            lines = made.lines(narrow=sys.stdout.isatty())
            click.echo("\n".join([*lines, "", "Ctrl-C ends it and leaves nothing"]))
        await stopped.wait()
    if not as_json:
        click.echo("ended; its database and its keys are gone")
