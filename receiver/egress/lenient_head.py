"""A lenient parser for the head of an answer that strict HTTP refuses: its status and its fields.

It accepts lines that end with a bare LF, blanks before a colon, a repeated length, a length beside chunks,
and lines that are no fields (skipped). It is pure, and does no I/O.
"""

import re

from handlers.values import immutable

_LINE = re.compile(rb"HTTP/[0-9.]{1,8}[ \t]+([0-9]{3})(?:[ \t].*)?", re.IGNORECASE)
_END = re.compile(rb"\r?\n\r?\n")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")


class NoHead(ValueError):
    """The error for bytes that do not begin like an HTTP answer."""


@immutable
class Head:
    """A final head, the offset at which its body begins, and the field that frames the body, or none."""

    status: int
    headers: tuple[tuple[str, str], ...]
    end: int
    framing: bytes

    def strictly(self) -> bytes:
        """Return a head that any parser accepts and that frames the body in the same way."""
        return b"HTTP/1.1 %d -\r\nconnection: close\r\n%b\r\n" % (self.status, self.framing)


def read_head(data: bytes) -> Head | None:
    """Return the first final head in `data`, after any interim ones, or None while it is not whole.

    Raises `NoHead` for bytes that are no HTTP answer.
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
    # A first line that is no status line is refused at once: the end of such a head may never come.
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
    """Return the field that frames the body: chunks before a length, and a length only if all are equal."""
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    if codings:
        return b"transfer-encoding: chunked\r\n" if codings[-1].endswith("chunked") else b""
    lengths = {one.strip() for name, value in headers if name == "content-length" for one in value.split(",")}
    length = lengths.pop() if len(lengths) == 1 else ""
    return f"content-length: {length}\r\n".encode() if re.fullmatch("[0-9]{1,15}", length) else b""
