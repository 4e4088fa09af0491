"""Validation of the custom headers that users add to the deliveries of an endpoint."""

import re
from collections.abc import Iterator, Mapping

RESERVED = frozenset(
    {"host", "connection", "transfer-encoding", "upgrade", "te", "trailer", "expect", "user-agent"}
    | {"keep-alive", "proxy-authorization", "proxy-connection", "accept-encoding"}
)
"""Names, in lower case, of headers that belong to HTTP itself or that the HTTP client sets."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}", re.ASCII)
_VALUE = re.compile(r"[\x20-\x7e]{0,2000}", re.ASCII)


def header_problems(headers: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield the name of each header that cannot be sent, with the end of a sentence that gives the reason."""
    seen: set[str] = set()
    for name, value in headers.items():
        low = name.lower()
        if not _NAME.fullmatch(name):
            yield name, "is no valid header name"
        elif low in RESERVED or low.startswith(("content-", "webhook-", "ce-")):
            yield name, "is set by Ringback or by HTTP itself"
        elif value is not None and not _VALUE.fullmatch(value):
            yield name, "the value must be visible ASCII of at most 2000 characters"
        elif low in seen:
            yield name, "is there twice, in another case"
        seen.add(low)
