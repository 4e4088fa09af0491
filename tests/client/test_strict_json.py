"""JSON of one meaning."""

import pytest

from ringback.strict_json import read_object


def test_an_object_is_read() -> None:
    assert read_object('{"a": [1, 2.5, null, true], "é": {"b": "x"}}'.encode()) == {
        "a": [1, 2.5, None, True],
        "é": {"b": "x"},
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"{} {}",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b'{"a": "\x00"}',
        b"{'a': 1}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_anything_else_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_object(body)
