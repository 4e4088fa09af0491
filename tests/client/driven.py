"""Flows of the client, driven by a script. Time passes only by pauses and by calls that wait."""

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from receiver.api.event_examples import EXAMPLES
from ringback.core import Answer, Call, Lost, Pause
from ringback.events import Event
from ringback.following import Load, Save
from ringback.retrying import Retry

JOB: dict[str, Any] = {
    name: value for name, value in EXAMPLES["job.running"]["data"].items() if name != "sequence"
} | {"result": None}
"""A job that is not final."""
DONE: dict[str, Any] = JOB | {"state": "succeeded", "completed_at": "2026-11-21T10:00:00.123Z"}
AT = datetime(2026, 11, 21, 10, 0, 0, 123000, tzinfo=UTC)
UNSENT, CUT = Lost("refused", sent=False), Lost("cut", sent=True)
"""A connection that was refused, and one that was cut while the answer was awaited."""


def said(body: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer with a JSON body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, json.dumps(body).encode())


def refused(status: int, code: str, **others: Any) -> Answer:
    """Return an error of the service."""
    headers = others.pop("headers", {})
    problem = {"type": f"/problems/{code}", "title": "no", "detail": f"{code} it is", "request_id": "req_1"}
    return Answer(status, headers, json.dumps(problem | {"code": code, "status": status} | others).encode())


AWAY = refused(503, "unavailable")


@dataclass
class Driven:
    """A driver of a flow: its replies in turn, the calls and pauses that came, and the clock.

    A call takes no time or, where the service is `slow`, the whole time for which it waits.
    """

    replies: Iterable[Answer | Lost]
    slow: bool = False
    place: str | None = None
    now: float = 1000.0
    calls: list[Call[Any]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def retry(self, **bounds: Any) -> Retry:
        """Return bounds on this driver's clock, with pauses that no chance shortens."""
        made: dict[str, Any] = {"chance": lambda: 0.0, "entropy": lambda count: b"\x07" * count} | bounds
        return Retry(clock=lambda: self.now, **made)

    def run(self, begin: Callable[[Retry], Generator[Any, Any, Any]], **bounds: Any) -> Any:
        """Run a flow to its end. Returns its value."""
        flow, replies = begin(self.retry(**bounds)), iter(self.replies)
        reply: Any = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as ended:
                return ended.value
            reply = None
            match step:
                case Pause():
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                case Save():
                    self.saved.append(step.place)
                case Load():
                    reply = self.place
                case Event():
                    self.events.append(step)
                case _:
                    self.calls.append(step)
                    reply = next(replies)
                    self.now += step.waits if self.slow else 0.0


class ScriptEnded(Exception):
    """The end of a script for a flow that has none."""


def then_end(*replies: Answer | Lost) -> Generator[Answer | Lost, None, None]:
    """Yield replies. Raises `ScriptEnded` behind them."""
    yield from replies
    raise ScriptEnded
