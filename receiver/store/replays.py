"""Replays: old events delivered again to one endpoint, a few at a time so that fresh ones never wait."""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import from_json

from handlers import json
from handlers.values import immutable
from receiver.domain.event_types import wants
from receiver.domain.model import Endpoint, Event, Work
from receiver.domain.subscriptions import subscribers
from receiver.security.ids import IdGenerator
from receiver.store import deliveries, endpoints
from receiver.store.deliveries import BY_HAND, SELDOM
from receiver.store.due import REPLAY_LANE
from receiver.store.rows import delivery_row, due_row, read_event
from receiver.store.schema import TABLES, named
from receiver.store.statements import (
    Row,
    Transaction,
    from_ms,
    insert,
    moment,
    ms,
    one_or_none,
    query,
    skip_locked,
    to_ms,
)

CHUNK = 500
"""The most events that one transaction looks at."""
UNDER_WAY = 32
"""The most deliveries of a replay that wait for their first attempt, and the events that a step loads at
once.
"""
MOST_PENDING = 1000
"""The most deliveries of a replay that are pending, with those that wait for a later attempt."""
SKEW = timedelta(minutes=1)
"""The time by which the clocks of two replicas may differ, so that later events have earlier times."""
KEPT = 1_000
"""The most replays that are listed; older ones that ended are forgotten."""
EVENT = named("event", "e.", numbered=True)
WITH_REPLAY = "the replay was canceled"
"""The reason of a delivery that was canceled with its replay."""


class Which(enum.StrEnum):
    """The events that a replay chooses.

    `FAILED`: their deliveries ended without success, and not by a person's choice. `MISSING`: they have none.
    `ALL`: every one. A delivery that was canceled with its replay counts as never made.
    """

    FAILED = "failed"
    MISSING = "missing"
    ALL = "all"


class ReplayState(enum.StrEnum):
    """The state of a replay."""

    RUNNING = "running"
    DONE = "done"
    CANCELED = "canceled"


@immutable(kw_only=True)
class Replay:
    """A replay. `total` counts its events when it began, `made` those with a new delivery so far.

    `place` and `last` are event numbers: how far it has looked, and its end.
    """

    id: str
    endpoint_id: str
    which: Which
    since: datetime | None
    until: datetime | None
    events: tuple[str, ...] | None
    place: int
    last: int
    total: int
    created_at: datetime
    made: int = 0
    state: ReplayState = ReplayState.RUNNING
    ended_at: datetime | None = None


@immutable(kw_only=True)
class ReplayProgress:
    """The deliveries of a replay by their state."""

    pending: int
    delivered: int
    failed: int
    canceled: int


@immutable
class Range:
    """The numbers of the first and last event of a time; `lost`: retention removed some, `oldest` is left."""

    place: int
    last: int
    lost: bool = False
    oldest: str | None = None


def range_of(since: datetime | None, until: datetime | None) -> Transaction[Range]:
    """Return the events from `since` to before `until`, None: from the first, to the last that there is."""
    oldest = one_or_none((yield query("select id, at from event order by seq limit 1")))
    removed = yield query("select value from meta where key = 'removed_until'")
    if since is not None and removed and (oldest is None or ms(since) < oldest["at"]):
        return Range(0, 0, lost=True, oldest=None if oldest is None else oldest["id"])
    ends = (yield query("select min(seq) as first, max(seq) as last from event"))[0]
    if ends["first"] is None:
        return Range(0, 0)
    first, last = ends["first"] - 1, ends["last"]
    if since is not None:
        first = yield from _before(since - SKEW, first, last)
    if until is not None:
        last = yield from _before(until + SKEW, first, last)
    return Range(first, last)


def _before(at: datetime, low: int, high: int) -> Transaction[int]:
    """Return the number before the first event at or after a moment, between two numbers."""
    # By halves: there is no index by time, because numbers grow with it.
    while low < high:
        middle = (low + high) // 2
        row = one_or_none(
            (yield query("select seq, at from event where seq > :place order by seq limit 1", place=middle))
        )
        if row is None or row["at"] >= ms(at):
            high = middle
        else:
            low = max(row["seq"], middle + 1)
    return low


