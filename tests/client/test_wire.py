"""Requests, answers and errors of httpx."""

import math
from dataclasses import replace

import httpx
import pytest

from ringback import wire
from ringback.calls import jobs
from ringback.core import Lost
from ringback.errors import ConfigurationError
from ringback.settings import Settings

KEY = "rb_" + "k" * 32
SETTINGS = Settings("https://hooks.example.com/ringback", KEY)


def test_a_call_becomes_a_request_with_the_key_and_the_path_below_the_url() -> None:
    made = wire.request(SETTINGS, jobs.show("job_1", wait=20), 30.0)
    request = httpx.Request(made["method"], made["url"], params=made["params"], headers=made["headers"])
    assert str(request.url) == "https://hooks.example.com/ringback/v1/jobs/job_1?wait=20"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"] == "ringback-client/0.1.0"
    assert "content-type" not in request.headers
    timeout = made["timeout"]
    assert (timeout.connect, timeout.read, timeout.write, timeout.pool) == (30.0, 50.0, 30.0, 30.0)


def test_a_body_is_json_and_no_header_of_a_call_replaces_the_key() -> None:
    call = jobs.submit("p", {"prompt": "ü"}, idempotency_key="k", wait=5)
    made = wire.request(SETTINGS, call, 30.0)
    assert made["content"] == b'{"provider": "p", "input": {"prompt": "\\u00fc"}}'
    assert made["headers"]["content-type"] == "application/json"
    assert (made["headers"]["idempotency-key"], made["headers"]["prefer"]) == ("k", "wait=5")
    assert made["params"] is None
    assert made["headers"]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("host", ["ä" * 300, "xn--", "xn--a.example"])
def test_a_host_that_is_none_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a URL"):
        wire.request(Settings(f"http://{host}", KEY), jobs.show("job_1"), 30.0)


@pytest.mark.parametrize(
    ("waits", "within", "read"), [(0.0, math.inf, 30.0), (5.0, math.inf, 35.0), (30.0, 12.0, 12.0)]
)
def test_a_call_has_the_time_that_it_asks_for_within_its_own(
    waits: float, within: float, read: float
) -> None:
    call = replace(jobs.show("job_1"), waits=waits, within=within)
    timeout = wire.request(SETTINGS, call, 30.0)["timeout"]
    assert (timeout.read, timeout.connect) == (read, min(30.0, within))


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout(""), False),
        (httpx.PoolTimeout(""), False),
        (httpx.ReadTimeout(""), True),
        (httpx.WriteError("broken\npipe"), True),
        (httpx.RemoteProtocolError("cut"), True),
        (httpx.DecodingError("gzip"), True),
    ],
)
def test_an_error_tells_whether_something_was_sent(error: httpx.HTTPError, sent: bool) -> None:
    found = wire.lost(SETTINGS, error)
    reason = " ".join(str(error).split()) or type(error).__name__
    assert found == Lost(f"no answer from {SETTINGS.url}: {reason}", sent=sent)


def test_a_body_beyond_the_limit_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST", 10)
    body = wire.Gathered()
    body.add(b"12345")
    body.add(b"67890")
    answer = body.answer(httpx.Response(200, headers={"X-Request-ID": "req_1"}))
    assert (answer.status, answer.body, answer.headers["x-request-id"]) == (200, b"1234567890", "req_1")
    with pytest.raises(httpx.ReadError, match="more than 10 bytes"):
        body.add(b"1")
