"""`python -m tests.simulation`: run seeds until one goes wrong, and print its shortest history."""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.simulation.mutants import MUTANTS, without
from tests.simulation.plan import plan
from tests.simulation.run import Result, Simulation
from tests.simulation.shrink import shrink


def told(result: Result) -> str:
    """Return a run that went wrong as text: its seed, its settings and its history."""
    plan_ = result.plan
    setting = (
        f"{plan_.replicas or 'one process, no'} replicas, on_unconfirmed={plan_.policy}, "
        f"max_in_flight={plan_.slots}, max_jobs={plan_.max_jobs}, retry_schedule={list(plan_.schedule)}"
    )
    lines = [f"seed {plan_.seed}: {result.violation}", setting, *result.history]
    return "\n".join(lines)


def failures(seeds: Iterable[int], *, progress: bool = False) -> Iterable[Result]:
    """Yield the runs of these seeds that went wrong."""
    started = time.monotonic()
    for count, seed in enumerate(seeds, 1):
        result = Simulation(plan(seed)).run()
        if progress and count % 100 == 0:
            print(f"\r{count} seeds, {count / (time.monotonic() - started):.0f} a second", end="", flush=True)
        if result.violation is not None:
            yield result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run one seed and tell its whole history")
    parser.add_argument("--without", choices=sorted(MUTANTS), help="run with the mend of one fault taken out")
    parser.add_argument("--all", action="store_true", help="go on behind a failure, and count them by rule")
    return parser.parse_args()


def main() -> int:
    """Run the chosen seeds. Returns 1 when one went wrong."""
    arguments = _arguments()
    with without(arguments.without) if arguments.without else contextlib.nullcontext():
        if arguments.seed is not None:
            result = Simulation(plan(arguments.seed)).run()
            print(told(result))
            return int(result.violation is not None)
        seeds = range(arguments.start, arguments.start + arguments.seeds)
        rules: Counter[str] = Counter()
        for result in failures(seeds, progress=sys.stderr.isatty()):
            assert result.violation is not None
            rules[result.violation.rule] += 1
            if not arguments.all:
                print("\n" + told(shrink(result)))
                return 1
            print(f"\nseed {result.plan.seed}: {result.violation}")
        print(
            f"\n{arguments.seeds} seeds: "
            + (", ".join(f"{r} {n}" for r, n in rules.items()) or "all is well")
        )
        return int(bool(rules))


if __name__ == "__main__":
    if "PYTHONHASHSEED" not in os.environ:
        # The order of sets is fixed, so that a seed is the same run in every process.
        command = [sys.executable, *sys.orig_argv[1:]]
        sys.exit(subprocess.call(command, env={**os.environ, "PYTHONHASHSEED": "0"}))
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
