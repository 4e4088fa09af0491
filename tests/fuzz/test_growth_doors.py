"""The functions and proofs of every provider: each takes time in proportion to the message."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from handlers.contract import HttpMessage
from handlers.wishes import retry_after
from tests.fuzz.growth import TEXT_UNITS, grows, longer
from tests.handlers.captures import HANDLERS, KEYS, captures, exchanges, message
from tests.handlers.strategies import places, replaced

LIMIT = 16 * 1024
PLACES = 6
"""Number of fields of a message that are filled, one at a time."""
FILLED: dict[str, Callable[[int], Any]] = {
    "a text": lambda size: "x" * size,
    "blanks": lambda size: " " * size,
    "digits": lambda size: "9" * size,
    "marks": lambda size: "\u202e%" * (size // 2),
    "numbers": lambda size: [1.5] * (size // 4),
    "texts": lambda size: ["x"] * (size // 4),
    "links": lambda size: [f"https://a.example/{number}.mp4" for number in range(size // 26)],
    "objects": lambda size: [{"url": "https://a.example/v.mp4", "message": []}] * (size // 50),
    "names": lambda size: {f"video{number}": "https://a.example/" for number in range(size // 30)},
    "lists in lists": lambda size: [[[["message"], ["x"]]]] * (size // 24),
}
"""Contents of a field, by size."""

DOORS: dict[str, tuple[Callable[[HttpMessage], object], list[bytes]]] = {}
"""Every reader of a message, with bodies that it reads."""


def _collect() -> None:
    for name, handler in HANDLERS.items():
        readers: dict[str, Callable[[HttpMessage], object]] = {
            door: exchange.parse for door, exchange in exchanges(handler).items()
        }
        if handler.callback is not None:
            readers |= {"callback": handler.callback.parse, "challenge": handler.callback.challenge}
        for door, read in readers.items():
            told = [capture.message for capture in captures(name, door) if capture.message.status < 300]
            DOORS[f"{name} {door}"] = (read, [one.body for one in told if one.body.startswith(b"{")][:1])


_collect()


def reader(door: str, status: int) -> Callable[[bytes], object]:
    """Return a reader for bodies under this status."""
    read, _ = DOORS[door]
    return lambda body: read(message(status, body))


@pytest.mark.parametrize("door", DOORS)
def test_a_message_costs_in_proportion(door: str) -> None:
    _, bodies = DOORS[door]
    for body in [json.loads(body) for body in bodies] or [{}]:
        for place in places(body)[:PLACES]:
            for filled in FILLED.values():

                def make(
                    size: int, body: Any = body, place: Any = place, filled: Callable[[int], Any] = filled
                ) -> bytes:
                    return json.dumps(replaced(body, place, filled(size))).encode()

                assert grows(reader(door, 200), make, LIMIT) is None


@pytest.mark.parametrize("door", DOORS)
def test_a_refusal_costs_in_proportion(door: str) -> None:
    for filled in FILLED.values():

        def make(size: int, filled: Callable[[int], Any] = filled) -> bytes:
            return json.dumps({"error": filled(size), "detail": filled(size)}).encode()

        assert grows(reader(door, 400), make, LIMIT) is None


@pytest.mark.parametrize("name", [name for name, handler in HANDLERS.items() if handler.callback])
def test_a_proof_costs_in_proportion(name: str) -> None:
    callback = HANDLERS[name].callback
    assert callback is not None
    told = captures(name, "callback")
    headers = sorted({header for capture in told for header, _ in capture.message.headers})
    verify = callback.verify
    for header in headers:
        for unit in TEXT_UNITS[::3]:

            def check(value: str, header: str = header) -> object:
                pairs = [(other, value if other == header else "1") for other in headers]
                return verify(message(200, b"{}", *pairs), KEYS)

            assert grows(check, partial(longer, unit), LIMIT) is None


@pytest.mark.parametrize("unit", TEXT_UNITS)
def test_a_hint_when_to_come_again_costs_in_proportion(unit: str) -> None:
    def read(value: str) -> object:
        return retry_after(message(429, b"", ("retry-after", value)))

    for opening in ("", "Sun, 01 Nov 2026 ", "1"):

        def make(size: int, opening: str = opening) -> str:
            return opening + longer(unit, size)

        assert grows(read, make, LIMIT) is None
