"""API keys: added, listed, revoked."""

from handlers.values import immutable
from receiver.domain.errors import Conflict
from receiver.store.generation import bump
from receiver.store.schema import named
from receiver.store.statements import Transaction, insert, query

MOST_KEYS = 10_000
"""Maximum number of API keys: every process that serves the API holds all of them in memory."""


@immutable(kw_only=True)
class ApiKey:
    """A stored key: its hash, never the key."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None


def add(key: ApiKey) -> Transaction[None]:
    """Store a key. Raises `Conflict` when there are `MOST_KEYS` already."""
    # Before the count: its order lock keeps two concurrent additions from both passing the limit.
    yield from bump()
    found = yield query("select count(*) as there from api_key")
    if found[0]["there"] >= MOST_KEYS:
        raise Conflict(
            f"there are {MOST_KEYS} API keys already, the most that one deployment keeps; revoke some"
        )
    row = (key.id, key.name, key.hash, " ".join(key.scopes), key.created_at, key.expires_at)
    yield insert("api_key", [row])


def list_all() -> Transaction[list[ApiKey]]:
    """Return every key, newest first."""
    found = yield query(f"select {named('api_key')} from api_key order by id desc")
    return [
        ApiKey(
            id=row["id"],
            name=row["name"],
            hash=bytes(row["hash"]),
            scopes=tuple(row["scopes"].split()),
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )
        for row in found
    ]


def delete(key_id: str) -> Transaction[bool]:
    """Revoke a key. Returns False if it does not exist."""
    yield from bump()
    found = yield query("delete from api_key where id = :id returning id", id=key_id)
    return bool(found)
