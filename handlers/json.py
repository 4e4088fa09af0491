"""The JSON readers: a strict one, with one meaning for every body or a refusal, and a forgiving one.

The strict one refuses text that is not UTF-8, a byte order mark, duplicate keys, NaN and infinities (numbers
that overflow to one included), lone surrogates, integers of more than 4,300 digits, nesting deeper than 64
and more than 100,000 values. The forgiving one is for the answers of providers, where a fault in a field that
is not read must not lose a job: it takes all of these but the last three limits, which protect us.
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
VALUES = 100_000
"""More than this in one body is a weapon, not a request: a flat list of them costs memory and time too."""
DIGITS = 64 * 1024
"""Digits that all the numbers of 400 digits and more in one body may have together."""
_LONG_NUMBER = b"0" * 400
_AS_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)
"""A string, or the rest of the body when it never ends: a search that fails would start again inside."""
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_BOM = b"\xef\xbb\xbf"


class BadJson(ValueError):
    """The bytes are no JSON that we read; the message says why and never quotes them."""


class Repeated(dict[str, Value]):
    """An object that gave `names` more than once, with values that differ; the last one of each is kept."""

    names: frozenset[str] = frozenset()


def read(data: bytes, *, values: int | None = VALUES) -> Value:
    """Return the value that `data` spells, or `BadJson`. `values` None counts none: for our own bodies."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadJson("the body is not valid UTF-8") from None
    measure(data, values)
    del data  # where nobody else holds it, it is not in memory beside the text and the values
    value = _decoded(_STRICT, text)
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def forgive(data: bytes) -> Value:
    """The value that a provider's answer spells, or `BadJson`.

    A byte order mark is skipped; NaN, infinities and numbers that overflow become None; bytes that are no
    UTF-8 and lone surrogates become U+FFFD; control characters may stand in strings as they are. Of a name
    that is given twice the last value counts, and `Repeated` tells where the values differ.
    """
    data = data.removeprefix(_BOM)
    measure(data, VALUES)
    text = data.decode("utf-8", "replace")
    value = _decoded(_FORGIVING, text)
    return _mended(value) if "\\ud" in text or "\\uD" in text else value


def read_object(data: bytes, *, values: int | None = VALUES) -> dict[str, Value]:
    """The JSON object that `data` spells, or `BadJson`."""
    return as_object(read(data, values=values))


def as_object(value: Value) -> dict[str, Value]:
    """`value` when it is an object, else `BadJson`."""
    if not isinstance(value, dict):
        raise BadJson("the body is not a JSON object")
    return value


def write(value: Value) -> bytes:
    """`value` in the form we send and store: compact UTF-8, keys in the order given."""
    return to_json(value, inf_nan_mode="null")


def measure(data: bytes, values: int | None) -> None:
    """Refuse a body that is too deep or has too many values, at the speed of C and before it is read.

    A value costs a comma or an opening bracket. Those inside strings do not count, so strings are cut out
    where the plain count is too high.
    """
    opened, weight = data.count(b"[") + data.count(b"{"), _weight(data)
    if opened <= DEPTH and (values is None or weight <= values) and not _endless(data):
        return
    strings = 0 if values is None else 2 * values + 2
    bare, cut = _STRING.subn(b"", data, strings)
    if values is not None and (cut == strings or _weight(bare) > values):
        raise BadJson(f"the body has more than {values} values")
    if _endless(bare):
        raise BadJson("the body has too many numbers of hundreds of digits")
    if opened > DEPTH:
        _refuse_depth(bare)


def _weight(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _endless(data: bytes) -> bool:
    """Whether long numbers have too many digits: each costs the square of its own."""
    return len(data) > DIGITS and data.translate(_AS_DIGITS).count(_LONG_NUMBER) * len(_LONG_NUMBER) > DIGITS


def _refuse_depth(bare: bytes) -> None:
    """Refuse more than 64 levels: every pass takes the innermost one away."""
    brackets = bare.translate(_AS_LISTS, _NOT_BRACKETS)
    for _ in range(DEPTH):
        brackets, before = brackets.replace(b"[]", b""), len(brackets)
        if len(brackets) == before:
            break
    if len(brackets) > 2 * DEPTH or (brackets and brackets.count(b"[") == brackets.count(b"]")):
        raise BadJson(f"the body is nested deeper than {DEPTH} levels")


def _decoded(decoder: json.JSONDecoder, text: str) -> Value:
    try:
        return decoder.decode(text)
    except BadJson:
        raise
    except json.JSONDecodeError as error:
        why, place = error.msg.partition(":")[0], f"line {error.lineno}, column {error.colno}"
        raise BadJson(f"the body is not valid JSON: {why[:1].lower()}{why[1:]} at {place}") from None
    except (ValueError, RecursionError):
        raise BadJson("the body is not valid JSON") from None


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson("the body has a duplicate key")
    return found


def _last(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    repeated.names = frozenset(name for name, value in pairs if value != found[name])
    return repeated


def _finite_or_none(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _none(_name: str) -> None:
    return None


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


def _mended(value: Value) -> Value:
    """`value` with U+FFFD for every lone surrogate."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_mended(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    mended = {_mended(name): _mended(inner) for name, inner in value.items()}
    if isinstance(value, Repeated):
        repeated = Repeated(mended)
        repeated.names = value.names
        return repeated
    return mended


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
_FORGIVING = json.JSONDecoder(
    strict=False, object_pairs_hook=_last, parse_float=_finite_or_none, parse_constant=_none
)
