"""A service of the user's, as the demo plays it: it takes deliveries and verifies every signature."""

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
"""How many events and jobs are remembered."""
FINAL = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired"})


@dataclass(slots=True)
class Downstream:
    """What arrived: the events by job, and how many signatures held."""

    secret: str = ""
    verified: int = 0
    refused: int = 0
    final: dict[str, str] = field(default_factory=dict)
    finals: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one delivery."""
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
        if event["type"] in FINAL and copies == 1:
            job = event["data"]["id"]
            keep(self.finals, job, self.finals[job] + 1, KEPT)
            keep(self.final, job, event["type"], KEPT)