def chosen(
    replay: Replay, endpoint: Endpoint, place: int, chunk: int = CHUNK
) -> Transaction[tuple[Sequence[Event], int]]:
    """Return the events of a replay among the next `chunk` after a place, and the place that it reaches."""
    found = yield query(
        f"select {EVENT} from event e where e.seq > :place and e.seq <= :last order by e.seq limit :chunk",
        place=place,
        last=replay.last,
        chunk=chunk,
    )
    ids = [row["id"] for row in found]
    known = yield query(
        "select event, state, reason from delivery where event in (:ids) and target = :target",
        ids=ids,
        target=endpoint.id,
    )
    states: dict[str, set[str]] = {}
    for row in known:
        if row["reason"] != WITH_REPLAY:
            ended = "dropped" if row["reason"] == BY_HAND else row["state"]
            states.setdefault(row["event"], set()).add(ended)
    reached = found[-1]["seq"] if len(found) == chunk else replay.last
    events = [read_event(row) for row in found if _in_time(row, replay)]
    return [one for one in events if _chooses(replay, endpoint, one, states.get(one.id, set()))], reached


def _in_time(row: Row, replay: Replay) -> bool:
    # Numbers grow with commits and times with clocks, so at the ends of the range they may differ.
    after = replay.since is None or row["at"] >= ms(replay.since)
    return after and (replay.until is None or row["at"] < ms(replay.until))


def _chooses(replay: Replay, endpoint: Endpoint, event: Event, states: set[str]) -> bool:
    if event.type == "endpoint.test" or (replay.events is not None and not wants(replay.events, event.type)):
        return False
    if replay.which is Which.FAILED:
        return states.isdisjoint({"delivered", "pending"}) and not states.isdisjoint(SELDOM)
    if replay.which is Which.MISSING and states:
        return False
    return any(subscribers([endpoint], event))


def add(replay: Replay) -> Transaction[bool]:
    """Store a new replay. Returns False where its endpoint has one that is running."""
    found = yield query(
        "select id from replay where state = 'running' and endpoint = :endpoint", endpoint=replay.endpoint_id
    )
    if found:
        return False
    yield insert("replay", [_row(replay)])
    yield query(
        "delete from replay where state <> 'running' and id not in "
        "(select id from replay order by id desc limit :kept)",
        kept=KEPT,
    )
    return True


def running() -> Transaction[list[Replay]]:
    """Return the replays that are running, oldest first."""
    found = yield query(f"select {named('replay')} from replay where state = 'running' order by id")
    return [_read(row) for row in found]


def step(replay_id: str, endpoint: Endpoint | None, ids: IdGenerator, now: datetime) -> Transaction[int]:
    """Make the next deliveries of a replay, so that at most `UNDER_WAY` were not attempted yet.

    At most `MOST_PENDING` are pending in all. Returns the number that was made.

    A replay whose last delivery ended is done; that of a removed endpoint is canceled. `endpoint` is None
    also where this replica does not know a young one yet: then the replay waits.
    """
    locked = yield skip_locked(
        f"select {named('replay')} from replay where id = :id and state = 'running'", id=replay_id
    )
    if not locked:
        return 0
    replay = _read(locked[0])
    if endpoint is None:
        if (yield from endpoints.get(replay.endpoint_id)) is None:
            yield from _end(replay, ReplayState.CANCELED, now)
        return 0
    pending, fresh = yield from _pending(replay.id)
    if replay.place >= replay.last:
        if not pending:
            yield from _end(replay, ReplayState.DONE, now)
        return 0
    # Those that wait for a later attempt hold up no others.
    free = min(UNDER_WAY - fresh, MOST_PENDING - pending)
    if free <= 0:
        return 0
    events, reached = yield from _next(replay, endpoint, free)
    yield from _deliver(replay, events, ids, now)
    yield query(
        "update replay set place = :place, made = made + :made where id = :id",
        place=reached,
        made=len(events),
        id=replay.id,
    )
    return len(events)


def _next(replay: Replay, endpoint: Endpoint, free: int) -> Transaction[tuple[Sequence[Event], int]]:
    """Return the next events of a replay, at most `free`, and the place that it reaches."""
    events: list[Event] = []
    place = replay.place
    # In small pieces: mostly the first one has enough, and all other writers wait for this transaction.
    for _ in range(0, CHUNK, UNDER_WAY):
        found, place = yield from chosen(replay, endpoint, place, UNDER_WAY)
        events += found
        if len(events) >= free or place >= replay.last:
            break
    if len(events) <= free:
        return events, place
    [row] = yield query("select seq from event where id = :id", id=events[free - 1].id)
    return events[:free], row["seq"]


def _pending(replay_id: str) -> Transaction[tuple[int, int]]:
    """Return the number of pending deliveries, and of those among them that had no attempt yet.

    The others, of which there may be many, are not counted.
    """
    # The second condition selects the partial index.
    found = yield query(
        "select count(*) as many, count(case when tries = 0 then 1 end) as fresh from delivery "
        "where origin = :origin and origin like 'rpl%' and state = 'pending'",
        origin=replay_id,
    )
    return int(found[0]["many"]), int(found[0]["fresh"])


