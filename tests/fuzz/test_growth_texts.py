"""Readers of tokens, cursors, filters, queries, URLs, secrets, log lines, heads and chunks: linear cost."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import Request

from handlers import text as texts
from handlers import wire
from receiver.api import jobs
from receiver.api.guard import only_json, read_query
from receiver.api.requests import FeedQuery, JobQuery
from receiver.domain.event_types import is_pattern
from receiver.egress.address_guard import split
from receiver.egress.http1 import Connection
from receiver.observability import redact
from receiver.security.custom_headers import header_problems
from receiver.security.ids import is_id
from receiver.security.signing import key_of
from receiver.security.tokens import MasterKeys
from tests.fuzz.growth import TEXT_UNITS, grows, longer

LIMIT = 128 * 1024
MASTERS = MasterKeys(["m" * 32], lambda size: b"x" * size)
KID = MASTERS.newest


def query(text: str) -> object:
    """Read a query of the list of jobs."""
    scope = {"type": "http", "query_string": text.encode("ascii", "replace"), "headers": []}
    return read_query(Request(scope), JobQuery, labelled=True)


READERS: dict[str, Callable[[str], object]] = {
    "a callback token": lambda text: MASTERS.read_callback("a", text),
    "a callback token of a known key": lambda text: MASTERS.read_callback("a", f"{KID}.{text}"),
    "an asset token": lambda text: MASTERS.read_asset(f"{KID}.{text}"),
    "an id": lambda text: is_id("job", f"job_{text}"),
    "a place in a timeline": lambda text: jobs.PLACE.fullmatch(f"1.1.{text}"),
    "a wish to wait": jobs.PREFER_WAIT.search,
    "an idempotency key": jobs.IDEMPOTENCY_KEY.fullmatch,
    "a content type": lambda text: only_json(f"application/{text}"),
    "a pattern": is_pattern,
    "a query": query,
    "a moment": lambda text: JobQuery.model_validate({"created_after": f"2026-11-21T10:00:00.{text}"}),
    "a cursor": lambda text: FeedQuery.model_validate({"cursor": text, "after": text, "wait": text}),
    "a URL": split,
    "a URL with a path": lambda text: split(f"https://a.example/{text}"),
    "a path of a provider": lambda text: wire.own_path(f"/{text}"),
    "a link": lambda text: wire.expiry(f"https://a.example/?{text}"),
    "a sentence": texts.clean,
    "a header": lambda text: list(header_problems({text: text})),
    "a secret": key_of,
    "a log line": redact,
}


@pytest.mark.parametrize("name", READERS)
def test_a_text_costs_in_proportion(name: str) -> None:
    read = READERS[name]
    for unit in TEXT_UNITS:
        for ending in ("", "!"):

            def make(size: int, unit: str = unit, ending: str = ending) -> str:
                return longer(unit, size) + ending

            assert grows(read, make, LIMIT) is None


class Pipe(asyncio.Transport):
    """A transport without another end."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Discard the data."""

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        """Return False: the transport stays open."""
        return False


HEADS = {
    "a header that goes on": (b"HTTP/1.1 200 OK\r\na: ", b"x"),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "a status line that goes on": (b"HTTP/1.1 200 ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "an extension that goes on": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"x=y;"),
    "a size that goes on": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
}


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
@pytest.mark.parametrize("name", HEADS)
async def test_an_answer_costs_in_proportion_however_it_is_cut(name: str, step: int) -> None:
    opening, unit = HEADS[name]

    def read(data: bytes) -> None:
        connection = Connection()
        connection.connection_made(Pipe())
        future = connection.ask(b"", 1 << 22)
        for place in range(0, len(data), step):
            connection.data_received(data[place : place + step])
        future.cancel() if not future.done() else future.exception()

    assert grows(read, lambda size: opening + longer(unit, size), LIMIT // 4) is None
