"""Endpoints: they change seldom, and every recording transaction needs them.

Each change bumps the generation, so that a recording transaction that remembers an older one reads the
endpoints again, and other replicas reload them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from receiver.domain.errors import Conflict
from receiver.domain.model import Endpoint
from receiver.store import deliveries, endpoint_health, endpoint_versions, holds
from receiver.store.generation import bump, generation
from receiver.store.rows import ENDPOINTS
from receiver.store.schema import TABLES, named
from receiver.store.statements import Rows, Step, Transaction, insert, ms, one_or_none, query
from receiver.store.statements import delete as many_removed

MOST = 10_000
"""Maximum number of endpoints: every event is compared with each of them."""
DELETED = "the endpoint was deleted"
OWING = "deleting"
"""The state of a removed endpoint until all its deliveries are canceled."""
CANCELED_AT_ONCE = 100
"""Newest deliveries that the removal of an endpoint cancels at once: the rest may be millions."""
FOREVER = 2**62
"""Milliseconds: a moment after the creation of every endpoint."""


def add(row: tuple[Any, ...]) -> Transaction[None]:
    """Store a new endpoint. Raises `Conflict` when there are `MOST` already."""
    # Before the count, so that two concurrent additions cannot both pass the limit.
    yield Step.IN_ORDER
    found = yield query("select count(*) as there from endpoint where deleted_at is null")
    if found[0]["there"] >= MOST:
        raise Conflict(f"there are {MOST} endpoints already, the most that one deployment keeps; delete some")
    yield from put(row)


def put(row: tuple[Any, ...]) -> Transaction[None]:
    """Store an endpoint, new or changed."""
    yield from bump()
    values = dict(zip(TABLES["endpoint"], row, strict=True))
    yield from endpoint_health.begin(values["id"], values["url"])
    yield query("delete from endpoint where id = :id", id=row[0])
    yield insert("endpoint", [row])
    yield from endpoint_versions.note(values)


def rewrite(row: tuple[Any, ...], *, moved: bool) -> Transaction[None]:
    """Write a changed endpoint. One that has moved to a new URL loses the hold that the former one caused."""
    yield from put(row)
    if moved:
        yield from holds.let_go(row[0])


def alter(
    endpoint_id: str, changed: Callable[[Any], tuple[Endpoint, tuple[Any, ...]]]
) -> Transaction[Endpoint | None]:
    """Change an endpoint as it is stored now. `changed` makes the endpoint and its new row from the stored
    row. Returns the endpoint, None if it no longer exists.
    """
    yield Step.IN_ORDER
    row = yield from get(endpoint_id)
    if row is None:
        return None
    endpoint, fresh = changed(row)
    yield from rewrite(fresh, moved=row["url"] != endpoint.url)
    return endpoint


def listed() -> Transaction[Rows]:
    """Return the rows of all endpoints."""
    return (yield query(ENDPOINTS))


def of_generation() -> Transaction[tuple[str, Rows]]:
    """Return the current generation and the rows of its endpoints."""
    present = yield from generation()
    return present, (yield query(ENDPOINTS))


def page(behind: tuple[int, str] | None, limit: int) -> Transaction[Rows]:
    """Return rows of endpoints, newest first, after the endpoint with this creation time and id."""
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
    """Return the creation time of an endpoint, removed or not: its position in the list of `page`."""
    found = one_or_none((yield query("select created_at from endpoint where id = :id", id=endpoint_id)))
    return None if found is None else int(found["created_at"])


def get(endpoint_id: str) -> Transaction[Any | None]:
    """Return the row of one endpoint, None if it does not exist."""
    found = yield query(
        f"select {named('endpoint')} from endpoint where id = :id and deleted_at is null", id=endpoint_id
    )
    return one_or_none(found)


def set_state(endpoint_id: str, state: str, reason: str | None, now: datetime) -> Transaction[bool]:
    """Pause or resume an endpoint, and end its hold. Returns False if it no longer exists.

    A resumed one begins with no failures.
    """
    yield from bump()
    yield from holds.let_go(endpoint_id)
    if state == "active":
        yield from endpoint_health.forgive(endpoint_id)
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
    """Disable an endpoint because of an answer. Returns False if it was changed or resumed since it was
    `sent` to, no longer exists or is disabled already.
    """
    yield from bump()
    # A pause also changes `updated_at`, but the endpoint at this URL is still the one that answered: it
    # is disabled all the same. Why: receiver/README.md#an-answer-counts-for-its-endpoint
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
    """Remove an endpoint: nothing more is sent to it. Its newest deliveries are canceled here, the rest later
    in pieces (`cancel_removed`), because there may be millions.
    """
    yield from bump()
    # `removed` finds this state after a restart. Why: receiver/README.md#long-removals-go-in-pieces
    yield query(
        "update endpoint set deleted_at = :now, state = :owing where id = :id and deleted_at is null",
        now=ms(now),
        owing=OWING,
        id=endpoint_id,
    )
    yield from deliveries.cancel_some(endpoint_id, deliveries.NEWEST, CANCELED_AT_ONCE, DELETED, now)


def removed() -> Transaction[list[str]]:
    """Return the ids of removed endpoints with deliveries that are not all canceled yet."""
    found = yield query(
        "select id from endpoint where deleted_at is not null and state = :owing", owing=OWING
    )
    return [row["id"] for row in found]


def cancel_removed(endpoint_id: str, before: str, limit: int, now: datetime) -> Transaction[str]:
    """Cancel the pending deliveries of a removed endpoint among its `limit` newest before the id `before`.
    Returns the id to continue from, "" once none are left.
    """
    place = yield from deliveries.cancel_some(endpoint_id, before, limit, DELETED, now)
    if not place:
        yield query(
            "update endpoint set state = 'deleted' where id = :id and deleted_at is not null", id=endpoint_id
        )
    return place


def prune(before: datetime, limit: int) -> Transaction[int]:
    """Delete endpoints removed before a moment, once their deliveries are canceled. Returns their number."""
    found = yield query(
        "select id from endpoint where deleted_at < :before and state = 'deleted' limit :limit",
        before=ms(before),
        limit=limit,
    )
    ids = [row["id"] for row in found]
    yield query("delete from taken where target in (:ids)", ids=ids)
    yield query("delete from endpoint_version where endpoint in (:ids)", ids=ids)
    yield query("delete from endpoint_health where endpoint in (:ids)", ids=ids)
    yield many_removed("endpoint", ids)
    return len(found)
