"""Deliveries over real sockets: a scripted receiver on loopback, and a service that may call it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from handlers.contract import Phase
from receiver.delivery.sender import DeliverySender
from receiver.domain.model import Work
from receiver.egress.client import CallFailed, HttpCall
from receiver.store import deliveries
from receiver.store.attempts import Attempt
from receiver.store.deliveries import ClaimedDelivery, StoredDelivery
from tests.receiver.raw_server import Peer, RawServer, serving
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word

LOOPBACK = '["127.0.0.1/32"]'
PATIENT = 100.0
"""Seconds of an attempt: a bound that no answer of the receiver reaches, however busy the machine is."""
LONG = 2 * PATIENT
"""Seconds of a claim that outlasts an attempt."""
BROKEN = b""
"""An answer that never comes: the connection is closed instead."""


def answer(status: int, *headers: str, body: bytes = b"thanks") -> bytes:
    """Return the bytes of an answer."""
    head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Receiver:
    """The script of an endpoint. Each request gets the next answer, and the last one ever after.

    With a `gate` the answers wait until it is set; `asked` is set with the first request.
    """

    answers: list[bytes]
    requests: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None

    async def __call__(self, peer: Peer) -> None:
        """Answer the requests of one connection."""
        while request := await peer.request():
            self.requests.append(request)
            self.asked.set()
            if self.gate is not None:
                await self.gate.wait()
            given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if given == BROKEN:
                return
            await peer.send(given)

    @property
    def bodies(self) -> list[bytes]:
        """Return the bodies of the requests."""
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]

    @property
    def headers(self) -> list[dict[str, str]]:
        """Return the headers of each request, by their names in lower case."""
        heads = [request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:] for request in self.requests]
        pairs = [[line.partition(": ")[::2] for line in head] for head in heads]
        return [{name.lower(): value for name, value in head} for head in pairs]


@dataclass
class Sending:
    """A service at rest that may call loopback, and the receiver that it calls."""

    fixture: StoreFixture
    server: RawServer
    receiver: Receiver

    async def endpoint(self, endpoint_id: str = "ep_1", *events: str, **others: Any) -> Any:
        """Return an endpoint at the receiver, stored and known."""
        url = self.server.url(f"/{endpoint_id}")
        return await self.fixture.endpoint(endpoint_id, *(events or ("job.succeeded",)), url=url, **others)

    async def recorded(self, **others: Any) -> list[ClaimedDelivery]:
        """Return the deliveries of a job that just succeeded, which hold a slot each."""
        job = await self.fixture.submitted(**others)
        [recorded] = await self.fixture.hear(word(job, self.fixture, told(Phase.SUCCEEDED)))
        claims = [(one.claim, one.delivery) for one in recorded.deliveries]
        return [ClaimedDelivery(claim, delivery) for claim, delivery in claims if claim is not None]

    async def delivery(self, **others: Any) -> ClaimedDelivery:
        """Return the one delivery of a job that just succeeded."""
        [made] = await self.recorded(**others)
        return made

    async def due(self) -> list[ClaimedDelivery]:
        """Claim the deliveries that are due, for long enough to send them."""
        until = self.fixture.services.core.clock.monotonic() + LONG
        claimed: list[ClaimedDelivery] = await self.fixture.claim(Work.DELIVER)
        return [replace(one, claim=replace(one.claim, until=until)) for one in claimed]

    async def one_off(self, path: str = "/one-off") -> dict[str, Any]:
        """Return the fields of a job with a callback URL at the receiver and a secret of its own."""
        core = self.fixture.services.core
        secret = "whsec_" + "B" * 43 + "="
        made = core.ids.new("job")
        sealed = core.master_keys.seal(secret, made)
        return {"id": made, "callback_url": self.server.url(path), "callback_secret": sealed}

    async def perform(self, prepared: ClaimedDelivery) -> tuple[StoredDelivery, list[Attempt]]:
        """Perform a delivery. Returns it as it is stored, with its attempts."""
        await self.fixture.services.sender.perform(prepared)
        return await self.stored(prepared.delivery.id)

    async def stored(self, delivery_id: str) -> tuple[StoredDelivery, list[Attempt]]:
        """Return a stored delivery with its attempts."""
        found = await self.fixture.store.read(deliveries.get(delivery_id))
        assert found is not None
        return found


async def due_rows(fixture: StoreFixture) -> list[tuple[Any, ...]]:
    """Return lane, lease and tries of the deliveries that are due."""
    return [
        tuple(row)
        for row in await fixture.query("select lane, leased, tries from due where work = 'deliver'")
    ]


class NoSockets:
    """A client that has no socket for any call."""

    async def call(self, call: HttpCall) -> Any:
        """Fail before the call is made."""
        raise CallFailed("connect", "too many open files", local=True)


def without_sockets(sender: DeliverySender) -> DeliverySender:
    """Return the sender of a process that has no socket left."""
    return replace(sender, client=cast("Any", NoSockets()))


@contextlib.asynccontextmanager
async def sending(folder: Path, *answers: bytes, **settings: str) -> AsyncIterator[Sending]:
    """Run a receiver that gives these answers, and a service at rest that may call it."""
    receiver = Receiver(list(answers))
    async with (
        serving(receiver) as server,
        store_fixture(folder, egress_allow=LOOPBACK, delivery_timeout=str(PATIENT), **settings) as fixture,
    ):
        yield Sending(fixture, server, receiver)
