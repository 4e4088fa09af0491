"""The handshake: a receiver is asked by OPTIONS, and its answer is read strictly."""

import asyncio

import pytest

from receiver.delivery.handshake import Handshake, NotAllowed, allowed_rate
from tests.receiver.client_fixture import staged
from tests.receiver.raw_server import LIMIT, Peer


async def asked(answer: str, base_url: str = "https://Hooks.Example.com:8443") -> tuple[float | None, bytes]:
    """Return the rate that a receiver with this answer allows, and the request that it got."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())

    async with staged(script) as (server, client), asyncio.timeout(LIMIT):
        rate = await Handshake(client, base_url).ask(server.url("/hooks"), {"x-env": "prod"})
    return rate, seen[0]


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        ("200 OK\r\nWebHook-Allowed-Origin: hooks.example.com", None),
        ("204 No\r\nwebhook-allowed-origin: HOOKS.example.com ", None),
        ("200 OK\r\nwebhook-allowed-origin: *\r\nwebhook-allowed-rate: 120", 2.0),
        ("200 OK\r\nwebhook-allowed-origin: *\r\nwebhook-allowed-rate: *", None),
    ],
)
async def test_a_receiver_that_wants_deliveries_may_bound_their_rate(answer: str, rate: float | None) -> None:
    found, request = await asked(answer)
    assert found == rate
    head = request.decode().lower()
    assert head.startswith("options /hooks http/1.1\r\n")
    assert "\r\nwebhook-request-origin: hooks.example.com\r\n" in head
    assert "\r\nx-env: prod\r\n" in head
    assert "webhook-signature" not in head


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("200 OK", "answers 200 without webhook-allowed-origin"),
        ("405 No\r\nwebhook-allowed-origin: *", "answers 405; it must answer 200"),
        ("301 Moved\r\nlocation: /x\r\nwebhook-allowed-origin: *", "answers 301; it must answer 200"),
        (
            "200 OK\r\nwebhook-allowed-origin: other.example",
            "allows 'other.example', and not hooks.example.com",
        ),
        ("200 OK\r\nwebhook-allowed-origin: a, hooks.example.com", "and not hooks.example.com"),
    ],
)
async def test_any_other_answer_is_a_refusal_with_its_reason(answer: str, says: str) -> None:
    with pytest.raises(NotAllowed, match="receiver") as raised:
        await asked(answer)
    assert says in str(raised.value)


async def test_a_receiver_that_does_not_answer_is_told_so() -> None:
    with pytest.raises(NotAllowed, match="does not answer"):
        await asked("no http")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        (None, None),
        ("*", None),
        ("60", 1.0),
        (" 90 ", 1.5),
        ("0", 0.001),
        ("9" * 5000, 10_000.0),
        ("-1", None),
        ("1.5", None),
        ("\u0665", None),
        ("", None),
    ],
)
def test_a_rate_per_minute_becomes_one_per_second(text: str | None, rate: float | None) -> None:
    assert allowed_rate(text) == rate
