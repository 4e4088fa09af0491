"""Tests of the state of the simulated providers: words, knobs, phases, and the order of callbacks."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.sandbox import world
from receiver.sandbox.world import OUTCOMES, QUIRKS, Knobs, Made, Message, World
from tests.receiver.raw_server import LOOPBACK_ONLY, Peer, RawServer, serving
from tests.receiver.sandbox.simulated import made as a_job


async def test_a_simulated_provider_remembers_so_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "KEPT", 2)
    made = World(client=HttpClient(guard((), http=False)), knobs=Knobs())
    for name in "abc":
        job = Made(
            id=name,
            provider="aiml",
            operation="video",
            input={},
            words=frozenset(),
            key="key",
            started=0.0,
            takes=1.0,
            origin="http://127.0.0.1",
        )
        made.accept(job, None)
    assert (list(made.jobs), made.accepted["aiml"]) == (["b", "c"], 3)


class Hook:
    """A receiver of callbacks: the statuses of its answers, and the callbacks in their order."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.received: list[str] = []

    async def script(self, peer: Peer) -> None:
        """Answer each request with the next status, else with 200."""
        while request := await peer.request():
            self.received.append(request.partition(b"\r\n\r\n")[2].decode())
            status = self.statuses.pop(0) if self.statuses else 200
            await peer.send(b"HTTP/1.1 %d OK\r\ncontent-length: 2\r\n\r\nok" % status)


@pytest.fixture
def hook() -> Hook:
    """Return a receiver of callbacks."""
    return Hook()


@pytest.fixture
async def server(hook: Hook) -> AsyncIterator[RawServer]:
    """Yield the server of the receiver."""
    async with serving(hook.script) as running:
        yield running


