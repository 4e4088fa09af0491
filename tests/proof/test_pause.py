"""A process that is stopped for longer than its deadlines, under load, again and again.

All requests that had arrived in time are answered when it goes on, and nothing is lost. A machine that
sleeps, a container that is frozen and a host that swaps all look like this. A moment is a number of
acknowledgements, drawn from a seed. `PROOF_ROUNDS` is the number of pauses.
"""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver.egress.http1 import Answer
from tests.bench.deployment import Service, serving, settings_of, stub
from tests.bench.load import connect
from tests.ports import free_port
from tests.proof.test_kill import terminal_events

ROUNDS = min(int(os.environ.get("PROOF_ROUNDS", "2")), 20)
PAUSE = 12.0
"""Seconds of a pause, longer than the deadlines of a head (5) and of a small body (8)."""
JOBS = 120
OPEN = 24
"""Senders in the middle of a request when the process stops; as many again begin one meanwhile."""
LARGE = 900_000
SEED = 20261128
BOUND = 150.0
CUTS = (12, 40, 500, -1)
"""Places at which a request is cut in two: in its target, head and body, and before its last byte."""

Begun = tuple["asyncio.Future[Answer]", Callable[[], None]]


async def begin(port: int, request: bytes, cut: int) -> Begun:
    """Send the first part of a request. Returns its answer, and a function that sends the rest."""
    connection = await connect(port)
    answer = connection.ask(request[:cut], 4096)
    transport = connection.transport
    assert transport is not None
    return answer, lambda: transport.write(request[cut:])


def padded(request: bytes) -> bytes:
    """Return the same callback with a body that no socket holds at once."""
    head, _, body = request.partition(b"\r\n\r\n")
    body = json.dumps({**json.loads(body), "note": "x" * LARGE}).encode()
    head = re.sub(rb"content-length: \d+", b"content-length: %d" % len(body), head)
    return head + b"\r\n\r\n" + body


async def load(port: int, requests: Iterator[bytes], done: Callable[[], object]) -> None:
    """Send callbacks one after the other, and call `done` after each acknowledgement."""
    connection = await connect(port)
    for request in requests:
        async with asyncio.timeout(BOUND):
            assert (await connection.ask(request, 4096)).status == 200
        done()
    connection.close()


async def stopped_in_the_middle(ours: Service, requests: list[bytes], after: int) -> list[int]:
    """Stop the process under load and let it go on. Returns the statuses of the requests under way."""
    moment, acknowledged = asyncio.Event(), Counter[str]()

    def done() -> None:
        acknowledged["all"] += 1
        if acknowledged["all"] == after:
            moment.set()

    large = [padded(one) for one in requests[: OPEN // 2]]
    cut = zip(large + requests[OPEN // 2 : OPEN], CUTS * OPEN, strict=False)
    begun = [await begin(ours.port, *one) for one in cut]
    idle = [await connect(ours.port) for _ in range(OPEN)]
    waiting = iter(requests[OPEN * 2 :])
    loads = asyncio.gather(*(load(ours.port, waiting, done) for _ in range(16)))
    await moment.wait()
    ours.process.send_signal(signal.SIGSTOP)
    try:
        for _, send_rest in begun:
            send_rest()
        whole = zip(idle, requests[OPEN : OPEN * 2], strict=True)
        answers = [answer for answer, _ in begun] + [one.ask(request, 4096) for one, request in whole]
        await asyncio.sleep(PAUSE)
    finally:
        ours.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(BOUND):
        told = await asyncio.gather(*answers, return_exceptions=True)
        await loads
    return [0 if isinstance(one, BaseException) else one.status for one in told]


@pytest.mark.timeout(300 + 60 * ROUNDS)
async def test_a_pause_under_load_cuts_nothing_that_had_arrived(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    port, sent = free_port(), set[str]()
    async with (
        stub("raw") as provider,
        serving(settings_of(str(tmp_path), port, provider), port, provider) as ours,
    ):
        for number in range(ROUNDS):
            requests, jobs = await ours.callbacks(JOBS)
            statuses = await stopped_in_the_middle(ours, requests, dice.randint(1, JOBS - 2 * OPEN))
            print(f"pause {number + 1} of {ROUNDS}: {statuses.count(200)} of {OPEN * 2} answered", flush=True)
            assert statuses == [200] * OPEN * 2
            sent |= set(jobs)
            counted = await terminal_events(ours)
            assert set(counted) == sent
            assert set(counted.values()) == {1}
