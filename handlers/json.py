"""Two JSON readers: a strict one that refuses every ambiguous body, and a forgiving one.

The strict reader refuses text that is not UTF-8, a byte order mark, duplicate keys, NaN and infinities
(including numbers that overflow to infinity), lone surrogates, integers of more than 4,300 digits, nesting
deeper than 64 and more than 100,000 values. The forgiving reader is for the answers of providers, where a
fault in a field that is not read must not lose a job: it accepts all of these but the last three, whose
limits protect the service.

Both read a large body in many short steps, so that other threads can run between two of them.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from json import scanner
from typing import Any, NoReturn, TypeAlias

from pydantic_core import to_json

Value: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, a list of values or a dict with string keys."""

DEPTH = 64
"""The most levels of nesting in one body: the readers recurse once for each level."""
VALUES = 100_000
"""The most values in one body: even a flat list of many more costs too much memory and time."""
DIGITS = 64 * 1024
"""The most digits that all numbers of 400 digits and more in one body may have together: the cost of reading
a number grows with the square of its digits."""
LIGHT = 64 * 1024
"""The bytes of a body that is read in a few milliseconds at worst, for any content."""
AT_ONCE = 50_000
"""The most values that one call into the C library reads: no other thread runs during that call."""
PIECE = 64 * 1024
"""The most bytes that one search looks at: no other thread runs during a search."""
# With every digit translated to `0`, one count finds the runs of 400 digits at the speed of C.
_LONG_NUMBER = b"0" * 400
_AS_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)
"""A string, or the rest of the body if the string never ends: a failed search would start again inside it."""
_WHOLE_STRINGS = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.DOTALL)
IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The rest of a string up to its closing quote, or up to the end of a piece."""
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_BOM = b"\xef\xbb\xbf"
_NOT_JSON = "the body is not valid JSON"


class BadJson(ValueError):
    """An error for bytes that a reader refuses. Its message gives the reason and never quotes the bytes."""


class Repeated(dict[str, Value]):
    """An object in which each of `names` stood several times with different values; the last one is kept."""

    __slots__ = ("names",)
    names: frozenset[str]


def read(data: bytes, *, values: int | None = VALUES) -> Value:
    """Return the value of `data`, read strictly. Raises `BadJson` when it is refused.

    `values` None sets no limit to the number of values, for bodies that the service wrote itself.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadJson("the body is not valid UTF-8") from None
    quick = _quick(data, measure(data, values))
    del data  # unless the caller holds the bytes, they are freed before the values are made
    value = _decoded(_STRICT if quick else _STRICT_IN_STEPS, text)
    # UTF-8 has no surrogates, so only an escape can make one; the walk over all texts is rarely needed.
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value)
    return value


def forgive(data: bytes) -> Value:
    """Return the value of a provider's answer, read forgivingly. Raises `BadJson` when it is unreadable.

    A byte order mark is skipped; NaN, infinities and numbers that overflow become None; bytes that are not
    UTF-8 and lone surrogates become U+FFFD; control characters may stand in strings. If an object repeats a
    name, the last value counts, and the object is a `Repeated` when the values differ.
    """
    data = data.removeprefix(_BOM)
    quick = _quick(data, measure(data, VALUES))
    text = _as_text(data)
    value = _decoded(_FORGIVING if quick else _FORGIVING_IN_STEPS, text)
    halves = "\\ud" in text or "\\uD" in text
    del text  # text may take four times the memory of its bytes, and so may the values
    return _mended(value) if halves else value


def read_object(data: bytes, *, values: int | None = VALUES) -> dict[str, Value]:
    """Return the JSON object of `data`, read strictly. Raises `BadJson` for anything else."""
    return as_object(read(data, values=values))


def as_object(value: Value) -> dict[str, Value]:
    """Return `value` if it is an object. Raises `BadJson` for anything else."""
    if not isinstance(value, dict):
        raise BadJson("the body is not a JSON object")
    return value


def write(value: Value) -> bytes:
    """Return `value` in the form that is sent and stored: compact UTF-8, with keys in the given order."""
    return to_json(value, inf_nan_mode="null")


def measure(data: bytes, values: int | None) -> int:
    """Return an upper bound for the number of values in a body. It counts at the speed of C.

    Raises `BadJson`, before the body is read, when it is too deep or has too many values or long numbers. A
    value costs a comma or an opening bracket. Those inside strings do not count, so strings are cut out where
    the plain count is too high.
    """
    opened, weight = data.count(b"[") + data.count(b"{"), _weight(data)
    if opened <= DEPTH and (values is None or weight <= values) and not _endless(data):
        return weight
    bare = _bare(data, values)
    if _endless(bare):
        raise BadJson("the body has too many numbers of hundreds of digits")
    if opened > DEPTH:
        _refuse_depth(bare)
    return _weight(bare)


def outgrows(value: Value, limit: int) -> bool:
    """Return whether the JSON of `value` surely has more than `limit` bytes, looking no further."""
    size, left = 0, [value]
    while left and size <= limit:
        one = left.pop()
        if isinstance(one, str):
            size += len(one) + 2
        elif isinstance(one, int):
            # The number of hexadecimal digits is a lower bound for that of decimal ones, and cheap.
            size += (one.bit_length() + 3) // 4
        elif isinstance(one, list | tuple | Mapping):
            size += 2 * len(one)
            if size <= limit:
                left += [*one.keys(), *one.values()] if isinstance(one, Mapping) else one
        else:
            size += 1
    return size > limit


