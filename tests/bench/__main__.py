"""`make bench`: the speed tables, as ratios within one run; `--check` compares them with the bars.

The machine is shared: other work on its host stops the processor or the disk for some milliseconds at any
time. So with `--check` a measure that misses a bar is taken again, and has missed it after three such takes;
every take is printed.
"""

import argparse
import functools
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench import (
    bounds,
    doors,
    eyes,
    measures,
    providers,
    replaying,
    scale,
    servers,
    streams,
    subscribers,
)
from tests.bench.deployment import HERE
from tests.bench.measures import Figures

BAR = dict[str, tuple[str, float]]
TAKES = 3
REMOVAL: BAR = {"answered after, s": ("<=", 1), "slowest is slower by, ms": ("<=", 50), "failed": ("<=", 0)}
LISTS: BAR = {"slowest p50, ms": ("<=", 50)}
START: BAR = {"start to ready, s": ("<=", 3)}
MEASURES: tuple[tuple[str, Callable[[], Awaitable[Figures]], BAR], ...] = (
    ("the machine", measures.machine, {}),
    (
        "intake",
        measures.intake,
        {"of the bare route": (">=", 0.22), "p99 at half, ms": ("<=", 10), "failed": ("<=", 0)},
    ),
    (
        "whole path",
        measures.whole_path,
        {"of the bare route": (">=", 0.09), "missing": ("<=", 0), "failed": ("<=", 0)},
    ),
    ("latency at 200/s", measures.latency, {"p50, ms": ("<=", 3), "p99, ms": ("<=", 8)}),
    ("posts of one core", measures.posts, {"times aiohttp": (">=", 3)}),
    ("1 dead of 4", measures.one_dead_of_four, {"times alone": ("<=", 3), "missing": ("<=", 0)}),
    (
        "1 dead of 4 for 30 s",
        subscribers.one_dead_for_long,
        {"times alone": ("<=", 1.5), "missing": ("<=", 0)},
    ),
    ("100 dead of 200", subscribers.half_dead, {"of none dead": (">=", 0.9)}),
    (
        "filters",
        subscribers.filters,
        {"matching, ms of CPU": ("<=", 2), "more with them, ms of CPU": ("<=", 2)},
    ),
    (
        "stream",
        streams.readers,
        {
            "idle, +MB": ("<=", 40),
            "after events, +MB": ("<=", 40),
            "slowest reaches all after, ms": ("<=", 500),
            "ended": ("<=", 0),
        },
    ),
    (
        "replay",
        replaying.replayed,
        {"other endpoint, times alone": ("<=", 2), "same endpoint, times alone": ("<=", 2)},
    ),
    (
        "filters, rates and a breaker",
        subscribers.choices,
        {"of without": (">=", 0.95), "by CPU, of without": (">=", 0.95)},
    ),
    ("PostgreSQL: whole path", servers.path, {"of SQLite": (">=", 0.8)}),
    (
        "PostgreSQL: latency",
        servers.latency,
        {"p50, ms": ("<=", 4), "p99, ms": ("<=", 9)},
    ),
    ("PostgreSQL: replicas", servers.replicas, {"CPU of two to one": ("<=", 1.15)}),
    (
        "PostgreSQL: backlog",
        servers.backlog,
        {
            "claim p99, 1,000,000 wait, ms": ("<=", 15),
            "times empty": ("<=", 2),
            "start to ready, s": ("<=", 3),
            "resident, MB": ("<=", 200),
        },
    ),
    ("PostgreSQL: recovery", servers.recovery, {"first delivery after, s": ("<=", 5)}),
    ("start", measures.start, {"start to ready, s": ("<=", 1), "resident, MB": ("<=", 80)}),
    (
        "providers known",
        providers.start,
        {"start to ready, s": ("<=", 1), "more memory, MB": ("<=", 5), "providers known": (">=", 36)},
    ),
    ("reading by description", providers.reading, {"times Python": ("<=", 1.3)}),
    ("demo", measures.demo, {"seconds": ("<=", 30), "exit code": ("<=", 0)}),
    (
        "one request",
        doors.one_request,
        {"longest held, ms": ("<=", 50), "most memory, +MB": ("<=", 64), "failed": ("<=", 0)},
    ),
    (
        "silent name servers",
        bounds.silent_names,
        {
            "submission, times alone": ("<=", 2),
            "slowest submission, times alone": ("<=", 2),
            "delivery, times alone": ("<=", 2),
            "slowest delivery, times alone": ("<=", 2),
            "end beyond grace, s": ("<=", 1),
        },
    ),
    (
        "forged hints",
        bounds.forged_hints,
        {
            "polls": ("<=", 12),
            "stored, KB": ("<=", 256),
            "slowest other job, times alone": ("<=", 1.2),
            "failed": ("<=", 0),
        },
    ),
    ("long polls", bounds.long_polls, {"most, % of a core": ("<=", 10)}),
    ("metrics", eyes.counting, {"CPU, times without": ("<=", 1.03)}),
    ("traces", eyes.tracing, {"CPU, times without": ("<=", 1.05)}),
    ("scrape", eyes.scraping, {"p50, ms": ("<=", 50)}),
    ("dashboards", eyes.dashboards, {"more, % of a core": ("<=", 10)}),
    ("browser", eyes.in_a_browser, {"first screen, ms": ("<=", 300), "waterfall, ms": ("<=", 200)}),
    ("lists", functools.partial(eyes.lists, "sqlite"), LISTS),
    ("PostgreSQL: lists", functools.partial(eyes.lists, "postgresql"), LISTS),
    ("removal", functools.partial(scale.removal, "sqlite"), REMOVAL),
    ("PostgreSQL: removal", functools.partial(scale.removal, "postgresql"), REMOVAL),
    ("start with jobs", functools.partial(scale.start, "sqlite"), START),
    ("PostgreSQL: start with jobs", functools.partial(scale.start, "postgresql"), START),
    (
        "one-off origins",
        scale.origins,
        {
            "SQLite: claim p50, ms": ("<=", 5),
            "PostgreSQL: claim p50, ms": ("<=", 5),
            "after they are done, +MB": ("<=", 16),
            "missing": ("<=", 0),
            "failed": ("<=", 0),
        },
    ),
)


