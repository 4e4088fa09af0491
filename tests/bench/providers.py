"""The measures of descriptions: the cost of reading a callback, and of a start that knows all providers."""

import json
import time
from collections.abc import Callable, Sequence

import handlers
from handlers.contract import HttpMessage, Update
from tests.bench import reference_reading
from tests.bench.deployment import service, stub
from tests.bench.measures import Figures
from tests.handlers.captures import captures

ROUNDS = 40
READS = 500
"""The rounds, and the readings of each body in a round. The best round of each reader counts."""
CONFIGURED = ("fal", "kling", "bfl", "luma", "piapi", "heygen", "wavespeed", "openai")
"""The accounts of the start: eight, of all the providers that are known."""


async def reading() -> Figures:
    """Measure reading callbacks by a description against the same in Python."""
    provider = handlers.ALL["apiframe"]
    callback = provider.configure(provider.options()).callback
    assert callback is not None
    bodies = [one.message for one in captures("apiframe", "callback") if "update" in one.outcomes]
    for message in bodies:
        assert _same(callback.parse(message), reference_reading.read(message)), message.body
    by_description, in_python = [], []
    for _ in range(ROUNDS):
        by_description.append(_seconds(callback.parse, bodies))
        in_python.append(_seconds(reference_reading.read, bodies))
    best, other = min(by_description), min(in_python)
    return {"microseconds": best * 1e6, "in Python": other * 1e6, "times Python": best / other}


def _same(one: Update, other: Update) -> bool:
    """Return whether two readings agree, but for their codes of failure and the ends of files."""
    links = [[asset.url for asset in update.assets] for update in (one, other)]
    facts = [(update.phase, update.provider_job_id, update.progress) for update in (one, other)]
    return links[0] == links[1] and facts[0] == facts[1]


def _seconds(read: Callable[[HttpMessage], Update], bodies: Sequence[HttpMessage]) -> float:
    """Return the seconds of processor time of one reading."""
    started = time.process_time()
    for message in bodies:
        for _ in range(READS // len(bodies)):
            read(message)
    return (time.process_time() - started) / (READS // len(bodies) * len(bodies))


async def start() -> Figures:
    """Measure a start with eight accounts of described providers, and its memory beside that with none."""
    accounts = {name: {"api_key": "k"} for name in CONFIGURED}
    async with stub("raw") as provider:
        async with service(provider) as ours:
            plain = ours.memory()
        async with service(provider, providers=json.dumps(accounts)) as ours:
            return {
                "start to ready, s": ours.ready_after,
                "more memory, MB": ours.memory() - plain,
                "providers known": len(handlers.ALL),
            }
