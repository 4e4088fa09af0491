"""The reader of filters: every fault with its place, and bounds on size and depth."""

from typing import Any

import pytest

from receiver.domain.filter_reader import (
    DEEPEST,
    MOST_CLAUSES,
    MOST_VALUES,
    BadFilter,
    checked_filter,
    stored_filter,
)
from receiver.domain.filters import EventTexts

JOBS, ALL = ("job.*",), ("*",)
# Event types, filter, place of the fault, and how it begins.
FAULTS: list[tuple[tuple[str, ...], Any, tuple[str, ...], str]] = [
    (JOBS, {}, (), "must be an object with at least one field"),
    (JOBS, [], (), "must be an object"),
    (JOBS, "state", (), "must be an object"),
    (JOBS, {"state": {}}, ("state",), "must be a value, or an object of $eq, $ne"),
    (JOBS, {"state": ["failed"]}, ("state",), "is a list; write"),
    (JOBS, {"state": {"$regex": "a"}}, ("state", "$regex"), "is no operator; there are $eq"),
    (JOBS, {"progress": {"$gtt": 5}}, ("progress", "$gtt"), "is no operator; there are"),
    (JOBS, {"$nor": [{"state": "failed"}]}, ("$nor",), "is not one of $and, $or, $not"),
    (JOBS, {"metadata": {"order": "42"}}, ("metadata", "order"), "is no operator; write `metadata.order`"),
    (
        JOBS,
        {"providr": "apiframe"},
        ("providr",),
        "is no field of the events of this endpoint; did you mean `provider`?",
    ),
    (
        JOBS,
        {"error.cod": "lost"},
        ("error.cod",),
        "is no field of the events of this endpoint; did you mean `error.code`?",
    ),
    (JOBS, {"state.word": "a"}, ("state.word",), "is no field"),
    (JOBS, {"stat": {"$in": 5}}, ("stat",), "is no field"),
    (JOBS, {"$or": [{"stat": {"$nin": None}}]}, ("$or", "0", "stat"), "is no field"),
    (
        ("source.shop.received",),
        {"headers.X-Event": "a"},
        ("headers.X-Event",),
        "is never there: names of hea",
    ),
    (JOBS, {"blocked": True}, ("blocked",), "is no field of the events of this endpoint"),
    (JOBS, {"result.video": "a"}, ("result.video",), "is no field"),
    (JOBS, {"assets": None}, ("assets",), "leads through a list"),
    (JOBS, {"assets.0.url": "a"}, ("assets.0.url",), "leads through a list"),
    (JOBS, {"assets.url": {"$prefix": "a"}}, ("assets.url",), "leads through a list"),
    (JOBS, {"usage..cost": 1}, ("usage..cost",), "must be field names joined by dots"),
    (JOBS, {"": 1}, ("",), "must be field names"),
    (JOBS, {"metadata.": "a"}, ("metadata.",), "must be field names"),
    (JOBS, {"metadata." + "a" * 500: "a"}, ("metadata." + "a" * 500,), "must be field names"),
    (JOBS, {"progress": {"$gt": "a"}}, ("progress", "$gt"), "must be a number"),
    (JOBS, {"metadata.order": 42}, ("metadata.order",), "must be a text"),
    (JOBS, {"state": "suceeded"}, ("state",), 'is never "suceeded", but one of pending'),
    (JOBS, {"state": "active"}, ("state",), 'is never "active", but one of pending'),
    (JOBS, {"object": "message"}, ("object",), 'is never "message", but one of job'),
    (JOBS, {"created_at": {"$gt": "yesterday"}}, ("created_at", "$gt"), "must be a day, or a moment"),
    (JOBS, {"error.code": {"$in": ["lost", "last"]}}, ("error.code", "$in"), 'is never "last"'),
    (JOBS, {"$and": {}}, ("$and",), "must be a list of at least one filter"),
    (JOBS, {"$or": []}, ("$or",), "must be a list of at least one filter"),
    (JOBS, {"$or": [{"state": "failed"}, 1]}, ("$or", "1"), "must be an object"),
    (JOBS, {"$not": []}, ("$not",), "must be an object"),
    (JOBS, {"state": {"$not": "failed"}}, ("state", "$not"), "must be an object of operators, such as"),
    (
        ALL,
        {"state": {"$not": {"$not": {"$eq": "failed"}}}},
        ("state", "$not"),
        "must be an object of operators, such as",
    ),
]


