"""Hints between replicas: sent together, heard from others only, and heard again after a lost connection."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from receiver.domain.errors import StoreUnavailable
from receiver.store.postgres import notify
from receiver.store.postgres.notify import CHANNEL, Bell
from receiver.store.postgres.url import PostgresTarget, target
from tests.engines import ENGINES
from tests.proof.wire import Wire

PATIENCE = 100.0
NOWHERE = PostgresTarget("postgresql://127.0.0.1:1/x")
"""A target for bells that only send: `ring` sends for them."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send and listen again at once."""
    monkeypatch.setattr(notify, "GATHER", 0.0)
    monkeypatch.setattr(notify, "APART", 0.0)
    monkeypatch.setattr(notify, "AGAIN", 0.0)


@pytest.fixture
def url(on_postgres: None, tmp_path: Path) -> str:
    """Return the URL of a database, behind no pooler."""
    name = ENGINES.url(tmp_path / "store.db").rsplit("/", 1)[1].partition("?")[0]
    return ENGINES.cluster.url(name)


@pytest.fixture
async def other(url: str) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Yield a function that sends the text of a notification, as another replica does."""
    connection = await asyncpg.connect(url)

    async def send(text: str) -> None:
        await connection.execute("select pg_notify($1, $2)", CHANNEL, text)

    yield send
    await connection.close()


class Heard:
    """The texts that arrive, in order."""

    def __init__(self) -> None:
        self._texts: asyncio.Queue[str] = asyncio.Queue()

    def take(self, text: str) -> None:
        """Add a text."""
        self._texts.put_nowait(text)

    async def ring(self, text: str) -> None:
        """Add the text of a notification."""
        self.take(text)

    async def next(self, count: int = 1) -> list[str]:
        """Return the next texts, once they are there."""
        async with asyncio.timeout(PATIENCE):
            return [await self._texts.get() for _ in range(count)]


# Sent.


async def test_hints_are_sent_together_each_once_behind_the_name_of_the_replica() -> None:
    sent = Heard()
    bell = Bell(NOWHERE, "me", sent.ring)
    for word in ("poll", "deliver", "poll"):
        bell.tell(word)
    assert await sent.next() == ["me deliver poll"]
    bell.tell("submit")
    assert await sent.next() == ["me submit"]
    await bell.close()


async def test_the_next_hints_wait_until_the_last_ones_are_long_enough_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent, waits, sleep = Heard(), list[float](), asyncio.sleep

    async def waiting(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", waiting)
    monkeypatch.setattr(notify, "GATHER", 0.5)
    bell = Bell(NOWHERE, "me", sent.ring)
    bell.tell("first")
    await sent.next()
    monkeypatch.setattr(notify, "APART", 3600.0)
    bell.tell("second")
    await sent.next()
    assert waits[0] == 0.5
    assert 3600.0 - PATIENCE <= waits[1] <= 3600.0
    await bell.close()


async def test_a_hint_that_comes_while_others_are_sent_goes_with_the_next() -> None:
    sent = Heard()

    async def ring(text: str) -> None:
        if text == "me first":
            bell.tell("second")
        sent.take(text)

    bell = Bell(NOWHERE, "me", ring)
    bell.tell("first")
    assert await sent.next(2) == ["me first", "me second"]
    await bell.close()


async def test_hints_that_cannot_be_sent_are_lost_and_later_ones_are_not() -> None:
    sent = Heard()

    async def ring(text: str) -> None:
        sent.take(text)
        if text == "me lost":
            raise StoreUnavailable

    bell = Bell(NOWHERE, "me", ring)
    bell.tell("lost")
    assert await sent.next() == ["me lost"]
    bell.tell("sent")
    assert await sent.next() == ["me sent"]
    await bell.close()


async def test_a_closed_bell_leaves_no_task_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "GATHER", 3600.0)
    before = asyncio.all_tasks()
    bell = Bell(NOWHERE, "me", Heard().ring)
    bell.tell("never")
    bell.listen(Heard().take)
    assert len(asyncio.all_tasks() - before) == 2
    await bell.close()
    assert asyncio.all_tasks() == before


# Heard.


async def test_hints_of_others_are_heard_one_by_one_and_our_own_are_not(
    url: str, other: Callable[[str], Awaitable[None]]
) -> None:
    heard = Heard()
    bell = Bell(target(url), "me", heard.ring)
    bell.listen(heard.take)
    assert await heard.next() == [""], "hints may have been missed before"
    await other("me poll")
    await other("it deliver submit")
    assert await heard.next(2) == ["deliver", "submit"]
    await bell.close()


async def test_a_lost_connection_is_made_again_and_tells_that_hints_may_be_missed(
    url: str, other: Callable[[str], Awaitable[None]]
) -> None:
    heard = Heard()
    bell = Bell(target(url), "me", heard.ring)
    bell.listen(heard.take)
    assert await heard.next() == [""]
    ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where query ilike 'listen%'"
    assert ENGINES.cluster.sql(url.rsplit("/", 1)[1], f"{ended} and datname = current_database()") == "1"
    assert await heard.next() == [""]
    await other("it poll")
    assert await heard.next() == ["poll"]
    await bell.close()


async def test_a_connection_that_fails_is_tried_again(url: str) -> None:
    attempts = 0
    wire = Wire(ENGINES.cluster.port, random.Random(1))

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        wire.down = attempts == 1
        await wire.take(reader, writer)

    front = await asyncio.start_server(take, "127.0.0.1", 0)
    port = front.sockets[0].getsockname()[1]
    heard = Heard()
    bell = Bell(target(url.replace(str(ENGINES.cluster.port), str(port))), "me", heard.ring)
    bell.listen(heard.take)
    assert await heard.next() == [""]
    assert attempts == 2
    await bell.close()
    front.close()
    wire.close()
