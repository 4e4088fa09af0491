"""Tests of look-ups at a real name server: a silent server, the cache, and its bounds."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from receiver.egress import resolver
from receiver.egress.resolver import NO_ADDRESS, NO_ANSWER, NameServers, Resolver, Unresolved
from tests.receiver.name_server import SILENT, NameServer, naming

PATIENCE = 100.0
GOOD = ("127.0.0.1",)


@contextlib.asynccontextmanager
async def staged(
    table: Mapping[str, Sequence[str]], hosts: Path | None = None
) -> AsyncIterator[tuple[NameServer, Resolver]]:
    """Yield a name server, and a resolver that uses it."""
    async with naming(table) as server:
        found = Resolver(NameServers([f"127.0.0.1:{server.port}"], hosts or Path(os.devnull)))
        try:
            yield server, found
        finally:
            await found.close()


async def asked(one: Resolver, host: str, *, provider: bool = False) -> list[str] | str:
    """Return the addresses of a name, or the reason why there are none."""
    async with asyncio.timeout(PATIENCE):
        try:
            return [str(address) for address in await one.addresses(host, provider=provider)]
        except Unresolved as error:
            return str(error)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for silent names longer than any test takes."""
    monkeypatch.setattr(resolver, "FIRST_ANSWER", 60.0)


# Silence.


async def test_a_thousand_silent_names_delay_no_other(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    places = 32
    monkeypatch.setitem(resolver.PLACES, "stranger", places)
    async with staged({"*.dead.test": SILENT, "good.test": GOOD, "new.test": GOOD}) as (server, one):
        assert await asked(one, "good.test") == ["127.0.0.1"]
        dead = [asyncio.create_task(asked(one, f"d{number}.dead.test")) for number in range(1000)]
        await server.until(f"d{places - 1}.dead.test")
        one._good["good.test"] = resolver.Result(0.0, one._good["good.test"].addresses)
        assert await asked(one, "good.test") == ["127.0.0.1"]
        assert await asked(one, "new.test", provider=True) == ["127.0.0.1"]
        assert (server.asked["good.test"], server.asked["new.test"]) == (2, 1)
        assert not any(task.done() for task in dead)
        assert sum(name.endswith(".dead.test") for name in server.asked) == places
        for task in dead:
            task.cancel()


async def test_a_silent_name_ends_by_itself_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "FIRST_ANSWER", 0.05)
    async with staged({"dead.test": SILENT}) as (server, one):
        assert await asked(one, "dead.test") == NO_ANSWER
        times = server.asked["dead.test"]
        assert await asked(one, "dead.test") == NO_ANSWER
    assert server.asked["dead.test"] == times == resolver.TRIES


async def test_a_deadline_releases_the_caller_and_not_the_others(patient: None) -> None:
    async with staged({"slow.test": SILENT}) as (server, one):
        hasty = asyncio.create_task(asked(one, "slow.test"))
        patient_one = asyncio.create_task(asked(one, "slow.test"))
        await server.until("slow.test")
        hasty.cancel()
        await asyncio.wait([hasty], timeout=PATIENCE)
        assert (hasty.cancelled(), patient_one.done(), len(one._flights)) == (True, False, 1)
        patient_one.cancel()


async def test_whoever_gives_up_before_a_place_was_free_leaves_nothing_behind(
    patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(resolver.PLACES, "stranger", 1)
    async with staged({"*.test": SILENT}) as (server, one):
        first = asyncio.create_task(asked(one, "first.test"))
        await server.until("first.test")
        waiting = [asyncio.create_task(asked(one, f"later{number}.test")) for number in range(50)]
        await asyncio.sleep(0)
        assert len(one._flights) == 51
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=PATIENCE)
        assert list(one._flights) == [("first.test", False)]
        first.cancel()


async def test_closing_waits_for_no_name(patient: None) -> None:
    async with staged({"slow.test": SILENT}) as (server, one):
        task = asyncio.create_task(asked(one, "slow.test"))
        await server.until("slow.test")
        async with asyncio.timeout(PATIENCE):
            await one.close()
            await asyncio.wait([task])


# What is kept.


async def test_many_who_want_one_name_ask_for_it_once() -> None:
    async with staged({"good.test": GOOD}) as (server, one):
        found = await asyncio.gather(*[asked(one, "good.test") for _ in range(50)])
        assert await asked(one, "good.test") == ["127.0.0.1"]
    assert (found, server.asked["good.test"]) == ([["127.0.0.1"]] * 50, 1)


async def test_what_is_kept_is_asked_for_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "KEPT", -1.0)
    async with staged({"good.test": GOOD}) as (server, one):
        assert await asked(one, "good.test") == ["127.0.0.1"]
        server.table["good.test"] = ("127.0.0.2",)
        assert await asked(one, "good.test") == ["127.0.0.2"]
        del server.table["good.test"]
        assert await asked(one, "good.test") == NO_ADDRESS


async def test_a_name_that_is_not_is_kept_too() -> None:
    async with staged({"bare.test": ()}) as (server, one):
        for name in ("none.test", "bare.test"):
            assert [await asked(one, name) for _ in range(3)] == [NO_ADDRESS] * 3
    assert dict(server.asked) == {"none.test": 1, "bare.test": 1}


async def test_no_more_names_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "REMEMBERED", 3)
    async with staged({f"good{number}.test": GOOD for number in range(9)}) as (_, one):
        for number in range(9):
            await asked(one, f"good{number}.test")
            await asked(one, f"none{number}.test")
        assert list(one._good) == [f"good{number}.test" for number in (6, 7, 8)]
        assert list(one._bad) == [f"none{number}.test" for number in (6, 7, 8)]
        assert not one._flights


# What a name is.


async def test_both_families_are_looked_up() -> None:
    async with staged({"both.test": ("127.0.0.1", "::1", "127.0.0.2")}) as (_, one):
        found = await asked(one, "both.test")
    assert sorted(found) == ["127.0.0.1", "127.0.0.2", "::1"]


async def test_the_hosts_file_goes_first_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.7 Seven.test other.test # 127.0.0.8 eight.test\n::7\tseven.test\n\n# nothing\nodd\n"
    )
    async with staged({"seven.test": GOOD, "eight.test": GOOD}, hosts) as (server, one):
        assert await asked(one, "seven.test") == ["127.0.0.7", "::7"]
        assert await asked(one, "other.test.") == ["127.0.0.7"]
        assert await asked(one, "eight.test") == ["127.0.0.1"]
        one._good.clear()
        hosts.write_text("127.0.0.9 seven.test\n")
        assert await asked(one, "seven.test") == ["127.0.0.9"]
        hosts.unlink()
        one._good.clear()
        assert await asked(one, "seven.test") == ["127.0.0.1"]
    assert dict(server.asked) == {"eight.test": 1, "seven.test": 1}


async def test_this_machine_by_name_needs_no_name_server() -> None:
    async with staged({}) as (server, one):
        for name in ("localhost", "localhost.", "app.localhost"):
            assert await asked(one, name) == ["127.0.0.1"]
    assert not server.asked


@pytest.mark.parametrize("name", ["a" * 63 + ".test", "-", "_", "a..b", "x" * 300, "%", "1.2.3.4.5"])
async def test_odd_names_have_no_address(name: str) -> None:
    async with staged({}) as (_, one):
        assert await asked(one, name) == NO_ADDRESS
