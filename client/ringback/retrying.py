"""Attempts: when a call may be sent again, and after which pause."""

import itertools
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from ringback.core import Answer, Call, Entropy, Lost, Pause, Reply, Result, Steps, outcome, passes
from ringback.errors import RingbackError, Unavailable, Unreachable

HIGHEST = 30
"""The highest power of two by which a pause grows."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The bounds of a call's attempts, in seconds, and the sources of time and chance.

    The pause begins at `first`, doubles to `longest`, and is shortened by up to a half at random. A
    `Retry-After` of the service makes it longer. No attempt begins later than `total` after the first.
    """

    attempts: int = 5
    total: float = 60.0
    first: float = 0.25
    longest: float = 8.0
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    entropy: Entropy = os.urandom

    def pause(self, number: int, after: float = 0.0) -> float:
        """Return the seconds between attempt `number`, counted from 1, and the next."""
        grown = min(self.first * 2.0 ** min(number - 1, HIGHEST), self.longest)
        return max(after, grown * (1 - self.chance() / 2))


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt: its error, whether nothing was carried out, and the pause that was asked for."""

    error: RingbackError
    harmless: bool
    after: float


def result(call: Call[Result], reply: Reply) -> Result | Failure:
    """Return the value of an attempt, or its failure."""
    if isinstance(reply, Lost):
        return Failure(Unreachable(reply.detail, sent=reply.sent), harmless=not reply.sent, after=0.0)
    assert isinstance(reply, Answer)  # noqa: S101  # a shell replies to a call with one of the two
    try:
        return outcome(call, reply)
    except RingbackError as error:
        # A 429 and a 503 `unavailable` say that nothing was done; behind any other 5xx it may have been.
        harmless = reply.status == 429 or isinstance(error, Unavailable)
        return Failure(error, harmless, retry_after(reply))


def retry_after(answer: Answer) -> float:
    """Return the seconds that an answer asks to wait for, 0 without a readable `Retry-After`.

    A date is compared with the date of the answer, so that no clock of this machine counts.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        return max(0.0, (until - parsedate_to_datetime(answer.headers.get("date", ""))).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def attempts(call: Call[Result], retry: Retry) -> Steps[Result]:
    """Make a call until it succeeds. Returns its value.

    Raises the error of the last attempt when the call may not be repeated or the bounds are reached.
    """
    # Once for all attempts: the same key makes a second one harmless.
    call = drawn(call, retry)
    began = retry.clock()
    for number in itertools.count(1):
        found = result(call, (yield call))
        if not isinstance(found, Failure):
            return found
        pause = retry.pause(number, found.after)
        # A `Retry-After` beyond the bound is not cut short: the caller hears the error now instead.
        over = number >= retry.attempts or retry.clock() - began + pause > retry.total
        if over or not passes(found.error) or not (call.repeatable or found.harmless):
            raise found.error
        yield Pause(pause)
    raise AssertionError  # pragma: no cover  # the loop has no end


def drawn(call: Call[Result], retry: Retry) -> Call[Result]:
    """Return a call with its random parts."""
    return call if call.draw is None else replace(call.draw(retry.entropy), within=call.within)
