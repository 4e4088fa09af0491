"""Requests of HTTP/1.1 as bytes: exactly the given one is written, or none."""

import functools
import re
from collections.abc import Sequence

_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)
_TOKENS = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*", re.ASCII)
_VALUES = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[!-~]*", re.ASCII)


class BadRequest(ValueError):
    """The error for a request that is no valid HTTP: a name, value or target has forbidden characters."""


def request_bytes(
    method: str, target: str, host: str, headers: Sequence[tuple[str, str]], body: bytes
) -> bytes:
    """Return a request byte for byte. Raises `BadRequest` before anything is written."""
    return request_head(method, target, host, headers, len(body)) + body


def request_head(method: str, target: str, host: str, headers: Sequence[tuple[str, str]], size: int) -> bytes:
    """Return the head of a request with a body of `size` bytes. Raises `BadRequest`."""
    head = _head(method, target, host)
    names, values = [name for name, _ in headers], [value for _, value in headers]
    if "" in names or not _TOKENS.fullmatch("".join(names)) or not _VALUES.fullmatch("".join(values)):
        raise BadRequest("a header holds characters that HTTP does not allow")
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    length = f"content-length: {size}\r\n" if size or method not in {"GET", "HEAD"} else ""
    return f"{head}{fields}{length}\r\n".encode("latin-1")


@functools.lru_cache(maxsize=1024)
def _head(method: str, target: str, host: str) -> str:
    if not _METHOD.fullmatch(method):
        raise BadRequest("the method must be capital letters")
    if not _TARGET.fullmatch(target):
        raise BadRequest("the path holds blanks, control or non-ASCII characters")
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\naccept-encoding: identity\r\n"
