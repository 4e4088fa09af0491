"""A provider on loopback that answers from a script, and a service with accounts at it."""

import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from receiver.config.load import AccountSetup
from receiver.domain.model import Job
from tests.receiver.raw_server import Peer, serving
from tests.receiver.store_fixture import StoreFixture, store_fixture

KEY = "sk-canary"
ACCOUNTS: Mapping[str, Mapping[str, Any]] = {
    "apiframe": {"backstop_after": 180},
    "apiframe-v2": {},
    "aiml": {"poll_interval": 10},
    "getimg": {},
    "minimax": {},
    "replicate": {},
}
"""The accounts of the service, with their settings beside the key and the URL."""


class ScriptedProvider:
    """A provider that gives each request the next of its answers.

    An empty answer closes the connection.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: deque[bytes] = deque()
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def calls(self) -> list[str]:
        """Return the method and the path of each request."""
        return [request.partition(b" HTTP/")[0].decode() for request in self.requests]

    def body(self, number: int = -1) -> Any:
        """Return the JSON body of a request, by default of the last one."""
        return json.loads(self.requests[number].partition(b"\r\n\r\n")[2])

    def header(self, name: str, number: int = -1) -> str | None:
        """Return a header of a request, by default of the last one."""
        lines = self.requests[number].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        found = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        return found.get(name)

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        """Add an answer: a body of bytes as it is, any other value as JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        fields = {"content-length": str(len(body))} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        self.answers.append(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)

    def break_connection(self) -> None:
        """Let the next request get no answer."""
        self.answers.append(b"")

    async def run(self, peer: Peer) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        while request := await peer.request():
            self.requests.append(request)
            assert self.answers, f"no answer is left for {self.calls[-1]}"
            answer = self.answers.popleft()
            if not answer:
                return
            await peer.send(answer)


@contextlib.asynccontextmanager
async def scripted_provider() -> AsyncIterator[ScriptedProvider]:
    """Run a provider as long as the context lasts."""
    made = ScriptedProvider()
    async with serving(made.run) as server:
        made.url = server.url("")
        yield made


@contextlib.asynccontextmanager
async def service_at(
    provider: ScriptedProvider, folder: Path, changes: Mapping[str, Any] | None = None, **settings: str
) -> AsyncIterator[StoreFixture]:
    """Run a service with accounts at `provider`, and with nothing at work.

    `changes` are further settings by account.
    """
    accounts = {
        name: {"api_key": KEY, "base_url": provider.url, **own, **(changes or {}).get(name, {})}
        for name, own in ACCOUNTS.items()
    }
    allowed = '["127.0.0.0/8"]'
    async with store_fixture(
        folder, providers=json.dumps(accounts), egress_allow=allowed, **settings
    ) as fixture:
        yield fixture


def change_account(fixture: StoreFixture, account: str, **changes: Any) -> None:
    """Change the setup of an account, as a restart with other settings does."""
    setups: Any = fixture.services.core.accounts.setups
    setups[account] = replace(setups[account], **changes)


def change_handler(fixture: StoreFixture, account: str, **changes: Any) -> None:
    """Change the handler of an account, as a new release of the service does."""
    setup: AccountSetup = fixture.services.core.accounts.setups[account]
    change_account(fixture, account, handler=replace(setup.handler, **changes))


async def notes(fixture: StoreFixture, job: Job) -> list[str | None]:
    """Return the note of each entry in a job's timeline."""
    found = await fixture.column("select told from evidence where job = :id order by id", id=job.id)
    return [json.loads(told).get("note") for told in found]


async def counts(fixture: StoreFixture, account: str) -> dict[str, int]:
    """Return the counts of an account."""
    totals = await fixture.services.core.counts.totals()
    return dict(totals.get(account, {}))


async def events(fixture: StoreFixture) -> list[tuple[str, Any]]:
    """Return the type and the data of each event, the oldest first."""
    found = await fixture.column("select body from event order by seq")
    bodies = [json.loads(body) for body in found]
    return [(body["type"], body["data"]) for body in bodies]
