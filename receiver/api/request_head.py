"""Request heads: refusal of ambiguous ones, and removal of an offer to upgrade."""

import re
from collections.abc import Sequence

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