@pytest.fixture
async def a_world() -> AsyncIterator[World]:
    """Yield a world that may call this machine."""
    client = HttpClient(LOOPBACK_ONLY)
    made = World(client=client, knobs=Knobs(delay=5.0))
    yield made
    await made.close()
    await client.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between the callbacks, which pass at once."""
    seconds: list[float] = []

    async def sleep(pause: float) -> None:
        seconds.append(pause)
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop
    monkeypatch.setattr(
        world, "asyncio", SimpleNamespace(sleep=sleep, gather=asyncio.gather, get_running_loop=loop)
    )
    return seconds


def says(_made: Made, phase: str, progress: int, forged: bool) -> Message:
    """Return a callback with a body that describes it."""
    return Message(f"{phase} {progress}{' forged' if forged else ''}".encode(), ())


async def rung(a_world: World, job: Made) -> None:
    """Accept a job, and wait until its callbacks have ended."""
    a_world.accept(job, says)
    async with asyncio.timeout(100):
        await asyncio.gather(*a_world._tasks)


RUNNING, DONE = "running 40", "succeeded 100"


@pytest.mark.parametrize(
    ("words", "received", "waits"),
    [
        ("", [RUNNING, DONE], [4.0, 6.5]),
        ("fail", [RUNNING, "failed 100"], [4.0, 6.5]),
        ("late", [RUNNING, DONE], [4.0, 11.5]),
        ("doubled", [RUNNING, DONE, DONE, DONE], [4.0, 6.5]),
        ("reordered", [DONE, RUNNING], [4.0, 6.5]),
        ("forged", ["failed 100 forged", RUNNING, DONE], [4.0, 6.5]),
    ],
)
async def test_a_word_decides_which_callbacks_come_and_when(
    a_world: World, server: RawServer, hook: Hook, pauses: list[float], words: str, received: Any, waits: Any
) -> None:
    await rung(a_world, a_job("imagineo", words, callback_url=server.url()))
    assert hook.received == received
    assert pauses == pytest.approx(waits)
    assert a_world.sent == {"200": len(received)}


@pytest.mark.parametrize(
    ("words", "url", "speaks"),
    [("lost", "http://127.0.0.1:1/", True), ("", None, True), ("", "http://h/", False)],
)
async def test_a_job_without_callbacks_is_accepted_all_the_same(
    a_world: World, words: str, url: str | None, speaks: bool
) -> None:
    job = a_job("imagineo", words, callback_url=url)
    assert a_world.accept(job, says if speaks else None) is job
    assert (a_world.jobs, a_world.accepted) == ({job.id: job}, {"imagineo": 1})
    assert not a_world._tasks


async def test_a_callback_that_is_refused_is_sent_again(
    a_world: World, server: RawServer, hook: Hook, pauses: list[float]
) -> None:
    hook.statuses = [500, 200, 401, 404, 503]
    await rung(a_world, a_job("imagineo", callback_url=server.url()))
    assert hook.received == [RUNNING] * 2 + [DONE] * 3
    assert pauses == pytest.approx([4.0, 0.2, 6.5, 0.2, 1.0, 3.0])
    assert a_world.sent == {"500": 1, "200": 1, "401": 1, "404": 1, "503": 1}


async def test_a_callback_url_that_must_not_be_called_is_a_failure(
    a_world: World, server: RawServer, hook: Hook
) -> None:
    with_credentials = server.url().replace("://", "://user:secret@")
    assert await a_world.post(with_credentials, Message(b"{}", ())) is None
    assert a_world.sent == {"failed": 1}
    assert hook.received == []


async def test_a_post_returns_the_body_of_an_answer_of_2xx(
    a_world: World, server: RawServer, hook: Hook
) -> None:
    hook.statuses = [299, 300]
    assert await a_world.post(server.url(), Message(b"{}", (("x-a", "1"),))) == b"ok"
    assert await a_world.post(server.url(), Message(b"{}", ())) is None


async def test_closing_ends_the_callbacks_under_way(a_world: World, server: RawServer, hook: Hook) -> None:
    a_world.accept(a_job("imagineo", callback_url=server.url(), takes=3600.0), says)
    [task] = a_world._tasks
    await a_world.close()
    assert task.cancelled()
    assert not a_world._tasks
    assert hook.received == []


async def test_only_so_many_jobs_have_callbacks_under_way(
    a_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "KEPT", 1)
    for name in "ab":
        a_world.accept(a_job("imagineo", id=name, callback_url="http://127.0.0.1:1/", takes=3600.0), says)
    assert len(a_world._tasks) == 1
    assert list(a_world.jobs) == ["b"]


async def test_a_job_is_known_by_its_idempotency_key_while_it_is_kept(a_world: World) -> None:
    job = a_world.accept(a_job("imagineo"), None)
    a_world.answered["key|1"] = job.id
    assert a_world.known("key|1") is job
    assert a_world.known("key|2") is None
    a_world.jobs.clear()
    assert a_world.known("key|1") is None


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a tide", set()),
        ("a tide, LATE and lost-answer", {"late", "lost-answer"}),
        ("lost", {"lost"}),
        ("failing refusal lateness", set()),
        ("fail; refused. blocked: empty", {"fail", "refused", "blocked", "empty"}),
        (" ".join(QUIRKS), set(QUIRKS)),
        (" ".join(OUTCOMES), set(OUTCOMES)),
    ],
)
async def test_only_whole_words_of_a_prompt_count(a_world: World, prompt: str, found: set[str]) -> None:
    assert a_world.words(prompt) == found


@pytest.mark.parametrize("quirk", QUIRKS)
async def test_a_knob_applies_its_quirk_to_a_share_of_all_jobs(a_world: World, quirk: str) -> None:
    a_world.set(**{quirk.replace("-", "_"): 1.0})
    assert a_world.knobs.share(quirk) == 1.0
    assert a_world.words("fail") == {quirk, "fail"}


class Fixed(random.Random):
    """Chance that is always a half."""

    def random(self) -> float:
        """Return a half."""
        return 0.5


async def test_a_share_is_compared_with_chance(a_world: World) -> None:
    a_world.chance = Fixed()
    a_world.set(late=0.5, lost=0.51)
    assert a_world.words("") == {"lost"}
    assert a_world.knobs.delay == 5.0


@pytest.mark.parametrize(
    ("now", "progress", "phase"),
    [
        (99.0, 0, "queued"),
        (100.0, 0, "queued"),
        (101.9, 19, "queued"),
        (102.0, 20, "running"),
        (109.9, 99, "running"),
        (110.0, 100, "succeeded"),
        (500.0, 100, "succeeded"),
    ],
)
def test_a_job_goes_through_its_phases(now: float, progress: int, phase: str) -> None:
    job = a_job("aiml", started=100.0)
    assert (job.progress(now), job.phase(now)) == (progress, phase)
    failing = a_job("aiml", "fail", started=100.0)
    assert failing.phase(now) == ("failed" if phase == "succeeded" else phase)
    assert a_job("aiml", "canceled fail", started=100.0).phase(now) == "canceled"


def test_a_job_that_takes_no_time_is_done_at_once() -> None:
    job = a_job("aiml", takes=0.0)
    assert (job.progress(0.0), job.phase(0.0)) == (100, "succeeded")


def test_a_file_lies_below_its_provider_and_its_job() -> None:
    assert a_job("aiml").file("0.mp4") == "http://127.0.0.1:9090/aiml/files/aiml-1/0.mp4"


@pytest.mark.parametrize("show", [repr, str])
def test_no_key_and_no_secret_is_in_a_repr(show: Callable[[Made], str]) -> None:
    text = show(a_job("aiml", key="canary", secret="canary"))
    assert "aiml-1" in text
    assert "canary" not in text
