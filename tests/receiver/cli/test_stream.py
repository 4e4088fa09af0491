"""Events as they come: the blocks of a stream, and the lines about trouble."""

import pytest

from receiver.cli.stream import blocks, lines, told_once


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("retry: 2000\nid: evt_1\n\n", [{"retry": "2000", "id": "evt_1"}]),
        (": \n\nid: a\ndata: {}\n\n: \n\n", [{"id": "a", "data": "{}"}]),
        ("data:x\n\n\n\nid: b\n\n", [{"data": "x"}, {"id": "b"}]),
        ("id: a\ndata: {}\n", []),
        ("event: gap\nid: 7\ndata: {}\n\nid: c", [{"event": "gap", "id": "7", "data": "{}"}]),
        ("data\n\n", [{"data": ""}]),
    ],
)
def test_a_stream_is_read_block_by_block(text: str, found: list[dict[str, str]]) -> None:
    assert list(blocks(iter(text.splitlines()))) == found


def test_only_line_feeds_end_a_line() -> None:
    parts = ["id: a\r\ndata: \u2028x\u0085\x0b".encode(), b"y\n\nid", b": b\n"]
    assert list(lines(parts)) == ["id: a", "data: \u2028x\u0085\x0by", "", "id: b"]


def test_trouble_is_told_once_and_its_end_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    trouble = told_once("it is back")
    for text in ("", "it is away", "it is away", "", "", "it is away"):
        trouble(text)
    assert capsys.readouterr() == ("", "it is away\nit is back\nit is away\n")
