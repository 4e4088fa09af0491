"""The strict reader: one meaning for every body, or a refusal, and always at once."""

import json as lenient
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import json
from tests.handlers.strategies import JSON, LIMITED

LONE = (
    "\\ud800",
    "\\udc00",
    "\\uDBFF",
    "\\uDfFf",
    "\\uD83D",
    "\\ude00\\ud83d",
    "\\ud83d\\ud83d",
    "a\\ud83d!",
)

TEXTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b"  \n",
    "cut off": b'{"a": ',
    "two values": b"{} {}",
    "text after it": b"{}x",
    "a zero byte after it": b"{}\x00",
    "a trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "a bare name": b"{a:1}",
    "a comment": b"{} // no",
    "a raw line feed in text": b'"a\nb"',
    "a raw zero byte in text": b'"a\x00b"',
    "an unknown escape": b'"\\x41"',
    "a short escape": b'"\\u12"',
    "a leading zero": b"[01]",
    "a leading plus": b"[+1]",
    "a bare point": b"[1.]",
    "hex": b"[0x10]",
    "underscores": b"[1_000]",
    "other digits": "[\u0661]".encode(),
    "another blank": "[\u00a01]".encode(),
    "closed twice": b"[]]",
    "closed by another": b'{"a":[}]',
    "closed first": b"][",
    "an open text": b'["a',
    "python's words": b"[None,True]",
}
BYTES: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf{}",
    "utf-16 with its mark": "{}".encode("utf-16"),
    "utf-16": "{}".encode("utf-16-le"),
    "utf-32": "{}".encode("utf-32"),
    "latin-1": '"é"'.encode("latin-1"),
    "a cut character": '"灯"'.encode()[:-2] + b'"',
    "an overlong slash": b'"\xc0\xaf"',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "beyond unicode": b'"\xf5\x80\x80\x80"',
    "a lone continuation": b'"\x80"',
}
KEYS: dict[str, bytes] = {
    "twice": b'{"a":1,"a":1}',
    "far apart": b'{"a":1,"b":2,"c":3,"a":4}',
    "spelled differently": b'{"a":1,"\\u0061":2}',
    "empty": b'{"":1,"":2}',
    "inside": b'{"x":[{"y":{"a":1,"a":2}}]}',
    "of the prototype": b'{"__proto__":1,"__proto__":2}',
}
NUMBERS: dict[str, bytes] = {
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "nan": b"[nan]",
    "an overflow": b"[1e999]",
    "a negative overflow": b"[-1e999]",
    "a long overflow": b"[" + b"9" * 400 + b".0]",
    "just too large": b"[1.8e308]",
    "an overflow in capitals": b'{"a":1E400}',
}
REFUSED = TEXTS | BYTES | KEYS | NUMBERS


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_one_meaning_is_refused(name: str) -> None:
    for body in (REFUSED[name], b"[1," + REFUSED[name] + b"]"):
        with pytest.raises(json.BadJson):
            json.read(body)


@pytest.mark.parametrize("escape", LONE)
@pytest.mark.parametrize("pattern", ['"{}"', '["x",{{"a":"{}"}}]', '{{"{}":1}}', '{{"a":{{"{}":[]}}}}'])
def test_a_lone_surrogate_is_refused_wherever_it_stands(pattern: str, escape: str) -> None:
    with pytest.raises(json.BadJson):
        json.read(pattern.format(escape).encode())


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert json.read(b'{"\\ud83d\\ude00":"\\uD83D\\uDE00"}') == {"\U0001f600": "\U0001f600"}
    assert json.read(b'"\\\\ud800"') == "\\ud800"
    assert json.read(b'"\\u0000\\u001f"') == "\x00\x1f"


@pytest.mark.parametrize("digits", [1, 18, 19, 20, 400, 4300])
def test_an_integer_keeps_every_digit(digits: int) -> None:
    body = b"[-" + b"7" * digits + b"]"
    assert json.read(body) == [-int("7" * digits)]


