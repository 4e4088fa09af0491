"""Filters: whether they match an event's data, and the clause that decides it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.filter_reader import checked_filter
from receiver.domain.filters import ALL_HOLD, NONE_HOLDS, EventTexts
from tests.receiver.raw_server import BOUNDED

DATA: dict[str, Any] = {
    "provider": "apiframe",
    "state": "failed",
    "progress": 40,
    "metadata": {"order": "42", "a.b": "c"},
    "error": {"code": "lost", "message": "gone", "provider_code": None},
    "usage": {"credits": 5, "parts": {"gpu": True}},
    "completed_by": None,
}
# A filter, whether it matches the data above, the deciding clause, and a part of the reason.
CASES: list[tuple[dict[str, Any], bool, tuple[str, ...], str]] = [
    ({"provider": "apiframe"}, True, ("provider",), '`provider` is "apiframe", which meets `$eq` "apiframe"'),
    ({"provider": "aiml"}, False, ("provider",), 'is "apiframe", which does not meet `$eq` "aiml"'),
    ({"metadata.order": {"$in": ["41", "42"]}}, True, ("metadata.order", "$in"), "`metadata.order` is"),
    ({"metadata.a.b": "c"}, True, ("metadata.a.b",), "meets"),
    ({"metadata.color": None}, True, ("metadata.color",), "is null, which meets"),
    ({"metadata.color": {"$ne": "red"}}, True, ("metadata.color", "$ne"), "is null"),
    ({"usage.credits": {"$gte": 5, "$lt": 6}}, True, (), ALL_HOLD),
    ({"usage.credits": {"$gte": 5, "$lt": 5}}, False, ("usage.credits", "$lt"), "is 5, which does not meet"),
    ({"usage.parts.gpu": True}, True, ("usage.parts.gpu",), "is true"),
    ({"usage.parts.gpu.more": None}, True, ("usage.parts.gpu.more",), "is null"),
    ({"error": {"$exists": True}}, True, ("error", "$exists"), "meets"),
    ({"completed_by": {"$exists": False}}, True, ("completed_by", "$exists"), "meets"),
    ({"provider": "apiframe", "state": "failed"}, True, (), ALL_HOLD),
    ({"provider": "apiframe", "state": "expired"}, False, ("state",), 'is "failed"'),
    ({"$or": [{"state": "expired"}, {"state": "failed"}]}, True, ("$or", "1", "state"), "meets"),
    ({"$or": [{"state": "expired"}, {"state": "queued"}]}, False, ("$or",), NONE_HOLDS),
    (
        {"$and": [{"state": "failed"}, {"progress": {"$gt": 50}}]},
        False,
        ("$and", "1", "progress", "$gt"),
        "is 40",
    ),
    ({"$not": {"state": "failed"}}, False, ("$not", "state"), "meets"),
    ({"$not": {"state": "failed", "progress": 50}}, True, ("$not", "progress"), "does not meet"),
    ({"provider": {"$not": {"$prefix": "api"}}}, False, ("provider", "$not", "$prefix"), "meets"),
]


@pytest.mark.parametrize(("value", "matches", "keys", "reason"), CASES)
def test_a_filter_matches_or_not_and_says_why(
    value: dict[str, Any], matches: bool, keys: tuple[str, ...], reason: str
) -> None:
    made = checked_filter(value, ("job.*",))
    because = made.explain(DATA)
    assert made.matches(EventTexts(DATA)) is because.matches is matches
    assert because.keys == keys
    assert reason in because.reason


def test_each_text_of_an_event_is_found_once_for_all_filters() -> None:
    texts = EventTexts({"provider": "aiml", "progress": 4, "usage": {"a": {"b": "c"}}})
    wanted = {"provider": "aiml", "progress": 4, "usage.a.b": {"$ne": "d"}, "usage.a": {"$ne": "d"}}
    for value, matches in ((wanted, True), ({"provider": {"$nin": ["aiml"]}}, False)):
        assert checked_filter(value, ("job.*",)).matches(texts) is matches
    # Neither a number nor an object is a text; a condition on a number does not look for one.
    assert texts == {("provider",): "aiml", ("usage", "a", "b"): "c", ("usage", "a"): None}


def test_a_long_value_is_cut_in_a_reason() -> None:
    made = checked_filter({"error.message": "a"}, ("job.*",))
    assert len(made.explain({"error": {"message": "x" * 10_000}}).reason) < 300


SCALARS = st.sampled_from(["failed", "queued", 1, 2.5, True, None])
CONDITIONS = st.one_of(
    st.fixed_dictionaries({"state": st.sampled_from(["failed", "queued"])}),
    st.builds(lambda value: {"usage.a": value}, SCALARS),
    st.builds(lambda value: {"usage.a": {"$ne": value}}, SCALARS),
    st.builds(lambda values: {"usage.b": {"$in": values}}, st.lists(SCALARS, min_size=1, max_size=3)),
    st.builds(lambda values: {"usage.b": {"$nin": values}}, st.lists(SCALARS, min_size=1, max_size=3)),
    st.just({"usage.a": {"$gt": 1}}),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(lambda one: {"$not": one}, inner),
        st.builds(lambda many: {"$or": many}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda many: {"$and": many}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


@BOUNDED
@given(FILTERS, st.dictionaries(st.sampled_from(["a", "b"]), SCALARS), st.sampled_from(["failed", "expired"]))
def test_the_explanation_agrees_with_the_match_and_not_turns_both(
    value: dict[str, Any], usage: dict[str, Any], state: str
) -> None:
    data = {"state": state, "usage": usage}
    made, opposite = checked_filter(value, ("job.*",)), checked_filter({"$not": value}, ("job.*",))
    assert made.explain(data).matches is made.matches(EventTexts(data))
    assert opposite.matches(EventTexts(data)) is not made.matches(EventTexts(data))
    assert opposite.explain(data).keys[1:] == made.explain(data).keys


@pytest.mark.parametrize(
    ("operator", "value", "matches"),
    [
        ("$gte", "2026-11-30T02:49:13Z", True),
        ("$lt", "2026-11-30T02:49:13Z", False),
        ("$gte", "2026-11-30T04:48:13+02:00", True),
        ("$gt", "2026-11-30T04:49:13.598+02:00", False),
        ("$lte", "2026-11-30T04:49:13.598+02:00", True),
        ("$gt", "2026-11-30T02:49:14Z", False),
        ("$gte", "2026-11-30", True),
        ("$lt", "2026-11-30", False),
    ],
)
def test_times_are_compared_as_moments(operator: str, value: str, matches: bool) -> None:
    made = checked_filter({"created_at": {operator: value}}, ("job.*",))
    assert made.explain({"created_at": "2026-11-30T02:49:13.598Z"}).matches is matches
