"""`ringback demo`: the whole job with nothing configured: service, simulated providers and a downstream."""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
import httpx
import uvloop
from rich.console import Console
from rich.live import Live

from handlers.values import immutable
from receiver import observe
from receiver.api import application
from receiver.app import running
from receiver.config import load
from receiver.demo.downstream import Downstream
from receiver.demo.show import Row, picture
from receiver.sandbox.app import application as sandbox_app
from receiver.sandbox.command import Later, listening, world
from receiver.sandbox.speakers import ACCOUNTS, SPEAKERS
from receiver.sandbox.world import Knobs

KEY = "rb_demo_demo_demo_demo_demo_demo_demo"
SECONDS = 25.0
STEP = 0.1


@immutable
class Wish:
    """A job of the demo: what to ask for, and what is going to happen."""

    provider: str
    operation: str
    input: dict[str, object]
    says: str


def _wishes() -> Sequence[Wish]:
    text = [{"type": "text", "text": "a tide coming in"}]
    return (
        Wish("imagineo", "generate-video", {"image_url": "https://h.example/i.png"}, "rings back"),
        Wish("imagineo", "generate-image", {"positive_prompt": "a tide, lost"}, "its callback is lost"),
        Wish("apiframe", "runway-imagine", {"prompt": "a tide, doubled"}, "rings back three times"),
        Wish("apiframe", "imagine", {"prompt": "a tide, forged"}, "a forged one comes first"),
        Wish("apiframe", "suno-imagine", {"prompt": "a song of tides, reordered"}, "callbacks out of order"),
        Wish("apiframe", "describe", {"image_url": "https://h.example/i.png"}, "a result that is no file"),
        Wish(
            "apiframe-v2",
            "videos-generate",
            {"model": "m", "prompt": "a tide, lost-answer"},
            "the answer is lost",
        ),
        Wish("apiframe-v2", "music-generate", {"model": "m", "prompt": "tides"}, "rings back, signed"),
        Wish("aiml", "video", {"model": "video-gen.pro-1.0", "content": text}, "is polled"),
        Wish("getimg", "video", {"model": "m", "prompt": "a tide, throttled"}, "throttled, then polled"),
        Wish("getimg", "image", {"model": "m", "prompt": "a tide"}, "final at once"),
        Wish("minimax", "video", {"model": "T2V-01", "prompt": "a tide"}, "a hint, then a poll"),
        Wish("minimax", "video", {"model": "T2V-01", "prompt": "a tide, fail"}, "fails at the provider"),
        Wish(
            "replicate",
            "prediction",
            {"version": "a" * 64, "input": {"prompt": "a tide"}},
            "rings back, signed",
        ),
        Wish("gately", "video", {"model": "T2V-01", "prompt": "a tide"}, "is polled"),
    )


@click.command()
@click.option("--once", is_flag=True, help="End when all jobs are final; exit code 0 when all is well.")
def demo(once: bool) -> None:
    """Watch jobs go out, come back by callback or by poll, and arrive signed downstream.

    \b
    Example:
      ringback demo --once
    """
    observe.set_up("error", "text")
    sys.exit(uvloop.run(_demo(once)))


async def _demo(once: bool) -> int:
    downstream = Downstream()
    with tempfile.TemporaryDirectory(prefix="ringback-demo-") as folder:
        async with (
            world(Knobs(takes=2.0)) as made,
            listening(sandbox_app(made)) as providers,
            listening(downstream) as target,
            _service(Path(folder), providers) as client,
        ):
            rows = await _run(client, target, downstream)
            well = _report(rows, downstream, made.accepted.total())
            if not once and well:
                click.echo("the service keeps running; Ctrl-C ends it")
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
    return 0 if well else 1


@contextlib.asynccontextmanager
async def _service(folder: Path, providers: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service on a temporary database, reachable by its providers."""
    later = Later()
    async with listening(later) as url:
        accounts = {
            name: {"api_key": f"demo-{name}", "base_url": f"{providers}/{name}"}
            | {"poll_interval": 0.5, "backstop_after": 4.0}
            | ACCOUNTS.get(name, {})
            for name in SPEAKERS
        }
        environment = {
            "RINGBACK_DATABASE_URL": f"sqlite:///{folder}/demo.db",
            "RINGBACK_PUBLIC_URL": url,
            "RINGBACK_API_KEY": KEY,
            "RINGBACK_EGRESS_ALLOW": '["127.0.0.0/8"]',
            "RINGBACK_PROVIDERS": json.dumps(accounts),
            "RINGBACK_SHUTDOWN_GRACE": "1",
        }
        config = folder / "ringback.toml"
        config.touch()
        async with running(load(config, environment)) as services:
            later.app = application(services)
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
                yield client


async def _run(client: httpx.AsyncClient, target: str, downstream: Downstream) -> list[Row]:
    """Subscribe the downstream, submit every job, and watch until all are final and delivered."""
    made = await client.post("/v1/endpoints", json={"url": f"{target}/hooks", "events": ["job.*"]})
    downstream.secret = made.json()["secret"]
    rows = []
    for wish in _wishes():
        body = {"provider": wish.provider, "operation": wish.operation, "input": wish.input}
        answered = await client.post("/v1/jobs", json=body)
        answered.raise_for_status()
        rows.append(Row(answered.json(), wish.says))
    loop = asyncio.get_running_loop()
    ends = loop.time() + SECONDS
    console = Console()
    with Live(console=console, refresh_per_second=10, transient=False) as live:
        while loop.time() < ends and not all(row.delivered for row in rows):
            await asyncio.sleep(STEP)
            await _refresh(client, rows, downstream)
            live.update(picture(rows, _counts(rows, downstream), console.width))
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
        "refused": downstream.refused,
        "final": sum(1 for row in rows if row.delivered),
        "jobs": len(rows),
    }


def _report(rows: list[Row], downstream: Downstream, accepted: int) -> bool:
    """Say for every handler how its jobs ended; whether all is well."""
    click.echo("")
    for name in SPEAKERS:
        mine = [row.job for row in rows if row.job["provider"] == name]
        ends = ", ".join(f"{job['operation']} {job['state']} by {job['completed_by']}" for job in mine)
        click.echo(f"{name:12} {ends}")
    once = all(downstream.finals[row.job["id"]] == 1 for row in rows)
    final = all(row.delivered for row in rows)
    signed = downstream.refused == 0 and downstream.verified > 0
    paid = accepted == len(rows)
    click.echo(f"jobs final: {sum(1 for row in rows if row.delivered)} of {len(rows)}")
    click.echo(f"submissions accepted by providers: {accepted} (one per job: {'yes' if paid else 'NO'})")
    click.echo(f"downstream signatures verified: {downstream.verified}, refused: {downstream.refused}")
    click.echo(f"one terminal event for each job: {'yes' if once else 'NO'}")
    return once and final and signed and paid
