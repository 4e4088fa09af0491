"""Replays: the deliveries of fresh events while 100,000 old ones are delivered again to one endpoint."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.bench.deployment import Service, notes, service_in, stub
from tests.bench.load import closed, opened
from tests.bench.measures import AWAKE, OFFERED, SECONDS, Figures, middle, warm
from tests.bench.scale import Place, now_as_id, place

OLD, ADVANCED = 100_000, 80_000
"""Old events, and those of them that were replayed before the second half is measured."""
TURNS = 3
OTHER, SAME = "hook-other", "hook-same"
"""The paths of an endpoint without a replay and of the one that has it."""

Turn = dict[str, list[float]]
"""The milliseconds from callback to delivery, by endpoint."""


async def replayed() -> Figures:
    """Measure fresh events at 200 a second to two endpoints, alone and beside a replay to one of them.

    The replay is measured when it begins and when most of it is done, each time against turns next to it
    without one.
    """
    with place("sqlite") as kept:
        async with stub("raw") as provider, stub("raw") as downstream:
            async with service_in(kept.folder, provider) as ours:
                requests, _ = await ours.callbacks(1)
                await closed(ours.port, requests)
            await asyncio.to_thread(_age, kept)
            async with service_in(kept.folder, provider) as ours:
                await ours.endpoint(f"http://127.0.0.1:{downstream}/{OTHER}")
                endpoint = await ours.endpoint(f"http://127.0.0.1:{downstream}/{SAME}")
                await warm(ours, downstream, 2)
                alone = [await _fresh(ours, downstream) for _ in range(TURNS)]
                planned = await _fresh(ours, downstream, lambda: _begin(ours, endpoint))
                first = [await _fresh(ours, downstream) for _ in range(TURNS)]
                total, made = await _running(ours)
            await asyncio.to_thread(_advance, kept)
            async with service_in(kept.folder, provider) as ours:
                await warm(ours, downstream, 2)
                last = [await _fresh(ours, downstream) for _ in range(TURNS)]
                _, made_at_last = await _running(ours)
                await _cancel(ours)
                afterwards = [await _fresh(ours, downstream) for _ in range(TURNS)]
    figures: Figures = {"events": total, "replayed at first": made, "replayed at last": made_at_last}
    for name, path in (("other endpoint", OTHER), ("same endpoint", SAME)):
        p99 = {
            "alone": _p99(alone, path),
            "planned": _p99([planned], path),
            "at first": _p99(first, path),
            "at last": _p99(last, path),
            "afterwards": _p99(afterwards, path),
        }
        figures |= {f"{name} {when}, p99, ms": took for when, took in p99.items()}
        worse = max(p99["at first"] / p99["alone"], p99["at last"] / p99["afterwards"])
        figures[f"{name}, times alone"] = worse
    return figures


def _p99(turns: Sequence[Turn], path: str) -> float:
    return middle([turn[path] for turn in turns], 0.99)


async def _begin(ours: Service, endpoint: str) -> None:
    """Begin the replay once the load counts."""
    await asyncio.sleep(AWAKE)
    (await ours.client.post(f"/v1/endpoints/{endpoint}/replay", json={"only": "all"})).raise_for_status()


async def _running(ours: Service) -> tuple[int, int]:
    """Return the size and the progress of the replay. Raises `RuntimeError` when it is over."""
    [replay] = (await ours.client.get("/v1/replays")).json()["data"]
    if replay["state"] != "running" or replay["failed"]:
        raise RuntimeError(f"the replay ended too early, or failed: {replay}")
    return replay["total"], replay["made"]


async def _cancel(ours: Service) -> None:
    """Cancel the replay."""
    [replay] = (await ours.client.get("/v1/replays")).json()["data"]
    (await ours.client.post(f"/v1/replays/{replay['id']}/cancel")).raise_for_status()


async def _fresh(ours: Service, downstream: int, beside: Callable[[], Awaitable[None]] | None = None) -> Turn:
    """Return the times of fresh events, without those of the first second. Raises `RuntimeError`.

    `beside` runs at the same time.
    """
    requests, jobs = await ours.callbacks(int(OFFERED * (AWAKE + SECONDS)))
    await notes(downstream)
    other = asyncio.ensure_future(beside()) if beside else None
    _, sent = await opened(ours.port, requests, OFFERED)
    if other is not None:
        await other
    moments = dict(zip(jobs, sent, strict=True))
    unseen = set(jobs[: int(OFFERED * AWAKE)])
    took: Turn = {OTHER: [], SAME: []}
    left = 2 * len(jobs)
    ends = time.monotonic() + 60
    while left and time.monotonic() < ends:
        await asyncio.sleep(0.2)
        # The old events are all of one job, which none of these requests ends.
        for job, url, at in (await notes(downstream))["arrived"]:
            if job in moments:
                left -= 1
                if job not in unseen:
                    took[url.lstrip("/")].append((at - moments[job]) * 1000)
    if left:
        raise RuntimeError(f"{left} deliveries are missing")
    return took


def _age(kept: Place) -> None:
    """Add copies of the one event that is stored."""
    kept.run(
        "insert into event (id, type, job, at, sequence, body, result) "
        f"select 'evt_{now_as_id()}' || {kept.hex}, type, job, at, sequence, body, result "
        f"from (select * from event limit 1) as template cross join {kept.numbers(OLD)}"
    )


def _advance(kept: Place) -> None:
    """Add the deliveries of the old events until the replay is well advanced."""
    kept.run(
        "insert into delivery (id, event, target, origin, job, state, created_at, updated_at, tries) "
        f"select 'dlv_{now_as_id()}' || printf('%020x', seq), event.id, endpoint, replay.id, job, "
        "'delivered', at, at, 1 from replay join event on seq > place "
        f"order by seq limit {ADVANCED} - (select made from replay)",
        f"update replay set made = {ADVANCED}, place = (select max(seq) from event join delivery "
        "on delivery.event = event.id where origin = replay.id)",
    )
