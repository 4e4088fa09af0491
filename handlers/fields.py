"""The tolerant readers of a message's fields: each returns a plain value, or that for a missing field.

Providers send numbers as text, words in any case and links with blanks around them. A value of the wrong type
counts as missing, because a fault in one field must not lose a job.
"""

import math
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from handlers.text import clean
from handlers.wishes import number

LINK_LIMIT = 8192
"""The most characters of a link."""
YEARS = (1970, 2200)
"""The years, without the last one, in which a link or a file can plausibly end."""
MILLISECONDS = 10**11
"""The number from which a unix time is one in milliseconds."""
_DIGITS = re.compile(r"[0-9]{9,15}(?:\.[0-9]{1,9})?")
_LINK = re.compile(r"https?://[!-~]+", re.ASCII)
_AS_THEY_ARE = "".join(map(chr, range(33, 127)))


def identity(value: object) -> str | None:
    """Return an id or a sentence. Numbers become text, anything else None."""
    if isinstance(value, str):
        return clean(value) or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value)


def word(value: object) -> str:
    """Return a status word in lower case; "" when it is missing or not text."""
    return value.strip().lower() if isinstance(value, str) else ""


def percent(value: object) -> float | None:
    """Return a progress from 0 to 100, read from 40, "40", "40%" or "40/100"; None for anything else.

    More than 100 is 100.
    """
    if isinstance(value, str):
        try:
            part, _, whole_of = value.strip().removesuffix("%").partition("/")
            value = float(part) / float(whole_of) * 100 if whole_of else float(part)
        except (ValueError, ZeroDivisionError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value == math.inf:
        return None
    return float(min(value, 100)) if value >= 0 else None


def link(value: object) -> str | None:
    """Return an absolute http or https URL, with blanks around it removed; None for anything else.

    Blanks and non-ASCII characters in its path are percent-encoded, and an international host is in ASCII.
    """
    if not isinstance(value, str) or len(value) > LINK_LIMIT:
        return None
    if _LINK.fullmatch(value):
        return value
    value = value.strip()
    scheme, colon, rest = value.partition("://")
    if scheme.lower() not in {"http", "https"} or not value.isprintable():
        return None
    host, slash, path = rest.partition("/")
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    mended = f"{scheme.lower()}{colon}{host}{slash}{quote(path, safe=_AS_THEY_ARE)}"
    return mended if _LINK.fullmatch(mended) and len(mended) <= LINK_LIMIT else None


def plausible(value: object) -> float | None:
    """Return a plausible number, given as a number or as its digits; None for anything else."""
    found = number(value)
    return float(found) if isinstance(found, int | float) else None


def whole(value: object) -> int | None:
    """Return a plausible whole number; None for anything else."""
    found = number(value)
    return int(found) if isinstance(found, int | float) else None


def moment(value: object) -> datetime | None:
    """Return a moment in ISO 8601, in UTC where it names no zone, or in unix time; None for anything else.

    Unix time is a number, or 9 digits or more, of seconds or of milliseconds.
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = float(value)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return sane(datetime.fromtimestamp(value / 1000 if value >= MILLISECONDS else value, UTC))
        if not isinstance(value, str):
            return None
        found = datetime.fromisoformat(value)
        return sane(found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        return None


def sane(found: datetime) -> datetime | None:
    """Return `found` if it lies within `YEARS`; otherwise None, because such a date is a mistake."""
    return found if YEARS[0] <= found.year < YEARS[1] else None


def flag(value: object) -> bool | None:
    """Return true or false; None for anything else."""
    return value if isinstance(value, bool) else None


def table(value: object) -> dict[str, Any] | None:
    """Return an object; None for anything else."""
    return value if isinstance(value, dict) else None


def code(value: object) -> str | None:
    """Return a code as text. "" is kept, because an empty code is unknown and not missing."""
    return clean(str(value), 100) if isinstance(value, int | str) and not isinstance(value, bool) else None


def raw(value: object) -> str | None:
    """Return text as received, to be checked where it is used; None for anything else."""
    return value if isinstance(value, str) and len(value) <= LINK_LIMIT else None
