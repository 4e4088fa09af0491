"""The command `ringback listen`: events of a running service, sent on to a local program."""

import json
import os
import time
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

import click
import httpx

from handlers.values import immutable
from receiver.cli.client import call, find_service, path
from receiver.cli.output import formed, is_json, is_quiet
from receiver.cli.params import TYPE, Id, Real, Since, given
from receiver.cli.rows import LiveRows
from receiver.cli.stream import BACK, Trouble, events_from, told_once
from receiver.cli.terminal import say
from receiver.security.signing import BadSecret, headers, key_of, new_secret

COLUMNS = {"at": 24, "type": 22, "about": 37, "answer": 6, "ms": 6}
"""The columns of the table and their widths."""
STARTING = frozenset({502, 503, 504})
"""Answers of a proxy in front of a program that starts."""
TRIES = 5
"""Tries of one event that is answered so. Then the next one has its turn."""
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before each further try; the last one again and again."""


@immutable
class LocalAnswer:
    """The answer of the local program, and the milliseconds that it took."""

    status: int
    took: float


@immutable
class Forward:
    """A local program that receives events, signed with `secret`."""

    url: str
    secret: str = field(repr=False)
    client: httpx.Client = field(repr=False)

    def send(self, event: dict[str, Any], trouble: Trouble) -> LocalAnswer:
        """Return the answer to an event. While no program listens, the event is sent again and again.

        A program that breaks the connection may get the event twice, under the same id.
        """
        body = delivered(event)
        count = 0
        while True:
            pause = PAUSES[min(count, len(PAUSES) - 1)]
            count += 1
            began = time.monotonic()
            try:
                answer = self.client.post(self.url, content=body, headers=self._headers(event["id"], body))
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                trouble(f"{self.url} does not answer ({reason}); its event waits")
            else:
                took = (time.monotonic() - began) * 1000
                if answer.status_code not in STARTING or count == TRIES:
                    trouble("")
                    return LocalAnswer(answer.status_code, took)
            time.sleep(pause)

    def _headers(self, event_id: str, body: bytes) -> list[tuple[str, str]]:
        signed = headers(event_id, int(time.time()), body, [key_of(self.secret)])
        return [("content-type", "application/json"), ("user-agent", "Ringback"), *signed]


def delivered(event: dict[str, Any]) -> bytes:
    """Return the body with which an event of the feed is delivered."""
    body = {name: value for name, value in event.items() if name != "object"}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


@click.command()
@click.option("--forward-to", metavar="URL", help="The local program that receives each event.")
@TYPE
@click.option("--since", "after", type=Since(), help="Begin in the past: 10m, 2h, 3d, a time, or start.")
@click.option("--endpoint", type=Id(), help="Sign with the secret of this endpoint (v1).")
@click.option("--secret", help="Sign with this secret (whsec_...); without both, one is made and shown.")
@click.option("--print", "prints", is_flag=True, help="Print the body of each event as well.")
@click.option("--timeout", type=Real(0.1, 600), default=30, show_default=True, help="Seconds for an answer.")
@formed
def listen(
    forward_to: str | None,
    endpoint: str | None,
    secret: str | None,
    prints: bool,
    timeout: float,
    **query: Any,
) -> None:
    """Receive the events of a running service on this machine, without a tunnel.

    Each event is posted to the local program, signed, in the standard format, in order, one at a time. It
    waits while the program restarts, and the service may restart as well. Nothing is changed in the service.

    \b
    Example:
      ringback listen --forward-to http://localhost:3000/hooks --type 'job.*'
    """
    if forward_to is None and not prints:
        raise click.UsageError("say where events go: --forward-to http://localhost:3000/hooks, or --print")
    local = told_once(f"{forward_to} answers again")
    with httpx.Client(timeout=timeout, trust_env=False) as client:
        forward = None if forward_to is None else Forward(_url(forward_to), _secret(endpoint, secret), client)
        rows = LiveRows(COLUMNS)
        if forward is not None and endpoint is None and secret is None:
            say(f"signed with {forward.secret}", err=True)
        for event in events_from(path("events", "stream"), given(**query), told_once(BACK)):
            answer = None if forward is None else forward.send(event, local)
            if prints and not (is_json() or is_quiet()):
                click.echo(json.dumps(json.loads(delivered(event)), ensure_ascii=True))
            if forward is not None or is_json() or is_quiet():
                rows.add(_with(event, answer), _cells(event, answer))


def _with(event: dict[str, Any], answer: LocalAnswer | None) -> dict[str, Any]:
    told = None if answer is None else {"status": answer.status, "latency_ms": round(answer.took, 1)}
    return {**event, "answer": told}


def _cells(event: dict[str, Any], answer: LocalAnswer | None) -> list[str]:
    status, took = ("", "") if answer is None else (str(answer.status), f"{answer.took:.0f}")
    return [event["timestamp"], event["type"], str(event["data"].get("id") or ""), status, took]


def _url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts, asked = urlsplit(url), httpx.URL(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        usable = usable and asked.host != "" and url.isprintable() and " " not in url
    # Each of the two readers has errors of its own.
    except (ValueError, UnicodeError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise click.UsageError(f"--forward-to: {text!r} is no URL; write http://localhost:3000/hooks")
    return url


def _secret(endpoint: str | None, secret: str | None) -> str:
    """Return the secret that signs: that of an endpoint, the given one, or a new one."""
    if endpoint is not None and secret is not None:
        raise click.UsageError("choose one of --endpoint and --secret")
    if endpoint is not None:
        secret = call("GET", path("endpoints", endpoint, "secret"))["secret"]
    elif secret is None:
        # A missing key is told first: a secret above that error would look like the result.
        find_service()
        secret = new_secret(os.urandom(32))
    try:
        key_of(secret)
    except BadSecret as error:
        raise click.UsageError(f"--secret: {error}") from None
    return secret