async def run(chosen: Sequence[str], takes: int) -> dict[str, Figures]:
    """Take every chosen measure until it holds its bars, `takes` times at most. Returns the figures."""
    found: dict[str, Figures] = {}
    for name, measure, bar in MEASURES:
        if chosen and name not in chosen:
            continue
        for take in range(1, takes + 1):
            print(f"measuring {name} ...", flush=True)
            found[name] = await measure()
            missed = holds(found[name], bar)
            if not missed:
                break
            print(f"  take {take} of {takes}: {'; '.join(missed)}", flush=True)
    return found


def holds(figures: Figures, bar: BAR) -> list[str]:
    """Return the bars that do not hold, as sentences."""
    missed = []
    for name, (sign, limit) in bar.items():
        value = figures[name]
        if not (value >= limit if sign == ">=" else value <= limit):
            missed.append(f"{name} is {value:.3g}, must be {sign} {limit:g}")
    return missed


def main() -> None:
    """Measure, print and keep the figures, and with `--check` compare them with the bars."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("measure", nargs="*", help=f"some of: {', '.join(name for name, _, _ in MEASURES)}")
    parser.add_argument("--check", action="store_true", help="compare with the bars")
    asked = parser.parse_args()
    if unknown := set(asked.measure) - {name for name, _, _ in MEASURES}:
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    (HERE / ".cache").mkdir(exist_ok=True)
    found = uvloop.run(run(asked.measure, TAKES if asked.check else 1))
    table = Table(title=f"{datetime.now(UTC):%Y-%m-%d}", title_justify="left")
    for column in ("measure", "figure", "value", "bar"):
        table.add_column(column)
    missed: list[str] = []
    for name, _, bar in MEASURES:
        for figure, value in found.get(name, {}).items():
            sign, limit = bar.get(figure, ("", 0))
            table.add_row(
                name,
                figure,
                f"{value:,.3g}" if value < 100 else f"{value:,.0f}",
                f"{sign} {limit:g}" if sign else "",
            )
        if name in found:
            missed += [f"{name}: {one}" for one in holds(found[name], bar)]
    Console(width=110).print(table)
    kept = HERE / ".cache" / f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    kept.write_text(json.dumps(found, indent=2))
    print(f"kept in {kept.relative_to(HERE)}")
    if asked.check:
        for one in missed:
            print(f"MISSED {one}")
        sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
