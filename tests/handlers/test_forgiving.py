"""The forgiving reader: the faults of a response that it accepts or refuses. Callbacks are read strictly."""

import unicodedata
from typing import Any

import pytest

from handlers import json, text, wire
from handlers.contract import Asset, Kind
from handlers.errors import BadPayload, Garbled
from tests.handlers.captures import HANDLERS, message

FORGIVEN: dict[str, tuple[bytes, Any]] = {
    "a byte order mark": (b'\xef\xbb\xbf{"id":"a"}', {"id": "a"}),
    "NaN": (b'{"id":"a","n":NaN}', {"id": "a", "n": None}),
    "infinities": (b"[Infinity,-Infinity,1e999,-1e999,1e308]", [None, None, None, None, 1e308]),
    "half a pair": (
        b'["a \\ud83d","\\udc00b","\\ud83dz","\\ud83d\\ude00"]',
        ["a �", "�b", "�z", "\U0001f600"],
    ),
    "half a pair in a name": (b'{"\\ud83d":"\\\\ud83d"}', {"�": "\\ud83d"}),
    "text cut within a character": (b'{"id":"a \xf0\x9f\x8c"}', {"id": "a �"}),
    "raw control characters": (b'{"id":"a\tb\nc\x00"}', {"id": "a\tb\nc\x00"}),
    "a name twice": (b'{"n":1,"n":2}', {"n": 2}),
}


@pytest.mark.parametrize("name", FORGIVEN)
def test_what_is_a_little_off_is_read(name: str) -> None:
    body, value = FORGIVEN[name]
    assert json.forgive(body) == value
    with pytest.raises(json.BadJson):
        json.read(body)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1', b'{"a":1}x', b"[1,]", b"nope", b"[" * 65 + b"]" * 65])
def test_what_is_broken_is_refused(body: bytes) -> None:
    with pytest.raises(json.BadJson):
        json.forgive(body)


def test_a_name_given_twice_is_told_where_its_values_differ() -> None:
    same, other = json.forgive(b'[{"a":1,"a":1,"b":"\\ud83d"},{"a":{"x":1,"x":2},"c":1,"c":[]}]')
    assert same.names == frozenset()
    assert other.names == {"c"}
    assert other["a"].names == {"x"}


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"task_id":"a","task_id":"b","note":1}', False),
        (b'{"task_id":"a","task_id":"a","note":1}', True),
        (b'{"note":1,"task_id":"a","note":2}', True),
    ],
)
def test_a_doubled_field_that_is_read_is_no_answer(body: bytes, read: bool) -> None:
    submit = HANDLERS["apiframe"].submit
    if read:
        assert submit.parse(message(200, body)).provider_job_id == "a"
        return
    with pytest.raises(Garbled):
        submit.parse(message(200, body))


@pytest.mark.parametrize("name", [name for name, handler in HANDLERS.items() if handler.callback])
@pytest.mark.parametrize("body", [body for body, _ in FORGIVEN.values()])
def test_a_callback_is_forgiven_nothing(name: str, body: bytes) -> None:
    callback = HANDLERS[name].callback
    assert callback is not None
    with pytest.raises(BadPayload):
        callback.parse(message(200, body))


MARKS = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
JOINERS = "\u200c\u200d"


def test_foreign_text_keeps_what_is_shown() -> None:
    for place in range(0x110000):
        character = chr(place)
        marked = unicodedata.category(character) in MARKS and character not in JOINERS
        cleaned = text.clean(f"a{character}b")
        if marked and character not in "\t\n":
            assert cleaned == "ab", hex(place)
        elif unicodedata.category(character) != "Cn":
            assert cleaned == f"a{character}b", hex(place)
        if unicodedata.category(character) != "Cn":
            assert (text.unfit(f"a{character}") is not None) == marked, hex(place)


def test_an_emoji_of_several_characters_stays_whole() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2640\ufe0f \u0645\u06cc\u200c\u062e"
    assert text.clean(family) == family


def files(count: int, length: int) -> tuple[Asset, ...]:
    """Return `count` files with links of `length` characters."""
    return tuple(Asset(kind=Kind.FILE, url=f"https://a/{number:0{length - 10}}") for number in range(count))


@pytest.mark.parametrize(
    ("count", "length", "kept"),
    [
        (0, 50, 0),
        (1, 50, 1),
        (200, 50, 200),
        (201, 50, 200),
        (60_000, 50, 200),
        (10, 8192, 8),
        (200, 1000, 65),
    ],
)
def test_a_job_keeps_so_many_files(count: int, length: int, kept: int) -> None:
    found = files(count, length)
    assert wire.kept(found) == found[:kept]
