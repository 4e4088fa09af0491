"""Errors of a start that cannot use a PostgreSQL database: a reason in one line that holds no secret."""

import ssl
from collections.abc import Sequence

import asyncpg

from handlers.values import immutable
from receiver.domain.errors import Misconfigured, NotReady


@immutable
class Reason:
    """A reason that prevents a start. `{there}` stands for the address; `may_pass`: it may end by itself."""

    words: str
    may_pass: bool = False


REASONS: tuple[tuple[tuple[type[BaseException], ...], Reason], ...] = (
    (
        (asyncpg.InvalidAuthorizationSpecificationError,),
        Reason("the server refuses this user or its password"),
    ),
    ((asyncpg.InvalidCatalogNameError,), Reason("the server has no such database")),
    (
        (asyncpg.TargetServerAttributeNotMatched,),
        Reason("the server only reads (a standby); name the primary"),
    ),
    ((asyncpg.TooManyConnectionsError,), Reason("the server has no connection left for us", may_pass=True)),
    ((asyncpg.InsufficientPrivilegeError,), Reason("this role may not use the database's schema")),
    ((asyncpg.CannotConnectNowError,), Reason("the server is starting or stopping", may_pass=True)),
    ((ssl.SSLError,), Reason("TLS to the server fails")),
    (
        (FileNotFoundError, PermissionError),
        Reason("a file that the URL names (a certificate, a key, a socket) cannot be read"),
    ),
    (
        (TimeoutError,),
        Reason("the server {there} does not answer; start it, or correct the URL", may_pass=True),
    ),
    (
        (OSError,),
        Reason("cannot connect to {there}; start a server there, or correct the URL", may_pass=True),
    ),
    ((ValueError,), Reason("is no URL of a PostgreSQL database")),
)


def refusal(error: BaseException, addresses: Sequence[str] = ()) -> Misconfigured:
    """Return the error of a start that failed with `error`. It is `NotReady` if the reason may pass."""
    found = next((reason for kinds, reason in REASONS if isinstance(error, kinds)), None)
    reason = found or Reason(f"the database cannot be used: {type(error).__name__}")
    said = f" ({error})" if isinstance(error, asyncpg.PostgresError) else ""
    words = reason.words.format(there=" or ".join(addresses) or "it")
    return (NotReady if reason.may_pass else Misconfigured)("database_url", words + said)
