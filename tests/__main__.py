"""The one command: format check, lint, types and tests, with the seconds that each took. CI runs the same."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
MEMORY = Path("/dev/shm")  # noqa: S108  # only the run's own folder is made there
"""A folder in memory: no file has to outlive the machine, and on a disk the tests take a third longer."""
ROOM = 4 << 30
"""Bytes that the files of the tests may take there."""
PYTHON = [sys.executable, "-m"]
BUDGET = 300
ENGINE_BOUND = ("opening", "partitions", "rows", "schema", "statements", "transfer")
"""Tests of the store that are about one engine, or about none."""
STORES = [
    *(
        f"tests/receiver/{folder}/test_{name}.py"
        for folder, names in (
            ("events", ("endpoint_cache", "guesses", "next_work", "long_polling")),
            ("work", ("heartbeat", "worker")),
        )
        for name in names
    ),
    *sorted(
        f"tests/receiver/store/{path.name}"
        for path in (HERE / "tests" / "receiver" / "store").glob("test_*.py")
        if path.stem.removeprefix("test_") not in ENGINE_BOUND
    ),
]
ENGINE_FREE = (
    "command_line",
    "listen",
    "commands",
    "this_machine",
    "operations",
    "log",
    "openapi",
    "manners",
    "large_bodies",
    "stopping",
    "exchanges",
    "first_steps",
    "javascript_receivers",
    "vendors_clients",
    "api_errors",
    "refusals",
    "assets",
    "callback_meaning",
    "secrecy",
    "waiting",
    "accounts",
    "callbacks",
    "hints",
    "polls",
    "strangers",
    "source_proofs",
    "handshake",
    "large_inputs",
    "views",
)
"""Stories of the commands, the providers, the links and both edges: every database is the same to them, and
their writes are tests of the store, on both engines."""
STORED = [
    *STORES,
    "tests/browser/test_screens.py",
    "tests/stories",
    "--ignore",
    "tests/stories/test_replicas.py",
    "--ignore",
    "tests/stories/test_replica_streams.py",
    "--ignore",
    "tests/stories/test_backup.py",
    *(part for name in ENGINE_FREE for part in ("--ignore", f"tests/stories/test_{name}.py")),
]
"""Tests that use a database and therefore run on both engines. Tests of only one engine run once."""
POOLED = [
    *(
        f"tests/receiver/store/{name}.py"
        for name in ("test_record", "test_due", "test_jobs", "test_partitions", "postgres/test_driver")
    ),
    *(f"tests/stories/test_{name}.py" for name in ("replicas", "whole_job")),
]
LONG = [
    part
    for name in ("silence", "pause", "simulation")
    for part in ("--ignore", f"tests/proof/test_{name}.py")
]
"""Proofs that wait for the length of a deadline, or run for many minutes: `make proof` runs them."""


CORE = [
    *(
        f"tests/receiver/{folder}"
        for folder in ("delivery", "domain", "events", "providers", "security", "store", "work")
    ),
    "tests/client/calls",
    *sorted(f"tests/client/{path.name}" for path in (HERE / "tests" / "client").glob("test_*.py")),
]
"""Tests that count the branches of the core and of the client. All others run without coverage, which doubles
their cost.
"""
OTHERS = ["tests", *(part for folder in CORE for part in ("--ignore", folder))]


def pytest(workers: int) -> list[str]:
    """Return the command that runs tests in `workers` processes."""
    return [*PYTHON, "pytest", "-n", str(workers), "--dist", "loadgroup", "-rs"]


@dataclass(frozen=True)
class Step:
    """One part of the whole run, and the seconds that it may take."""

    name: str
    command: Sequence[str]
    budget: int
    quiet: bool = False
    """Whether only a failure is printed."""


LANES = (
    (
        # One process compiles all tests and finds the constants that hypothesis tries, for all that follow.
        Step("collect", [*PYTHON, "pytest", "--collect-only", "-qq", "tests"], 20, quiet=True),
        Step("core", [*pytest(2), "--durations", "5", "--cov", "--cov-report=term", *CORE], 110),
        Step("all the others", [*pytest(4), "--durations", "5", *OTHERS, *LONG], 160),
    ),
    (
        Step("format", [*PYTHON, "ruff", "format", "--check", "."], 5),
        Step("lint", [*PYTHON, "ruff", "check", "."], 10),
        Step("types", [*PYTHON, "mypy"], 35),
        Step("on PostgreSQL", [*pytest(2), "--engine", "postgresql", *STORED], 130),
        Step("behind a pooler", [*pytest(2), "--engine", "pgbouncer", *POOLED], 60),
    ),
)
"""Lanes of steps. They run at the same time, so that one works while the other waits. The first prints as it
goes; a step of the other is printed when it ends.
"""


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """Make the folder of all the tests' files, and remove it in the end. Yields its path.

    PostgreSQL's server reaches it under a user of its own.
    """
    place = MEMORY if fits(MEMORY) else None
    with tempfile.TemporaryDirectory(
        prefix="ringback-tests-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o711)
        yield folder


def fits(place: Path) -> bool:
    """Return whether the tests' files fit into a folder, and may be written and run there.

    The shared memory of a container often allows neither.
    """
    try:
        there = os.statvfs(place)
    except OSError:
        return False
    room = there.f_bavail * there.f_frsize >= ROOM
    return room and not there.f_flag & os.ST_NOEXEC and os.access(place, os.W_OK | os.X_OK)


def environment(folder: str) -> dict[str, str]:
    """Return the environment of the steps, with their files in `folder`.

    Python keeps compiled code even where this environment says otherwise: without it every worker, and every
    command that a test runs, compiles the whole program and all tests again.
    """
    ours = {"TMPDIR": folder, "MYPY_CACHE_DIR": str(HERE / ".cache" / "mypy")}
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | ours


async def run(step: Step, folder: str, *, live: bool) -> str:
    """Run a step and end its process with it, even when the step is cancelled.

    Returns a line with its name, its seconds and its budget. Raises `Failed` for an exit code other than 0.
    """
    started = time.monotonic()
    live = live and not step.quiet
    process = await asyncio.create_subprocess_exec(
        *step.command,
        cwd=HERE,
        env=environment(folder),
        stdout=None if live else asyncio.subprocess.PIPE,
        stderr=None if live else asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    shown = not live and (process.returncode or not step.quiet)
    took = f"{step.name:15} {time.monotonic() - started:6.1f} s of {step.budget}"
    print(*([f"== {step.name}", said.decode().rstrip()] if shown else []), f"== {took}", sep="\n", flush=True)
    if process.returncode:
        raise Failed(step.name, process.returncode)
    return took


def some(arguments: Sequence[str]) -> Step:
    """Return a step that runs the tests that these arguments of pytest choose, in one process."""
    chosen = [one for one in arguments if not one.startswith("-") and Path(HERE, one.split("::")[0]).exists()]
    return Step("some tests", [*PYTHON, "pytest", "-rs", *arguments, *([] if chosen else LONG)], BUDGET)


class Failed(Exception):
    """A failed step: its name and its exit code."""


async def lane(steps: Sequence[Step], folder: str, *, live: bool) -> list[str]:
    """Run the steps in order. Returns a line for each: its name, its seconds and its budget."""
    return [await run(step, folder, live=live) for step in steps]


async def main(folder: str, arguments: Sequence[str]) -> int:
    """Run every lane with its files in `folder`, or only the tests that `arguments` of pytest choose.

    Returns the exit code of the step that fails first, which ends the others.
    """
    began = time.monotonic()
    parts = ((some(arguments),),) if arguments else LANES
    lanes = [asyncio.create_task(lane(steps, folder, live=not number)) for number, steps in enumerate(parts)]
    try:
        took = await asyncio.gather(*lanes)
    except Failed as failed:
        for one in lanes:
            one.cancel()
        await asyncio.wait(lanes)
        print(f"{failed.args[0]} failed", file=sys.stderr)
        return int(failed.args[1])
    print(*(line for lines in took for line in lines), sep="\n")
    print(f"{'in all':15} {time.monotonic() - began:6.1f} s of {BUDGET}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that the folder is removed
    with scratch() as own:
        code = asyncio.run(main(own, sys.argv[1:]))
    sys.exit(code)
