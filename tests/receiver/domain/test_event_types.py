"""Subscriptions to events: by type, by prefix, to all, and to three types that must be named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.event_types import (
    JOB_FINAL,
    LITERAL_ONLY,
    SHOWN,
    TYPES,
    complaint,
    is_pattern,
    nearest_type,
    unknown,
    unknown_source,
    wants,
)
from tests.receiver.raw_server import BOUNDED

PATTERNS = [
    *TYPES,
    "*",
    "job.*",
    "provider.*",
    "endpoint.*",
    "source.*",
    "source.shop.received",
    "source.a_1.*",
]
NO_PATTERNS = """
    job job. job.* . .* ** *.* j* job* jo.* job.suc job.succeeded.* job.succeeded. .job.* job..* JOB.*
    Job.succeeded job.* . source. source.x source.x.send source.X.received source..received endpoint.failing
    webhook.* (a+)+$ job.[a-z]+ job.?
"""
# Patterns of an endpoint, and what it gets of all there is.
GETS = [
    ((), ()),
    (JOB_FINAL, JOB_FINAL),
    (("*",), tuple(name for name in TYPES if name not in LITERAL_ONLY)),
    (("job.*",), (*JOB_FINAL, "job.running", "job.unconfirmed")),
    (("provider.*",), ("provider.blocked", "provider.unblocked")),
    (("endpoint.*",), ("endpoint.failing", "endpoint.disabled")),
    (("job.progressed",), ("job.progressed",)),
    (("*", "endpoint.test"), tuple(n for n in TYPES if n not in {"job.progressed", "job.late_result"})),
    (("job.*", "job.late_result"), (*JOB_FINAL, "job.running", "job.unconfirmed", "job.late_result")),
    (("job.failed", "job.failed"), ("job.failed",)),
    (("job",), ()),
    (("job.succeeded.*",), ()),
]


def test_the_contract_names_these_types() -> None:
    assert set(JOB_FINAL) == {"job.succeeded", "job.failed", "job.canceled", "job.expired"}
    assert set(LITERAL_ONLY) == {"job.progressed", "job.late_result", "endpoint.test"}
    assert len(set(TYPES)) == len(TYPES)


@pytest.mark.parametrize("text", PATTERNS)
def test_a_pattern_is_a_type_or_ends_in_a_star(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text", [one for one in NO_PATTERNS.split() if one not in PATTERNS] + ["", " ", "job.* "]
)
def test_anything_else_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize(("patterns", "gets"), GETS)
def test_what_an_endpoint_gets(patterns: tuple[str, ...], gets: tuple[str, ...]) -> None:
    assert {name for name in TYPES if wants(patterns, name)} == set(gets)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("job.sucseeded", "job.succeeded"),
        ("job.done", None),
        ("provider.block", "provider.blocked"),
        ("", None),
    ],
)
def test_only_a_type_that_is_near_is_suggested(text: str, near: str | None) -> None:
    assert nearest_type(text) == near


def test_a_refused_pattern_is_told_with_a_similar_type_and_all_types() -> None:
    assert "(did you mean `job.succeeded`?)" in complaint("job.sucseeded")
    assert "did you mean" not in complaint("nope")
    assert complaint("nope").endswith(f"types: {', '.join(SHOWN)}")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("source.shop.received", None),
        ("source.shop.*", None),
        ("source.*", None),
        ("job.*", None),
        ("source.shpo.received", "names no source (did you mean `shop`?); sources: shop, pay"),
        ("source.zzz.*", "names no source; sources: shop, pay"),
    ],
)
def test_a_pattern_may_name_only_a_source_that_there_is(pattern: str, says: str | None) -> None:
    assert unknown_source(pattern, ["shop", "pay"]) == says


def test_without_sources_a_pattern_that_names_one_is_told_so() -> None:
    said = "names no source; sources: none; add one to the settings"
    assert unknown_source("source.shop.received", []) == said


@pytest.mark.parametrize(
    ("pattern", "gets"),
    [
        ("*", True),
        ("source.*", True),
        ("source.shop.*", True),
        ("source.shop.received", True),
        ("source.sho.*", False),
        ("source.pay.received", False),
        ("job.*", False),
    ],
)
def test_the_messages_of_a_source_go_where_a_pattern_includes_them(pattern: str, gets: bool) -> None:
    assert wants((pattern,), "source.shop.received") is gets


def test_unknown_tells_the_places() -> None:
    assert unknown(["job.*", "job", "*", "nope.*"]) == [1, 3]
    assert unknown([]) == []


@BOUNDED
@given(st.text(), st.sampled_from(TYPES))
def test_any_text_is_a_pattern_or_matches_nothing(text: str, event_type: str) -> None:
    assert is_pattern(text) or not wants((text,), event_type)


@BOUNDED
@given(st.lists(st.sampled_from(PATTERNS), max_size=4), st.sampled_from(TYPES))
def test_the_order_of_patterns_means_nothing(patterns: list[str], event_type: str) -> None:
    each = any(wants((pattern,), event_type) for pattern in patterns)
    assert wants(tuple(patterns), event_type) is each
    assert wants(tuple(reversed(patterns)), event_type) is each
