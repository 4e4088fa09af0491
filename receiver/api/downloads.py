"""Downloads over HTTP: a file is passed on as fast as its reader takes it, and never looks whole when cut."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from receiver.api.file_headers import file_headers
from receiver.api.transfers import left, transfer_of
from receiver.egress.body_stream import BodyCut
from receiver.providers.downloads import Download
from receiver.work.shutdown import Shutdown

Result = TypeVar("Result")
LOOK = 0.25
"""Seconds between two looks whether the process is about to end."""
BEFORE_THE_END = 0.5
"""Seconds before the end of a shutdown at which a download is cut."""


class DownloadResponse(Response):
    """A response that passes on a file, and closes the download in any case."""

    def __init__(self, download: Download, shutdown: Shutdown, *, bodyless: bool) -> None:
        super().__init__(status_code=download.head.status, headers=file_headers(download))
        if download.head.length is None:
            # The empty body of the base class has a length; this one is not known.
            del self.headers["content-length"]
        self._download = download
        self._shutdown = shutdown
        self._bodyless = bodyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file. A download that ends early cuts the connection."""
        try:
            whole = await while_connected(self._send(send), receive, self._shutdown)
        finally:
            self._download.close()
        if not whole:
            transfer_of(scope).cut()

    async def _send(self, send: Send) -> bool:
        """Send the head and the body. Returns whether that was all of the file."""
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        if not self._bodyless and not await self._send_body(send):
            return False
        await send({"type": "http.response.body", "body": b""})
        return True

    async def _send_body(self, send: Send) -> bool:
        head, body, sent = self._download.head, self._download.body, 0
        try:
            while piece := await body.read():
                sent += len(piece)
                if head.length is not None and sent > head.length:
                    return False
                # Waits while the client does not read, and nothing more is read from the provider meanwhile.
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except BodyCut:
            return False
        return head.length is None or sent == head.length


async def while_connected(
    work: Coroutine[Any, Any, Result], receive: Receive, shutdown: Shutdown
) -> Result | None:
    """Return the result of `work`, None where the client leaves or the process ends first.

    The work is cancelled then.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(left(receive))
    try:
        while not working.done() and not leaving.done() and shutdown.time_left > BEFORE_THE_END:
            both = {working, leaving}
            await asyncio.wait(both, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
