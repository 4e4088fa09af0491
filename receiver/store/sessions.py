"""Sessions of browsers: a row for each, with the hash of the API key that it stands for."""

from datetime import datetime

from handlers.values import immutable
from receiver.store.statements import Transaction, insert, moment, ms, one_or_none, query

MOST = 100
"""The most sessions of one API key: the oldest ends for a new one."""


@immutable(kw_only=True)
class BrowserSession:
    """A session. `id` is the hash of the id that the browser has, `key_hash` that of its API key."""

    id: bytes
    key_hash: bytes
    created_at: datetime
    expires_at: datetime


def add(session: BrowserSession) -> Transaction[None]:
    """Store a session. Sessions that have ended go, and the oldest ones of its key beyond `MOST`."""
    yield query("delete from session where expires_at <= :now", now=ms(session.created_at))
    yield query(
        "delete from session where id in (select id from session where key_hash = :key "
        "order by created_at desc limit 1000 offset :most)",
        key=session.key_hash,
        most=MOST - 1,
    )
    row = (session.id, session.key_hash, ms(session.created_at), ms(session.expires_at))
    yield insert("session", [row])


def get(session_id: bytes) -> Transaction[BrowserSession | None]:
    """Return a session, None where there is none."""
    row = one_or_none(
        (
            yield query(
                "select id, key_hash, created_at, expires_at from session where id = :id", id=session_id
            )
        )
    )
    if row is None:
        return None
    return BrowserSession(
        id=bytes(row["id"]),
        key_hash=bytes(row["key_hash"]),
        created_at=moment(row["created_at"]),
        expires_at=moment(row["expires_at"]),
    )


def end(session_id: bytes) -> Transaction[None]:
    """Remove a session."""
    yield query("delete from session where id = :id", id=session_id)
