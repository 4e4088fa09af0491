"""The door of the API: what a body may look like on its way in."""

from typing import Any

import pytest

from receiver.api.guard import read_body
from receiver.domain.errors import Malformed, ReceiverError, TooLarge, UnsupportedMediaType


async def body_of(headers: list[tuple[bytes, bytes]], *pieces: bytes, limit: int = 10) -> bytes:
    """What is read of a request with these headers, whose body comes in pieces."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ] or [{"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return await read_body({"headers": headers}, receive, limit)


@pytest.mark.parametrize("pieces", [(b"hello",), (b"he", b"llo"), (b"", b"hello", b"")])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-length", b"5")],
        [(b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b" Chunked ")],
        [(b"content-encoding", b"identity")],
    ],
)
async def test_a_body_is_put_together(headers: list[tuple[bytes, bytes]], pieces: tuple[bytes, ...]) -> None:
    assert await body_of(headers, *pieces) == b"hello"


REFUSED: dict[str, tuple[list[tuple[bytes, bytes]], tuple[bytes, ...], type[ReceiverError]]] = {
    "gzip": ([(b"content-encoding", b"gzip")], (b"x",), UnsupportedMediaType),
    "gzip in transfer": ([(b"transfer-encoding", b"gzip, chunked")], (b"x",), UnsupportedMediaType),
    "an announcement too large": ([(b"content-length", b"11")], (b"x",), TooLarge),
    "too much at once": ([], (b"x" * 11,), TooLarge),
    "too much in pieces": ([], (b"x" * 6, b"x" * 5), TooLarge),
    "an early end": ([], (), Malformed),
}


@pytest.mark.parametrize(("headers", "pieces", "error"), REFUSED.values(), ids=REFUSED)
async def test_a_body_is_refused(
    headers: list[tuple[bytes, bytes]], pieces: tuple[bytes, ...], error: type[ReceiverError]
) -> None:
    with pytest.raises(error):
        await body_of(headers, *pieces)
