"""Shapes of JSON that cost a reader much: each a function from an approximate number of bytes to a body."""

from collections.abc import Callable, Mapping

DEPTH = 60
"""Depth of nested values, less than that of a body that is refused for its depth."""


def _many(value: bytes) -> Callable[[int], bytes]:
    """Return a function that makes a flat list of one value."""
    return lambda size: b"[" + (value + b",") * ((size - 4) // (len(value) + 1)) + b"0]"


def _text(unit: bytes, end: bytes = b'"') -> Callable[[int], bytes]:
    """Return a function that makes one string."""
    return lambda size: b'"' + unit * ((size - 2) // len(unit)) + end


def _keys(size: int) -> bytes:
    return b"{" + b",".join(b'"k%07d":0' % number for number in range(size // 13)) + b"}"


SHAPES: Mapping[str, Callable[[int], bytes]] = {
    "zeros": _many(b"0"),
    "floats": _many(b"1e9"),
    "strings": _many(b'"a"'),
    "objects": _many(b"{}"),
    "nested": _many(b"[" * DEPTH + b"]" * DEPTH),
    "deep": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "keys": _keys,
    "digits": lambda size: b"1" * size,
    "text": _text(b"x"),
    "escapes": _text(b'\\"'),
    "unicode": _text(rb"\ud83d\ude00"),
    "unended": lambda size: b"[" * 65 + _text(b'\\"', b"")(size - 65),
}
