"""Request heads: refusal of ambiguous or large ones, and removal of an offer to upgrade."""

import re
from collections.abc import Sequence

from receiver.api.guard import new_request_id, problem
from receiver.domain.errors import Malformed

Refusal = tuple[int, str, str]
"""The status, reason and detail of a response to a refused request."""
NO_HTTP: Refusal = (400, "Bad Request", "Invalid HTTP request received.")
TOO_MUCH: Refusal = (
    431,
    "Request Header Fields Too Large",
    "the head of a request has 32 KiB and 100 headers",
)

MIB = 1024 * 1024
MOST_MORE = 64.0
"""The most seconds that a client gains by the length that it declares, which may be any."""
VERSIONS = frozenset({"1.0", "1.1"})
HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?", re.ASCII)
"""A Host header: a name or an address, IPv6 in brackets, and an optional port."""


def problem_with(target: bytes, version: str, hosts: Sequence[bytes]) -> str | None:
    """Return why a request head is refused, or None.

    An ambiguous head is refused, because a proxy in front of the service could read another address in it.
    """
    if version not in VERSIONS:
        return "the request must be HTTP/1.1 or HTTP/1.0"
    # A target with a host of its own takes precedence over Host (RFC 9112, 3.2.2).
    if not target.startswith(b"/") or b"#" in target:
        return "the target of the request must be a path, such as /v1/jobs"
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return "the request needs exactly one header Host"
    if hosts and not HOST.fullmatch(hosts[0]):
        return "the header Host must be a host, or a host and a port"
    return None


def without_upgrade(
    method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """Return the request head without its offer to change the protocol (RFC 9110, 7.8)."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version.encode("ascii"), b"".join(lines))


def seconds_more(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """Return the seconds that the body of a request gets for its length: one for every MiB declared."""
    declared = next((value for name, value in headers if name == b"content-length"), b"0")
    mib = int(declared) / MIB if declared.isdigit() and len(declared) < 16 else 0.0
    return min(mib, MOST_MORE)


def refusal_bytes(refusal: Refusal) -> bytes:
    """Return the response to a refused request, in the form of all other errors."""
    status, reason, detail = refusal
    request_id = new_request_id()
    response = problem(Malformed(detail), request_id, status=status)
    head = (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(response.body)}\r\nx-request-id: {request_id}\r\n"
        "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + bytes(response.body)
