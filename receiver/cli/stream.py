"""Events from a running service as they come: across restarts, each once."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from receiver.cli.client import Away, streamed
from receiver.cli.output import is_quiet
from receiver.cli.terminal import say

QUIET = 45.0
"""Seconds without a byte after which a connection counts as lost: the service sends a comment every 15."""
PAUSE = 1.0
"""Seconds between two calls to an unreachable service."""
BACK = "the service is back"
Trouble = Callable[[str], None]
"""A function that shows the present trouble, or with an empty text that there is none."""


def events_from(
    where: str, params: dict[str, str], trouble: Trouble, *, until: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream: for ever, or to the end of a job with one of the types `until`.

    The place moves on when the next event is asked for, so an event whose work was interrupted comes again.
    The first call fails when the service is away; later ones are repeated until it is back.
    """
    last, seen = "", False
    while True:
        try:
            headers = {"last-event-id": last} if last else {}
            with streamed(where, quiet=QUIET, params=params, headers=headers) as answer:
                if not seen and not is_quiet():
                    say(f"connected to {answer.url.scheme}://{answer.url.netloc.decode()}", err=True)
                seen = True
                trouble("")
                for block in blocks(lines(answer.iter_bytes())):
                    if block.get("event") == "gap":
                        say("events are missing here: retention has removed them", err=True)
                    elif "data" in block:
                        event = json.loads(block["data"])
                        yield event
                        if event["type"] in until:
                            return
                    last = block.get("id", last)
        except Away as error:
            if not seen:
                raise
            trouble(error.format_message())
        time.sleep(PAUSE)


def lines(parts: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a stream. Only line feeds end one: a text may hold any other separator."""
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


def blocks(stream: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the fields of each block of a stream, without comments. An unfinished block is dropped."""
    block: dict[str, str] = {}
    for line in stream:
        name, _, value = line.partition(":")
        if line and name:
            block[name] = value.removeprefix(" ")
        elif not line and block:
            yield block
            block = {}


def told_once(over: str) -> Trouble:
    """Return a function that prints each trouble when it begins, and `over` when it has ended."""
    present = ""

    def trouble(text: str) -> None:
        nonlocal present
        if text != present:
            say(text or over, err=True)
        present = text

    return trouble
