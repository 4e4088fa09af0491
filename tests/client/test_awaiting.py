"""The async client over sockets."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ringback import AsyncRingback, Conflict, MemoryPlace, Retry, UnexpectedAnswer, Unreachable
from tests.client.driven import DONE, JOB
from tests.client.test_blocking import fed, page_of
from tests.flaky import flaky
from tests.receiver.scripted_service import KEY, ScriptedService

PATIENT = Retry(first=0.0, longest=0.0)


def client_of(service: ScriptedService, **others: Any) -> AsyncRingback:
    """Return a client of the scripted service that does not pause."""
    options: dict[str, Any] = {"retry": PATIENT, "timeout": 20.0} | others
    return AsyncRingback(service.url, KEY, **options)


async def test_a_call_is_awaited(service: ScriptedService) -> None:
    service.answer(status=None)
    service.answer(JOB, 202)
    service.answer(DONE)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with client_of(service, sleep=sleep) as client:
        job = await client.jobs.run("apiframe", {"prompt": "x"})
    assert (job.state, slept) == ("succeeded", [0.0])
    assert [one.method for one in service.requests] == ["POST", "POST", "GET"]
    assert len({one.headers["idempotency-key"] for one in service.requests[:2]}) == 1


async def test_the_key_is_in_no_repr_and_no_error(unserved: str) -> None:
    async with AsyncRingback(unserved, KEY, retry=replace(PATIENT, attempts=1)) as client:
        assert repr(client) == f"AsyncRingback('{unserved}')"
        with pytest.raises(Unreachable) as caught:
            await client.jobs.get("job_1")
    assert KEY not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


async def test_errors_and_lists_are_those_of_the_blocking_client(service: ScriptedService) -> None:
    service.answer({"code": "conflict", "title": "t", "detail": "d"}, 409)
    service.answer(page_of("job_3", "job_2", cursor="job_2"))
    service.answer(page_of("job_1", cursor=None))
    async with client_of(service) as client:
        with pytest.raises(Conflict):
            await client.jobs.erase("job_1")
        assert [job.id async for job in client.jobs.list()] == ["job_3", "job_2", "job_1"]
    assert service.requests[2].query["cursor"] == "job_2"


async def test_a_redirect_is_not_followed(service: ScriptedService) -> None:
    service.answer(b"", 307, location=f"{service.url}/elsewhere")
    async with client_of(service) as client:
        with pytest.raises(UnexpectedAnswer, match="status 307"):
            await client.jobs.get("job_1")
    assert len(service.requests) == 1


async def test_a_client_of_ones_own_is_used_and_left_open(service: ScriptedService) -> None:
    service.answer(JOB)
    async with httpx.AsyncClient() as http:
        async with client_of(service, http=http) as client:
            await client.jobs.get("job_1")
        assert not http.is_closed


class AsyncPlace:
    """A place store with methods that are awaited."""

    def __init__(self) -> None:
        self.saved: list[str] = []

    async def load(self) -> str | None:
        """Return a place."""
        return "evt_0"

    async def save(self, place: str) -> None:
        """Keep a place, after other tasks had a turn."""
        await asyncio.sleep(0)
        self.saved.append(place)


async def test_the_follower_keeps_its_place_in_an_async_store(service: ScriptedService) -> None:
    service.answer(fed("7", "evt_1", "evt_2"))
    service.answer(status=None)
    service.answer(fed("8", "evt_3"))
    place, seen = AsyncPlace(), []
    async with client_of(service) as client:
        follower = client.events.follow(place=place)
        async for event in follower:
            seen.append((event.id, list(place.saved)))
            if event.id == "evt_3":
                follower.stop()
    assert seen == [("evt_1", []), ("evt_2", ["evt_1"]), ("evt_3", ["evt_1", "7"])]
    assert place.saved == ["evt_1", "7", "8"]
    assert [one.query["after"] for one in service.requests] == ["evt_0", "7", "7"]


class Threaded(MemoryPlace):
    """A store that remembers the threads in which it worked."""

    threads: set[int] = set()  # noqa: RUF012  # of one test

    def save(self, place: str) -> None:
        """Keep a place."""
        self.threads.add(threading.get_ident())
        super().save(place)


async def test_a_store_that_is_not_async_works_in_a_thread(service: ScriptedService) -> None:
    service.answer(fed("7", "evt_1", "evt_2"))
    place = Threaded()
    async with client_of(service) as client:
        async for event in client.events.follow(place=place):
            if event.id == "evt_2":
                break
    assert place.place == "evt_1"
    assert place.threads
    assert threading.get_ident() not in place.threads


async def test_a_cancelled_follower_ends_and_keeps_no_place() -> None:
    place = MemoryPlace("evt_0")
    async with flaky(None) as proxy, AsyncRingback(proxy.url, KEY) as client:
        follower = client.events.follow(place=place)
        task = asyncio.ensure_future(anext(follower))
        await proxy.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await follower.aclose()
    assert place.place == "evt_0"
