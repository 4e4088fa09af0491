"""The operators of filters: their tests, by value, and the values that they refuse."""

import math
from datetime import date
from typing import Any

import pytest

from receiver.domain.filter_operators import LONGEST, OPERATORS, FieldKind

# Operator, value, the values that meet it, and those that do not.
MEETS: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("$eq", "a", ["a"], ["A", "", None, 1, True, ["a"], {"a": 1}]),
    ("$eq", 1, [1, 1.0], [True, "1", None, 2]),
    ("$eq", True, [True], [1, "true", None, False]),
    ("$eq", None, [None], [0, "", False, [], {}]),
    ("$ne", "a", ["A", None, 1, ["a"]], ["a"]),
    ("$ne", 1, [True, "1", None], [1, 1.0]),
    ("$in", ["a", 1, None], ["a", 1, 1.0, None], ["b", True, 2, ["a"], {}]),
    ("$nin", ["a", True], ["b", 1, None], ["a", True]),
    ("$gt", 5, [5.1, 6], [5, 4, True, "6", None]),
    ("$gte", 5, [5, 6], [4.9, None, "5"]),
    ("$lt", 5, [4, -1], [5, True, None, "4"]),
    ("$lte", 1, [1, 0], [2, True, False, None]),
    ("$gt", "2026-11-21", ["2026-11-22", "2026-11-21T"], ["2026-11-21", 9999, None]),
    ("$lt", "b", ["a"], ["b", 1, None]),
    ("$exists", True, ["", 0, False, [], {}], [None]),
    ("$exists", False, [None], ["", 0, False]),
    ("$prefix", "ab", ["ab", "abc"], ["a", "AB", None, 1, ["ab"]]),
]
# FieldKind of the field, operator, value, and how its fault begins.
FAULTS: list[tuple[FieldKind, str, Any, str]] = [
    (FieldKind.TEXT, "$eq", 1, "must be a text, as the field is"),
    (FieldKind.NUMBER, "$eq", "1", "must be a number, as the field is"),
    (FieldKind.NUMBER, "$eq", True, "must be a number, as the field is"),
    (FieldKind.FLAG, "$ne", 1, "must be true or false, as the field is"),
    (FieldKind.TEXT, "$eq", {"a": 1}, "must be a text, a number, true, false or null"),
    (FieldKind.ANY, "$eq", math.inf, "must be a text, a number, true, false or null"),
    (FieldKind.NUMBER, "$gt", math.nan, "must be a text, a number, true, false or null"),
    (FieldKind.ANY, "$in", [date(2026, 11, 30)], "must be a text, a number, true, false or null"),
    (FieldKind.TEXT, "$eq", "x" * (LONGEST + 1), f"must have at most {LONGEST} characters"),
    (FieldKind.OBJECT, "$eq", "a", "is compared with an object: only"),
    (FieldKind.TEXTS, "$in", ["a"], "is compared with an object of texts: only"),
    (FieldKind.TEXT, "$in", "a", "must be a list of at least one value"),
    (FieldKind.TEXT, "$in", [], "must be a list of at least one value"),
    (FieldKind.TEXT, "$nin", ["a", 1], "must be a text, as the field is"),
    (FieldKind.NUMBER, "$gt", "5", "must be a number, as the field is"),
    (FieldKind.TEXT, "$lt", 5, "must be a text, as the field is"),
    (FieldKind.ANY, "$lt", True, "must be a number, or a text"),
    (FieldKind.FLAG, "$gte", 1, "does not apply"),
    (FieldKind.TEXT, "$gte", None, "must be a number, or a text"),
    (FieldKind.TEXT, "$exists", 1, "must be true or false"),
    (FieldKind.NUMBER, "$prefix", "a", "applies to texts, and the field is a number"),
    (FieldKind.TEXT, "$prefix", "", "must be a text"),
    (FieldKind.TEXT, "$prefix", ["a"], "must be a text"),
    (FieldKind.MOMENT, "$gt", "yesterday", "must be a day, or a moment with its offset"),
    (FieldKind.MOMENT, "$gte", "2026-13-30T02:49:13Z", "must be a day, or a moment with its offset"),
    (FieldKind.MOMENT, "$lt", "2026-11-21T10:00:00", "must be a day, or a moment with its offset"),
    (FieldKind.MOMENT, "$lt", "2026-11-32", "must be a day, or a moment with its offset"),
    (FieldKind.MOMENT, "$lt", 1795000000, "must be a day, or a moment with its offset"),
    (FieldKind.MOMENT, "$eq", "2026-11-21T10:00:00Z", "must be a moment as events write it"),
    (FieldKind.MOMENT, "$in", ["today"], "must be a moment as events write it"),
    (FieldKind.MOMENT, "$ne", 5, "must be a moment, as the field is"),
]
FITTING: list[tuple[FieldKind, str, Any]] = [
    (FieldKind.TEXT, "$eq", "a"),
    (FieldKind.TEXT, "$eq", None),
    (FieldKind.OBJECT, "$ne", None),
    (FieldKind.OBJECT, "$exists", True),
    (FieldKind.NUMBER, "$in", [1, 2.5, None]),
    (FieldKind.FLAG, "$eq", True),
    (FieldKind.ANY, "$eq", True),
    (FieldKind.ANY, "$in", ["a", 1, False]),
    (FieldKind.TEXT, "$gte", "2026-11-21T10:00:00.000Z"),
    (FieldKind.NUMBER, "$lt", 0.5),
    (FieldKind.ANY, "$prefix", "a"),
    (FieldKind.MOMENT, "$gte", "2026-11-21T12:00:00+02:00"),
    (FieldKind.MOMENT, "$lt", "2026-11-21"),
    (FieldKind.MOMENT, "$prefix", "2026-11-"),
    (FieldKind.MOMENT, "$eq", "2026-11-21T10:00:00.000Z"),
    (FieldKind.MOMENT, "$eq", None),
]


@pytest.mark.parametrize(("name", "value", "met", "unmet"), MEETS)
def test_a_value_meets_an_operator_or_not(name: str, value: Any, met: list[Any], unmet: list[Any]) -> None:
    test = OPERATORS[name].test(value)
    assert [one for one in met if not test(one)] == []
    assert [one for one in unmet if test(one)] == []


@pytest.mark.parametrize(("kind", "name", "value", "fault"), FAULTS)
def test_a_value_that_does_not_fit_is_a_fault(kind: FieldKind, name: str, value: Any, fault: str) -> None:
    assert (OPERATORS[name].fault(value, kind) or "").startswith(fault)


@pytest.mark.parametrize(("kind", "name", "value"), FITTING)
def test_a_value_that_fits_is_no_fault(kind: FieldKind, name: str, value: Any) -> None:
    assert OPERATORS[name].fault(value, kind) is None
