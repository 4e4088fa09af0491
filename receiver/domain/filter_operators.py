"""The operators of filters: the values that each takes, and the test that it makes of one. Pure."""

import enum
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from handlers.values import immutable


class FieldKind(enum.Enum):
    """The kind of values of a field."""

    TEXT = "a text"
    MOMENT = "a moment"
    NUMBER = "a number"
    FLAG = "true or false"
    TEXTS = "an object of texts"
    OBJECT = "an object"
    OPEN = "an object of any values"
    ANY = "any value"
    LIST = "a list"


Test = Callable[[Any], bool]
"""A test of a field's value; a field that is missing has the value None."""
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:]{5,8}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
"""A moment with its offset, as RFC 3339 writes it."""
DAY = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])", re.ASCII)
WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", re.ASCII)
"""A moment as events write it."""
LONGEST = 500
"""The most characters of a text."""
TYPES: Mapping[FieldKind, tuple[type, ...]] = {
    FieldKind.TEXT: (str,),
    FieldKind.MOMENT: (str,),
    FieldKind.NUMBER: (int, float),
    FieldKind.FLAG: (bool,),
}
"""The types of values, for the kinds of fields that hold one value."""


@immutable
class Operator:
    """An operator: the fault of a value for a kind of field (None: none), and the test of a right value."""

    fault: Callable[[Any, FieldKind], str | None]
    test: Callable[[Any], Test]


def _is(value: Any, kind: FieldKind) -> bool:
    # In Python a boolean is an integer.
    return isinstance(value, TYPES[kind]) and (kind is FieldKind.FLAG or not isinstance(value, bool))


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _one_value(value: Any, kind: FieldKind) -> str | None:
    # A file of settings also has dates, and numbers that JSON does not know.
    if not (value is None or isinstance(value, str | int) or _finite(value)):
        return "must be a text, a number, true, false or null"
    if isinstance(value, str) and len(value) > LONGEST:
        return f"must have at most {LONGEST} characters"
    if value is None or kind is FieldKind.ANY:
        return None
    if kind not in TYPES:
        return f"is compared with {kind.value}: only `null` and `$exists` fit"
    if not _is(value, kind):
        return f"must be {kind.value}, as the field is"
    if kind is FieldKind.MOMENT and not WRITTEN.fullmatch(value):
        return (
            "must be a moment as events write it, such as 2026-11-21T10:00:00.000Z; `$gte` and `$lt` take any"
        )
    return None


def _several(value: Any, kind: FieldKind) -> str | None:
    if not isinstance(value, list) or not value:
        return "must be a list of at least one value"
    return next((fault for one in value if (fault := _one_value(one, kind)) is not None), None)


def _ordered(value: Any, kind: FieldKind) -> str | None:
    if not (_is(value, FieldKind.TEXT) or _is(value, FieldKind.NUMBER)):
        return "must be a number, or a text such as a time"
    if kind is FieldKind.FLAG:
        return "does not apply: true and false have no order"
    if kind is FieldKind.MOMENT:
        if DAY.fullmatch(str(value)) or _moment(value):
            return None
        return "must be a day, or a moment with its offset, such as 2026-11-21T10:00:00Z"
    return _one_value(value, kind)


def _truth(value: Any, kind: FieldKind) -> str | None:  # noqa: ARG001  # every field can be missing
    return None if isinstance(value, bool) else "must be true or false"


def _start(value: Any, kind: FieldKind) -> str | None:
    if kind not in {FieldKind.TEXT, FieldKind.MOMENT, FieldKind.ANY}:
        return f"applies to texts, and the field is {kind.value}"
    return (
        _one_value(value, FieldKind.TEXT)
        if isinstance(value, str) and value
        else "must be a text with a character"
    )


def _equals(value: Any) -> Test:
    if isinstance(value, str) or value is None:
        return lambda found: bool(found == value)
    # In Python true equals 1.
    truth = isinstance(value, bool)
    return lambda found: bool(found == value) and isinstance(found, bool) is truth


def _among(values: Any) -> Test:
    texts = frozenset(one for one in values if isinstance(one, str))
    others = [_equals(one) for one in values if not isinstance(one, str)]

    def test(found: Any) -> bool:
        return found in texts if isinstance(found, str) else any(equals(found) for equals in others)

    return test


def _compares(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def test_with(value: Any) -> Test:
        kind = FieldKind.TEXT if isinstance(value, str) else FieldKind.NUMBER
        at = _moment(value)

        def test(found: Any) -> bool:
            if not _is(found, kind):
                return False
            # One moment has several texts: with milliseconds or without, in UTC or with an offset.
            other = None if at is None else _moment(found)
            return compare(found, value) if other is None else compare(other, at)

        return test

    return test_with


def _moment(text: Any) -> datetime | None:
    """Return the moment in a text of RFC 3339, None for anything else."""
    if not isinstance(text, str) or not MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _not(test_with: Callable[[Any], Test]) -> Callable[[Any], Test]:
    def opposite_with(value: Any) -> Test:
        test = test_with(value)
        return lambda found: not test(found)

    return opposite_with


OPERATORS: Mapping[str, Operator] = {
    "$eq": Operator(_one_value, _equals),
    "$ne": Operator(_one_value, _not(_equals)),
    "$in": Operator(_several, _among),
    "$nin": Operator(_several, _not(_among)),
    "$gt": Operator(_ordered, _compares(operator.gt)),
    "$gte": Operator(_ordered, _compares(operator.ge)),
    "$lt": Operator(_ordered, _compares(operator.lt)),
    "$lte": Operator(_ordered, _compares(operator.le)),
    "$exists": Operator(_truth, lambda value: lambda found: (found is not None) is value),
    "$prefix": Operator(
        _start, lambda value: lambda found: isinstance(found, str) and found.startswith(value)
    ),
}
EXACT = frozenset({"$eq", "$ne", "$in", "$nin"})
"""The operators that compare with whole values."""
