"""Custom headers of endpoints: the names and values that cannot be sent, and the reason for each."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.security.custom_headers import RESERVED, header_problems
from tests.receiver.raw_server import BOUNDED

NO_NAME = "is no valid header name"
OURS = "is set by Ringback or by HTTP itself"
NO_VALUE = "the value must be visible ASCII of at most 2000 characters"
TWICE = "is there twice, in another case"


@pytest.mark.parametrize(
    "name", ["x", "X-Key", "authorization", "cookie", "!#$%&'*+-.^_`|~09azAZ", "n" * 100]
)
@pytest.mark.parametrize("value", ["", " ", "Bearer abc~", "v" * 2000, None])
def test_a_header_that_http_allows_may_be_sent(name: str, value: str | None) -> None:
    assert list(header_problems({name: value})) == []


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a:b", "a\n", "\na", "a\r\nb: c", "\u00e9", "\uff41", "(a)", '"a"', "a\x00", "n" * 101],
)
def test_a_name_that_http_does_not_allow_is_refused(name: str) -> None:
    assert list(header_problems({name: "v"})) == [(name, NO_NAME)]


@pytest.mark.parametrize(
    "name",
    [
        *sorted(RESERVED),
        "Host",
        "USER-AGENT",
        "content-type",
        "Content-Length",
        "content-",
        "webhook-id",
        "Webhook-",
    ],
)
def test_a_header_that_the_service_sets_is_refused_in_any_case(name: str) -> None:
    assert list(header_problems({name: "v"})) == [(name, OURS)]


@pytest.mark.parametrize("name", ["contents", "webhooks", "x-content-type", "hosts", "tea"])
def test_a_name_that_only_looks_like_one_of_the_service_may_be_sent(name: str) -> None:
    assert list(header_problems({name: "v"})) == []


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\n", "\t", "\x7f", "\x00", "\u00e9", "\ud800", "v" * 2001])
def test_a_value_that_is_not_visible_ascii_is_refused(value: str) -> None:
    assert list(header_problems({"x": value})) == [("x", NO_VALUE)]


def test_a_name_that_comes_again_in_another_case_is_refused() -> None:
    assert list(header_problems({"X-Key": "a", "y": "b", "x-key": "c", "X-KEY": None})) == [
        ("x-key", TWICE),
        ("X-KEY", TWICE),
    ]


def test_each_header_has_one_problem_at_most_and_all_are_named() -> None:
    headers = {"a b": "\n", "Host": "\n", "x": "\n", "X": "\n", "y": "ok"}
    assert list(header_problems(headers)) == [
        ("a b", NO_NAME),
        ("Host", OURS),
        ("x", NO_VALUE),
        ("X", NO_VALUE),
    ]


@BOUNDED
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_header_without_a_problem_is_one_line_of_ascii(name: str, value: str) -> None:
    problems = list(header_problems({name: value}))
    line = f"{name}: {value}"
    assert bool(problems) or re.fullmatch(r"[!-9;-~]+: [ -~]*", line, re.ASCII)
    assert [found for found, _ in problems] == [name] * len(problems)
