"""Tests of new connections: many addresses of one name, this machine's addresses, and used-up sockets."""

import asyncio
import contextlib
import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.cli.serve import MOST_FILES, more_files
from receiver.egress import address_guard, dialer
from receiver.egress.address_guard import BadUrl, Guard, guard
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.dialer import NO_SOCKET, is_own
from receiver.egress.http1 import Answer
from tests.receiver.raw_server import LIMIT, OK, Names, Peer, calling, outcome, replaying, serving

ANYWHERE = guard(["127.0.0.0/8", "::1/128"], http=False)
NAME = "hooks.test"


class Hanging:
    """A wrapper of the loop's `create_connection`: some addresses never answer, and all are stored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *dead: str) -> None:
        loop = asyncio.get_running_loop()
        self.to: list[str] = []
        self.open = self.most = 0
        self._dead = dead
        self._dial = loop.create_connection
        monkeypatch.setattr(loop, "create_connection", self.create_connection)

    async def create_connection(self, protocol: Any, host: str, port: int) -> Any:
        """Connect as `loop.create_connection` does, or wait for ever for a dead address."""
        self.to.append(host)
        if host not in self._dead:
            return await self._dial(protocol, host, port)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.Event().wait()
        finally:
            self.open -= 1


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never try the next address because one is slow."""
    monkeypatch.setattr(dialer, "NEXT_ADDRESS", 3600.0)


# Many addresses.


async def test_a_dead_address_costs_a_moment(unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "STAGGER", 0.01)
    Names({NAME: [["::1", "127.0.0.1"]]}).answer(monkeypatch)
    async with serving(replaying(OK)) as server, calling(ANYWHERE) as gateway:
        dials = Hanging(monkeypatch, "::1")
        found = await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME), timeout=3600))
        assert isinstance(found, Answer)
        await asyncio.sleep(0)
    assert (dials.to, dials.open) == (["::1", "127.0.0.1"], 0)


async def test_one_dead_family_costs_a_moment_however_many_it_has(
    unhurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "STAGGER", 0.01)
    dead = [f"fd00::{number:x}" for number in range(1, 30)]
    Names({NAME: [[*dead, "127.0.0.1"]]}).answer(monkeypatch)
    async with (
        serving(replaying(OK)) as server,
        calling(guard(["::/0", "127.0.0.1/32"], http=False)) as gateway,
    ):
        dials = Hanging(monkeypatch, *dead)
        assert isinstance(await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME))), Answer)
    assert dials.to == [dead[0], "127.0.0.1"]


async def test_an_address_that_refuses_is_left_at_once(
    unhurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "STAGGER", 3600.0)
    Names({NAME: [["127.0.0.2", "127.0.0.3", "127.0.0.1"]]}).answer(monkeypatch)
    async with serving(replaying(OK)) as server, calling(ANYWHERE) as gateway:
        assert isinstance(await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME))), Answer)


async def test_only_so_many_addresses_are_tried_at_once(
    unhurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "STAGGER", 0.001)
    dead = [f"127.0.1.{number}" for number in range(1, 60)]
    Names({NAME: [dead]}).answer(monkeypatch)
    async with calling(ANYWHERE) as gateway:
        dials = Hanging(monkeypatch, *dead)
        failed = await outcome(gateway, HttpCall(method="POST", url=f"http://{NAME}:9999/", timeout=0.5))
        await asyncio.sleep(0)
    assert isinstance(failed, CallFailed)
    assert (failed.stage, failed.reason, failed.local) == ("connect", "timed out", False)
    assert (dials.most, dials.open) == (dialer.AT_ONCE, 0)


async def test_a_slow_address_is_given_up_while_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "STAGGER", 0.001)
    monkeypatch.setattr(dialer, "NEXT_ADDRESS", 0.01)
    dead = [f"127.0.1.{number}" for number in range(1, 30)]
    Names({NAME: [[*dead, "127.0.0.1"]]}).answer(monkeypatch)
    async with serving(replaying(OK)) as server, calling(ANYWHERE) as gateway:
        Hanging(monkeypatch, *dead)
        assert isinstance(await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME))), Answer)


# Our own addresses.


def test_a_machine_knows_its_own_addresses() -> None:
    own = {text: is_own(ipaddress.ip_address(text)) for text in ("127.0.0.1", "127.9.9.9", "192.0.2.1")}
    assert own == {"127.0.0.1": True, "127.9.9.9": True, "192.0.2.1": False}
    assert not is_own(ipaddress.ip_address("2001:db8::1"))


async def test_a_public_address_of_this_machine_is_refused_unless_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_guard, "NOT_PUBLIC", ())
    Names({NAME: [["127.0.0.1"]]}).answer(monkeypatch)
    async with serving(replaying(OK)) as server:
        async with calling(Guard(http=True)) as gateway:
            failed = await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME)))
            with pytest.raises(BadUrl, match="egress_allow"):
                gateway.check(server.url())
        async with calling(guard(["127.0.0.1/32"], http=True)) as gateway:
            assert isinstance(
                await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME))), Answer
            )
    assert isinstance(failed, CallFailed)
    assert failed.stage == "resolve"


