"""The access log: one debug line for each call, with the client's address and without secrets."""

import ipaddress
import logging
from typing import Any

import pytest

from receiver.api.access_log import AccessLog
from receiver.observability import TextFormatter

PROXY = (ipaddress.ip_network("10.0.0.0/8"),)
FORWARDED = [(b"x-forwarded-for", b"192.0.2.7, 198.51.100.4"), (b"x-forwarded-for", b"10.0.0.2")]


def scope_of(path: str, client: str | None = "203.0.113.9", **others: Any) -> dict[str, Any]:
    """Return the ASGI scope of a POST request."""
    return {
        "method": "POST",
        "path": path,
        "query_string": b"key=secret",
        "headers": [],
        "client": (client, 4711) if client else None,
        **others,
    }


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return the captured log, with debug lines on."""
    caplog.set_level(logging.DEBUG, "ringback.api")
    return caplog


def test_a_call_is_one_line_without_its_query(log: pytest.LogCaptureFixture) -> None:
    AccessLog(())(scope_of("/v1/jobs"), 202, "req_1")
    [record] = log.records
    assert (record.levelname, record.getMessage()) == ("DEBUG", "POST /v1/jobs from 203.0.113.9")
    assert (record.__dict__["request_id"], record.__dict__["status"]) == ("req_1", 202)
    assert TextFormatter().format(record).endswith("from 203.0.113.9 status=202 request_id=req_1")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/callbacks/apiframe/1a2b.job_1.sig", "POST /callbacks/apiframe/[redacted] from"),
        ("/assets/1a2b.job_1.0.9.sig", "POST /assets/[redacted] from"),
    ],
)
def test_a_token_in_a_path_is_not_written(log: pytest.LogCaptureFixture, path: str, shown: str) -> None:
    AccessLog(())(scope_of(path), 401, "req_1")
    line = TextFormatter().format(log.records[0])
    assert shown in line
    assert "sig" not in line


@pytest.mark.parametrize(
    ("client", "trusted", "address"),
    [
        ("10.0.0.1", PROXY, "198.51.100.4"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("203.0.113.9", PROXY, "203.0.113.9"),
        (None, PROXY, "unknown"),
    ],
)
def test_only_a_trusted_proxy_may_name_the_address_of_the_client(
    log: pytest.LogCaptureFixture, client: str | None, trusted: Any, address: str
) -> None:
    AccessLog(trusted)(scope_of("/healthz", client, headers=FORWARDED), 200, "req_1")
    assert log.records[0].getMessage() == f"POST /healthz from {address}"


def test_without_debug_lines_the_address_is_not_even_worked_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ringback.api")
    AccessLog(PROXY)({"method": "GET", "path": "/healthz"}, 200, "req_1")
    assert caplog.records == []
