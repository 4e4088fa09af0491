"""Endpoints, API keys and accounts: what changes seldom and every recording must know.

Each change bumps the generation, so that a recording transaction that remembers an older one reads the
endpoints again, and other replicas take up the rest.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.store import deliveries
from receiver.store.rows import ENDPOINTS
from receiver.store.schema import named
from receiver.store.statements import Rows, Step, Transaction, many, ms, rows, single


@immutable
class ApiKey:
    """A stored key: its hash, never the key."""

    id: str
    name: str
    hash: bytes
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None


def bump() -> Transaction[None]:
    """Tell everybody that the endpoints, keys and accounts that they know are old.

    A nonce, not a count: what a transaction read and then rolled back must not pass for a later state. In
    order with the events, and first of all: whatever is recorded after the change was committed has seen it,
    and the change sees whatever was recorded before.
    """
    yield Step.IN_ORDER
    yield rows("update meta set value = :nonce where key = 'generation'", nonce=secrets.token_hex(8))


def put(row: tuple[Any, ...]) -> Transaction[None]:
    """Write an endpoint, new or changed."""
    yield from bump()
    yield rows("delete from endpoint where id = :id", id=row[0])
    yield many("endpoint", [row])


def alter(
    endpoint_id: str, change_row: Callable[[Any], tuple[Any, ...]]
) -> Transaction[tuple[Any, ...] | None]:
    """Change an endpoint as it is now; None when it is there no more."""
    yield Step.IN_ORDER
    row = yield from get(endpoint_id)
    if row is None:
        return None
    fresh = change_row(row)
    yield from put(fresh)
    return fresh


def listed() -> Transaction[Rows]:
    """Every endpoint."""
    return (yield rows(ENDPOINTS))


def made_at(endpoint_id: str) -> Transaction[int | None]:
    """When an endpoint was made, removed ones included: its place in the list."""
    found = single((yield rows("select created_at from endpoint where id = :id", id=endpoint_id)))
    return None if found is None else int(found["created_at"])


def get(endpoint_id: str) -> Transaction[Any | None]:
    """One endpoint."""
    found = yield rows(
        f"select {named('endpoint')} from endpoint where id = :id and deleted_at is null", id=endpoint_id
    )
    return single(found)


def set_state(
    endpoint_id: str, state: str, reason: str | None, now: datetime, unless: str = ""
) -> Transaction[bool]:
    """Pause, disable or resume an endpoint; False when it is there no more or already in `unless`."""
    yield from bump()
    found = yield rows(
        "update endpoint set state = :state, disabled_reason = :reason, updated_at = :now "
        "where id = :id and deleted_at is null and state <> :unless returning id",
        state=state,
        reason=reason,
        now=ms(now),
        id=endpoint_id,
        unless=unless,
    )
    return bool(found)


def remove(endpoint_id: str, now: datetime) -> Transaction[None]:
    """Remove an endpoint and cancel what it is owed."""
    yield from bump()
    yield from deliveries.cancel_target(endpoint_id, None, "the endpoint was deleted", now)
    yield rows("update endpoint set deleted_at = :now where id = :id", now=ms(now), id=endpoint_id)


def add_key(key: ApiKey) -> Transaction[None]:
    """Store a key."""
    yield from bump()
    row = (key.id, key.name, key.hash, " ".join(key.scopes), key.created_at, key.expires_at)
    yield many("api_key", [row])


def keys() -> Transaction[list[ApiKey]]:
    """Every key, newest first."""
    found = yield rows(f"select {named('api_key')} from api_key order by id desc")
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


def remove_key(key_id: str) -> Transaction[bool]:
    """Revoke a key."""
    yield from bump()
    found = yield rows("delete from api_key where id = :id returning id", id=key_id)
    return bool(found)


def generation() -> Transaction[str]:
    """The present generation of endpoints and keys."""
    found = yield rows("select value from meta where key = 'generation'")
    return str(found[0]["value"])


def block(account: str, reason: str, now: datetime) -> Transaction[int | None]:
    """Note that an account is blocked; the number of this block when it was not blocked before."""
    yield from bump()
    found = yield rows("select blocked_at, blocks from account where name = :name", name=account)
    row = single(found)
    if row is not None and row["blocked_at"] is not None:
        return None
    count = (row["blocks"] if row else 0) + 1
    yield rows("delete from account where name = :name", name=account)
    yield many("account", [(account, ms(now), reason, count)])
    return count


def unblock(account: str) -> Transaction[int | None]:
    """Note that an account works again; the number of the block that ended."""
    yield from bump()
    found = yield rows(
        "update account set blocked_at = null, reason = null where name = :name and blocked_at is not null "
        "returning blocks",
        name=account,
    )
    row = single(found)
    return None if row is None else int(row["blocks"])


def blocked() -> Transaction[dict[str, tuple[int, str]]]:
    """The blocked accounts: since when, and why."""
    found = yield rows("select name, blocked_at, reason from account where blocked_at is not null")
    return {row["name"]: (row["blocked_at"], row["reason"] or "") for row in found}


def sealed() -> Transaction[tuple[Rows, Rows]]:
    """Everything that is stored encrypted: endpoints and open jobs' callback secrets."""
    of_endpoints = yield rows("select id, headers, secrets from endpoint")
    of_jobs = yield rows("select id, callback_secret from job where callback_secret is not null")
    return of_endpoints, of_jobs


def probe() -> Transaction[None]:
    """Write something of no consequence: whether that works is whether we can store.

    The value changes each time, because an engine writes nothing for a row that stays as it is.
    """
    yield rows(
        "insert into meta values ('probe', '0') on conflict (key) do update set "
        "value = case meta.value when '0' then '1' else '0' end"
    )
