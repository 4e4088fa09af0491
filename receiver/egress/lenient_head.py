"""The head of an answer that strict HTTP refuses, read for its meaning: its status and its fields.

Taken are lines that end with a bare LF, blanks before a colon, a doubled length, a length beside chunks, and
lines that are no fields (passed over). Pure: bytes in, words out.
"""

import re

from handlers.values import immutable

_LINE = re.compile(rb"HTTP/[0-9.]{1,8}[ \t]+([0-9]{3})(?:[ \t].*)?", re.IGNORECASE)
_END = re.compile(rb"\r?\n\r?\n")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")


class NoHead(ValueError):
    """The bytes do not begin like an answer."""


@immutable
class Head:
    """A final head, the place where its body begins, and the one field that frames the body, if one does."""

    status: int
    headers: tuple[tuple[str, str], ...]
    end: int
    framing: bytes

    def strictly(self) -> bytes:
        """Return a head that any reader takes and that frames the body alike."""
        return b"HTTP/1.1 %d -\r\nconnection: close\r\n%b\r\n" % (self.status, self.framing)


def read_head(data: bytes) -> Head | None:
    """Return the first final head in `data`, interim ones passed over; None while it is not whole.

    Raises `NoHead` for what is no answer at all.
    """
    start = 0
    while found := _END.search(data, start):
        first, *lines = re.split(rb"\r?\n", data[start : found.start()])
        line = _LINE.fullmatch(first)
        if line is None:
            raise NoHead
        status = int(line[1])
        if status >= 200:
            headers = _fields(lines)
            return Head(status, headers, found.end(), _framing(headers))
        start = found.end()
    if b"\n" in data[start:] and not _LINE.fullmatch(re.split(rb"\r?\n", data[start:], maxsplit=1)[0]):
        raise NoHead
    return None


def _fields(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.strip(b" \t")
        if colon and _NAME.fullmatch(name) and line[:1] not in {b" ", b"\t"}:
            plain = _VISIBLE.sub(b"", value).strip(b" \t")
            found.append((name.decode("ascii").lower(), plain.decode("latin-1")))
    return tuple(found)


def _framing(headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the field that frames the body: chunks before a length, a length only where all are equal."""
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    if codings:
        return b"transfer-encoding: chunked\r\n" if codings[-1].endswith("chunked") else b""
    lengths = {one.strip() for name, value in headers if name == "content-length" for one in value.split(",")}
    length = lengths.pop() if len(lengths) == 1 else ""
    return f"content-length: {length}\r\n".encode() if re.fullmatch("[0-9]{1,15}", length) else b""