async def test_an_allowed_name_reaches_a_private_address_and_no_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata, other = "metadata.example", "other.example"
    answers = {NAME: [["127.0.0.1"]], other: [["127.0.0.1"]], metadata: [["127.0.0.1", "169.254.169.254"]]}
    Names(answers).answer(monkeypatch)
    allowing = guard([], http=False, hosts=[NAME, metadata])
    async with serving(replaying(OK)) as server, calling(allowing) as gateway:
        gateway.check(server.url(host=NAME))
        assert isinstance(await outcome(gateway, HttpCall(method="POST", url=server.url(host=NAME))), Answer)
        for host in (other, metadata):
            failed = await outcome(gateway, HttpCall(method="POST", url=server.url(host=host)))
            assert isinstance(failed, CallFailed)
            assert failed.stage == "resolve"
        for url in (server.url(), server.url(host=other)):
            with pytest.raises(BadUrl, match="egress_allow"):
                gateway.check(url)


async def test_where_any_address_can_be_bound_the_one_sent_from_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialer, "_binds", lambda _address: True)
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    monkeypatch.setattr(dialer, "_sends_from", lambda _address: None)
    assert not is_own(ipaddress.ip_address("127.0.0.1"))


# Sockets.


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow three sockets for deliveries and one for calls to providers."""
    monkeypatch.setattr(dialer, "SOCKETS", 4)
    monkeypatch.setattr(dialer, "FEWEST", 0)


async def held(gateway: HttpClient, url: str, count: int) -> list[asyncio.Task[Any]]:
    """Return deliveries under way, each of which holds a socket."""
    return [
        asyncio.create_task(outcome(gateway, HttpCall(method="POST", url=url, timeout=LIMIT, delivery=True)))
        for _ in range(count)
    ]


async def test_whoever_finds_no_socket_waits_and_fails_for_no_fault_of_the_other_side(few: None) -> None:
    begun: asyncio.Queue[bool] = asyncio.Queue()

    async def holding(peer: Peer) -> None:
        await begun.put(True)
        await peer.leave()

    async with serving(holding) as slow, serving(replaying(OK, OK)) as quick, calling() as gateway:
        tasks = await held(gateway, slow.url(), 3)
        assert [await one.get() for one in [begun] * 3] == [True] * 3
        failed = await outcome(gateway, HttpCall(method="POST", url=quick.url(), timeout=0.1, delivery=True))
        assert isinstance(failed, CallFailed)
        assert (failed.reason, failed.local, failed.written) == (NO_SOCKET, True, False)
        assert isinstance(await outcome(gateway, HttpCall(method="POST", url=quick.url())), Answer)
        waiting = asyncio.create_task(
            outcome(gateway, HttpCall(method="POST", url=quick.url(), delivery=True))
        )
        await asyncio.sleep(0)
        tasks[0].cancel()
        assert isinstance(await waiting, Answer)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_idle_connection_is_given_up_for_a_new_one(few: None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(replaying(OK))) for _ in range(9)]
        gateway = await stack.enter_async_context(calling())
        for server in servers:
            assert isinstance(
                await outcome(gateway, HttpCall(method="POST", url=server.url(), delivery=True)), Answer
            )
        for server in servers[:6]:
            await server.gone(1)


async def talking(peer: Peer) -> None:
    """Send data that is no handshake."""
    await peer.send(b"220 mail.test ESMTP ready\r\n")
    await peer.leave()


async def test_failed_connections_give_their_sockets_back(few: None) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with calling() as gateway:
        for scheme in ("http", "https"):
            for _ in range(5):
                failed = await outcome(
                    gateway, HttpCall(method="POST", url=f"{scheme}://127.0.0.1:{port}/", delivery=True)
                )
                assert isinstance(failed, CallFailed)
                assert (failed.stage, failed.local) == ("connect", False)
    async with serving(talking) as server, calling() as gateway:
        for _ in range(5):
            url = server.url().replace("http:", "https:")
            failed = await outcome(gateway, HttpCall(method="POST", url=url, delivery=True))
            assert isinstance(failed, CallFailed)
            assert (failed.stage, failed.local) == ("tls", False)


@contextlib.contextmanager
def no_files() -> Iterator[None]:
    """Use up the open files of this process as long as the context lasts."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, limits[1]))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_want_of_files_is_told_as_our_own_trouble() -> None:
    async with calling(ANYWHERE) as gateway:
        with no_files():
            failed = await outcome(
                gateway, HttpCall(method="POST", url="http://127.0.0.1:9999/", delivery=True)
            )
    assert isinstance(failed, CallFailed)
    assert (failed.reason, failed.local, failed.written) == (os.strerror(errno.EMFILE).lower(), True, False)


@pytest.mark.parametrize(
    ("soft", "most"),
    [
        (1024, 512),
        (20, dialer.FEWEST),
        (1 << 20, dialer.SOCKETS),
        (resource.RLIM_INFINITY, dialer.SOCKETS),
    ],
)
def test_half_of_the_files_are_for_calls(soft: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, soft))
    assert dialer._sockets() == most


def test_a_service_takes_all_the_files_that_it_may_open() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 100, limits[1])
        )
        more_files()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (soft, hard) == (MOST_FILES if hard == resource.RLIM_INFINITY else hard, limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
