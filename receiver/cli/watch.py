"""`ringback jobs watch`: a job's waterfall as text, drawn again as it grows."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from receiver.cli.client import Away, call, path
from receiver.cli.output import COLOURS
from receiver.cli.terminal import plain, say
from receiver.cli.waterfall import drawn

EVERY = 1.0
"""Seconds between two looks."""
MOST = 2_000
"""The most entries of a timeline that are drawn."""
Draw = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def watch(job_id: str, *, once: bool) -> None:
    """Draw a job's waterfall until it is final and its deliveries have ended; with `once` as it is now."""
    seen = False
    with _drawing(live=not once and sys.stdout.isatty()) as draw:
        while True:
            try:
                job, entries = _read(job_id)
            except Away as error:
                if once or not seen:
                    raise
                say(error.format_message(), err=True)
                time.sleep(EVERY)
                continue
            seen = True
            draw(job, entries)
            if once or _over(job, entries):
                return
            time.sleep(EVERY)


def _read(job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    job = call("GET", path("jobs", job_id))
    entries: list[dict[str, Any]] = []
    cursor = None
    while len(entries) < MOST:
        query = {"limit": 200, **({"cursor": cursor} if cursor else {})}
        page = call("GET", path("jobs", job_id, "timeline"), params=query)
        entries += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return job, entries


def _over(job: dict[str, Any], entries: list[dict[str, Any]]) -> bool:
    owed = any(one["kind"] == "delivery" and one["state"] == "pending" for one in entries)
    return job["completed_at"] is not None and not owed


@contextlib.contextmanager
def _drawing(*, live: bool) -> Iterator[Draw]:
    """Yield a function that draws: in place on a terminal, elsewhere once, when it is called last."""
    console = Console(highlight=False, soft_wrap=True)
    if live:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as screen:
            yield lambda job, entries: screen.update(_shown(job, entries, console.width), refresh=True)
        return
    latest: list[Group] = []

    def draw(job: dict[str, Any], entries: list[dict[str, Any]]) -> None:
        latest[:] = [_shown(job, entries, console.width)]

    yield draw
    for one in latest:
        console.print(one)


def _shown(job: dict[str, Any], entries: list[dict[str, Any]], width: int) -> Group:
    head = Text(f"{job['id']}  {plain(job['provider'])} {plain(job['operation'])}  ")
    head.append(job["state"], style=COLOURS.get(job["state"], ""))
    error = job.get("error")
    lines = [Text(line, no_wrap=True) for line in drawn(job, entries, width, time.time())]
    return Group(head, *lines, *([Text(plain(f"{error['code']}: {error['message']}"))] if error else []))
