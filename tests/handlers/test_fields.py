"""Tolerant readers of fields: loose values, with their readings."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from handlers import fields
from tests.handlers.strategies import ODD


def nothing(*values: Any) -> list[tuple[Any, Any]]:
    """Return these values, each with None as its reading."""
    return [(value, None) for value in values]


CDN = "https://cdn.example"
NOON = datetime(2026, 11, 8, 12, tzinfo=UTC)
LOOSE: dict[str, tuple[Any, list[tuple[Any, Any]]]] = {
    "an id": (
        fields.identity,
        [
            ("a-1", "a-1"), (115, "115"), (2**70, str(2**70)), ("a\x00b\x1f", "ab"), ("ä灯", "ä灯"),
            ("x" * 600, "x" * 500), *nothing(None, True, [], {}),
        ],
    ),
    "a word": (
        fields.word,
        [("Success", "success"), (" DONE\n", "done"), *((one, "") for one in ("", None, 7, True, ["done"]))],
    ),
    "a percentage": (
        fields.percent,
        [
            (40, 40), ("40", 40), ("40%", 40), (" 40 % ", 40), (39.5, 39.5), (0, 0), (100, 100),
            ("100%", 100), (101, 100), (100.01, 100), (10**400, 100), ("50/100", 50), ("1 / 4", 25),
            *nothing(-1, "", "%", "forty", "nan", "inf", "1e999", "1/0", "a/b", "-1/2"),
            *nothing(None, True, [40], {}, "4%%"),
        ],
    ),
    "a number": (
        fields.plausible,
        [
            (5, 5), (5.04, 5.04), ("5.5", 5.5), (0, 0),
            *nothing(-1, 1e9, 10**400, "nan", "inf", "", "five", None, False, [5], {}),
        ],
    ),
    "a whole number": (
        fields.whole,
        [(5, 5), (5.9, 5), ("5", 5), (0, 0), *nothing(-1, 10**400, "nan", "", None, True, [])],
    ),
    "a link": (
        fields.link,
        [
            (f"{CDN}/a?b=c#d", f"{CDN}/a?b=c#d"), ("http://cdn.example", "http://cdn.example"),
            (f"{CDN}/ä", f"{CDN}/%C3%A4"), (f" {CDN}/a b\n", f"{CDN}/a%20b"),
            ("HTTP://cdn.example", "http://cdn.example"),
            *nothing("", "/a", "//cdn.example/a", "ftp://cdn.example", "javascript:1", "data:,x", None, 7),
            ("https://ä.example:8443/ö?ü", "https://xn--4ca.example:8443/%C3%B6?%C3%BC"),
            *nothing(True, [], {}, f"https://{'ä' * 64}.example/"),
            *nothing(f"{CDN}/\x00", f"{CDN}/" + "x" * 9000, f"{CDN}/a\r\nX: y"),
        ],
    ),
    "a moment": (
        fields.moment,
        [
            ("2026-11-08T12:00:00Z", NOON), ("2026-11-08T14:00:00+02:00", NOON),
            ("2026-11-08T12:00:00", NOON), *nothing("", "soon", "2026-13-01", None),
            *nothing(True, [], {}),
        ],
    ),
    "a flag": (fields.flag, [(True, True), (False, False), *nothing(None, 1, "true", [])]),
    "a table": (fields.table, [({"a": 1}, {"a": 1}), ({}, {}), *nothing(None, [], "{}", 1)]),
}  # fmt: skip
"""Loose values of each kind, with their readings."""


@pytest.mark.parametrize("name", LOOSE)
def test_a_loose_value_is_read_or_left_out(name: str) -> None:
    read, table = LOOSE[name]
    for told, right in table:
        assert read(told) == right, told


@pytest.mark.parametrize("name", LOOSE)
def test_no_odd_value_breaks_a_reader(name: str) -> None:
    read, table = LOOSE[name]
    kinds = {type(right) for _, right in table}
    for told in ODD:
        assert type(read(told)) in kinds | {int, float}


@pytest.mark.parametrize("blank", ["\t", "\n", "\x7f"])
def test_a_link_has_no_control_characters(blank: str) -> None:
    assert fields.link(f"https://cdn.example/a{blank}b") is None


def test_a_moment_is_told_in_utc() -> None:
    told = fields.moment("2026-11-08T14:00:00+02:00")
    assert told is not None
    assert told.isoformat() == "2026-11-08T12:00:00+00:00"


@pytest.mark.parametrize(
    "value", [1794139200, 1794139200.0, "1794139200", 1794139200000, "1794139200000", "1794139200.000"]
)
def test_a_moment_may_be_unix_time(value: object) -> None:
    told = fields.moment(value)
    assert told is not None
    assert told.isoformat() == "2026-11-08T12:00:00+00:00"


@pytest.mark.parametrize("value", [True, math.nan, math.inf, -1, 10**15, 10**40, "12345678", "9" * 15, []])
def test_no_moment_is_made_of_other_numbers(value: object) -> None:
    assert fields.moment(value) is None
