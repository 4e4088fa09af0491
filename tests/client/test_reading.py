"""Values out of JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from ringback.reading import Raw, Unreadable, moment, read, written


@dataclass(frozen=True, kw_only=True)
class Inner(Raw):
    """A value in a value."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Outer(Raw):
    """A value with a field of every type."""

    text: str
    count: int
    share: float
    on: bool
    at: datetime
    inner: Inner | None
    inners: tuple[Inner, ...]
    words: tuple[str, ...] | None
    labels: Mapping[str, str]
    anything: Any = None
    later: str = "a default"


GOOD: dict[str, Any] = {
    "text": "t",
    "count": 2,
    "share": 1,
    "on": True,
    "at": "2026-11-21T10:00:00.123Z",
    "inner": {"name": "i", "new": 1},
    "inners": [{"name": "a"}, {"name": "b"}],
    "words": None,
    "labels": {"order": "42"},
}


def test_every_field_becomes_its_type() -> None:
    made = read(Outer, GOOD)
    assert (made.text, made.count, made.share, made.on) == ("t", 2, 1.0, True)
    assert isinstance(made.share, float)
    assert made.at == datetime(2026, 11, 21, 10, 0, 0, 123000, tzinfo=UTC)
    assert made.inner is not None
    assert [one.name for one in (made.inner, *made.inners)] == ["i", "a", "b"]
    assert (made.words, made.labels, made.later) == (None, {"order": "42"}, "a default")


def test_a_field_that_is_new_stays_in_raw() -> None:
    made = read(Outer, {**GOOD, "brand_new": [1], "later": "given", "anything": {"x": None}})
    assert made.raw["brand_new"] == [1]
    assert made.inner is not None
    assert made.inner.raw == {"name": "i", "new": 1}
    assert (made.later, made.anything) == ("given", {"x": None})
    assert "brand_new" not in repr(made)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": 1}, "text: must be a text"),
        ({"count": 1.5}, "count: must be a whole number"),
        ({"count": True}, "count: must be a whole number"),
        ({"share": "1"}, "share: must be a number"),
        ({"share": False}, "share: must be a number"),
        ({"share": 10**400}, "share: must be a number of this size"),
        ({"on": 1}, "on: must be true or false"),
        ({"at": "yesterday"}, "at: must be a moment"),
        ({"at": 7}, "at: must be a moment"),
        ({"at": "2026-11-21T10:00:00"}, "at: must have an offset"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "at: must be a moment"),
        ({"inner": []}, "inner: must be an object"),
        ({"inners": {}}, "inners: must be a list"),
        ({"inners": [{"name": None}]}, "inners: name: must be a text"),
        ({"labels": {"a": 1}}, "labels: must be a text"),
        ({"labels": []}, "labels: must be an object"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(Outer, GOOD | change)
    assert str(caught.value) == told


def test_a_missing_field_is_named_and_so_is_a_value_that_is_no_object() -> None:
    with pytest.raises(Unreadable, match=r"^count: is missing$"):
        read(Outer, {name: value for name, value in GOOD.items() if name != "count"})
    with pytest.raises(Unreadable, match="must be an object"):
        read(Outer, [])


def test_a_moment_is_read_and_written_in_utc() -> None:
    assert written(moment("2026-11-21T12:00:00+02:00")) == "2026-11-21T10:00:00Z"
    with pytest.raises(ValueError, match="time zone"):
        written(datetime(2026, 11, 21))  # noqa: DTZ001  # the moment that is refused
