"""The forward proxy: a tunnel (CONNECT, RFC 9110, 9.3.6) to an address that was checked before.

The proxy gets the checked address and not the name, so that it cannot be led to another one.
"""

import asyncio
import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from handlers.values import immutable
from receiver.egress.address_guard import Address, BadUrl, split

HEAD_LIMIT = 8 * 1024
"""The most bytes of a proxy's answer."""
_ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")
_USER = re.compile(r"(?P<scheme>http)://(?:(?P<user>[!-?A-~]+)@)?(?P<rest>[^@]+)", re.ASCII)


class NoTunnel(Exception):
    """The error for a tunnel that the proxy did not open; `ours` where the cause is the proxy itself."""

    def __init__(self, reason: str, *, ours: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ours = ours


@immutable
class Proxy:
    """A forward proxy: its address, and the value of `proxy-authorization`, if it wants one."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    def request(self, address: Address, port: int) -> bytes:
        """Return the request for a tunnel to an address."""
        host = f"[{address}]" if address.version == 6 else str(address)
        own = f"proxy-authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n{own}\r\n".encode("ascii")


def proxy_of(url: str) -> Proxy:
    """Return the proxy of a URL such as `http://user:password@proxy.example:3128`. Raises `BadUrl`."""
    found = _USER.fullmatch(url)
    if found is None:
        raise BadUrl("must be http://host:port, with user:password@ in front of the host where it wants them")
    origin, target = split(f"http://{found['rest']}")
    if target != "/":
        raise BadUrl("must be http://host:port without a path")
    user = found["user"]
    if user is None:
        return Proxy(origin.host, origin.port)
    credentials = base64.b64encode(unquote(user).encode()).decode()
    return Proxy(origin.host, origin.port, f"Basic {credentials}")


@dataclass(slots=True)
class Tunnel(asyncio.Protocol):
    """The protocol of a connection to a proxy until the tunnel is open."""

    request: bytes = field(repr=False)
    opened: "asyncio.Future[None]"
    _head: bytes = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of TCP
        """Ask for the tunnel."""
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Read the answer. Bytes after it are refused: the peer speaks only once it is spoken to."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) <= HEAD_LIMIT:
            return
        status = _ANSWER.match(head + b"\r\n")
        opens = status is not None and status[1][:1] == b"2"
        # A refusal may bring a page; what follows an opened tunnel is none of the peer's.
        if status is None or not end or (opens and rest):
            self._fail("the proxy does not answer as a proxy does", ours=True)
        elif opens:
            if not self.opened.done():
                self.opened.set_result(None)
        else:
            code = status[1].decode()
            # Of the target, but for the credentials of the proxy and its own refusals.
            self._fail(f"the proxy answered {code}", ours=code not in {"502", "503", "504"})

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """Fail a tunnel that was not opened."""
        self._fail("the proxy closed the connection", ours=True)

    def _fail(self, reason: str, *, ours: bool) -> None:
        if not self.opened.done():
            self.opened.set_exception(NoTunnel(reason, ours=ours))
