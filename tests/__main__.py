"""The one command: format check, lint, types and tests, with what each took. CI runs the same."""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
PYTHON = [sys.executable, "-m"]
BUDGET = 300.0
PYTEST = [*PYTHON, "pytest", "-n", "4", "--dist", "loadgroup", "-rs"]
STORES = (
    "agenda",
    "guesses",
    "commit",
    "deliveries",
    "held_endpoints",
    "inputs",
    "long_removals",
    "looks",
    "record",
    "store",
    "store_events",
    "watchers",
    "worker",
)
ENGINE_FREE = (
    "command_line",
    "commands",
    "this_machine",
    "operations",
    "log",
    "openapi",
    "manners",
    "large_bodies",
    "stopping",
    "exchanges",
    "vendors_clients",
    "api_errors",
    "refusals",
    "assets",
    "callback_meaning",
    "secrecy",
    "waiting",
)
"""Stories of the commands, the providers, the links and both edges: every database is the same to them."""
STORED = [
    *(f"tests/receiver/test_{name}.py" for name in STORES),
    "tests/stories",
    "--ignore",
    "tests/stories/test_replicas.py",
    "--ignore",
    "tests/stories/test_backup.py",
    *(part for name in ENGINE_FREE for part in ("--ignore", f"tests/stories/test_{name}.py")),
]
"""Tests that stand on a database, and so run on both engines; those of only one run once."""
POOLED = [
    *(f"tests/receiver/test_{name}.py" for name in ("record", "store", "postgres")),
    *(f"tests/stories/test_{name}.py" for name in ("replicas", "whole_job", "deliveries")),
]
LONG = [
    part
    for name in ("silence", "pause", "simulation")
    for part in ("--ignore", f"tests/proof/test_{name}.py")
]
"""Proofs that wait for the length of a deadline, or run for many minutes: `make proof` runs them."""
STEPS: tuple[tuple[str, list[str], float], ...] = (
    ("format", [*PYTHON, "ruff", "format", "--check", "."], 5),
    ("lint", [*PYTHON, "ruff", "check", "."], 10),
    ("types", [*PYTHON, "mypy"], 35),
    ("tests", [*PYTEST, "--durations", "10", *LONG], 160),
    ("on PostgreSQL", [*PYTEST, "--engine", "postgresql", *STORED], 65),
    ("behind a pooler", [*PYTEST, "--engine", "pgbouncer", *POOLED], 25),
)


def main() -> int:
    """Run every step; the first failure's exit code."""
    environment = {**os.environ, "MYPY_CACHE_DIR": str(HERE / ".cache" / "mypy")}
    took, began = [], time.monotonic()
    for name, command, budget in STEPS:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        code = subprocess.run(command, cwd=HERE, env=environment, check=False).returncode
        seconds = time.monotonic() - started
        took.append(f"{name:13} {seconds:6.1f} s of {budget:g}")
        if code:
            print(f"{name} failed", file=sys.stderr)
            return code
    print("\n".join(took), f"{'in all':13} {time.monotonic() - began:6.1f} s of {BUDGET:g}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
