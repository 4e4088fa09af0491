"""The handshake of CloudEvents against abuse: a receiver says that it wants deliveries, and how many.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#4-abuse-protection, read on
2026-11-29. The receiver answers at once here; it cannot consent later through a callback.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from handlers.values import immutable
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.egress.http1 import Answer

ORIGIN, ALLOWED, RATE = "webhook-request-origin", "webhook-allowed-origin", "webhook-allowed-rate"
TIMEOUT = 10.0
"""Seconds for the answer: the caller of the API waits for it."""
LOWEST = 0.001
HIGHEST = 10_000.0
"""The bounds of an endpoint's `rate_limit`, in deliveries per second."""


class NotAllowed(Exception):
    """The error for a receiver that does not want deliveries, with the reason."""


@immutable
class Handshake:
    """A deployment that asks receivers. `origin` is its name: the host of its public URL."""

    client: HttpClient
    base_url: str

    @property
    def origin(self) -> str:
        """Return the name under which this deployment asks."""
        return urlsplit(self.base_url).hostname or self.base_url

    async def ask(self, url: str, headers: Mapping[str, str]) -> float | None:
        """Return the deliveries per second that a receiver allows, None for any number.

        Raises `NotAllowed`.
        """
        call = HttpCall(
            method="OPTIONS", url=url, headers=[*headers.items(), (ORIGIN, self.origin)], timeout=TIMEOUT
        )
        try:
            answer = await self.client.call(call)
        except CallFailed as error:
            raise NotAllowed(f"the receiver was asked by OPTIONS and does not answer: {error}") from None
        self._check(answer)
        return allowed_rate(answer.header(RATE))

    def _check(self, answer: Answer) -> None:
        allowed = answer.header(ALLOWED)
        if not 200 <= answer.status < 300 or allowed is None:
            without = f" without {ALLOWED}" if allowed is None else ""
            raise NotAllowed(
                f"the receiver was asked by OPTIONS and answers {answer.status}{without}; "
                f"it must answer 200 with `{ALLOWED}: {self.origin}`, or leave handshake out"
            )
        if allowed.strip().lower() not in {"*", self.origin.lower()}:
            raise NotAllowed(f"the receiver allows {allowed.strip()[:100]!r}, and not {self.origin}")


def allowed_rate(text: str | None) -> float | None:
    """Return deliveries per second for the header's deliveries per minute. None is any number.

    A text that is no number limits nothing: the specification names digits and `*` only.
    """
    if text is None or not text.strip().isdecimal() or not text.isascii():
        return None
    return min(max(int(text.strip()[:12]) / 60, LOWEST), HIGHEST)
