"""Due work: claimed under a lease, lane by lane, so that one lane never holds up another."""

import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.domain.model import Claim, Work
from receiver.store.statements import Row, Rows, Step, Transaction, moment, ms, query, skip_locked

PASSED_BY = 50
"""Milliseconds after which a claim looks again at rows that it skipped because other transactions had locked
them. Waiting could deadlock: the claim has locked due work, for which those transactions may be waiting.
"""
WAITING = "~"
"""The suffix of a lane of retries that are not due yet. They are indexed by their moments, not by lane, so
that a claim reads none of them before it is due.
"""
READY = "now"
"""The addition to that suffix once the moment has come."""
RETRY_LANE = WAITING + READY
"""The suffix of a lane of retries that are due: they share the lane's slots and may fill half of them."""
HAND_LANES = (WAITING + "hand", WAITING + "again")
"""The suffixes of lanes of retries by hand, which wait for no hold. There are two, so that a retry that is
requested while the delivery is being sent is distinguished from the one that is sent.
"""
REPLAY_LANE = WAITING + "replay"
"""The suffix of a lane of replayed deliveries: like retries they may fill half of the slots."""
PROMOTED = 200
"""The maximum of waiting deliveries of each kind that one claim moves to their lanes."""
RELEASED = 500
"""The maximum of waiting deliveries that one transaction makes due when their endpoint is resumed."""
WAITS = {
    "endpoint": "work = 'deliver' and lane like '%~' and lane not like '%://%'",
    "origin": "work = 'deliver' and lane like '%://%~'",
}
"""The conditions of deliveries that wait for their moment; those to callback origins wait for a place among
the unproven origins, too. They are worded like the partial indexes, which serve only such queries.
"""
NEXT = "select " + ", ".join(
    f"(select min(at) from due where {which}) as {kind}" for kind, which in WAITS.items()
)
"""The query for the earliest moment of each kind of waiting delivery."""
FILLED = 1000
"""Milliseconds until the next look after a claim that may have used up the places of unproven origins; the
end of a call wakes the worker sooner.
"""
Prepare = Callable[[Sequence[Claim]], Transaction[Sequence[Any]]]


@immutable(kw_only=True)
class ClaimRequest:
    """A worker's request for due work of one kind, for every lane that has room.

    `owner` is the replica that claims, `busy` holds the ids of its work under way. `fresh_first` claims fresh
    work before retries and replays: with one slot or one token, only the first of them gets any. `room` is
    called once for each lane in which something is due, and `found` then with the number of claims, so that
    lanes may share room. `prepare` runs inside the same transaction and turns claims into the items that
    performers need.
    `running_limits` is how many jobs of a lane may run at the provider at once, `places` how many deliveries
    to unproven origins may start; `behind` is called with whether some are left.
    """

    work: Work
    owner: str
    now: datetime
    lease_until: datetime
    until: float
    room: Callable[[str], int]
    prepare: Prepare
    found: Callable[[str, int], object] = lambda _lane, _count: None
    busy: Container[str] = frozenset()
    fresh_first: bool = False
    running_limits: Mapping[str, int] = field(default_factory=dict)
    places: Callable[[], int] = lambda: sys.maxsize
    behind: Callable[[bool], object] = lambda _left: None


@immutable
class Claimed:
    """The claimed and prepared work, and the moment when the next work of this kind is due."""

    prepared: Sequence[Any]
    next_at: datetime | None


def first_fence(now: datetime) -> int:
    """Return the first fence of a new row: above those of any earlier row with the same id."""
    return ms(now)


