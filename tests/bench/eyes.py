"""The cost of looking: metrics, traces, scrapes, lists beside a large history, dashboards, a browser."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.domain.statistics import SERIES
from receiver.store.schema import TABLES
from tests.bench.deployment import Service, service, service_in, stub
from tests.bench.load import closed, opened, quantile
from tests.bench.measures import Figures
from tests.bench.scale import Place, now_as_id, owe, place
from tests.bench.streams import open_readers
from tests.bench.subscribers import Side, side
from tests.browser.chromium import chromium

TURNS, EVENTS = 15, 600
SCRAPES = 30
JOBS, HISTORY = 10_000_000, 1_000_000
"""Stored jobs, and events and deliveries beside them."""
LOOKS = 15
JOB_STATES = ("pending", "running", "unconfirmed", "succeeded", "failed")
DELIVERY_STATES = ("pending", "delivered", "exhausted", "canceled")
DASHBOARDS, RATE, SECONDS = 100, 200.0, 10
ENTRIES, DRAWN = 2_000, 7


async def turns(plain: Side, other: Side) -> Figures:
    """Return the CPU of callbacks at one side in those of the other, in turns."""
    ratios, costs = [], []
    for turn in range(TURNS + 1):
        found = {}
        for one in (plain, other) if turn % 2 else (other, plain):
            _, found[one is other] = await one.take(EVENTS, 2)
        ratios.append(found[True] / found[False])
        costs.append(found[False])
    # In the first turn the endpoints prove themselves.
    return {
        "without, us of CPU each": quantile(costs[1:], 0.5) * 1e6 / EVENTS,
        "CPU, times without": quantile(ratios[1:], 0.5),
    }


async def counting() -> Figures:
    """Measure the whole path with metrics and without them."""
    async with side("tests.bench.uncounted") as plain, side() as counted:
        for one in (plain, counted):
            await one.subscribe(2)
        return await turns(plain, counted)


async def tracing() -> Figures:
    """Measure the whole path with one trace in a hundred, and without traces."""
    async with stub("raw") as collector:
        address = f"http://127.0.0.1:{collector}"
        async with side() as plain, side(otel_endpoint=address) as traced:
            for one in (plain, traced):
                await one.subscribe(2)
            return await turns(plain, traced)


async def scraping() -> Figures:
    """Measure a scrape with a million owed deliveries."""
    with place("sqlite") as kept:
        async with stub("raw") as provider:
            async with service_in(kept.folder, provider) as ours:
                made = await ours.client.post(
                    "/v1/endpoints", json={"url": f"http://127.0.0.1:{provider}/hook"}
                )
            await asyncio.to_thread(owe, kept, made.json()["id"])
            async with service_in(kept.folder, provider) as ours:
                first = await _took(ours, "/metrics")
                took = []
                for _ in range(SCRAPES):
                    took.append(await _took(ours, "/metrics"))
                    await asyncio.sleep(0.5)
                text = (await ours.client.get("/metrics")).text
    assert "ringback_deliveries_owed" in text
    assert " 1e+06" in text or " 1000000.0" in text
    return {"first, ms": first, "p50, ms": quantile(took, 0.5), "slowest, ms": max(took)}


async def _took(ours: Service, path: str, **query: Any) -> float:
    """Return the milliseconds of a call. Raises `AssertionError` where it fails."""
    started = time.perf_counter()
    answer = await ours.client.get(path, params=query)
    took = (time.perf_counter() - started) * 1000
    assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
    return took


async def lists(engine: str) -> Figures:
    """Measure every list and statistic beside ten million jobs: the slowest of their medians."""
    with place(engine) as kept:
        async with stub("raw") as provider:
            async with service_in(kept.folder, provider, **kept.settings) as ours:
                requests, _ = await ours.callbacks(1, own=[f"http://127.0.0.1:{provider}/hook"])
                assert not (await closed(ours.port, requests)).failed
            began = time.monotonic()
            await asyncio.to_thread(fill, kept)
            filled = time.monotonic() - began
            async with service_in(kept.folder, provider, **kept.settings) as ours:
                found = {}
                for path, query in looks():
                    name = f"{path}?{'&'.join(f'{key}={value}' for key, value in query.items())}"
                    found[name] = quantile([await _took(ours, path, **query) for _ in range(LOOKS)], 0.5)
    slowest = sorted(found, key=lambda name: -found[name])[:3]
    return {"filled in, s": filled, "slowest p50, ms": found[slowest[0]]} | {
        f"{name}, p50, ms": found[name] for name in slowest
    }


def looks() -> list[tuple[str, dict[str, str]]]:
    """Return the calls: each list as the dashboard asks for it, and each statistic."""
    week = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    calls: list[tuple[str, dict[str, str]]] = [
        ("/v1/jobs", {}),
        *(("/v1/jobs", {"state": state}) for state in JOB_STATES),
        ("/v1/jobs", {"provider": "apiframe"}),
        ("/v1/jobs", {"metadata.order": "7"}),
        ("/v1/jobs", {"created_after": week}),
        ("/v1/deliveries", {}),
        *(("/v1/deliveries", {"state": state}) for state in DELIVERY_STATES),
        ("/v1/events", {}),
        ("/v1/events", {"after": week}),
        ("/v1/providers", {}),
    ]
    for name, series in SERIES.items():
        calls += [
            ("/v1/stats", {"metric": name}),
            ("/v1/stats", {"metric": name, "by": ",".join(series.labels), "since": week}),
        ]
    calls += [("/v1/stats", {"metric": name}) for name in ("jobs_open", "deliveries_owed", "endpoint_state")]
    return calls


def fill(kept: Place) -> None:
    """Add copies of the one job, its event and its delivery, and the statistics of a year."""
    begins, now = now_as_id(), int(time.time())
    job = {"id": f"'job_{begins}' || {kept.hex}", "provider_job_id": f"'task-' || {kept.hex}"}
    event = {"id": f"'evt_{begins}' || {kept.hex}"}
    delivery = {"id": f"'dlv_{begins}' || {kept.hex}", "event": f"'evt_{begins}' || {kept.hex}"}
    copies = [("job", job, JOBS), ("event", event, HISTORY), ("delivery", delivery, HISTORY)]
    hours = (
        f"insert into rollup select 'jobs', 3600, {now - now % 3600} - 3600 * n, 'account' || (n % 40), "
        f"'video', 'succeeded', 'callback', -1, 5, 0.0 from {kept.numbers(9_600)}"
    )
    kept.run(*(_copied(kept, table, new, count) for table, new, count in copies), hours)


def _copied(kept: Place, table: str, new: dict[str, str], count: int) -> str:
    columns = TABLES[table]
    return (
        f"insert into {table} ({', '.join(columns)}) "
        f"select {', '.join(new.get(column, column) for column in columns)} "
        f"from (select * from {table} limit 1) as template cross join {kept.numbers(count)}"
    )


async def dashboards() -> Figures:
    """Measure the CPU of the service with a hundred dashboards open and live, and without any."""
    async with stub("raw") as provider, stub("readers") as readers, service(provider) as ours:
        alone = await _cpu_at(ours)
        await open_readers(ours, readers, DASHBOARDS, "?every=1")
        beside = await _cpu_at(ours)
    return {
        "alone, % of a core": 100 * alone,
        "with them, % of a core": 100 * beside,
        "more, % of a core": 100 * (beside - alone),
    }


async def _cpu_at(ours: Service) -> float:
    """Return the share of a core that the service takes at a steady rate of events."""
    requests, _ = await ours.callbacks(int(RATE * SECONDS))
    before, started = ours.cpu(), time.monotonic()
    result, _ = await opened(ours.port, requests, RATE)
    assert not result.failed
    return (ours.cpu() - before) / (time.monotonic() - started)


DRAW = """async ([base, entries]) => {
    const [{ html, render }, { Waterfall }] = await Promise.all([
        import(`${base}/html.js`), import(`${base}/waterfall.js`)]);
    const began = Date.parse("2026-11-29T12:00:00Z");
    const at = (n) => new Date(began + 137 * n).toISOString();
    const kinds = ["poll", "callback", "event", "delivery", "attempt"];
    const told = Array.from({ length: entries }, (_, n) => ({
        at: at(n), kind: kinds[n % 5], outcome: "applied", type: "job.progressed",
        delivery: `dlv_${n - n % 5}`, endpoint: `ep_${n % 7}`, state: "delivered", status: 204, latency_ms: 3,
    }));
    const job = { created_at: at(0), completed_at: at(entries), state: "succeeded" };
    const place = document.getElementById("app").appendChild(document.createElement("div"));
    const started = performance.now();
    render(html`<${Waterfall} job=${job} entries=${told} />`, place);
    place.getBoundingClientRect();
    const drawn = performance.now() - started;
    const marks = place.querySelectorAll(".mark").length;
    render(null, place);
    place.remove();
    return [drawn, marks];
}"""
"""A script that draws a waterfall of so many entries, with its layout."""
BASE = "() => document.querySelector('script[type=module]').src.replace('/app.js', '')"
"""A script that returns the address of the dashboard's files."""
USABLE = """() => {
    const last = Math.max(...performance.getEntriesByType("resource").map((one) => one.responseEnd),
        performance.getEntriesByType("navigation")[0].responseEnd);
    return performance.getEntriesByName("usable")[0].startTime - last;
}"""
"""A script that returns the milliseconds from the last byte until the first screen could be used."""
MARK = """new MutationObserver((_, watching) => {
    if (document.querySelector("#key, main h1")) { performance.mark("usable"); watching.disconnect(); }
}).observe(document, { childList: true, subtree: true })"""


async def in_a_browser() -> Figures:
    """Measure the first screen and a waterfall of 2,000 entries in Chromium."""
    async with stub("raw") as provider, service(provider) as ours, chromium() as browser:
        usable, drawn = [], []
        for _ in range(DRAWN):
            context = await browser.new_context()
            page = await context.new_page()
            await page.add_init_script(MARK)
            await page.goto(f"http://127.0.0.1:{ours.port}")
            await page.wait_for_function("() => performance.getEntriesByName('usable').length")
            usable.append(float(await page.evaluate(USABLE)))
            base = await page.evaluate(BASE)
            took, marks = await page.evaluate(DRAW, [base, ENTRIES])
            assert marks == ENTRIES, marks
            drawn.append(float(took))
            await context.close()
    return {"first screen, ms": quantile(usable, 0.5), "waterfall, ms": quantile(drawn, 0.5)}
