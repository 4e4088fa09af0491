"""The health of endpoints: one row each, written with the attempts; and the deliveries that each is owed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.endpoint_health import EndpointHealth, after_attempt
from receiver.store.attempts import Attempt
from receiver.store.due import HAND_LANES, REPLAY_LANE, RETRY_LANE, WAITING
from receiver.store.statements import (
    Transaction,
    for_update,
    from_ms,
    moment,
    one_or_none,
    query,
    to_ms,
    update,
)

COLUMNS = ("failures", "failing_since", "announced", "last_at", "last_status", "last_error")


@immutable(kw_only=True)
class EndpointAttempt:
    """An attempt at an endpoint; one that does not `count` is neither for nor against its health."""

    endpoint_id: str
    attempt: Attempt
    delivered: bool
    counts: bool


@immutable
class Owed:
    """The number of deliveries that an endpoint is owed, and the creation of the oldest."""

    count: int
    oldest_at: datetime | None


def begin(endpoint_id: str, url: str) -> Transaction[None]:
    """Begin the health of a new or changed endpoint. Failures at another URL are forgotten."""
    yield query(
        "insert into endpoint_health (endpoint, failures, announced) values (:id, 0, 0) "
        "on conflict (endpoint) do update set failures = 0, failing_since = null, announced = 0 "
        "where not exists (select 1 from endpoint where id = :id and url = :url)",
        id=endpoint_id,
        url=url,
    )


def forgive(endpoint_id: str) -> Transaction[None]:
    """Forget the failures of an endpoint."""
    yield query(
        "update endpoint_health set failures = 0, failing_since = null, announced = 0 where endpoint = :id",
        id=endpoint_id,
    )


def note(attempts: Sequence[EndpointAttempt]) -> Transaction[Mapping[str, EndpointHealth]]:
    """Store attempts. Returns the health of the endpoints among them that failed or may be failing."""
    groups: dict[str, list[EndpointAttempt]] = {}
    for one in sorted(attempts, key=lambda one: (one.endpoint_id, one.attempt.at)):
        groups.setdefault(one.endpoint_id, []).append(one)
    # After successes alone the row is known without being read: that is nearly always.
    unknown = [name for name, group in groups.items() if not all(a.delivered and a.counts for a in group)]
    stored = yield from _stored(unknown)
    health = {
        name: _folded(stored.get(name, EndpointHealth()), group)
        for name, group in groups.items()
        if name in stored or name not in unknown
    }
    yield update(
        "endpoint_health", COLUMNS, [(*_values(one), name) for name, one in health.items()], key=("endpoint",)
    )
    return {name: health[name] for name in unknown if name in health}


def _folded(health: EndpointHealth, attempts: Sequence[EndpointAttempt]) -> EndpointHealth:
    for one in attempts:
        made = one.attempt
        health = after_attempt(
            health, made.at, made.status, made.error, delivered=one.delivered, counts=one.counts
        )
    return health


def _stored(ids: Sequence[str]) -> Transaction[Mapping[str, EndpointHealth]]:
    if not ids:
        return {}
    found = yield for_update(
        f"select endpoint, {', '.join(COLUMNS)} from endpoint_health where endpoint in (:ids) "
        "order by endpoint",
        ids=list(ids),
    )
    return {row["endpoint"]: _read(row) for row in found}


def announced(endpoint_id: str, failing_since: datetime) -> Transaction[bool]:
    """Note that an endpoint's failures are announced. Returns False where they are already, or are over."""
    found = yield query(
        "update endpoint_health set announced = 1 where endpoint = :id and announced = 0 "
        "and failing_since = :since returning endpoint",
        id=endpoint_id,
        since=to_ms(failing_since),
    )
    return bool(found)


def of(endpoint_id: str) -> Transaction[tuple[EndpointHealth, datetime | None, Owed]]:
    """Return the health of an endpoint, the end of its hold, and the deliveries that it is owed."""
    row = one_or_none(
        (
            yield query(
                f"select {', '.join(COLUMNS)}, (select until from hold where lane = :id) as held_until "
                "from endpoint_health where endpoint = :id",
                id=endpoint_id,
            )
        )
    )
    lanes = [endpoint_id, *(endpoint_id + end for end in (RETRY_LANE, REPLAY_LANE, *HAND_LANES))]
    ready = yield query(
        "select count(*) as many, min(id) as oldest from due where work = 'deliver' and lane in (:lanes) "
        "and lane not like '%~'",
        lanes=lanes,
    )
    waiting = yield query(
        "select count(*) as many, min(id) as oldest from due where lane = :lane and lane like '%~'",
        lane=endpoint_id + WAITING,
    )
    both = (ready[0], waiting[0])
    oldest = min((one["oldest"] for one in both if one["oldest"] is not None), default=None)
    at = yield from _created(oldest)
    owed = Owed(sum(one["many"] for one in both), at)
    if row is None:
        return EndpointHealth(), None, owed
    return _read(row), from_ms(row["held_until"]), owed


def _created(delivery_id: str | None) -> Transaction[datetime | None]:
    if delivery_id is None:
        return None
    found = one_or_none((yield query("select created_at from delivery where id = :id", id=delivery_id)))
    return None if found is None else moment(found["created_at"])


def _values(health: EndpointHealth) -> tuple[Any, ...]:
    return (
        health.failures,
        to_ms(health.failing_since),
        int(health.announced),
        to_ms(health.last_at),
        health.last_status,
        health.last_error,
    )


def _read(row: Any) -> EndpointHealth:
    return EndpointHealth(
        failures=row["failures"],
        failing_since=from_ms(row["failing_since"]),
        announced=bool(row["announced"]),
        last_at=from_ms(row["last_at"]),
        last_status=row["last_status"],
        last_error=row["last_error"],
    )
