"""The receiver of the demo's deliveries, in place of a user's service. It verifies every signature."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handlers import json
from handlers.contract import HttpMessage, Keys
from handlers.errors import BadSignature
from handlers.proofs import standard_webhooks
from receiver.domain.bounded import keep

KEPT = 10_000
"""The most events and jobs that are remembered, so that memory stays bounded."""
FINAL = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired"})


@dataclass(slots=True, kw_only=True)
class Downstream:
    """An ASGI application that counts good and bad signatures, and terminal events by job."""

    secret: str = ""
    verified: int = 0
    refused: int = 0
    final: dict[str, str] = field(default_factory=dict)
    finals: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Verify one delivery: answer 204, or 401 when the signature is wrong."""
        request = Request(scope, receive)
        body = await request.body()
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        message = HttpMessage(200, headers, body, datetime.now(UTC))
        try:
            standard_webhooks()(message, Keys(account=[self.secret]))
        except BadSignature:
            self.refused += 1
            await Response(status_code=401)(scope, receive, send)
            return
        self.verified += 1
        self._note(json.read_object(body))
        await Response(status_code=204)(scope, receive, send)

    def _note(self, event: json.Value) -> None:
        copies = self.copies[event["id"]] + 1
        keep(self.copies, event["id"], copies, KEPT)
        # A delivery may be repeated; only its first copy counts as a terminal event of the job.
        if event["type"] in FINAL and copies == 1:
            job = event["data"]["id"]
            keep(self.finals, job, self.finals[job] + 1, KEPT)
            keep(self.final, job, event["type"], KEPT)
