"""The log, without secrets: its formats and its set-up."""

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
    "source",
    "status",
    "count",
    "request_id",
    "trace",
    "replica",
)
"""The fields that a record may have in `extra`; the names are the same in both formats."""
SHORTEST_SECRET = 6
"""The least length of a secret that is hidden. Hiding shorter ones would garble every line."""
FRAMES, TRACEBACK, LINE = 20, 120, 500
"""The most frames of an exception, lines of a traceback, and characters of such a line."""


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Return `text` on one line, with keys, `secrets` and tokens hidden."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    hidden = _SECRETS.sub(lambda found: next(part for part in found.groups() if part) + "[redacted]", text)
    return _CONTROLS.sub(" ", hidden)


class Lines(logging.Formatter):
    """The base of the formatters: time, level, message, and the fields of `FIELDS` that are in `extra`.

    `secrets` are the configured ones, hidden wherever they occur; `replica` names this process in every line.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        super().__init__()
        # The longest first: a secret may contain a shorter one, which would leave the rest of it readable.
        self.secrets = tuple(sorted((one for one in secrets if len(one) >= SHORTEST_SECRET), key=len)[::-1])
        self.replica: str | None = None

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the fields of a record, in the order of `FIELDS`."""
        found = {name: getattr(record, name, None) for name in FIELDS}
        found["replica"] = found["replica"] or self.replica
        return {
            name: value if isinstance(value, int | float) else self.plain(str(value))
            for name, value in found.items()
            if value is not None
        }

    def plain(self, text: str) -> str:
        """Return `text` on one line, with secrets hidden."""
        return redact(text, self.secrets)

    def traceback(self, record: logging.LogRecord) -> list[str]:
        """Return the last frames of a record's exception and of its causes, line by line."""
        if not record.exc_info or record.exc_info[1] is None:
            return []
        summary = TracebackException.from_exception(record.exc_info[1], limit=-FRAMES)
        lines = "".join(summary.format()).split("\n")
        return [self.plain(line)[:LINE] for line in lines if line.strip()][-TRACEBACK:]


class TextFormatter(Lines):
    """A formatter for people: fields as `name=value` at the end, a traceback indented below.

    On a terminal `width` columns wide, lines are wrapped between words and do not name this process, which is
    known there; in a file they do.
    """

    def __init__(self, secrets: Sequence[str] = (), *, width: int | None = None) -> None:
        super().__init__(secrets)
        self.width = width

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of one record."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        values = self.fields(record)
        if self.width is not None and values.get("replica") == self.replica:
            values.pop("replica", None)
        fields = "".join(f" {name}={_quoted(value)}" for name, value in values.items())
        line = f"{at} {record.levelname.lower():8} {self.plain(record.getMessage())}{fields}"
        if self.width is not None:
            line = textwrap.fill(
                line, self.width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
            )
        return "\n    ".join([line, *self.traceback(record)])


class Json(Lines):
    """A formatter for programs: one JSON object for each record, with its traceback in one text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
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
    """Log to standard error; the loggers of libraries log warnings and errors only.

    The store logs a lost connection to the database once; asyncpg would repeat it for each connection.
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
    """Add this process's name to all lines from now on."""
    for handler in logging.root.handlers:
        if isinstance(handler.formatter, Lines):
            handler.formatter.replica = name


def peer(scope: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """Return the address of the client, for logs.

    It is the nearest address in `x-forwarded-for` that is no trusted proxy.
    """
    client = scope.get("client")
    nearest = str(client[0]) if client else "unknown"
    forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = [hop.strip() for hop in b",".join(forwarded).decode("latin-1").split(",") if hop.strip()]
    # From the end, because only entries that trusted proxies have appended can be believed.
    while hops and _is_in(nearest, trusted):
        nearest = hops.pop()
    return nearest[:64]


def _is_in(text: str, networks: Sequence[Network]) -> bool:
    try:
        return any(ipaddress.ip_address(text) in network for network in networks)
    except ValueError:
        return False
