"""The strict JSON reader: one meaning for every body, or a refusal.

Refused: text that is not UTF-8, a byte order mark, duplicate keys, NaN and infinities (numbers that
overflow to one included), lone surrogates, integers of more than 4,300 digits and nesting deeper than 64.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn, TypeAlias

from pydantic_core import to_json

Value: TypeAlias = Any
"""What JSON can say: None, bool, int, float, str, a list of values or a dict with string keys."""

DEPTH = 64
VALUES = 500_000
"""More than this in one body is a weapon, not a request."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class BadJson(ValueError):
    """The bytes are no JSON that we read; the message says why and never quotes them."""


def read(data: bytes) -> Value:
    """The value that `data` spells, or `BadJson`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadJson("the body is not valid UTF-8") from None
    if data.count(b"[") + data.count(b"{") > DEPTH:
        _measure(data)
    try:
        value = _DECODER.decode(text)
    except BadJson:
        raise
    except json.JSONDecodeError as error:
        why, place = error.msg.partition(":")[0], f"line {error.lineno}, column {error.colno}"
        raise BadJson(f"the body is not valid JSON: {why[:1].lower()}{why[1:]} at {place}") from None
    except (ValueError, RecursionError):
        raise BadJson("the body is not valid JSON") from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def read_object(data: bytes) -> dict[str, Value]:
    """The JSON object that `data` spells, or `BadJson`."""
    value = read(data)
    if not isinstance(value, dict):
        raise BadJson("the body is not a JSON object")
    return value


def write(value: Value) -> bytes:
    """`value` in the form we send and store: compact UTF-8, keys in the order given."""
    return to_json(value, inf_nan_mode="null")


def _measure(data: bytes) -> None:
    """Refuse what is too deep or too much, at the speed of the C library: strings are cut out, then every
    pass takes the innermost level away."""
    bare = _STRING.sub(b"", data)
    if bare.count(b",") > VALUES:
        raise BadJson(f"the body has more than {VALUES} values")
    brackets = bare.translate(_AS_LISTS, _NOT_BRACKETS)
    for _ in range(DEPTH):
        brackets, before = brackets.replace(b"[]", b""), len(brackets)
        if len(brackets) == before:
            break
    if len(brackets) > 2 * DEPTH or (brackets and brackets.count(b"[") == brackets.count(b"]")):
        raise BadJson(f"the body is nested deeper than {DEPTH} levels")


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("the body has a duplicate key")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadJson("the body has a number that is out of range")
    return number


def _no_constant(_name: str) -> NoReturn:
    raise BadJson("the body has NaN or an infinity, which JSON does not know")


def _refuse_surrogates(value: Value) -> None:
    for text in _texts(value):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadJson("the body has a lone surrogate") from None


def _texts(value: Value) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
