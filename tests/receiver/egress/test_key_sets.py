"""The public keys of senders: read, kept for a day, fetched again once a minute at most."""

import asyncio
import json

import pytest

from handlers.errors import BadPayload
from receiver.egress.key_sets import AGAIN, LIFE, MOST, KeySets, KeysUnavailable, read_keys
from tests.receiver.client_fixture import staged
from tests.receiver.raw_server import Peer

ONE, OTHER = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg", "A" * 43


def jwk(x: object = ONE, **others: object) -> dict[str, object]:
    """Return a JSON Web Key."""
    return {"kty": "OKP", "crv": "Ed25519", "x": x, **others}


def test_ed25519_keys_are_read_and_others_left_out() -> None:
    keys = [
        jwk(),
        {"kty": "RSA", "n": "x"},
        jwk(OTHER + "="),
        jwk(7),
        jwk("short"),
        jwk("é"),
        "x",
        jwk(crv="X25519"),
    ]
    assert read_keys(json.dumps({"keys": keys}).encode()) == (ONE, OTHER + "=")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [{}]}', b"\xff"]
)
def test_a_set_without_a_key_is_none(body: bytes) -> None:
    with pytest.raises(BadPayload):
        read_keys(body)


def test_the_keys_of_a_set_are_bounded() -> None:
    assert len(read_keys(json.dumps({"keys": [jwk()] * (MOST + 5)}).encode())) == MOST


class Keys:
    """A sender's server of keys, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.key = ONE
        self.status = 200
        self.calls = 0

    async def script(self, peer: Peer) -> None:
        """Answer each request with the present keys."""
        while await peer.request():
            self.calls += 1
            body = json.dumps({"keys": [jwk(self.key)]}).encode()
            head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n\r\n"
            await peer.send(head.encode() + body)


async def test_keys_are_fetched_once_and_kept_for_a_day() -> None:
    sender = Keys()
    async with staged(sender.script) as (server, client):
        sets = KeySets(client, lambda: sender.now)
        assert await asyncio.gather(*(sets.keys(server.url()) for _ in range(5))) == [(ONE,)] * 5
        sender.now += LIFE - 1
        assert await sets.keys(server.url()) == (ONE,)
        assert sender.calls == 1
        sender.now += 1
        sender.key = OTHER
        assert await sets.keys(server.url()) == (OTHER,)
        assert sender.calls == 2


async def test_other_keys_are_looked_for_once_a_minute() -> None:
    sender = Keys()
    async with staged(sender.script) as (server, client):
        sets = KeySets(client, lambda: sender.now)
        keys = await sets.keys(server.url())
        # A key that is new right after the first fetch is found at once.
        sender.key = OTHER
        newer = await asyncio.gather(*(sets.keys(server.url(), beside=keys) for _ in range(5)))
        assert (newer, sender.calls) == ([(OTHER,)] * 5, 2)
        sender.key = ONE
        assert await sets.keys(server.url(), beside=(OTHER,)) == (OTHER,)
        sender.now += AGAIN
        assert await sets.keys(server.url(), beside=(OTHER,)) == (ONE,)
        assert sender.calls == 3


async def test_keys_that_cannot_be_fetched_ask_the_sender_to_come_again() -> None:
    sender = Keys()
    async with staged(sender.script) as (server, client):
        sets = KeySets(client, lambda: sender.now)
        sender.status = 500
        for _ in range(2):
            with pytest.raises(KeysUnavailable) as raised:
                await sets.keys(server.url())
        assert (sender.calls, raised.value.http_status) == (1, 503)
        sender.status, sender.now = 200, sender.now + AGAIN
        assert await sets.keys(server.url()) == (ONE,)
        # Known keys serve while no newer ones can be fetched, until their day is over.
        sender.status, sender.now = 500, sender.now + AGAIN
        for _ in range(2):
            with pytest.raises(KeysUnavailable):
                await sets.keys(server.url(), beside=(ONE,))
        assert await sets.keys(server.url()) == (ONE,)
        sender.now += LIFE
        with pytest.raises(KeysUnavailable):
            await sets.keys(server.url())
