"""Bodies that are mostly long texts: the same meaning and the same refusals as the strict reader's."""

import json as plain

import pytest

from handlers import json
from receiver.bodies.large_json import HEAD, LONG, MIB, REST, LongText, unpack
from receiver.domain.errors import TooLarge

TEXTS = {
    "base64": "QUJD+/" * 20_000,
    "emoji": "\U0001f30a" * 30_000,
    "mixed": 'a"\\\n\u00e9\u4e2d\U0001f600\u0000' * 10_000,
    "quotes": '"' * 100_000,
    "backslashes": "\\" * 100_001,
    "commas": "[{,:" * 50_000,
}


def length(text: LongText) -> str:
    """A text as its length."""
    return str(text.length)


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("name", TEXTS)
def test_a_long_text_comes_back_as_it_was(name: str, ascii_only: bool) -> None:
    text = TEXTS[name]
    given = {"a": [text, {"b": text + "!"}], "short": "x", "n": 1.5}
    body = plain.dumps(given, ensure_ascii=ascii_only).encode()
    bulk = unpack(body)
    assert len(bulk.texts) == 2
    restored = bulk.restored(json.write(bulk.value))
    assert restored is not None
    assert json.read(restored.joined()) == given
    assert text.encode() not in json.write(bulk.value)
    seen = bulk.with_texts(bulk.value, lambda one: one.head)
    assert seen == {"a": [text[:HEAD], {"b": text[:HEAD]}], "short": "x", "n": 1.5}
    assert bulk.with_texts(bulk.value["a"], length) == [str(len(text)), {"b": str(len(text) + 1)}]


def test_replacing_texts_copies_only_what_holds_them() -> None:
    bulk = unpack(plain.dumps({"a": ["A" * 100_000, {"b": 1}], "c": [{"d": "e"}]}).encode())
    before = plain.dumps(bulk.value)
    seen = bulk.with_texts(bulk.value, length)
    assert seen == {"a": ["100000", {"b": 1}], "c": [{"d": "e"}]}
    assert seen["a"][1] is bulk.value["a"][1]
    assert seen["c"] is bulk.value["c"]
    assert plain.dumps(bulk.value) == before


def hashed(body: bytes) -> list[str]:
    """The hashes of the long texts of a body."""
    return [text.hashed for text in unpack(body).texts.values()]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_has_one_hash_however_it_is_spelled(name: str) -> None:
    spelled = [plain.dumps([TEXTS[name]], ensure_ascii=ascii_only).encode() for ascii_only in (True, False)]
    slower = b'["' + b"".join(b"\\u%04x" % unit for unit in units(TEXTS[name])) + b'"]'
    [first], [second], [third] = hashed(spelled[0]), hashed(spelled[1]), hashed(slower)
    assert first == second == third
    assert hashed(plain.dumps([TEXTS[name] + "."]).encode()) != [first]


def units(text: str) -> list[int]:
    """The UTF-16 code units of a text."""
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[place : place + 2]) for place in range(0, len(raw), 2)]


FILL = b"A" * LONG * 3
WRONG = {
    "no end": b'["' + FILL,
    "no end of escapes": b'["' + b'\\"' * LONG,
    "an unknown escape": b'["' + FILL + b'\\x"]',
    "a short escape": b'["' + FILL + b'\\u12"]',
    "a lone high surrogate": b'["' + FILL + b'\\ud83d"]',
    "a lone low surrogate": b'["' + FILL + b'\\ude00"]',
    "a pair the wrong way": b'["' + FILL + b'\\ude00\\ud83d"]',
    "a raw line feed": b'["' + FILL + b'\n"]',
    "bad utf-8": b'["' + FILL + b'\xff"]',
    "an encoded surrogate": b'["' + FILL + b'\xed\xa0\x80"]',
    "a cut character": b'["' + FILL + b'\xf0\x9f\x8c"]',
    "two values": b'["' + FILL + b'"] 1',
    "blanks between digits": b'["' + FILL + b'",1' + b" " * 100_000 + b"2]",
    "a name twice": b'{"a":"' + FILL + b'","a":1}',
    "too deep": b"[" * 65 + b'"' + FILL + b'"' + b"]" * 65,
    "too many values": b'["' + FILL + b'"' + b",0" * json.VALUES + b"]",
    "too many texts": b"[" + b'"a",' * json.VALUES + b'"' + FILL + b'"]',
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_strict_reader_refuses_is_refused(name: str) -> None:
    for read in (json.read, unpack):
        with pytest.raises(json.BadJson):
            read(WRONG[name])


def test_blanks_and_long_texts_cost_nothing_of_the_rest() -> None:
    body = b'{"a":' + b" \n" * (REST // 2) + b'"' + b"A" * (8 * MIB) + b'"}' + b" " * MIB
    assert unpack(body).value.keys() == {"a"}


def test_a_body_of_too_much_else_is_too_large() -> None:
    short = b'"' + b"A" * 30_000 + b'",'
    with pytest.raises(TooLarge, match="4194304 bytes"):
        unpack(b"[" + short * (REST // len(short) + 1) + b"0]")
    assert unpack(b"[" + short * (REST // len(short) + 1) + b"0]", stored=True).value


def test_a_long_name_stays_a_name() -> None:
    name = "n" * LONG * 2
    assert unpack(plain.dumps({name: 1}).encode()).value == {name: 1}


@pytest.mark.parametrize("changed", ["more {}", "{}9", "{} "])
def test_a_mark_that_was_changed_gives_nothing_back(changed: str) -> None:
    bulk = unpack(plain.dumps(["A" * 100_000]).encode())
    [mark] = bulk.value
    assert bulk.restored(json.write([changed.format(mark)])) is None
    other = bulk.restored(json.write(["other"]))
    assert other is not None
    assert other.joined() == b'["other"]'
