"""The JSON readers: a strict one, with one meaning for every body or a refusal, and a forgiving one.

The strict one refuses text that is not UTF-8, a byte order mark, duplicate keys, NaN and infinities (numbers
that overflow to one included), lone surrogates, integers of more than 4,300 digits, nesting deeper than 64
and more than 100,000 values. The forgiving one is for the answers of providers, where a fault in a field that
is not read must not lose a job: it takes all of these but the last three limits, which protect us.

Both read a large body in many short steps: a thread that reads one lets others go on between two of them.
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
"""What JSON can say: None, bool, int, float, str, a list of values or a dict with string keys."""

DEPTH = 64
VALUES = 100_000
"""More than this in one body is a weapon, not a request: a flat list of them costs memory and time too."""
DIGITS = 64 * 1024
"""Digits that all the numbers of 400 digits and more in one body may have together."""
LIGHT = 64 * 1024
"""Bytes of a body that is read in a few milliseconds at worst, whatever is in it."""
AT_ONCE = 50_000
"""Values that one call into the C library may read."""
PIECE = 64 * 1024
"""Bytes that one search looks at."""
_LONG_NUMBER = b"0" * 400
_AS_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_STRING = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)
"""A string, or the rest of the body when it never ends: a search that fails would start again inside."""
_WHOLE_STRINGS = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.DOTALL)
IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The rest of a string up to its closing quote, or up to the end of a piece."""
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_BOM = b"\xef\xbb\xbf"
_NOT_JSON = "the body is not valid JSON"


class BadJson(ValueError):
    """The bytes are no JSON that we read; the message says why and never quotes them."""


class Repeated(dict[str, Value]):
    """An object that gave `names` more than once, with values that differ; the last one of each is kept."""

    __slots__ = ("names",)
    names: frozenset[str]


def read(data: bytes, *, values: int | None = VALUES) -> Value:
    """Return the value that `data` spells, or `BadJson`. `values` None counts none: for our own bodies."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadJson("the body is not valid UTF-8") from None
    quick = _quick(data, measure(data, values))
    del data  # where nobody else holds it, it is not in memory beside the text and the values
    value = _decoded(_STRICT if quick else _STRICT_IN_STEPS, text)
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
    quick = _quick(data, measure(data, VALUES))
    text = _as_text(data)
    value = _decoded(_FORGIVING if quick else _FORGIVING_IN_STEPS, text)
    halves = "\\ud" in text or "\\uD" in text
    del text  # it may take four times the room of its bytes, and so may what was read of it
    return _mended(value) if halves else value


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


def measure(data: bytes, values: int | None) -> int:
    """Return the most values that a body can have; refuse one that is too deep or has too many, before it is
    read and at the speed of C.

    A value costs a comma or an opening bracket. Those inside strings do not count, so strings are cut out
    where the plain count is too high.
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
    """Return whether the JSON of `value` surely has more than `limit` bytes, by a look at so much of it."""
    size, left = 0, [value]
    while left and size <= limit:
        one = left.pop()
        if isinstance(one, str):
            size += len(one) + 2
        elif isinstance(one, int):
            size += (one.bit_length() + 3) // 4
        elif isinstance(one, list | tuple | Mapping):
            size += 2 * len(one)
            if size <= limit:
                left += [*one.keys(), *one.values()] if isinstance(one, Mapping) else one
        else:
            size += 1
    return size > limit


def _bare(data: bytes, values: int | None) -> bytes:
    """The body without its strings, or `BadJson` when it has too many values."""
    parts, weight = [], 0
    for part in _between_strings(data):
        weight += _weight(part)
        if values is not None and weight > values:
            raise BadJson(f"the body has more than {values} values")
        parts.append(part)
    return b"".join(parts)


def _between_strings(data: bytes) -> Iterator[bytes]:
    """The body without its strings, in parts that one search each looked at."""
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
    """Where the string ends that goes on at `place`; the end of the body when it never does."""
    while place < len(data):
        reached = _end(IN_STRING, data, place, place + PIECE)
        if data[reached : reached + 1] == b'"':
            return reached + 1
        if reached == place:
            break
        place = reached
    return len(data)


def _end(pattern: re.Pattern[bytes], data: bytes, start: int, end: int) -> int:
    """Where a match of `pattern` ends."""
    found = pattern.match(data, start, end)
    return found.end() if found else start


def _quick(data: bytes, weight: int) -> bool:
    """Whether one call into the C library may read the whole body."""
    return len(data) <= LIGHT or weight <= AT_ONCE


def _as_text(data: bytes) -> str:
    """Return the body as text; bytes that are no UTF-8 become U+FFFD."""
    if len(data) <= PIECE:
        return data.decode("utf-8", "replace")
    pieces = (data[place : place + PIECE] for place in range(0, len(data), PIECE))
    return "".join(codecs.iterdecode(pieces, "utf-8", "replace"))


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
    """The value, or `BadJson`: an error of its own, which holds on to nothing that was read until then."""
    try:
        return decoder.decode(text)
    except BadJson as error:
        told = str(error)
    except json.JSONDecodeError as error:
        why, place = error.msg.partition(":")[0], f"line {error.lineno}, column {error.colno}"
        told = f"the body is not valid JSON: {why[:1].lower()}{why[1:]} at {place}"
    except (ValueError, RecursionError):
        told = _NOT_JSON
    raise BadJson(told)


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
    """`value` with U+FFFD for every lone surrogate; its parts are replaced where they are, so that there are
    never two of each.
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
    """`parse` for numbers in ASCII only: the decoder in Python takes the digits of every script."""

    def number(text: str) -> Value:
        if not text.isascii():
            raise BadJson(_NOT_JSON)
        return parse(text)

    return number


def _in_steps(decoder: json.JSONDecoder) -> json.JSONDecoder:
    """The same decoder in Python: slower by far, but its thread lets others go on between two values."""
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
