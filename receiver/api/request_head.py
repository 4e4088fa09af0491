"""The head of a request: refused where it can be read in two ways, and the same head without an upgrade
offer."""

import re
from collections.abc import Sequence

VERSIONS = frozenset({"1.0", "1.1"})
HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?", re.ASCII)


def problem_with(target: bytes, version: str, hosts: Sequence[bytes]) -> str | None:
    """Returns why this head is refused, or None: a proxy before us could read another address in it."""
    if version not in VERSIONS:
        return "the request must be HTTP/1.1 or HTTP/1.0"
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
    """Returns the head as it would have come without its offer to change the protocol (RFC 9110, 7.8)."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version.encode("ascii"), b"".join(lines))
