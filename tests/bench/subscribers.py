"""The cost of subscribers to each other: dead endpoints beside healthy ones, many filters, and choices."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from handlers import json
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.filter_reader import checked_filter
from receiver.domain.model import Endpoint, Event
from receiver.domain.subscriptions import subscribers
from tests.bench.deployment import Service, notes, own_folder, serving, settings_of, stub
from tests.bench.load import closed, quantile
from tests.bench.measures import OFFERED, Figures, offered, warm
from tests.ports import free_port

LONG = 30
"""Seconds for which an endpoint is dead."""
CROWD, CROWD_TURNS, CROWD_EVENTS = 200, 5, 30
FILTERED, MATCHINGS, FILTER_TURNS, FILTER_EVENTS = 1_000, 200, 5, 200
CHOICES_TURNS, CHOICES_EVENTS = 11, 600
CHOICES = {
    "filter": {"provider": "apiframe", "metadata.order": {"$in": ["42", "43"]}},
    "rate_limit": 10_000,
}
"""A filter that every event passes, and a rate that is never reached."""
ARRIVED = 100.0
"""Seconds within which all deliveries of a turn arrive."""


@dataclass(slots=True)
class Side:
    """A service with a provider, a downstream and a silent downstream of its own."""

    ours: Service
    downstream: int
    silent: int

    async def subscribe(self, count: int, **choices: Any) -> None:
        """Subscribe so many paths of the downstream."""
        for name in range(count):
            await self.ours.endpoint(f"http://127.0.0.1:{self.downstream}/hook{name}", **choices)

    async def take(self, events: int, endpoints: int) -> tuple[float, float]:
        """End new jobs as fast as that goes.

        Returns the seconds until the last delivery was received, and those of CPU that the service took.
        """
        requests, jobs = await self.ours.callbacks(events)
        before, started = self.ours.cpu(), time.monotonic()
        result = await closed(self.ours.port, requests)
        if result.failed:
            raise RuntimeError(f"{result.failed} callbacks were not acknowledged")
        ended = await self._last(set(jobs), events * endpoints) if endpoints else time.monotonic()
        return ended - started, self.ours.cpu() - before

    async def _last(self, jobs: set[str], count: int) -> float:
        """Return the moment of the last of so many deliveries. Raises `RuntimeError` without them."""
        arrived: set[tuple[str, str]] = set()
        last, ends = 0.0, time.monotonic() + ARRIVED
        while time.monotonic() < ends:
            await asyncio.sleep(0.1)
            for job, url, at in (await notes(self.downstream))["arrived"]:
                if job in jobs and (job, url) not in arrived:
                    arrived.add((job, url))
                    last = max(last, at)
            if len(arrived) == count:
                return last
        raise RuntimeError(f"{len(arrived)} of {count} deliveries arrived")


@contextlib.asynccontextmanager
async def side(program: str = "receiver", **settings: str) -> AsyncIterator[Side]:
    """Run a service with all that is around it. Yields it."""
    with own_folder() as folder:
        async with stub("raw") as provider, stub("raw") as downstream, stub("raw") as silent:
            port = free_port()
            async with serving(
                settings_of(folder, port, provider, **settings), port, provider, program
            ) as ours:
                yield Side(ours, downstream, silent)


async def one_dead_for_long() -> Figures:
    """Measure three healthy endpoints for 30 s, alone and beside one that never answers.

    Both services run at the same time, so that the machine is the same for both. Work for the dead endpoint
    slows both by the processor that it takes, so that is told as well.
    """
    async with side() as plain, side() as troubled:
        sides = (plain, troubled)
        for one in sides:
            await one.subscribe(3)
        await troubled.ours.endpoint(f"http://127.0.0.1:{troubled.silent}/hang")
        for one in sides:
            await warm(one.ours, one.downstream, 3)
        before = [one.ours.cpu() for one in sides]
        alone, beside = await asyncio.gather(*(offered(one.ours, one.downstream, 3, LONG) for one in sides))
        costs = [one.ours.cpu() - cost for one, cost in zip(sides, before, strict=True)]
    return {
        "p50 alone, ms": quantile(alone, 0.5),
        "p50 beside it, ms": quantile(beside, 0.5),
        "p99 alone, ms": quantile(alone, 0.99),
        "p99 beside it, ms": quantile(beside, 0.99),
        "times alone": quantile(beside, 0.99) / quantile(alone, 0.99),
        "CPU, times alone": costs[1] / costs[0],
        "missing": 2 * 3 * LONG * int(OFFERED) - len(alone) - len(beside),
    }


async def half_dead() -> Figures:
    """Measure the deliveries to healthy endpoints where half of all are dead and where none is, in turns.

    Of the dead ones, half never answer and half refuse connections. Events are stored for them, too. A turn
    has as many deliveries to healthy endpoints on both sides.
    """
    async with side() as sound, side() as half:
        await sound.subscribe(CROWD)
        await half.subscribe(CROWD // 2)
        for _ in range(CROWD // 4):
            await half.ours.endpoint(f"http://127.0.0.1:{half.silent}/hang")
            await half.ours.endpoint(f"http://127.0.0.1:{free_port()}/refused")
        turns = []
        for _ in range(CROWD_TURNS + 1):
            one = await sound.take(CROWD_EVENTS, CROWD)
            other = await half.take(2 * CROWD_EVENTS, CROWD // 2)
            turns.append((*one, *other))
    # In the first turn the endpoints prove themselves.
    del turns[0]
    deliveries = CROWD * CROWD_EVENTS
    return {
        "none dead, deliveries/s": quantile([deliveries / took for took, _, _, _ in turns], 0.5),
        "half dead, healthy deliveries/s": quantile([deliveries / took for _, _, took, _ in turns], 0.5),
        "of none dead": quantile([none / dead for none, _, dead, _ in turns], 0.5),
        "none dead, us of CPU each": quantile([cost / deliveries for _, cost, _, _ in turns], 0.5) * 1e6,
        "half dead, us of CPU each": quantile([cost / deliveries for *_, cost in turns], 0.5) * 1e6,
    }


def wish(number: int) -> dict[str, Any]:
    """Return a filter of four conditions, of which the last does not hold for the events of the bench."""
    return {
        "provider": "apiframe",
        "state": {"$in": ["succeeded", "failed"]},
        "metadata.order": {"$nin": [f"0{number}", "0"]},
        "metadata.customer": {"$in": [f"customer-{number}", "nobody"]},
    }


async def filters() -> Figures:
    """Measure an event against 1,000 endpoints, each with a filter that the last of four conditions refuses.

    The figures are the matching in this process, and the additional cost of a callback in a service.
    """
    matching = _matching()
    async with side() as plain, side() as filtered:
        url = f"http://127.0.0.1:{filtered.downstream}/hook"
        for number in range(FILTERED):
            await filtered.ours.endpoint(url, filter=wish(number))
        turns = []
        for _ in range(FILTER_TURNS + 1):
            without, within = [await one.take(FILTER_EVENTS, 0) for one in (plain, filtered)]
            turns.append((without[1], within[1]))
    del turns[0]
    each = 1000 / FILTER_EVENTS
    return {
        "matching, ms of CPU": matching,
        "callback without endpoints, ms of CPU": quantile([without for without, _ in turns], 0.5) * each,
        "more with them, ms of CPU": quantile([within - without for without, within in turns], 0.5) * each,
    }


def _matching() -> float:
    """Return the milliseconds of CPU for one event."""
    now = datetime.now(UTC)
    endpoints = [
        Endpoint(
            id=f"ep_{number}",
            url="http://127.0.0.1/",
            events=JOB_FINAL,
            created_at=now,
            updated_at=now,
            filter=checked_filter(wish(number), JOB_FINAL),
        )
        for number in range(FILTERED)
    ]
    data = {"id": "job_1", "provider": "apiframe", "state": "succeeded", "metadata": {"order": "42"}}
    body = json.write({"id": "evt_1", "data": data})
    event = Event(id="evt_1", type="job.succeeded", job_id="job_1", at=now, sequence=1, body=body)
    took = []
    for _ in range(MATCHINGS):
        started = time.thread_time()
        found = list(subscribers(endpoints, event))
        took.append((time.thread_time() - started) * 1000)
        assert not found
    return quantile(took, 0.5)


async def choices() -> Figures:
    """Measure the whole path with filters, rates and breakers and without them, in turns.

    A service without breakers is one that keeps no health of its endpoints.
    """
    async with side("tests.bench.unwatched") as plain, side() as chosen:
        await plain.subscribe(2)
        await chosen.subscribe(2, **CHOICES)
        turns = []
        for turn in range(CHOICES_TURNS + 1):
            found = {}
            for one in (plain, chosen) if turn % 2 else (chosen, plain):
                found[one is chosen] = await one.take(CHOICES_EVENTS, 2)
            turns.append((*found[False], *found[True]))
    del turns[0]
    each = 1e6 / CHOICES_EVENTS
    return {
        "without, callbacks/s": quantile([CHOICES_EVENTS / took for took, _, _, _ in turns], 0.5),
        "with, callbacks/s": quantile([CHOICES_EVENTS / took for _, _, took, _ in turns], 0.5),
        "of without": quantile([without / within for without, _, within, _ in turns], 0.5),
        "without, us of CPU each": quantile([cost for _, cost, _, _ in turns], 0.5) * each,
        "with, us of CPU each": quantile([cost for *_, cost in turns], 0.5) * each,
        "by CPU, of without": quantile([without / within for _, without, _, within in turns], 0.5),
    }
