"""Tests of the HTTP client that logs its calls: one debug line for each, without path and secrets."""

import logging
import re

import pytest

from receiver.egress.client import CallFailed, HttpCall
from receiver.egress.logged_client import LOGGER, LoggedClient
from tests.receiver.raw_server import LOOPBACK_ONLY, replaying, serving

ANSWER = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"


def call(url: str) -> HttpCall:
    """Return a call with a secret in each of its parts."""
    return HttpCall(method="POST", url=url, headers=[("x-key", "canary")], body=b"canary")


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return the log with its lines at debug."""
    caplog.set_level(logging.DEBUG, LOGGER.name)
    return caplog


async def test_a_call_is_one_line_with_method_origin_and_milliseconds(
    debug: pytest.LogCaptureFixture,
) -> None:
    client = LoggedClient(LOOPBACK_ONLY)
    async with serving(replaying(ANSWER)) as server:
        answer = await client.call(call(server.url("/canary?canary=1")))
        origin = server.url("").rstrip("/")
    await client.close()
    assert (answer.status, answer.body) == (404, b"no")
    [record] = debug.records
    assert re.fullmatch(rf"POST {re.escape(origin)}\S* took [0-9]+ ms", record.getMessage())
    assert "canary" not in record.getMessage()
    assert (record.levelno, vars(record)["status"]) == (logging.DEBUG, 404)


async def test_a_call_that_fails_is_one_line_with_the_reason(debug: pytest.LogCaptureFixture) -> None:
    client = LoggedClient(LOOPBACK_ONLY)
    with pytest.raises(CallFailed) as raised:
        await client.call(call("http://10.0.0.1/canary"))
    await client.close()
    [record] = debug.records
    line = record.getMessage()
    assert re.fullmatch(r"POST http://10\.0\.0\.1\S* failed after [0-9]+ ms: .+", line)
    assert line.endswith(f": {raised.value}")
    assert "canary" not in line


async def test_nothing_is_logged_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    client = LoggedClient(LOOPBACK_ONLY)
    async with serving(replaying(ANSWER)) as server:
        assert (await client.call(call(server.url("/x")))).status == 404
    with pytest.raises(CallFailed):
        await client.call(call("http://10.0.0.1/"))
    await client.close()
    assert caplog.records == []
