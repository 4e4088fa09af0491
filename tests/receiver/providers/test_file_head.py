"""The parts that are asked for, and the answers that are passed on."""

from typing import Any

import pytest

from receiver.domain.errors import ProviderUnavailable, RangeNotSatisfiable
from receiver.egress.http1 import Answer
from receiver.providers.file_head import WHOLE, PartWanted, file_head, part_wanted

PART = PartWanted("bytes=2-5")


def answer(status: int = 200, **headers: str) -> Answer:
    """Return the head of an answer."""
    return Answer(status, tuple((name.replace("_", "-"), value) for name, value in headers.items()), b"")


@pytest.mark.parametrize(
    "text", ["bytes=0-", "bytes=2-5", "bytes=5-5", "bytes=-7", "bytes=00-01", " bytes=1- "]
)
def test_one_range_is_passed_on(text: str) -> None:
    assert part_wanted([text], []) == PartWanted(text.strip())
    assert part_wanted([text], ['"v1"']).headers() == [("range", text.strip()), ("if-range", '"v1"')]


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        ["bytes=0-1,3-4"],
        ["bytes=0-1", "bytes=3-4"],
        ["bytes=5-2"],
        ["bytes=-"],
        ["bytes="],
        ["lines=1-2"],
        ["bytes=a-b"],
        ["bytes=1-2\t3"],
        ["bytes=" + "9" * 19 + "-"],
        ["bytes=\u0661-"],
        ["bytes=" + "0-1," * 100],
    ],
)
def test_anything_else_asks_for_the_whole_file(ranges: list[str]) -> None:
    assert part_wanted(ranges, ['"v1"']) is WHOLE


@pytest.mark.parametrize("if_ranges", [['"a"', '"b"'], ["x" * 257], ["a\x00b"], ["\xe4"], [""]])
def test_an_if_range_that_cannot_be_passed_on_asks_for_the_whole_file(if_ranges: list[str]) -> None:
    assert part_wanted(["bytes=1-"], if_ranges) is WHOLE


def test_the_whole_file_has_its_length_type_and_validators() -> None:
    head = file_head(
        answer(
            content_length="9", content_type="video/mp4", etag='"v"', last_modified="x", accept_ranges="Bytes"
        ),
        WHOLE,
    )
    assert (head.status, head.length, head.content_type, head.content_range) == (200, 9, "video/mp4", None)
    assert (head.ranges, list(head.validators)) == (True, [("etag", '"v"'), ("last-modified", "x")])


def test_a_file_in_chunks_has_no_length() -> None:
    head = file_head(answer(transfer_encoding="Chunked", accept_ranges="none", etag="\x7f"), WHOLE)
    assert (head.length, head.ranges, list(head.validators)) == (None, False, [])


@pytest.mark.parametrize(
    ("told", "length"), [("bytes 2-5/9", 4), ("bytes 2-5/*", 4), ("bytes 0-0/1", 1), ("bytes 2-8/9", 7)]
)
def test_a_part_has_the_length_of_its_range(told: str, length: int) -> None:
    for headers in ({"content_length": str(length)}, {"transfer_encoding": "chunked"}):
        head = file_head(answer(206, content_range=told, **headers), PART)
        assert (head.status, head.length, head.content_range, head.ranges) == (206, length, told, True)


def test_a_server_without_ranges_sends_the_whole_file() -> None:
    assert file_head(answer(content_length="9"), PART).status == 200


REFUSED: dict[str, tuple[Answer, Any]] = {
    "part not asked for": (answer(206, content_length="4", content_range="bytes 2-5/9"), WHOLE),
    "part without range": (answer(206, content_length="4"), PART),
    "other length": (answer(206, content_length="5", content_range="bytes 2-5/9"), PART),
    "backwards": (answer(206, content_length="4", content_range="bytes 5-2/9"), PART),
    "behind the end": (answer(206, content_length="4", content_range="bytes 2-5/5"), PART),
    "several parts": (answer(206, content_length="4", content_type="multipart/byteranges"), PART),
    "gzip": (answer(content_length="4", content_encoding="gzip"), WHOLE),
    "gzip in transfer": (answer(transfer_encoding="gzip, chunked"), WHOLE),
    "to the end of the connection": (answer(), WHOLE),
    "no number": (answer(content_length="4 "), WHOLE),
    "not modified": (answer(304, content_length="4"), WHOLE),
    "no content": (answer(204, content_length="0"), WHOLE),
    "away": (answer(503, content_length="4"), WHOLE),
    "416 to no range": (answer(416, content_length="4"), WHOLE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_answer_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(ProviderUnavailable, match="cannot be passed on"):
        file_head(*REFUSED[name])


@pytest.mark.parametrize(
    ("told", "headers"),
    [("bytes */9", (("content-range", "bytes */9"),)), ("bytes */x", ()), ("bytes 1-2/9", ()), (None, ())],
)
def test_a_range_behind_the_end_is_told_with_the_length(told: str | None, headers: Any) -> None:
    heads = {} if told is None else {"content_range": told}
    with pytest.raises(RangeNotSatisfiable) as raised:
        file_head(answer(416, **heads), PART)
    assert raised.value.headers == headers


def test_identity_is_no_coding() -> None:
    assert file_head(answer(content_length="1", content_encoding=" Identity"), WHOLE).length == 1
