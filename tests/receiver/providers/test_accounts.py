"""Answers of providers: a large one is parsed on a thread, and freed there too."""

import contextlib
import gzip
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from handlers import ALL, json
from handlers.contract import Account, Exchange, HttpMessage, HttpRequest, Phase, Update
from handlers.errors import Garbled, ProviderError
from receiver.bodies.compression import unpacked
from receiver.bodies.offload import LIGHT
from receiver.config.load import AccountSetup
from receiver.config.settings import AccountSettings
from receiver.domain.clock import Clock
from receiver.domain.lifecycle import RESULT_LIMIT
from receiver.egress.client import HttpClient
from receiver.providers.accounts import ANSWER_CAP, POLL, Accounts, Heard
from receiver.security.tokens import MasterKeys
from tests.receiver.client_fixture import staged
from tests.receiver.domain.test_lifecycle import job
from tests.receiver.raw_server import replaying

SMALL, LARGE = b"[" + b"0," * 100 + b"0]", b"[" + b"0," * LIGHT + b"0]"
QUESTION = HttpRequest("GET", "/")


class Tree(list[Any]):
    """A parsed answer."""


class Reading:
    """A parser that notes the threads on which answers are parsed and freed."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.read: list[int] = []
        self.gone: list[int] = []
        self._refuses = refuses

    def parse(self, message: HttpMessage) -> int:
        """Return the number of values in an answer."""
        self.read.append(threading.get_ident())
        tree = Tree(json.forgive(message.body))
        weakref.finalize(tree, lambda: self.gone.append(threading.get_ident()))
        try:
            if self._refuses:
                raise ValueError("no")
        except ValueError:
            raise Garbled("the answer could not be read") from None
        return len(tree)


def answer(body: bytes, *headers: bytes) -> bytes:
    """Return the bytes of an answer with this body."""
    head = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def asking(*answers: bytes) -> AsyncIterator[tuple[Accounts, AccountSetup]]:
    """Yield the accounts, and the setup of one at a provider that gives these answers."""
    async with staged(replaying(*answers)) as (server, gateway):
        handler = ALL["minimax"].configure(ALL["minimax"].options())
        settings = AccountSettings(api_key="sk-nobody")
        setup = AccountSetup(
            name="minimax", handler=handler, settings=settings, base_url=server.url("").rstrip("/"), on=True
        )
        yield accounts(setup, gateway), setup


def accounts(setup: AccountSetup, gateway: HttpClient) -> Accounts:
    """Return accounts that consist of this one."""
    clock = Clock()
    master_keys = MasterKeys([clock.entropy(32).hex()], clock.entropy)
    return Accounts({setup.name: setup}, gateway, master_keys, clock, None, lambda _account, _name: None)


async def ask(ours: Accounts, setup: AccountSetup, reading: Reading) -> int:
    """Ask once. Returns the number of values in the answer."""

    def build(_asked: None, _account: Account) -> HttpRequest:
        return QUESTION

    told, _ = await ours.ask(setup, Exchange(build, reading.parse), None, POLL)
    return told


async def test_a_large_answer_comes_and_goes_on_a_thread_and_a_small_one_on_the_loop() -> None:
    here = threading.get_ident()
    async with asking(answer(SMALL), answer(LARGE)) as (ours, setup):
        small, large = Reading(), Reading()
        assert await ask(ours, setup, small) == 101
        assert await ask(ours, setup, large) == LIGHT + 1
    assert small.read == small.gone == [here]
    assert large.read == large.gone != [here]


async def test_an_error_holds_on_to_nothing_of_a_large_answer() -> None:
    async with asking(answer(LARGE)) as (ours, setup):
        reading = Reading(refuses=True)
        with pytest.raises(Garbled) as raised:
            await ask(ours, setup, reading)
    assert reading.gone == reading.read != [threading.get_ident()]
    assert raised.value.__context__ is raised.value.__cause__ is None


async def test_a_compressed_answer_is_unpacked_on_a_thread_however_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def noting(body: bytes, names: list[str], limit: int) -> bytes:
        seen.append(threading.get_ident())
        return unpacked(body, names, limit)

    monkeypatch.setattr("receiver.providers.accounts.unpacked", noting)
    packed = gzip.compress(b"[" + b" " * (ANSWER_CAP - 3) + b"0]")
    assert len(packed) <= LIGHT
    async with asking(answer(packed, b"content-encoding: gzip")) as (ours, setup):
        reading = Reading()
        assert await ask(ours, setup, reading) == 1
    assert seen == reading.read == reading.gone != [threading.get_ident()]


@pytest.mark.parametrize("packed", [b"\x1f\x8bno", gzip.compress(b" " * (ANSWER_CAP + 1))])
async def test_a_damaged_or_too_large_answer_is_no_news(packed: bytes) -> None:
    async with asking(answer(packed, b"content-encoding: gzip")) as (ours, setup):
        reading = Reading()
        with pytest.raises(ProviderError):
            await ask(ours, setup, reading)
    assert reading.read == []


async def test_the_result_of_a_large_answer_goes_where_it_was_read() -> None:
    reading, here = Reading(), threading.get_ident()

    def parse(message: HttpMessage) -> Update:
        reading.read.append(threading.get_ident())
        tree = Tree(json.forgive(message.body))
        weakref.finalize(tree, lambda: reading.gone.append(threading.get_ident()))
        return Update(provider_job_id="a", phase=Phase.SUCCEEDED, result={"values": tree})

    async with asking(answer(LARGE)) as (ours, setup):
        exchange: Exchange[None, Heard] = ours.heard(
            job(account="minimax"), Exchange(lambda _asked, _account: QUESTION, parse)
        )
        (update, note), message = await ours.ask(setup, exchange, None, POLL)
        assert reading.read == reading.gone != [here]
    assert (update.provider_job_id, update.result, note, message.status) == ("a", None, None, 200)


def test_a_result_that_is_too_long_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = json.write

    def noting(value: Any) -> bytes:
        told = write(value)
        written.append(len(told))
        return told

    monkeypatch.setattr(json, "write", noting)
    ours = Accounts.__new__(Accounts)
    for value in (
        [10**300] * 10_000,
        ["a" * 30] * 90_000,
        {f"k{n}": n for n in range(90_000)},
        "x" * 1_000_000,
    ):
        update = Update(
            provider_job_id="a", phase=Phase.SUCCEEDED, result={"value": value}, usage={"n": value}
        )
        kept, _ = ours.fit(update, b" " * ANSWER_CAP, ())
        assert kept.result is kept.usage is None
    assert max(written, default=0) <= 8 * RESULT_LIMIT
