"""A file server on raw sockets, as providers' CDNs are: ranges, and the answers that a test scripts."""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.receiver.raw_server import Peer, RawServer, serving

RANGE = re.compile(rb"\r\nrange: bytes=(\d*)-(\d*)\r\n", re.IGNORECASE)
FILE = bytes(range(256)) * 40
"""The content of the file."""
Answers = Callable[["FileServer", bytes], bytes]


@dataclass
class FileServer:
    """A server of one file: its answers to each request, and the requests that came."""

    content: bytes = FILE
    content_type: str = "video/mp4"
    answers: list[bytes] = field(default_factory=list)
    """Answers to the next requests, in place of the file; an empty one closes the connection."""
    requests: list[bytes] = field(default_factory=list)
    raw: RawServer | None = None

    def url(self, path: str = "/0.mp4") -> str:
        """Return the URL of the file."""
        assert self.raw is not None
        return self.raw.url(path)

    def header(self, name: str, number: int = -1) -> str | None:
        """Return a header of a request, by default of the last one."""
        lines = self.requests[number].decode("latin-1").split("\r\n")[1:]
        found = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        return found.get(name)

    async def run(self, peer: Peer) -> None:
        """Answer the requests of one connection."""
        while request := await peer.request():
            self.requests.append(request)
            answer = self.answers.pop(0) if self.answers else self._file(request)
            await peer.send(answer)
            if b"content-length" not in answer.lower() and b"chunked" not in answer.lower():
                return

    def _file(self, request: bytes) -> bytes:
        size, found = len(self.content), RANGE.search(request)
        headers = {"content-type": self.content_type, "accept-ranges": "bytes", "etag": '"v1"'}
        if found is None:
            return answer(200, self.content, None, **headers)
        first = int(found[1]) if found[1] else size - int(found[2])
        last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
        if first >= size:
            return answer(416, b"", content_range=f"bytes */{size}")
        part = self.content[first : last + 1]
        return answer(206, part, None, content_range=f"bytes {first}-{last}/{size}", **headers)


def answer(status: int, body: bytes, length: int | None = None, **headers: str) -> bytes:
    """Return an answer with a length, its own or another one."""
    named = {"content-length": str(len(body) if length is None else length)} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + body


@contextlib.asynccontextmanager
async def file_server() -> AsyncIterator[FileServer]:
    """Run a file server as long as the context lasts. Yields it."""
    made = FileServer()
    async with serving(made.run) as made.raw:
        yield made
