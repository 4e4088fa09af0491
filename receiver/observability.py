"""Logs without secrets, and counters of the last hour."""

import ipaddress
import json
import logging
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from traceback import TracebackException
from typing import Any

from receiver.egress.address_guard import Network

LOGGER = logging.getLogger("ringback")
_SECRETS = re.compile(
    r"(rb_[A-Za-z0-9_\-]{8})[A-Za-z0-9_\-]*|(whsec_)[A-Za-z0-9+/=]+|(Bearer )\S+"
    r"|(/(?:callbacks/[^/\s]+|assets)/)\S+"
)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_BARE = re.compile(r"[^\s\"=]+")
FIELDS = (
    "job",
    "account",
    "operation",
    "endpoint",
    "event",
    "delivery",
    "status",
    "count",
    "request_id",
    "replica",
)
"""The fields that a record may carry as `extra`; the same names in both formats."""
SHORTEST_SECRET = 6
"""Hiding shorter ones would tear every line to pieces."""
FRAMES, TRACEBACK, LINE = 20, 120, 500


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without keys, `secrets` and tokens, and on one line."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    hidden = _SECRETS.sub(lambda found: next(part for part in found.groups() if part) + "[redacted]", text)
    return _CONTROLS.sub(" ", hidden)


class Lines(logging.Formatter):
    """Log lines: a moment, a level, a message and the fields of `FIELDS` that came along as `extra`.

    `secrets` are the configured ones, hidden wherever they stand; `replica` names this process in every line.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        self.secrets = tuple(sorted((one for one in secrets if len(one) >= SHORTEST_SECRET), key=len)[::-1])
        self.replica: str | None = None

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The fields of a record, in the order of `FIELDS`."""
        found = {name: getattr(record, name, None) for name in FIELDS}
        found["replica"] = found["replica"] or self.replica
        return {
            name: value if isinstance(value, int | float) else self.plain(str(value))
            for name, value in found.items()
            if value is not None
        }

    def plain(self, text: str) -> str:
        """A text as it may be shown."""
        return redact(text, self.secrets)

    def traceback(self, record: logging.LogRecord) -> list[str]:
        """The last frames of a record's exception and of those behind it, line by line."""
        if not record.exc_info or record.exc_info[1] is None:
            return []
        told = TracebackException.from_exception(record.exc_info[1], limit=-FRAMES)
        lines = "".join(told.format()).split("\n")
        return [self.plain(line)[:LINE] for line in lines if line.strip()][-TRACEBACK:]


class TextFormatter(Lines):
    """Lines for people: fields as `name=value` at the end, a traceback indented below.

    On a terminal `width` columns wide a line is wrapped between words. A process that is watched is known:
    only in a file its lines carry its name.
    """

    def __init__(self, secrets: Sequence[str] = (), *, width: int | None = None) -> None:
        super().__init__(secrets)
        self.width = width

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        told = self.fields(record)
        if self.width is not None and told.get("replica") == self.replica:
            told.pop("replica", None)
        fields = "".join(f" {name}={_quoted(value)}" for name, value in told.items())
        line = f"{at} {record.levelname.lower():8} {self.plain(record.getMessage())}{fields}"
        if self.width is not None:
            line = textwrap.fill(
                line, self.width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
            )
        return "\n    ".join([line, *self.traceback(record)])


class Json(Lines):
    """Lines for programs: one JSON object for each record, its traceback in one text."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.plain(record.getMessage()),
            **self.fields(record),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = "\n".join(self.traceback(record))
        return json.dumps(line, ensure_ascii=False)


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def set_up(level: str, form: str | None, secrets: Sequence[str] = ()) -> None:
    """Log to standard error; other people's loggers speak up only when something is wrong.

    A lost connection to the database is told by the store, once; asyncpg would repeat it for each connection.
    """
    handler = logging.StreamHandler(sys.stderr)
    as_text = form == "text" or (form is None and sys.stderr.isatty())
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    handler.setFormatter(TextFormatter(secrets, width=width) if as_text else Json(secrets))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    LOGGER.setLevel(level.upper())


def name_replica(name: str) -> None:
    """Put this process's name into every line from now on."""
    for handler in logging.root.handlers:
        if isinstance(handler.formatter, Lines):
            handler.formatter.replica = name


def peer(scope: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """Who asks, for logs: the nearest address in `x-forwarded-for` that is no trusted proxy of ours."""
    client = scope.get("client")
    nearest = str(client[0]) if client else "unknown"
    forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in b",".join(forwarded).decode("latin-1").split(",") if hop.strip()]
    while hops and _is_in(nearest, trusted):
        nearest = hops.pop()
    return nearest[:64]


def _is_in(text: str, networks: Sequence[Network]) -> bool:
    try:
        return any(ipaddress.ip_address(text) in network for network in networks)
    except ValueError:
        return False