def _deliver(replay: Replay, events: Sequence[Event], ids: IdGenerator, now: datetime) -> Transaction[None]:
    made = [(ids.new("dlv", now), event) for event in events]
    target, lane = replay.endpoint_id, replay.endpoint_id + REPLAY_LANE
    yield insert(
        "delivery",
        [
            delivery_row(id=name, event=one.id, target=target, job=one.job_id, at=now, origin=replay.id)
            for name, one in made
        ],
    )
    yield insert("due", [due_row(id=name, work=Work.DELIVER, lane=lane, at=now) for name, _ in made])


def cancel(replay_id: str, now: datetime) -> Transaction[bool]:
    """Cancel a running replay with its pending deliveries. Returns False where it is not running."""
    found = yield query(
        "update replay set state = 'canceled', ended_at = :now where id = :id and state = 'running' "
        "returning id",
        now=ms(now),
        id=replay_id,
    )
    if not found:
        return False
    # At most `UNDER_WAY` of them.
    pending = yield query(
        "select id from delivery where origin = :origin and origin like 'rpl%' and state = 'pending'",
        origin=replay_id,
    )
    yield from deliveries.cancel([row["id"] for row in pending], WITH_REPLAY, now)
    return True


def _end(replay: Replay, state: ReplayState, now: datetime) -> Transaction[None]:
    yield query(
        "update replay set state = :state, ended_at = :now where id = :id",
        state=state.value,
        now=ms(now),
        id=replay.id,
    )


def get(replay_id: str) -> Transaction[tuple[Replay, ReplayProgress] | None]:
    """Return a replay and its progress, None where there is none."""
    row = one_or_none((yield query(f"select {named('replay')} from replay where id = :id", id=replay_id)))
    return None if row is None else (_read(row), (yield from progress(replay_id)))


def page(
    before: str, limit: int, endpoint: str | None = None
) -> Transaction[list[tuple[Replay, ReplayProgress]]]:
    """Return at most `limit` replays before an id, of all endpoints or of one, newest first.

    Each comes with its progress.
    """
    found = yield query(
        f"select {named('replay')} from replay where id < :before "
        f"{'' if endpoint is None else 'and endpoint = :endpoint '}order by id desc limit :limit",
        before=before,
        limit=limit,
        **({} if endpoint is None else {"endpoint": endpoint}),
    )
    counted = yield from _counted([row["id"] for row in found])
    return [(_read(row), counted[row["id"]]) for row in found]


def progress(replay_id: str) -> Transaction[ReplayProgress]:
    """Return the deliveries of a replay by their state."""
    return (yield from _counted([replay_id]))[replay_id]


def _counted(ids: Sequence[str]) -> Transaction[dict[str, ReplayProgress]]:
    # The second condition selects the partial index.
    found = yield query(
        "select origin, state, count(*) as many from delivery where origin in (:origins) "
        "and origin like 'rpl%' group by origin, state",
        origins=list(ids),
    )
    many: Mapping[tuple[str, str], int] = {(row["origin"], row["state"]): row["many"] for row in found}
    return {
        name: ReplayProgress(
            pending=many.get((name, "pending"), 0),
            delivered=many.get((name, "delivered"), 0),
            failed=many.get((name, "exhausted"), 0),
            canceled=many.get((name, "canceled"), 0),
        )
        for name in ids
    }


def _row(replay: Replay) -> tuple[Any, ...]:
    values = {
        "id": replay.id,
        "endpoint": replay.endpoint_id,
        "state": replay.state.value,
        "which": replay.which.value,
        "since": to_ms(replay.since),
        "until": to_ms(replay.until),
        "events": None if replay.events is None else json.write(list(replay.events)).decode(),
        "place": replay.place,
        "last": replay.last,
        "total": replay.total,
        "made": replay.made,
        "created_at": ms(replay.created_at),
        "ended_at": to_ms(replay.ended_at),
    }
    return tuple(values[column] for column in TABLES["replay"])


def _read(row: Row) -> Replay:
    return Replay(
        id=row["id"],
        endpoint_id=row["endpoint"],
        state=ReplayState(row["state"]),
        which=Which(row["which"]),
        since=from_ms(row["since"]),
        until=from_ms(row["until"]),
        events=None if row["events"] is None else tuple(from_json(row["events"])),
        place=row["place"],
        last=row["last"],
        total=row["total"],
        made=row["made"],
        created_at=moment(row["created_at"]),
        ended_at=from_ms(row["ended_at"]),
    )
