"""`postgresql://` URLs: what the server is told, and what is meant for us."""

import re
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from handlers.values import immutable
from receiver.domain.errors import Misconfigured

SCHEMES = ("postgresql", "postgres")
CONNECTIONS = 8
FEWEST, MOST = 3, 1000
"""A writer, a reader, and one that listens."""
_SECRETS = re.compile(r"([?&](?:password|sslpassword|passfile)=)[^&#]*", re.IGNORECASE)
_PASSWORD = re.compile(r"^([a-z0-9+.-]+:/*[^:]*:).*@", re.IGNORECASE | re.DOTALL)


@immutable
class PostgresTarget:
    """Where to connect. `pooled`: a pooler in transaction mode stands before the server."""

    dsn: str
    connections: int = CONNECTIONS
    pooled: bool = False


def is_postgres(url: str) -> bool:
    """Whether a database URL names a PostgreSQL server."""
    return url.partition(":")[0] in SCHEMES


def target(url: str) -> PostgresTarget:
    """The target of a `postgresql://` URL; `Misconfigured` names what is wrong, never the password."""
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
    """The servers that a URL names, each as `host:port`, or a folder of sockets; none where libpq chooses."""
    parts = urlsplit(url)
    given = [parts.netloc.rpartition("@")[2], *parse_qs(parts.query).get("host", [])]
    return [host for host in ",".join(given).split(",") if host]


def without_password(url: str) -> str:
    """A URL as it may be shown, well made or not: rather less of it than a part of a password."""
    return _SECRETS.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def _wrong(what: str) -> Misconfigured:
    return Misconfigured("database_url", what)
