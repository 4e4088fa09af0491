"""Endpoints, API keys and accounts: what changes seldom and every recording must know.

Each change bumps the generation, so that a recording transaction that remembers an older one reads the
endpoints again, and other replicas take up the rest.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.errors import Conflict
from receiver.domain.model import Endpoint
from receiver.security.tokens import KID
from receiver.store import deliveries, holds
from receiver.store.rows import ENDPOINTS
from receiver.store.schema import named
from receiver.store.statements import Rows, Step, Transaction, insert, ms, one_or_none, query
from receiver.store.statements import delete as many_removed

MOST = 10_000
"""How many endpoints there may be: every event is held against each of them."""
MOST_KEYS = 10_000
"""How many API keys there may be: every process that serves the API holds them all."""
DELETED = "the endpoint was deleted"
OWING = "deleting"
"""The state of a removed endpoint until all its deliveries are canceled."""
CANCELED_AT_ONCE = 100
FOREVER = 2**62


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
    yield query("update meta set value = :nonce where key = 'generation'", nonce=secrets.token_hex(8))


def add(row: tuple[Any, ...]) -> Transaction[None]:
    """Write a new endpoint; `Conflict` where there are as many as there may be."""
    yield Step.IN_ORDER
    found = yield query("select count(*) as there from endpoint where deleted_at is null")
    if found[0]["there"] >= MOST:
        raise Conflict(f"there are {MOST} endpoints already, the most that one deployment keeps; delete some")
    yield from put(row)


def put(row: tuple[Any, ...]) -> Transaction[None]:
    """Write an endpoint, new or changed."""
    yield from bump()
    yield query("delete from endpoint where id = :id", id=row[0])
    yield insert("endpoint", [row])


def alter(
    endpoint_id: str, change_row: Callable[[Any], tuple[Any, ...]]
) -> Transaction[tuple[Any, ...] | None]:
    """Change an endpoint as it is now, and end its hold; None when it is there no more."""
    yield Step.IN_ORDER
    row = yield from get(endpoint_id)
    if row is None:
        return None
    fresh = change_row(row)
    yield from put(fresh)
    yield from holds.let_go(endpoint_id)
    return fresh


def listed() -> Transaction[Rows]:
    """Every endpoint."""
    return (yield query(ENDPOINTS))


def of_generation() -> Transaction[tuple[str, Rows]]:
    """The present generation and its endpoints."""
    present = yield from generation()
    return present, (yield query(ENDPOINTS))


def page(behind: tuple[int, str] | None, limit: int) -> Transaction[Rows]:
    """Endpoints, newest first, behind one that was made at a moment and has an id."""
    at, endpoint_id = behind or (FOREVER, "")
    return (
        yield query(
            f"select {named('endpoint')} from endpoint where deleted_at is null "
            "and (created_at < :at or (created_at = :at and id < :id)) "
            "order by created_at desc, id desc limit :limit",
            at=at,
            id=endpoint_id,
            limit=limit,
        )
    )


def made_at(endpoint_id: str) -> Transaction[int | None]:
    """When an endpoint was made, removed ones included: its place in the list."""
    found = one_or_none((yield query("select created_at from endpoint where id = :id", id=endpoint_id)))
    return None if found is None else int(found["created_at"])


def get(endpoint_id: str) -> Transaction[Any | None]:
    """One endpoint."""
    found = yield query(
        f"select {named('endpoint')} from endpoint where id = :id and deleted_at is null", id=endpoint_id
    )
    return one_or_none(found)


def set_state(endpoint_id: str, state: str, reason: str | None, now: datetime) -> Transaction[bool]:
    """Pause or resume an endpoint, and end its hold; False when it is there no more."""
    yield from bump()
    yield from holds.let_go(endpoint_id)
    found = yield query(
        "update endpoint set state = :state, disabled_reason = :reason, updated_at = :now "
        "where id = :id and deleted_at is null returning id",
        state=state,
        reason=reason,
        now=ms(now),
        id=endpoint_id,
    )
    return bool(found)


def disable(sent: Endpoint, reason: str, now: datetime) -> Transaction[bool]:
    """Disable an endpoint for its answer; False where it was changed or resumed since it was `sent` to,
    is there no more or is disabled already."""
    yield from bump()
    found = yield query(
        "update endpoint set state = 'disabled', disabled_reason = :reason, updated_at = :now "
        "where id = :id and deleted_at is null and state <> 'disabled' and url = :url "
        "and (updated_at = :sent or state <> 'active') returning id",
        reason=reason,
        now=ms(now),
        id=sent.id,
        url=sent.url,
        sent=ms(sent.updated_at),
    )
    return bool(found)


def remove(endpoint_id: str, now: datetime) -> Transaction[None]:
    """Remove an endpoint: it is sent nothing more. Its deliveries are canceled, the newest here, the rest by
    and by (`cancel_removed`), because there may be millions."""
    yield from bump()
    yield query(
        "update endpoint set deleted_at = :now, state = :owing where id = :id and deleted_at is null",
        now=ms(now),
        owing=OWING,
        id=endpoint_id,
    )
    yield from deliveries.cancel_some(endpoint_id, deliveries.NEWEST, CANCELED_AT_ONCE, DELETED, now)


def removed() -> Transaction[list[str]]:
    """Return the removed endpoints with deliveries that are not all canceled yet."""
    found = yield query(
        "select id from endpoint where deleted_at is not null and state = :owing", owing=OWING
    )
    return [row["id"] for row in found]


def cancel_removed(endpoint_id: str, before: str, limit: int, now: datetime) -> Transaction[str]:
    """Cancel deliveries owed to a removed endpoint, of its `limit` newest before one. Returns where to go on,
    "" once nothing is left."""
    place = yield from deliveries.cancel_some(endpoint_id, before, limit, DELETED, now)
    if not place:
        yield query(
            "update endpoint set state = 'deleted' where id = :id and deleted_at is not null", id=endpoint_id
        )
    return place


def prune(before: datetime, limit: int) -> Transaction[int]:
    """Forget endpoints that were removed before a moment, once they are owed nothing; how many."""
    found = yield query(
        "select id from endpoint where deleted_at < :before and state = 'deleted' limit :limit",
        before=ms(before),
        limit=limit,
    )
    ids = [row["id"] for row in found]
    yield query("delete from taken where target in (:ids)", ids=ids)
    yield many_removed("endpoint", ids)
    return len(found)


def add_key(key: ApiKey) -> Transaction[None]:
    """Store a key; `Conflict` where there are as many as there may be."""
    yield from bump()
    found = yield query("select count(*) as there from api_key")
    if found[0]["there"] >= MOST_KEYS:
        raise Conflict(
            f"there are {MOST_KEYS} API keys already, the most that one deployment keeps; revoke some"
        )
    row = (key.id, key.name, key.hash, " ".join(key.scopes), key.created_at, key.expires_at)
    yield insert("api_key", [row])


def keys() -> Transaction[list[ApiKey]]:
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


def remove_key(key_id: str) -> Transaction[bool]:
    """Revoke a key."""
    yield from bump()
    found = yield query("delete from api_key where id = :id returning id", id=key_id)
    return bool(found)


def generation() -> Transaction[str]:
    """The present generation of endpoints and keys."""
    found = yield query("select value from meta where key = 'generation'")
    return str(found[0]["value"])


def block(account: str, reason: str, now: datetime) -> Transaction[int | None]:
    """Note that an account is blocked; the number of this block when it was not blocked before."""
    yield from bump()
    found = yield query("select blocked_at, blocks from account where name = :name", name=account)
    row = one_or_none(found)
    if row is not None and row["blocked_at"] is not None:
        return None
    count = (row["blocks"] if row else 0) + 1
    yield query("delete from account where name = :name", name=account)
    yield insert("account", [(account, ms(now), reason, count)])
    return count


def unblock(account: str) -> Transaction[int | None]:
    """Note that an account works again; the number of the block that ended."""
    yield from bump()
    found = yield query(
        "update account set blocked_at = null, reason = null where name = :name and blocked_at is not null "
        "returning blocks",
        name=account,
    )
    row = one_or_none(found)
    return None if row is None else int(row["blocks"])


def blocked() -> Transaction[dict[str, tuple[int, str]]]:
    """The blocked accounts: since when, and why."""
    found = yield query("select name, blocked_at, reason from account where blocked_at is not null")
    return {row["name"]: (row["blocked_at"], row["reason"] or "") for row in found}


def kids() -> Transaction[set[str]]:
    """The master keys under which endpoints and open jobs have secrets: their names are in front."""
    of_endpoints = yield query(
        "select distinct substr(secrets, 1, :size) as kid from endpoint where deleted_at is null", size=KID
    )
    of_jobs = yield query(
        "select distinct substr(callback_secret, 1, :size) as kid from job "
        "where completed_at is null and callback_secret is not null",
        size=KID,
    )
    return {bytes(row["kid"]).decode("ascii", "replace") for row in (*of_endpoints, *of_jobs)}


def sealed_endpoints() -> Transaction[Rows]:
    """Return the sealed columns of endpoints."""
    return (yield query("select id, headers, secrets from endpoint where deleted_at is null order by id"))


def sealed_jobs(after: str, limit: int) -> Transaction[tuple[Rows, str]]:
    """The callback secrets among `limit` jobs behind one, and where to go on, "" at the end."""
    found = yield query(
        "select id, callback_secret from job where id > :after order by id limit :limit",
        after=after,
        limit=limit,
    )
    place = found[-1]["id"] if len(found) == limit else ""
    return [row for row in found if row["callback_secret"] is not None], place


def probe() -> Transaction[None]:
    """Write something of no consequence: whether that works is whether we can store.

    The value changes each time, because an engine writes nothing for a row that stays as it is.
    """
    yield query(
        "insert into meta values ('probe', '0') on conflict (key) do update set "
        "value = case meta.value when '0' then '1' else '0' end"
    )