def claim(request: ClaimRequest) -> Transaction[Claimed]:
    """Claim the due work of every lane that has room, oldest first.

    A lease of another replica is not taken, even if it has ended by the clock: its holder is alive, or
    `void_leases` ends the lease. A lease of this replica that ended while its work is still under way, after
    a pause of the process or a step of the clock, is renewed.
    """
    # First: retries that have become due are claimed, too. Why: receiver/README.md#retries-wait-apart
    next_waiting = yield from _promoted(request)
    lanes = yield query(LANES, work=request.work.value, now=ms(request.now))
    rows: list[Row] = []
    # One by one: a lane with much due work cannot fill the claim, and lanes may share room with those before.
    # In reverse, because `~` sorts behind ids and URLs: retries (`lane~now`) come before their lane. They
    # leave half of the shared room, which the lane may then fill; every other claim begins with the lane.
    for lane in sorted((row["name"] for row in lanes if row["ready"]), reverse=not request.fresh_first):
        found = yield from _found(request, lane)
        request.found(lane, len(found))
        rows.extend(found)
    prepared: Sequence[Any] = ()
    ahead = [row["ahead"] for row in lanes if row["ahead"] is not None] + next_waiting
    if rows:
        yield query(
            "update due set at = :until, leased = 1, owner = :owner, fence = fence + 1 where id in (:ids)",
            owner=request.owner,
            until=ms(request.lease_until),
            ids=[row["id"] for row in rows],
        )
        prepared = yield from request.prepare([_claim_of(row, request) for row in rows])
        ahead.append(ms(request.lease_until))
    # `prepare` skipped jobs that other transactions had locked: those rows are due again soon.
    if len(prepared) < len(rows):
        ahead.append(ms(request.now) + PASSED_BY)
    return Claimed(prepared, moment(min(ahead)) if ahead else None)


def _claim_of(row: Row, request: ClaimRequest) -> Claim:
    return Claim(
        id=row["id"],
        work=request.work,
        lane=row["lane"],
        fence=row["fence"] + 1,
        tries=row["tries"],
        until=request.until,
        owner=request.owner,
    )


def _promoted(request: ClaimRequest) -> Transaction[list[int]]:
    """Move due deliveries to the lanes in which they are claimed. Returns when the next ones are due."""
    if request.work is not Work.DELIVER:
        return []
    now, places = ms(request.now), request.places()
    most = {"endpoint": PROMOTED, "origin": min(places, PROMOTED)}
    waiting = (yield query(NEXT))[0]
    moved = dict.fromkeys(WAITS, 0)
    due = [kind for kind in WAITS if _overdue(waiting[kind], now) and most[kind]]
    for kind in due:
        moved[kind] = yield from _promote(WAITS[kind], now, most[kind])
    if due:
        waiting = (yield query(NEXT))[0]
    request.behind(_overdue(waiting["origin"], now))
    # For overdue ones that are left: at once where some were moved, later where others have locked all.
    again = {kind: now + (0 if count else PASSED_BY) for kind, count in moved.items()}
    if moved["origin"] == places:
        again["origin"] = now + FILLED
    return [again[kind] if waiting[kind] <= now else waiting[kind] for kind in WAITS if waiting[kind]]


def _overdue(at: int | None, now: int) -> bool:
    return at is not None and at <= now


def _promote(which: str, now: int, most: int) -> Transaction[int]:
    """Move at most `most` due deliveries of one kind. Returns the number that was moved."""
    # Rows that a retry by hand or a cancellation has locked are left to the next claim.
    found = yield skip_locked(
        f"select id from due where {which} and at <= :now order by at limit :most", now=now, most=most
    )
    yield query(
        "update due set lane = lane || :ready where id in (:ids)",
        ready=READY,
        ids=[row["id"] for row in found],
    )
    return len(found)


def hasten(endpoint_id: str, now: datetime) -> Transaction[int]:
    """Make deliveries due that wait for a later attempt, at most `RELEASED`. Returns their number."""
    found = yield skip_locked(
        "select id from due where lane = :lane and lane like '%~' and at > :now order by id limit :most",
        lane=endpoint_id + WAITING,
        now=ms(now),
        most=RELEASED,
    )
    yield query("update due set at = :now where id in (:ids)", now=ms(now), ids=[row["id"] for row in found])
    return len(found)


