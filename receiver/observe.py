"""Logs without secrets, and counters of the last hour."""

import ipaddress
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from receiver.addresses import Network

LOGGER = logging.getLogger("ringback")
_SECRETS = re.compile(
    r"(rb_[A-Za-z0-9_\-]{8})[A-Za-z0-9_\-]*|(whsec_)[A-Za-z0-9+/=]+|(Bearer )\S+"
    r"|(/(?:callbacks/[^/\s]+|assets)/)\S+"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\n\r]")


def redact(text: str) -> str:
    """`text` without keys, secrets and tokens, and on one line."""
    hidden = _SECRETS.sub(lambda found: next(part for part in found.groups() if part) + "[redacted]", text)
    return _CONTROLS.sub(" ", hidden)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        line = f"{at} {record.levelname.lower():7} {redact(record.getMessage())}"
        if record.exc_info and record.exc_info[0]:
            line += f" ({record.exc_info[0].__name__})"
        return line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str, form: str | None) -> None:
    """Log to standard error; other people's loggers speak up only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    as_text = form == "text" or (form is None and sys.stderr.isatty())
    handler.setFormatter(_Text() if as_text else _Json())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    LOGGER.setLevel(level.upper())


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
