"""API keys: added, listed, revoked."""

from handlers.values import immutable
from receiver.domain.errors import Conflict
from receiver.store.generation import bump
from receiver.store.schema import named
from receiver.store.statements import Transaction, insert, query

MOST_KEYS = 10_000
"""How many API keys there may be: every process that serves the API holds them all."""


@immutable
class ApiKey:
    """A stored key: its hash, never the key."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None


def add(key: ApiKey) -> Transaction[None]:
    """Store a key; `Conflict` where there are as many as there may be."""
    yield from bump()
    found = yield query("select count(*) as there from api_key")
    if found[0]["there"] >= MOST_KEYS:
        raise Conflict(
            f"there are {MOST_KEYS} API keys already, the most that one deployment keeps; revoke some"
        )
    row = (key.id, key.name, key.hash, " ".join(key.scopes), key.created_at, key.expires_at)
    yield insert("api_key", [row])


def list_all() -> Transaction[list[ApiKey]]:
    """Every key, newest first."""
    found = yield query(f"select {named('api_key')} from api_key order by id desc")
    return [
        ApiKey(
            row["id"],
            row["name"],
            bytes(row["hash"]),
            tuple(row["scopes"].split()),
            row["created_at"],
            row["expires_at"],
        )
        for row in found
    ]


def delete(key_id: str) -> Transaction[bool]:
    """Revoke a key."""
    yield from bump()
    found = yield query("delete from api_key where id = :id returning id", id=key_id)
    return bool(found)
