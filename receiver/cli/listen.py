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
from receiver.cli.client import call, path
from receiver.cli.output import formed, is_json, is_quiet
from receiver.cli.params import Id, Pattern, Real, Since, given
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
    """A local program that receives events, signed with `key`."""

    url: str
    key: bytes = field(repr=False)
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
        signed = headers(event_id, int(time.time()), body, [self.key])
        return [("content-type", "application/json"), ("user-agent", "Ringback"), *signed]


def delivered(event: dict[str, Any]) -> bytes:
    """Return the body with which an event of the feed is delivered."""
    body = {name: value for name, value in event.items() if name != "object"}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


@click.command()
@click.option("--forward-to", metavar="URL", help="The local program that receives each event.")
@click.option("--type", "type", type=Pattern(), help="An event type, or a pattern such as job.*.")
@click.option("--since", "after", type=Since(), help="Begin in the past: 10m, 2h, 3d, a time, or start.")
@click.option("--endpoint", type=Id(), help="Sign with the secret of this endpoint.")
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

    Each event is posted to the local program as an endpoint would get it, in order, one at a time. It waits
    while the program restarts, and the service may restart as well. Nothing is changed in the service.

    \b
    Example:
      ringback listen --forward-to http://localhost:3000/hooks --type 'job.*'
    """
    if forward_to is None and not prints:
        raise click.UsageError("say where events go: --forward-to http://localhost:3000/hooks, or --print")
    local = told_once(f"{forward_to} answers again")
    with httpx.Client(timeout=timeout, trust_env=False) as client:
        forward = None if forward_to is None else Forward(_url(forward_to), _key(endpoint, secret), client)
        rows = LiveRows(COLUMNS)
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
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.UsageError(f"--forward-to: {text} is no URL; write http://localhost:3000/hooks")
    return url


def _key(endpoint: str | None, secret: str | None) -> bytes:
    """Return the key that signs. A secret that is made is printed, so that the program can verify with it."""
    if endpoint is not None and secret is not None:
        raise click.UsageError("choose one of --endpoint and --secret")
    if endpoint is not None:
        secret = call("GET", path("endpoints", endpoint, "secret"))["secret"]
    elif secret is None:
        secret = new_secret(os.urandom(32))
        say(f"signed with {secret}", err=True)
    try:
        return key_of(secret)
    except BadSecret as error:
        raise click.UsageError(f"--secret: {error}") from None
