"""The head of a file's answer: which part of the file it brings, checked before any of it is passed on."""

import re
from collections.abc import Sequence
from dataclasses import field

from handlers.values import immutable
from receiver.domain.errors import ProviderUnavailable, RangeNotSatisfiable
from receiver.egress.http1 import Answer

PART = 206
NO_SUCH_PART = 416
NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.ASCII)
"""A range of bytes: one, as providers support no more alike."""
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)
NO_RANGE = re.compile(r"bytes \*/[0-9]{1,18}", re.ASCII)
VALIDATOR = re.compile(r"[\x20-\x7e]{1,256}", re.ASCII)
"""An `etag`, `last-modified` or `if-range` that is passed on."""
NOT_A_FILE = "the file's server answers in a way that cannot be passed on"


@immutable
class PartWanted:
    """The part of a file that a reader wants: the headers `range` and `if-range`, None for the whole."""

    range: str | None = None
    if_range: str | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers for the file's server."""
        pairs = (("range", self.range), ("if-range", self.if_range))
        return [(name, value) for name, value in pairs if value is not None]


WHOLE = PartWanted()


def part_wanted(ranges: Sequence[str], if_ranges: Sequence[str]) -> PartWanted:
    """Return the part that these headers ask for.

    Several ranges, and anything that is no range, stand for the whole file (RFC 9110, 14.2).
    """
    found = RANGE.fullmatch(ranges[0].strip()) if len(ranges) == 1 else None
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        return WHOLE
    if not if_ranges:
        return PartWanted(found[0])
    # A part of another version of the file would be worse than the whole.
    if len(if_ranges) > 1 or not VALIDATOR.fullmatch(if_ranges[0]):
        return WHOLE
    return PartWanted(found[0], if_ranges[0])


@immutable(kw_only=True)
class FileHead:
    """The head of a file's answer. `length` is None where the file's server does not name one."""

    status: int
    length: int | None
    content_type: str | None = None
    content_range: str | None = None
    ranges: bool = False
    validators: Sequence[tuple[str, str]] = field(default=())


def file_head(answer: Answer, wanted: PartWanted) -> FileHead:
    """Return the head of a 200 or 206.

    Raises `RangeNotSatisfiable` for a 416, and `ProviderUnavailable` for an answer whose end could not be
    told from a connection that broke, or that is not the file itself.
    """
    asked = wanted.range is not None
    if answer.status == NO_SUCH_PART and asked:
        told = answer.header("content-range") or ""
        headers = (("content-range", told),) if NO_RANGE.fullmatch(told) else ()
        raise RangeNotSatisfiable(headers=headers)
    plain = (answer.header("content-encoding") or "identity").strip().lower() == "identity"
    if answer.status not in {200, PART} or (answer.status == PART and not asked) or not plain:
        raise ProviderUnavailable(NOT_A_FILE)
    length, content_range = _length(answer), None
    if answer.status == PART:
        content_range = answer.header("content-range") or ""
        length = _length_of_part(content_range, length)
    return FileHead(
        status=answer.status,
        length=length,
        content_type=answer.header("content-type"),
        content_range=content_range,
        ranges=answer.status == PART or (answer.header("accept-ranges") or "").strip().lower() == "bytes",
        validators=_validators(answer),
    )


def _length(answer: Answer) -> int | None:
    """Return the length of the body. Raises `ProviderUnavailable` where its end is that of the connection."""
    coding, told = answer.header("transfer-encoding"), answer.header("content-length")
    if coding is not None and coding.strip().lower() == "chunked":
        return None
    if coding is None and told is not None and NUMBER.fullmatch(told):
        return int(told)
    raise ProviderUnavailable(f"{NOT_A_FILE}: it does not say where the file ends")


def _length_of_part(content_range: str, length: int | None) -> int:
    found = CONTENT_RANGE.fullmatch(content_range)
    if found is not None:
        first, last = int(found[1]), int(found[2])
        within = found[3] == "*" or last < int(found[3])
        if first <= last and within and length in {None, last - first + 1}:
            return last - first + 1
    raise ProviderUnavailable(NOT_A_FILE)


def _validators(answer: Answer) -> list[tuple[str, str]]:
    pairs = ((name, answer.header(name)) for name in ("etag", "last-modified"))
    return [(name, value) for name, value in pairs if value is not None and VALIDATOR.fullmatch(value)]
