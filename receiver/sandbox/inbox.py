"""An inbox: a receiver that keeps the deliveries that it gets, to look at them as they came."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from receiver.domain.bounded import keep

KEPT = 20
"""The most deliveries that are kept, each under its `webhook-id`."""
LARGEST = 1024 * 1024
"""The most bytes of a delivery."""
PATIENCE = 5.0
"""Seconds for which a reader waits for a delivery."""
SHOWN = ("webhook-", "ce-")
"""The beginnings of the names of the headers that are kept, beside the content type."""


@dataclass(slots=True, kw_only=True)
class Inbox:
    """The newest deliveries, each with its headers and its body."""

    deliveries: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, request: Request) -> Response:
        """Keep a delivery (POST), or show one (GET)."""
        return await (self._take(request) if request.method == "POST" else self._show(request))

    async def _take(self, request: Request) -> Response:
        """Keep a delivery. Answers with the status that the URL names as `?status=`, by default 204."""
        status = request.query_params.get("status", "204")
        if not (status.isascii() and status.isdigit() and 200 <= int(status[:4]) <= 599):
            return JSONResponse({"error": "status must be a number from 200 to 599"}, 400)
        body = await _read(request.stream())
        if body is None:
            return JSONResponse({"error": f"a delivery has at most {LARGEST} bytes"}, 413)
        headers = {name: value for name, value in request.headers.items() if name.startswith(SHOWN)}
        headers["content-type"] = request.headers.get("content-type", "application/octet-stream")
        keep(self.deliveries, headers.get("webhook-id", ""), (headers, body), KEPT)
        self.arrived.set()
        self.arrived = asyncio.Event()
        return Response(status_code=int(status))

    async def _show(self, request: Request) -> Response:
        """Show the newest delivery, or with `?id=` that of an event, with its headers and its very bytes.

        Waits a while for one that has not come yet.
        """
        wanted = request.query_params.get("id")
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := self._find(wanted)) is None:
                    await self.arrived.wait()
        except TimeoutError:
            return JSONResponse({"error": "no such delivery has come yet"}, 404)
        headers, body = found
        return Response(body, headers={**headers, "x-content-type-options": "nosniff"})

    def _find(self, wanted: str | None) -> tuple[dict[str, str], bytes] | None:
        if wanted is not None:
            return self.deliveries.get(wanted)
        return next(reversed(self.deliveries.values()), None)


async def _read(chunks: AsyncIterator[bytes]) -> bytes | None:
    """Return a whole body, None where it is too large."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > LARGEST:
            return None
    return bytes(body)