@pytest.mark.parametrize("digits", [4301, 5000, 200_000])
def test_an_endless_integer_is_refused(digits: int) -> None:
    with pytest.raises(json.BadJson):
        json.read(b'{"a":' + b"7" * digits + b"}")


@pytest.mark.parametrize(
    "number", [b"1e308", b"-1.7976931348623157e308", b"1e-999", b"0.1", b"-0.0", b"1E+2"]
)
def test_a_finite_number_is_read(number: bytes) -> None:
    value = json.read(number)
    assert math.isfinite(value)
    assert value == float(number)


def nested(depth: int, opener: bytes = b"[", closer: bytes = b"]") -> bytes:
    """Return a body of this depth."""
    return opener * depth + (b"1" if opener.endswith(b":") else b"") + closer * depth


SHAPES = {"lists": (b"[", b"]"), "objects": (b'{"a":', b"}")}


@pytest.mark.parametrize("shape", SHAPES)
def test_64_levels_are_read_and_65_are_not(shape: str) -> None:
    value = json.read(nested(64, *SHAPES[shape]))
    assert lenient.dumps(value).replace(" ", "").encode() == nested(64, *SHAPES[shape])
    with pytest.raises(json.BadJson, match="64 levels"):
        json.read(nested(65, *SHAPES[shape]))
    with pytest.raises(json.BadJson, match="64 levels"):
        json.read(b'{"x":"' + b"[" * 70 + b'","y":' + nested(64, *SHAPES[shape]) + b"}")


@pytest.mark.parametrize("opener", [b"[", b'{"a":', b'[{"a":', b"[[],", b'["]",'])
def test_endless_nesting_is_refused_at_once(opener: bytes) -> None:
    with pytest.raises(json.BadJson, match=r"64 levels|100000 values"):
        json.read(opener * 100_000)


