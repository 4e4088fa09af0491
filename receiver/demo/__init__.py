"""The command `ringback demo`: runs a service, simulated providers and a receiver of events, unconfigured."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence

import click
import httpx
import uvloop
from rich.console import Console
from rich.live import Live

import handlers
from handlers.contract import Handler
from handlers.values import immutable
from receiver import observability
from receiver.cli.sandbox import listening, stopping
from receiver.cli.terminal import say
from receiver.demo.downstream import Downstream
from receiver.demo.playground import Playground, playground
from receiver.demo.show import Row, picture
from receiver.sandbox.world import Knobs, World

SECONDS = 25.0
"""Seconds after which the demo ends, even if jobs are still open."""
STEP = 0.1
"""Seconds between two updates of the view."""


@immutable
class DemoJob:
    """A job of the demo: the request, and in `says` the expected course in a few words."""

    provider: str
    operation: str
    input: dict[str, object]
    says: str


def _wishes() -> Sequence[DemoJob]:
    text = [{"type": "text", "text": "a tide coming in"}]
    return (
        DemoJob("imagineo", "generate-video", {"image_url": "https://h.example/i.png"}, "rings back"),
        DemoJob("imagineo", "generate-image", {"positive_prompt": "a tide, lost"}, "its callback is lost"),
        DemoJob("apiframe", "runway-imagine", {"prompt": "a tide, doubled"}, "rings back three times"),
        DemoJob("apiframe", "imagine", {"prompt": "a tide, forged"}, "a forged one comes first"),
        DemoJob(
            "apiframe", "suno-imagine", {"prompt": "a song of tides, reordered"}, "callbacks out of order"
        ),
        DemoJob("apiframe", "describe", {"image_url": "https://h.example/i.png"}, "a result that is no file"),
        DemoJob(
            "apiframe-v2",
            "videos-generate",
            {"model": "m", "prompt": "a tide, lost-answer"},
            "the answer is lost",
        ),
        DemoJob("apiframe-v2", "music-generate", {"model": "m", "prompt": "tides"}, "rings back, signed"),
        DemoJob("aiml", "video", {"model": "video-gen.pro-1.0", "content": text}, "is polled"),
        DemoJob("getimg", "video", {"model": "m", "prompt": "a tide, throttled"}, "throttled, then polled"),
        DemoJob("getimg", "image", {"model": "m", "prompt": "a tide"}, "final at once"),
        DemoJob("minimax", "video", {"model": "T2V-01", "prompt": "a tide"}, "a hint, then a poll"),
        DemoJob("minimax", "video", {"model": "T2V-01", "prompt": "a tide, fail"}, "fails at the provider"),
        DemoJob(
            "replicate", "prediction", {"version": "v", "input": {"prompt": "a tide"}}, "rings back, signed"
        ),
        DemoJob("gately", "video", {"model": "T2V-01", "prompt": "a tide"}, "is polled"),
        *(_example(name, says) for name, says in DESCRIBED.items()),
    )


DESCRIBED = {
    "fal": "rings back, signed by Ed25519",
    "kling": "a hint, then a poll",
    "bfl": "rings back, signed",
    "luma": "a hint, then a poll",
    "piapi": "rings back with its secret",
    "heygen": "a hint, then a poll",
    "wavespeed": "rings back, signed",
    "runware": "takes our id, rings back",
    "runway": "is polled",
    "openai": "is polled for a text",
    "veo-gemini": "is polled",
    "xai": "is polled",
}
"""Providers that take part with the example of their description, each with its expected course."""


def _example(name: str, says: str) -> DemoJob:
    provider = handlers.ALL[name]
    handler: Handler = provider.configure(provider.options())
    return DemoJob(name, handler.default_operation, dict(handler.example), says)


@click.command()
@click.option("--once", is_flag=True, help="End when all jobs are final; exit code 0 when all is well.")
def demo(once: bool) -> None:
    """Watch jobs being submitted, finished by callback or poll, and delivered as signed events.

    Twenty providers take part, simulated. Without --once the service keeps running afterwards;
    its URL, a key and an example call are printed.

    \b
    Example:
      ringback demo
      ringback demo --once
    """
    observability.set_up("error", "text")
    code = uvloop.run(_demo(once))
    if code is None:
        raise click.Abort
    sys.exit(code)


async def _demo(once: bool) -> int | None:
    """Run the demo. Returns its exit code, None where a signal ends it; all that it made is gone then."""
    downstream = Downstream()
    knobs = Knobs(takes=2.0)
    stopped = stopping()
    async with listening(downstream) as target, playground(knobs) as made:
        work, end = asyncio.create_task(_show(made, target, downstream)), asyncio.create_task(stopped.wait())
        await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            return None
        if not once and work.result():
            click.echo("\nThe service goes on running; Ctrl-C ends it and leaves nothing.\n")
            click.echo("\n".join(made.lines(narrow=sys.stdout.isatty())))
            await end
        end.cancel()
        return 0 if work.result() else 1


async def _show(made: Playground, target: str, downstream: Downstream) -> bool:
    """Run and report all jobs. Returns whether all went as expected."""
    headers = {"authorization": f"Bearer {made.key}"}
    async with httpx.AsyncClient(base_url=made.url, headers=headers, timeout=10) as client:
        rows = await _run(client, target, downstream)
        absorbed = await _absorbed(client, rows)
    return _report(rows, downstream, made.world, absorbed)


async def _run(client: httpx.AsyncClient, target: str, downstream: Downstream) -> list[Row]:
    """Subscribe the downstream, submit every job, and wait until all are delivered or the time is up."""
    made = await client.post("/v1/endpoints", json={"url": f"{target}/hooks", "events": ["job.*"]})
    downstream.secret = made.json()["secret"]
    rows = []
    for spec in _wishes():
        body = {"provider": spec.provider, "operation": spec.operation, "input": spec.input}
        answered = await client.post("/v1/jobs", json=body)
        answered.raise_for_status()
        rows.append(Row(answered.json(), spec.says))
    loop = asyncio.get_running_loop()
    ends = loop.time() + SECONDS
    console = Console()
    shown = Live(console=console, refresh_per_second=10) if sys.stdout.isatty() else contextlib.nullcontext()
    with shown as live:
        while loop.time() < ends and not all(row.delivered for row in rows):
            await asyncio.sleep(STEP)
            await _refresh(client, rows, downstream)
            if live is not None:
                live.update(picture(rows, _counts(rows, downstream), console.width))
    if live is None:
        console.print(picture(rows, _counts(rows, downstream), console.width))
    return rows


async def _refresh(client: httpx.AsyncClient, rows: list[Row], downstream: Downstream) -> None:
    listed = (await client.get("/v1/jobs", params={"limit": 200})).json()["data"]
    by_id = {job["id"]: job for job in listed}
    for row in rows:
        row.job = by_id.get(row.job["id"], row.job)
        row.delivered = downstream.final.get(row.job["id"])


def _counts(rows: list[Row], downstream: Downstream) -> dict[str, int]:
    return {
        "verified": downstream.verified,
        "unsigned": downstream.refused,
        "final": sum(1 for row in rows if row.delivered),
        "jobs": len(rows),
    }


async def _absorbed(client: httpx.AsyncClient, rows: list[Row]) -> int:
    """Return the number of repeated callbacks, which changed nothing."""
    count = 0
    for row in rows:
        story = await client.get(f"/v1/jobs/{row.job['id']}/timeline", params={"limit": 200})
        count += sum(1 for entry in story.json()["data"] if entry.get("outcome") == "duplicate")
    return count


def _report(rows: list[Row], downstream: Downstream, providers: World, absorbed: int) -> bool:
    """Print the outcome of every job. Returns whether all went as expected."""
    click.echo("")
    for job in (row.job for row in rows):
        say(f"{job['provider']:12} {job['operation']:16} {job['state']} by {job['completed_by']}")
    once = all(downstream.finals[row.job["id"]] == 1 for row in rows)
    final = sum(1 for row in rows if row.delivered)
    signed = downstream.refused == 0 and downstream.verified > 0
    accepted = providers.accepted.total()
    # More submissions than jobs would mean that a job was paid for twice, for example after a lost answer.
    paid = accepted == len(rows)
    ends = sum(downstream.finals.values())
    click.echo(f"jobs final: {final} of {len(rows)}")
    click.echo(f"submissions accepted by providers: {accepted} (one per job: {'yes' if paid else 'NO'})")
    click.echo(f"callbacks: {providers.sent['401']} forged refused, {absorbed} doubled absorbed")
    click.echo(
        f"deliveries signed: {downstream.verified} ({ends} of a final state, "
        f"{downstream.verified - ends} of progress), unsigned: {downstream.refused}"
    )
    click.echo(f"one terminal event for each job: {'yes' if once else 'NO'}")
    return once and final == len(rows) and signed and paid