def faults(value: Any, patterns: tuple[str, ...] = JOBS) -> list[tuple[tuple[str, ...], str]]:
    """Return the faults of a filter."""
    try:
        checked_filter(value, patterns)
    except BadFilter as error:
        return [(problem.keys, problem.detail) for problem in error.problems]
    return []


def nested(depth: int) -> dict[str, Any]:
    """Return a filter with so many `$not` around a condition."""
    value: dict[str, Any] = {"state": "failed"}
    for _ in range(depth):
        value = {"$not": value}
    return value


@pytest.mark.parametrize(("patterns", "value", "keys", "fault"), FAULTS)
def test_a_fault_is_named_with_its_place(
    patterns: tuple[str, ...], value: Any, keys: tuple[str, ...], fault: str
) -> None:
    [(place, detail)] = faults(value, patterns)
    assert place == keys
    assert detail.startswith(fault)


def test_all_faults_are_named_at_once() -> None:
    found = faults({"progress": "a", "$or": [{"state": 1}, {"nope": 1}]})
    assert [keys for keys, _ in found] == [("progress",), ("$or", "0", "state"), ("$or", "1", "nope")]


def test_the_fields_are_those_of_the_event_types() -> None:
    assert faults({"blocked": True}, ("provider.*",)) == []
    assert faults({"blocked": True}, ("*",)) == []
    assert faults({"disabled_reason": {"$exists": True}}, ("endpoint.disabled",)) == []
    assert faults({"metadata.a.b": "c", "usage.credits": {"$gt": 5}}) == []


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1, 60])
def test_the_depth_is_bounded(depth: int) -> None:
    assert [detail for _, detail in faults(nested(depth))] == (
        [] if depth <= DEEPEST else [f"is nested more than {DEEPEST} deep"]
    )


@pytest.mark.parametrize("many", [MOST_CLAUSES, MOST_CLAUSES + 1, 10_000])
def test_the_clauses_are_bounded(many: int) -> None:
    value = {f"metadata.{number}": "a" for number in range(many)}
    assert faults(value) == (
        [] if many <= MOST_CLAUSES else [((), f"must have at most {MOST_CLAUSES} clauses")]
    )


def test_the_clauses_of_all_alternatives_count() -> None:
    many = [{"state": "failed"}] * (MOST_CLAUSES // 2)
    assert faults({"$or": many[:-1]}) == []
    assert faults({"$or": many}) == [((), f"must have at most {MOST_CLAUSES} clauses")]


def test_the_values_are_bounded() -> None:
    value = {"metadata.a": {"$in": ["a"] * MOST_VALUES}}
    assert faults(value) == []
    value["metadata.b"] = {"$nin": ["a"]}
    assert faults(value) == [(("metadata.b", "$nin"), f"makes more than {MOST_VALUES} values in one filter")]


def test_a_stored_filter_is_the_same_filter() -> None:
    made = checked_filter({"metadata.a.b": {"$in": ["1"]}, "progress": {"$gte": 50}}, JOBS)
    read = stored_filter(made.text)
    assert read == made
    assert read.root == made.root
    assert read.matches(EventTexts({"metadata": {"a.b": "1"}, "progress": 50}))
    assert not read.matches(EventTexts({"metadata": {"a.b": "1"}, "progress": 49}))


def test_a_condition_with_its_operator_counts_once() -> None:
    fields = {f"metadata.k{number}": {"$eq": "x"} for number in range(MOST_CLAUSES)}
    assert faults(fields) == []
    assert faults(fields | {"state": "failed"}) == [((), f"must have at most {MOST_CLAUSES} clauses")]
    assert faults(fields | {"state": {"$ne": "failed", "$exists": True}}) != []
