"""The part of a shell that httpx shares between its two clients: requests, answers and errors."""

from typing import Any

import httpx

from ringback.core import Answer, Call, Lost
from ringback.errors import ConfigurationError
from ringback.settings import Settings
from ringback.version import __version__

LARGEST = 64 << 20
"""Most bytes of an answer: a page of 200 jobs with their results is a quarter of it."""
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""A waiting call holds its connection, so their number is that of the calls that are made at once."""
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Errors that come before anything of the request was sent."""


def request(settings: Settings, call: Call[Any], timeout: float) -> dict[str, Any]:
    """Return the arguments of `httpx.Client.build_request` for a call. Raises `ConfigurationError`."""
    headers = {
        "accept": "application/json",
        "user-agent": f"ringback-client/{__version__}",
        **call.headers,
        # The last, so that no header of a call replaces it.
        "authorization": f"Bearer {settings.key}",
    }
    if call.body is not None:
        headers["content-type"] = "application/json"
    try:
        url = httpx.URL(settings.url + call.path)
        url.host  # noqa: B018  # it raises for a name of `xn--` that stands for none
    except (httpx.InvalidURL, UnicodeError):
        raise ConfigurationError("the URL of the service is not a URL") from None
    return {
        "method": call.method,
        "url": url,
        "params": list(call.query) or None,
        "headers": headers,
        "content": call.body,
        # The service holds an answer back for as long as it was asked to.
        "timeout": httpx.Timeout(min(timeout, call.within), read=min(timeout + call.waits, call.within)),
    }


class Gathered:
    """The body of an answer, as far as it has come."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Add a part. Raises `httpx.ReadError` for a body over the limit."""
        self._size += len(part)
        if self._size > LARGEST:
            raise httpx.ReadError(f"the answer has more than {LARGEST} bytes")
        self._parts.append(part)

    def answer(self, response: httpx.Response) -> Answer:
        """Return the answer."""
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, b"".join(self._parts))


def lost(settings: Settings, error: httpx.HTTPError) -> Lost:
    """Return the reply of a call that got no answer."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return Lost(f"no answer from {settings.url}: {reason}", sent=not isinstance(error, NOTHING_SENT))
