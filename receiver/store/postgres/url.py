"""`postgresql://` URLs: the part for the server, and the parameters of this service."""

import re
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from handlers.values import immutable
from receiver.domain.errors import Misconfigured

SCHEMES = ("postgresql", "postgres")
CONNECTIONS = 8
"""Connections of one process, besides the one that listens, unless the URL gives a number."""
FEWEST, MOST = 3, 1000
"""The fewest and the most connections: two of them write, so at least one is left to read."""
_SECRETS = re.compile(r"([?&](?:password|sslpassword|passfile)=)[^&#]*", re.IGNORECASE)
_PASSWORD = re.compile(r"^([a-z0-9+.-]+:/*[^:]*:).*@", re.IGNORECASE | re.DOTALL)


@immutable
class PostgresTarget:
    """A database to connect to. `pooled`: through a pooler in transaction mode."""

    dsn: str
    connections: int = CONNECTIONS
    pooled: bool = False


def is_postgres(url: str) -> bool:
    """Return whether a database URL names a PostgreSQL server."""
    return url.partition(":")[0] in SCHEMES


def target(url: str) -> PostgresTarget:
    """Return the target of a `postgresql://` URL.

    Raises `Misconfigured` when the URL is invalid. The error never contains the password.
    """
    try:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong("is no URL") from None
    if parts.fragment or not parts.path.strip("/"):
        raise _wrong("must name the database: postgresql://user@host/database")
    ours = {name: value for name, value in given if name in {"pooler", "connections"}}
    theirs = [(name, value) for name, value in given if name not in ours]
    if ours.get("pooler", "transaction") != "transaction":
        raise _wrong("knows one pooler: pooler=transaction")
    connections = ours.get("connections", str(CONNECTIONS))
    if not re.fullmatch("[0-9]{1,4}", connections) or not FEWEST <= int(connections) <= MOST:
        raise _wrong(f"needs connections={FEWEST} to {MOST}")
    dsn = urlunsplit(parts._replace(query=urlencode(theirs)))
    return PostgresTarget(dsn, int(connections), pooled="pooler" in ours)


def addresses(url: str) -> list[str]:
    """Return the servers in a URL, each as `host:port` or a folder of sockets.

    The list is empty when the URL leaves the choice to libpq.
    """
    parts = urlsplit(url)
    given = [parts.netloc.rpartition("@")[2], *parse_qs(parts.query).get("host", [])]
    return [host for host in ",".join(given).split(",") if host]


def without_password(url: str) -> str:
    """Return a URL, valid or not, without passwords. In doubt, more of the URL is removed."""
    return _SECRETS.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def _wrong(problem: str) -> Misconfigured:
    return Misconfigured("database_url", problem)
