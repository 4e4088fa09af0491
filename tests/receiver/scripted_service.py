"""A scripted HTTP service on loopback. It runs in a thread, because a command blocks while it calls."""

import contextlib
import json
import os
import socketserver
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from click.testing import CliRunner, Result

from receiver.cli import ringback

KEY = "rb_" + "k" * 32


@dataclass
class Answer:
    """An answer to one request: `body` is JSON unless it is bytes. Without a status the connection ends."""

    body: Any = b""
    status: int | None = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Received:
    """A request that the service received, with its body parsed as JSON; None for an empty one."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedService:
    """A service that gives its answers in turn and keeps every request."""

    url: str = ""
    answers: deque[Answer] = field(default_factory=deque)
    requests: list[Received] = field(default_factory=list)

    def answer(self, body: Any = b"", status: int | None = 200, **headers: str) -> None:
        """Add an answer to the script."""
        self.answers.append(Answer(body, status, headers))

    def run(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run a command against this service, in this process. Returns its output and exit code."""
        return fed(stdin, *arguments, RINGBACK_URL=self.url, RINGBACK_API_KEY=KEY)

    def only_request(self) -> Received:
        """Return the only request."""
        [request] = self.requests
        return request


def run(*arguments: str, **variables: str) -> Result:
    """Run a command in this process, with no RINGBACK_ variable but those given."""
    return fed(b"", *arguments, **variables)


def fed(stdin: bytes, *arguments: str, **variables: str) -> Result:
    """Run a command as `run` does, with something on its standard input."""
    ours = dict.fromkeys(name for name in os.environ if name.startswith("RINGBACK_"))
    runner = CliRunner(env={**ours, "COLUMNS": "200", **variables})
    return runner.invoke(ringback, arguments, stdin, prog_name="ringback", catch_exceptions=False)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    script: ScriptedService


class _Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        script = cast("_Server", self.server).script
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(raw) if raw else None
        script.requests.append(
            Received(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        )
        answer = script.answers.popleft() if script.answers else Answer(b"the script has ended", 500)
        if answer.status is None:
            return
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        # Unlike `send_response`, this adds no header of its own.
        self.send_response_only(answer.status)
        for name, value in {**answer.headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  # the names of http.server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of http.server
        """Log nothing."""


@contextlib.contextmanager
def scripted_service() -> Iterator[ScriptedService]:
    """Run a scripted service as long as the context lasts."""
    script = ScriptedService()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.script = script
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