def test_nesting_does_not_depend_on_the_stack_that_is_left() -> None:
    limit = sys.getrecursionlimit()
    body = nested(64)

    def deep(left: int) -> Any:
        return json.read(body) if left == 0 else deep(left - 1)

    assert deep(limit // 2) == json.read(body)


def test_closing_first_does_not_buy_depth() -> None:
    for body in (b"]" * 100 + b"[" * 100, b'"' + b"]" * 100 + b'"' + b"[" * 100, b"[]" * 100):
        with pytest.raises(json.BadJson):
            json.read(body)


@pytest.mark.parametrize(
    "text", ["[" * 1000, "{[" * 200, '"[{' * 50, "\\", '\\"[[[' * 30, "\\\\" + "[" * 99, "]}" * 100, '\\"']
)
def test_brackets_in_a_text_are_no_depth(text: str) -> None:
    for value in (text, [text, text], {text: text}):
        assert json.read(lenient.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["\\", "\\\\", '"', '\\"', "x\\", '"[', "]"])
def test_depth_counts_again_after_a_text(text: str) -> None:
    before = lenient.dumps(text).encode()
    assert json.read(b"[" + before + b"," + nested(63) + b"]")[0] == text
    with pytest.raises(json.BadJson, match="64 levels"):
        json.read(b"[" + before + b"," + nested(64) + b"]")


def test_many_values_side_by_side_are_no_depth() -> None:
    wide = [{"a": [1]}] * 1000
    assert json.read(lenient.dumps(wide).encode()) == wide


@pytest.mark.parametrize("body", [b"[]", b"1", b'"{}"', b"null", b"true", b'[{"a":1}]'])
def test_an_object_is_asked_for_where_one_is_needed(body: bytes) -> None:
    json.read(body)
    with pytest.raises(json.BadJson, match="object"):
        json.read_object(body)


def test_an_object_is_read_in_its_order() -> None:
    assert list(json.read_object(b'{"b":1,"a":{},"__proto__":[]}')) == ["b", "a", "__proto__"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_why_and_never_what(name: str) -> None:
    with pytest.raises(json.BadJson) as caught:
        json.read(b'{"token":"tell-nobody",' + REFUSED[name] + b"}")
    assert str(caught.value).startswith("the body ")
    assert "tell-nobody" not in repr(caught.value)
    assert caught.value.__cause__ is None


@LIMITED
@given(value=JSON)
def test_what_the_library_writes_is_read_as_it_was(value: Any) -> None:
    for ascii_only in (True, False):
        read = json.read(lenient.dumps(value, ensure_ascii=ascii_only).encode())
        assert lenient.dumps(read) == lenient.dumps(value)


@LIMITED
@given(value=JSON)
def test_what_we_write_is_read_as_it_was(value: Any) -> None:
    written = json.write(value)
    assert json.write(json.read(written)) == written
    assert lenient.dumps(json.read(written)) == lenient.dumps(value)


def test_what_we_write_is_compact_and_keeps_its_order() -> None:
    assert json.write({"b": ["ä", 1, None], "a": {}}) == '{"b":["ä",1,null],"a":{}}'.encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_does_not_know_is_not_written(number: float) -> None:
    assert json.read(json.write([number])) == [None]


@pytest.mark.parametrize("value", [10**400, -(10**4299), 1e16, 1e-7, -0.0, 5e-324, 1.7976931348623157e308])
def test_a_number_is_written_in_full(value: float) -> None:
    assert lenient.dumps(json.read(json.write([value]))) == lenient.dumps([value])


def test_a_lone_surrogate_is_not_written() -> None:
    for value in ("\ud800", ["x", {"\udc00": 1}]):
        with pytest.raises(ValueError, match="surrogate"):
            json.write(value)


@LIMITED
@given(body=st.binary() | st.text().map(str.encode) | st.text('[]{}",:\\u0d8n1e-. ').map(str.encode))
def test_any_bytes_are_read_like_the_library_does_or_refused(body: bytes) -> None:
    try:
        value = json.read(body)
    except json.BadJson:
        return
    assert lenient.dumps(lenient.loads(body)) == lenient.dumps(value)


@pytest.mark.parametrize("opening", [b"", b"[" * 30])
@pytest.mark.parametrize("unit", [b"0,", b"1e9,", b'"a",', b"[],", b"{},", b'"\\\\",', b'"a,b",', b'"",'])
def test_a_flat_body_of_too_many_values_is_refused(unit: bytes, opening: bytes) -> None:
    closing = b"]" * len(opening)
    weight = 2 if unit in {b"[],", b"{},"} else 1
    most = (json.VALUES - len(opening) - 1) // weight
    assert json.read(opening + b"[" + unit * most + b"0]" + closing)
    with pytest.raises(json.BadJson, match="100000 values"):
        json.read(opening + b"[" + unit * (most + 1) + b"0]" + closing)


def test_commas_and_brackets_in_a_text_are_no_values() -> None:
    assert json.read(b'["' + b"[{," * 200_000 + b'"]') == ["[{," * 200_000]


def test_what_we_stored_is_not_counted() -> None:
    body = b"[" + b"0," * json.VALUES + b"0]"
    assert len(json.read(body, values=None)) == json.VALUES + 1


def test_long_numbers_have_a_bound_together() -> None:
    number = b"9" * 4300
    assert json.read(b"[" + number + b"," + b'"' + number * 40 + b'"]')
    assert json.read(b"[" + b",".join([number] * 14) + b"]")
    with pytest.raises(json.BadJson, match="hundreds of digits"):
        json.read(b"[" + b",".join([number] * 17) + b"]")


@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
def test_a_text_that_never_ends_is_refused(size: int) -> None:
    with pytest.raises(json.BadJson):
        json.read(b"[" * 65 + b'"' + b'\\"' * size)