def _bare(data: bytes, values: int | None) -> bytes:
    """Return the body without its strings. Raises `BadJson` when it has too many values."""
    parts, weight = [], 0
    for part in _between_strings(data):
        weight += _weight(part)
        if values is not None and weight > values:
            raise BadJson(f"the body has more than {values} values")
        parts.append(part)
    return b"".join(parts)


def _between_strings(data: bytes) -> Iterator[bytes]:
    """Yield the body without its strings, one part for each search."""
    if len(data) <= PIECE:
        yield _STRING.sub(b"", data)
        return
    place = 0
    while place < len(data):
        ends = min(place + PIECE, len(data))
        reached = _end(_WHOLE_STRINGS, data, place, ends)
        yield _STRING.sub(b"", data[place:reached])
        place = reached if reached == ends else _behind_string(data, reached + 1)


def _behind_string(data: bytes, place: int) -> int:
    """Return the place behind the string that goes on at `place`, or the end of the body if it never ends."""
    while place < len(data):
        reached = _end(IN_STRING, data, place, place + PIECE)
        if data[reached : reached + 1] == b'"':
            return reached + 1
        if reached == place:  # a lone backslash ends the body
            break
        place = reached
    return len(data)


def _end(pattern: re.Pattern[bytes], data: bytes, start: int, end: int) -> int:
    """Return the end of the match of `pattern` at `start`, or `start` without a match."""
    found = pattern.match(data, start, end)
    return found.end() if found else start


def _quick(data: bytes, weight: int) -> bool:
    """Return whether one call into the C library may read the whole body."""
    return len(data) <= LIGHT or weight <= AT_ONCE


def _as_text(data: bytes) -> str:
    """Return the body as text; bytes that are not UTF-8 become U+FFFD."""
    if len(data) <= PIECE:
        return data.decode("utf-8", "replace")
    pieces = (data[place : place + PIECE] for place in range(0, len(data), PIECE))
    return "".join(codecs.iterdecode(pieces, "utf-8", "replace"))


def _weight(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _endless(data: bytes) -> bool:
    """Return whether long numbers have too many digits. The cost of each is the square of its digits."""
    return len(data) > DIGITS and data.translate(_AS_DIGITS).count(_LONG_NUMBER) * len(_LONG_NUMBER) > DIGITS


def _refuse_depth(bare: bytes) -> None:
    """Raise `BadJson` for more than 64 levels. Every pass removes the innermost one."""
    brackets = bare.translate(_AS_LISTS, _NOT_BRACKETS)
    for _ in range(DEPTH):
        brackets, before = brackets.replace(b"[]", b""), len(brackets)
        if len(brackets) == before:
            break
    # A few brackets without a partner are a syntax error, which the decoder reports.
    if len(brackets) > 2 * DEPTH or (brackets and brackets.count(b"[") == brackets.count(b"]")):
        raise BadJson(f"the body is nested deeper than {DEPTH} levels")


def _decoded(decoder: json.JSONDecoder, text: str) -> Value:
    """Return the decoded value. Raises a new `BadJson` that keeps nothing alive of the part already read."""
    try:
        return decoder.decode(text)
    except BadJson as error:
        reason = str(error)
    except json.JSONDecodeError as error:
        why, place = error.msg.partition(":")[0], f"line {error.lineno}, column {error.colno}"
        reason = f"the body is not valid JSON: {why[:1].lower()}{why[1:]} at {place}"
    except (ValueError, RecursionError):
        reason = _NOT_JSON
    raise BadJson(reason)


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


def with_texts(value: Value, change: Callable[[str], Value]) -> Value:
    """Return `value` with `change` applied to every text in it, names of fields apart."""
    if isinstance(value, dict):
        return {name: with_texts(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


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
    """Return `value` with U+FFFD for every lone surrogate.

    Parts are replaced in place, so that no part exists twice.
    """
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        for place, inner in enumerate(value):
            value[place] = _mended(inner)
        return value
    if not isinstance(value, dict):
        return value
    mended = {_mended(name): _mended(value.pop(name)) for name in list(value)}
    if isinstance(value, Repeated):
        repeated = Repeated(mended)
        repeated.names = value.names
        return repeated
    return mended


def _ascii(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return `parse` for ASCII numbers only: the decoder in Python accepts the digits of every script."""

    def number(text: str) -> Value:
        if not text.isascii():
            raise BadJson(_NOT_JSON)
        return parse(text)

    return number


def _in_steps(decoder: json.JSONDecoder) -> json.JSONDecoder:
    """Return the same decoder in Python: far slower, but other threads can run between two values."""
    decoder.parse_int, decoder.parse_float = _ascii(int), _ascii(decoder.parse_float)
    decoder.scan_once = scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]  # not in typeshed
    return decoder


def _strict() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)


def _forgiving() -> json.JSONDecoder:
    return json.JSONDecoder(
        strict=False, object_pairs_hook=_last, parse_float=_finite_or_none, parse_constant=_none
    )


_STRICT, _STRICT_IN_STEPS = _strict(), _in_steps(_strict())
_FORGIVING, _FORGIVING_IN_STEPS = _forgiving(), _in_steps(_forgiving())