def _found(request: ClaimRequest, lane: str) -> Transaction[Rows]:
    room = request.room(lane)
    if room > 0 and lane in request.running_limits:
        # Under the order lock, so that two replicas do not both count the same room at the provider.
        yield Step.IN_ORDER
        room = min(room, (yield from _free_at_provider(request, lane)))
    if room <= 0:
        return ()
    # `lane not like '%~'` is always true here, and selects the partial index.
    found = yield skip_locked(
        "select id, lane, fence, tries, leased from due where work = :work and lane = :lane and at <= :now "
        "and lane not like '%~' and (leased = 0 or owner = :owner) order by at limit :room",
        work=request.work.value,
        lane=lane,
        now=ms(request.now),
        owner=request.owner,
        room=room,
    )
    # Work under way here, after a step of the clock: the lease is renewed, the work not
    # started twice. Why: receiver/README.md#no-clock-step-ends-anything
    busy = [row["id"] for row in found if row["leased"] and row["id"] in request.busy]
    if not busy:
        return found
    yield query("update due set at = :until where id in (:ids)", until=ms(request.lease_until), ids=busy)
    return [row for row in found if row["id"] not in busy]


LANES = """
with recursive lane(name) as (
    select min(lane) from due where work = :work and lane not like '%~'
    union all
    select (
        select min(d.lane) from due d where d.work = :work and d.lane > lane.name and d.lane not like '%~'
    ) from lane where lane.name is not null
)
select name,
    exists (
        select 1 from due d
        where d.work = :work and d.lane = lane.name and d.at <= :now and d.lane not like '%~'
    ) as ready,
    (
        select min(d.at) from due d
        where d.work = :work and d.lane = lane.name and d.at > :now and d.lane not like '%~'
    ) as ahead
from lane where name is not null
"""
"""The query for the lanes in which something is due or leased: whether something of each is due, and when the
next is. It is a loose index scan, whose cost is the number of these lanes, not of rows, nor of lanes with
waiting retries.
"""


def _free_at_provider(request: ClaimRequest, lane: str) -> Transaction[int]:
    """Return how many more jobs may run; no other transaction counts between this and the commit.

    A submission of this replica with a lease that ended is claimed again: it would wait for itself if it
    counted.
    """
    found = yield query(
        "select count(*) as busy from job where account = :account and completed_at is null "
        "and state in ('submitting', 'unconfirmed', 'queued', 'running') and not exists "
        "(select 1 from due where due.id = job.id and work = 'submit' "
        "and (leased = 0 or (owner = :owner and at <= :now)))",
        account=lane,
        owner=request.owner,
        now=ms(request.now),
    )
    return max(0, request.running_limits[lane] - int(found[0]["busy"]))


def void_leases(now: datetime) -> Transaction[int]:
    """Take back the leases of replicas that no longer exist. Returns their number."""
    found = yield query(
        "update due set at = :now, leased = 0, fence = fence + 1 where leased = 1 "
        "and owner not in (select id from replica) returning id",
        now=ms(now),
    )
    return len(found)


def release(claims: Sequence[Claim], now: datetime) -> Transaction[set[str]]:
    """Release claims untried. Returns the ids of those that were still held."""
    ours: set[str] = set()
    for claim_ in claims:
        # The owner too, because a claim that was rolled back may have the fence of another replica's.
        found = yield query(
            "update due set at = :now, leased = 0, fence = fence + 1 where id = :id and fence = :fence "
            "and owner = :owner returning id",
            now=ms(now),
            id=claim_.id,
            fence=claim_.fence,
            owner=claim_.owner,
        )
        ours.update(row["id"] for row in found)
    return ours


def postpone(claims: Sequence[Claim], until: datetime) -> Transaction[None]:
    """Release claimed deliveries untried, due at `until`."""
    for claim_ in claims:
        yield query(
            "update due set at = :until, lane = :lane, leased = 0, fence = fence + 1 "
            "where id = :id and fence = :fence",
            until=ms(until),
            lane=plain(claim_.lane) + WAITING,
            id=claim_.id,
            fence=claim_.fence,
        )


def plain(lane: str) -> str:
    """Return the name of a lane without its suffix: the lane that shares its slots."""
    return lane.partition(WAITING)[0]


def due_now(work: Work, lane: str, now: datetime) -> Transaction[None]:
    """Make all waiting due work of a lane due at once."""
    yield query(
        "update due set at = :now where work = :work and lane = :lane and leased = 0 and at > :now "
        "and lane not like '%~'",
        now=ms(now),
        work=work.value,
        lane=lane,
    )
