"""The common parts of the wire formats: paths on the own origin, `Retry-After`, links and loose values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import said, wire
from handlers.contract import Kind
from handlers.errors import Garbled
from handlers.wishes import retry_after
from tests.handlers.captures import message
from tests.handlers.strategies import LIMITED

HOSTILE = (
    "", "@evil.test/x", ".evil.test/x", "evil.test", ":443/x", "//evil.test", "//evil.test/x", "///evil.test",
    "https://evil.test", "http://api.ai.ml/x", "HTTPS://evil.test", "https:/evil.test", "https:evil.test",
    "/\\evil", "\\\\evil", "\\/evil", "/x\\..\\y", "/a b", " /x", "/x ", "/x\t", "/x#y", "#x", "?x", "x",
    "/x\r\nHost: evil.test", "/x\r", "/x\n", "\n/x", "/x\x00", "/\x00x", "/x\x0b", "/x\x1f", "/x\x7f",
    "/x\x85", "/ä", "/灯", "/\u2028", "/\uff0fevil.test", "/x\ud800", "javascript:alert(1)", "file:///etc/passwd",
)  # fmt: skip
"""Paths that have led a client, which joins a base and a path, to another place."""

FAITHFUL = (
    "/", "/x", "/v1/media/videos/orgs%2F64%2Fvideos%2Fa.mp4", "/a%2fb", "/a%252Fb", "/./x", "/../x", "/a/./b",
    "/a/../../b", "/x//y", "/x/", "/%", "/%zz", "/%00", "/?q=1&r=//evil.test", "/x?u=https://evil.test",
    "/@evil.test", "/:80", "/;a=b", "/a+b", "/~x", "/!$&'()*,=", "/.evil.test", "/%2F%2Fevil.test",
    '/"<>^`{|}',
)  # fmt: skip
"""Paths that are sent byte for byte, however odd they look."""


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_a_path_that_could_leave_its_origin_is_refused(path: str) -> None:
    with pytest.raises(Garbled) as caught:
        wire.own_path(path)
    assert len(path) < 2 or path not in str(caught.value)


@pytest.mark.parametrize("path", FAITHFUL, ids=ascii)
def test_a_path_goes_out_byte_for_byte(path: str) -> None:
    assert wire.own_path(path) == path


@LIMITED
@given(path=st.text(st.characters(codec="utf-8")) | st.text("/\\@.:#?% a\r\n\x00", max_size=12))
def test_any_path_is_kept_or_refused(path: str) -> None:
    try:
        assert wire.own_path(path) == path
    except Garbled:
        return
    assert path.isascii()
    assert path.isprintable()
    assert path[0] == "/"
    assert path[1:2] != "/"
    assert not set(path) & set("\\# ")


@LIMITED
@given(value=st.text(st.characters(codec="utf-8")))
def test_any_id_is_one_segment(value: str) -> None:
    path = wire.own_path(f"/x/{wire.segment(value)}")
    assert path.count("/") == 2
    assert not set(path) & set("?&=+;")


AFTER: dict[str, float | None] = {
    "0": 0,
    "1": 1,
    "120": 120,
    " 120 ": 120,
    "007": 7,
    "4.0": 4,
    "4.2": 5,
    "0.001": 1,
    "4.": 4,
    "4, 4": 4,
    "4,4.0": 4,
    "4, 5": None,
    "86400": 86400,
    "86399.5": 86400,
    **dict.fromkeys(("86401", "9999999999", "9" * 5000, "0" * 5000 + "99999", "9" * 50 + ".5"), 86400),
    "Sun, 01 Nov 2037 12:00:30 GMT": 86400,
    "Sun, 01 Nov 2026 12:00:30 GMT": 30,
    "Sunday, 01-Nov-26 12:00:30 GMT": 30,
    "Sun Nov  1 12:00:30 2026": 30,
    "Sun, 01 Nov 2026 12:00:30 -0000": 30,
    "Sun, 01 Nov 2026 13:00:30 +0100": 30,
    "Sun, 01 Nov 2026 12:00:00 GMT": 0,
    "Sun, 01 Nov 2026 11:59:59 GMT": 0,
    "Thu, 01 Jan 1970 00:00:00 GMT": 0,
    "Sun, 01 Nov 0 1:1:1 GMT": 0,
    **dict.fromkeys(
        (
            "", " ", "soon", "-1", "+1", "1.5.1", ".5", "1e3", "0x10", "1_0", "1, 2", "1;2", "nan", "inf",
            "\u0663", "\uff13", "²", "1, x", "1,", "\x00", "1\x00", "é",
            "Sun, 99 Nov 2026 12:00:00 GMT", "Sun, 01 Nov", "Sun, 01 Foo 2026 12:00:00 GMT",
            "2026-11-01T12:00:30Z", "Sun, 01 Nov 99999 12:00:00 GMT",
            "Sun, 01 Nov 2026 12:00:00 +9999999999", "Sun, 01 Nov 2026 12:00:00 +2500",
        )
    ),
}  # fmt: skip
"""Values of `Retry-After` and their seconds; None for a value that cannot be read."""


@pytest.mark.parametrize("value", AFTER, ids=lambda value: ascii(value[:40]))
def test_a_wish_in_seconds_or_as_a_date(value: str) -> None:
    found = retry_after(message(429, b"", ("retry-after", value)))
    assert (found.total_seconds() if found is not None else None) == AFTER[value]


def test_a_missing_wish_is_none() -> None:
    assert retry_after(message(429)) is None
    assert retry_after(message(429, b"", ("Retry-After-Ms", "1"))) is None


DOUBLED: list[tuple[tuple[str, str], float | None]] = [
    (("1", "1"), 1),
    (("1", " 1.0"), 1),
    (("Sun, 01 Nov 2026 12:00:30 GMT", "30"), 30),
    (("1", "2"), None),
    (("1", "soon"), None),
    (("1, 1", "1"), 1),
    (("1, 1", "2"), None),
]


@pytest.mark.parametrize(("values", "seconds"), DOUBLED)
def test_a_doubled_wish_counts_once_when_its_values_are_equal(
    values: tuple[str, str], seconds: float | None
) -> None:
    found = retry_after(message(429, b"", *[("retry-after", value) for value in values]))
    assert (found.total_seconds() if found is not None else None) == seconds


@LIMITED
@given(
    value=st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [-+]?\w{1,6}")
)
def test_any_wish_is_a_time_or_none(value: str) -> None:
    found = retry_after(message(429, b"", ("retry-after", value)))
    assert found is None or found >= timedelta()


ENDS: dict[str, datetime | None] = {
    "?exp=1793538000&sig=ab": datetime(2026, 11, 1, 13, tzinfo=UTC),
    "?sig=ab&exp=1793538000": datetime(2026, 11, 1, 13, tzinfo=UTC),
    "?exp=1793538000&exp=1": datetime(2026, 11, 1, 13, tzinfo=UTC),
    "?exp=0": datetime(1970, 1, 1, tzinfo=UTC),
    **dict.fromkeys(
        (
            "", "?", "?exp", "?exp=", "?Exp=1793538000", "?expires=1793538000", "#exp=1793538000",
            "?exp=soon", "?exp=1793538000.5", "?exp=1e9", "?exp=nan", "?exp=inf", "?exp=" + "9" * 30,
            "?exp=" + "9" * 5000, "?exp=-" + "9" * 30, "?exp=0x10", "?exp=%00", "?exp=1793538000000",
        )
    ),
}  # fmt: skip
"""Queries of a link and the moment in each; None where there is no moment that can be read."""


@pytest.mark.parametrize("query", ENDS, ids=lambda query: query[:24])
def test_the_end_of_a_signed_link(query: str) -> None:
    assert wire.expiry(f"https://cdn.example/a.mp4{query}") == ENDS[query]


def test_the_end_may_have_another_name() -> None:
    link = "https://cdn.example/a.mp4?exp=1&Expires=1793538000"
    assert wire.expiry(link, "Expires") == datetime(2026, 11, 1, 13, tzinfo=UTC)
    assert wire.expiry("https://[broken?exp=1793538000") is None


SENTENCES: list[tuple[Any, str]] = [
    ({"error": {"code": "c", "message": "m"}}, "m"),
    ({"error": "m"}, "m"),
    ({"errors": [{"msg": "m"}, {"msg": "n"}]}, "m; n"),
    ({"errors": [{"msg": one} for one in "mmnop"]}, "m; n"),
    ({"detail": [{"loc": ["body", "prompt"], "msg": "m"}]}, "body.prompt: m"),
    ({"error": {"param": "size", "message": "m"}}, "size: m"),
    ({"error": "m", "details": {"prompt": ["too long"]}}, "m; prompt: too long"),
    ({"details": {"prompt": ["too long"]}}, "prompt: too long"),
    ({"base_resp": {"status_code": 1, "status_msg": "m"}}, "m"),
    ({"status": "failed", "fail_reason": "m"}, "m"),
    ({"message": "", "error": "m"}, "m"),
    ({"status_msg": "m"}, "m"),
    ({"title": "m", "status": 400}, "m"),
    ({"message": 7, "detail": None}, ""),
    ({}, ""),
    ([], ""),
    (None, ""),
    (7, ""),
    ("m\x00\x1f", "m"),
    ("x" * 9000, "x" * 500),
    ([[], [["m"]]], "m"),
]


@pytest.mark.parametrize(("told", "found"), SENTENCES)
def test_the_sentence_of_an_error_is_found_cleaned_and_cut(told: Any, found: str) -> None:
    assert said.sentence(told) == found


CODES: list[tuple[Any, str | None]] = [
    ({"error": {"code": "c"}}, "c"),
    ({"error": {"code": 1027}}, "1027"),
    ({"code": "c"}, "c"),
    ({"error": "text", "code": "c"}, "c"),
    ({"error": {"code": True}}, None),
    ({"error": {"code": None}}, None),
    ({"error": {}}, None),
    ({}, None),
    ([], None),
    (None, None),
    ({"code": "c" * 300}, "c" * 100),
    ({"code": "c\x00"}, "c"),
]


@pytest.mark.parametrize(("told", "found"), CODES)
def test_the_code_of_an_error_is_found_cleaned_and_cut(told: Any, found: str | None) -> None:
    assert said.code_of(told) == found


@pytest.mark.parametrize(
    ("link", "kind"),
    [
        ("https://cdn.example/a.mp4", Kind.VIDEO),
        ("https://cdn.example/a.MP4?sig=a.png", Kind.VIDEO),
        ("https://cdn.example/a.b.webp", Kind.IMAGE),
        ("https://cdn.example/a.wav", Kind.AUDIO),
        ("https://cdn.example/a.gif#t=1", Kind.IMAGE),
        ("https://cdn.example/a.opus", Kind.AUDIO),
        ("https://cdn.example/a.mkv?x#y.png", Kind.VIDEO),
        ("https://cdn.example/a.glb", Kind.FILE),
        ("https://cdn.example/a.exe", Kind.FILE),
        ("https://cdn.example/a", Kind.FILE),
        ("", Kind.FILE),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_ending(link: str, kind: Kind) -> None:
    assert wire.kind_of(link) is kind
