"""Waiting for a job: its id is printed first, and an interruption ends the wait but not the job."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from receiver.cli.client import Away, call, path
from receiver.cli.groups import INTERRUPTED
from receiver.cli.output import is_quiet
from receiver.cli.terminal import plain, say, wrapped

LIVE_STEP, STEP = 1, 5
"""Seconds that one call waits for the job: on a terminal, which shows progress and time, and elsewhere."""
PATIENCE = 600.0
"""Seconds for which the service may be unreachable before the wait fails."""
PAUSE = 1.0
"""Seconds between two calls to an unreachable service."""
REMEDIES = {
    "account_blocked": "`ringback doctor` asks the provider; a corrected key counts after a restart",
    "unreachable": "`ringback doctor` looks at the way there",
}
"""The next step for each wait reason that needs an operator."""
Tell = Callable[[dict[str, Any], str], None]


def follow(job: dict[str, Any]) -> dict[str, Any]:
    """Wait until a job is final and return it.

    An interruption exits with code 130 and prints the command that shows the job.
    """
    try:
        with _telling(job["id"]) as tell:
            return _final(job, tell)
    except KeyboardInterrupt:
        say(f"the job goes on: ringback jobs show {job['id']}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except click.ClickException as error:
        raise click.ClickException(
            f"{error.format_message()}; the job goes on: ringback jobs show {job['id']}"
        ) from None


def _final(job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Read the job until it is final, also across restarts of the service."""
    step = LIVE_STEP if sys.stderr.isatty() else STEP
    seen = time.monotonic()
    tell(job, "")
    while True:
        try:
            wait = step if job["completed_at"] is None else 0
            job = call("GET", path("jobs", job["id"]), params={"wait": wait})
        except Away as error:
            # Counted from the last answer, not from the start: a long job outlives many short restarts.
            if time.monotonic() - seen > PATIENCE:
                raise
            tell(job, error.format_message())
            time.sleep(PAUSE)
            continue
        seen = time.monotonic()
        tell(job, "")
        if job["completed_at"] is not None:
            return job


@contextlib.contextmanager
def _telling(job_id: str) -> Iterator[Tell]:
    """Yield a function that shows the job: a live line on a terminal, elsewhere a line for each change."""
    if is_quiet():
        yield lambda _job, _trouble: None
        return
    say(f"job {job_id}", err=True)
    if not sys.stderr.isatty():
        yield _by_lines()
        return
    with _alive() as tell:
        yield tell


@contextlib.contextmanager
def _alive() -> Iterator[Tell]:
    """Yield a function that updates a live line of state, percent and time, below the latest wait reasons."""
    console, began, last = Console(stderr=True), time.monotonic(), ""
    with console.status("") as status:

        def tell(job: dict[str, Any], trouble: str) -> None:
            nonlocal last
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            status.update(Text(f"{_state(job, percent=True)} {minutes:02}:{seconds:02}"))
            reason = waits_for(job, trouble)
            if reason not in ("", last):
                text = wrapped(plain(f"{job['state']}: {reason}"), console.width)
                console.print(Text(text), soft_wrap=True)
            last = reason

        yield tell


def _by_lines() -> Tell:
    last = ""

    def tell(job: dict[str, Any], trouble: str) -> None:
        nonlocal last
        reason = waits_for(job, trouble)
        said = _state(job, percent=False) + (f" ({reason})" if reason else "")
        if said != last:
            last = said
            say(said, err=True)

    return tell


def _state(job: dict[str, Any], *, percent: bool) -> str:
    far = f" {job['progress']:g} %" if percent and job.get("progress") is not None else ""
    return plain(f"{job['state']}{far}")


def waits_for(job: dict[str, Any], trouble: str) -> str:
    """Return the reason why a job waits and the next step, empty when it does not wait."""
    waiting = job.get("waiting") or {}
    reason = trouble or str(waiting.get("detail") or waiting.get("reason") or "")
    remedy = "" if trouble else REMEDIES.get(str(waiting.get("reason")), "")
    return "; ".join(part for part in (reason.rstrip("."), remedy) if part)
