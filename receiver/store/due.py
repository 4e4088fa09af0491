"""Due work: claimed under a lease, per lane, so that one lane never holds up another."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.model import Claim, Work
from receiver.store.statements import Rows, Step, Transaction, moment, ms, rows, unlocked

PASSED_BY = 50
"""Milliseconds after which a job is looked at again that another transaction was at work on: whoever claims
holds what is due, and waits for nobody who holds the job and wants that."""
NOBODY = ""
"""Whose lease it is while there is none."""
WAITING = "~"
"""What a lane's name ends in for retries whose moment has not come. They lie in the order of their moments
whatever their lanes, so that a claim looks at none of them before it is due."""
READY = "now"
"""What is added to that once the moment has come."""
RETRY_LANE = WAITING + READY
"""What a lane's name ends in for retries that are due: they share its slots and may fill half of them."""
HAND_LANES = (WAITING + "hand", WAITING + "again")
"""What a lane's name ends in for what is retried by hand: it waits for no hold. There are two, so that one
that is asked for while it is being sent is told from the one that is sent."""
PROMOTED = 200
"""How many retries a claim moves to their lanes at once."""
Prepare = Callable[[Sequence[Claim]], Transaction[Sequence[Any]]]


@immutable
class Request:
    """What a worker asks for: due work of one kind, for every lane that has room.

    `owner` is the replica that claims, `busy` the ids of the work that it has under way. `room` is asked
    once for each lane in which something is due, and `found` told how much of it is taken, so that lanes may
    share it. `prepare` runs inside the same transaction and turns claims into what their performers need.
    `running_limits` says how many jobs of a lane may run at the provider at once.
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
    running_limits: Mapping[str, int] = field(default_factory=dict)


@immutable
class Taken:
    """What was claimed, and when the next work of this kind is due."""

    prepared: Sequence[Any]
    next_at: datetime | None


def first_fence(now: datetime) -> int:
    """Where the fences of a new row start: above those of any row that had the same id before."""
    return ms(now)


def claim(request: Request) -> Transaction[Taken]:
    """Take what is due in every lane that has room, oldest first; of an endpoint its retries before the rest,
    because they leave it half of the room.

    A lease of another replica is not taken, whatever the clock says: its holder is alive, or `void_leases`
    ends it. A lease of our own that ended while its work is still under way, after a pause of the process or
    a step of the clock, is renewed.
    """
    next_retry = yield from _promote(request.work, request.now)
    lanes = yield rows(LANES, work=request.work.value, now=ms(request.now))
    taken: list[tuple[str, str, int, int]] = []
    for lane in sorted((row["name"] for row in lanes if row["ready"]), reverse=True):
        found = yield from _found(request, lane)
        request.found(lane, len(found))
        taken.extend((row["id"], row["lane"], row["fence"] + 1, row["tries"]) for row in found)
    prepared: Sequence[Any] = ()
    ahead = [row["ahead"] for row in lanes if row["ahead"] is not None] + next_retry
    if taken:
        yield rows(
            "update due set at = :until, leased = 1, owner = :owner, fence = fence + 1 where id in (:ids)",
            owner=request.owner,
            until=ms(request.lease_until),
            ids=[one[0] for one in taken],
        )
        claims = [
            Claim(i, request.work, lane, fence, tries, request.until, request.owner)
            for i, lane, fence, tries in taken
        ]
        prepared = yield from request.prepare(claims)
        ahead.append(ms(request.lease_until))
    if len(prepared) < len(taken):
        ahead.append(ms(request.now) + PASSED_BY)
    return Taken(prepared, moment(min(ahead)) if ahead else None)


def _promote(work: Work, now: datetime) -> Transaction[list[int]]:
    """Move retries whose moment has come to where their lanes are claimed; when the next one comes."""
    if work is not Work.DELIVER:
        return []
    first = yield from _next_retry()
    if first is None or first > ms(now):
        return [] if first is None else [first]
    come = yield unlocked(
        "select id from due where work = 'deliver' and lane like '%~' and at <= :now order by at limit :most",
        now=ms(now),
        most=PROMOTED,
    )
    yield rows(
        "update due set lane = lane || :ready where id in (:ids)",
        ready=READY,
        ids=[row["id"] for row in come],
    )
    first = yield from _next_retry()
    soonest = ms(now) + (0 if come else PASSED_BY)
    return [] if first is None else [max(first, soonest)]


def _next_retry() -> Transaction[int | None]:
    found = yield rows("select min(at) as at from due where work = 'deliver' and lane like '%~'")
    return found[0]["at"] if found else None


def _found(request: Request, lane: str) -> Transaction[Rows]:
    room = request.room(lane)
    if room > 0 and lane in request.running_limits:
        yield Step.IN_ORDER
        room = min(room, (yield from _free_at_provider(request, lane)))
    if room <= 0:
        return ()
    found = yield unlocked(
        "select id, lane, fence, tries, leased from due where work = :work and lane = :lane and at <= :now "
        "and lane not like '%~' and (leased = 0 or owner = :owner) order by at limit :room",
        work=request.work.value,
        lane=lane,
        now=ms(request.now),
        owner=request.owner,
        room=room,
    )
    busy = [row["id"] for row in found if row["leased"] and row["id"] in request.busy]
    if not busy:
        return found
    yield rows("update due set at = :until where id in (:ids)", until=ms(request.lease_until), ids=busy)
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
"""Lanes in which something is due or leased, whether something of each is due, and when the next is: a loose
index scan, whose cost is the number of these lanes, not of rows, nor of lanes whose retries wait."""


def _free_at_provider(request: Request, lane: str) -> Transaction[int]:
    """Return how many more jobs may run; no other transaction counts between this and our commit.

    A submission of ours whose lease ended is claimed again: it would wait for itself if it counted.
    """
    found = yield rows(
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
    """Take back what replicas hold that are there no more; how much that was."""
    found = yield rows(
        "update due set at = :now, leased = 0, fence = fence + 1 where leased = 1 "
        "and owner not in (select id from replica) returning id",
        now=ms(now),
    )
    return len(found)


def release(claims: Sequence[Claim], now: datetime) -> Transaction[set[str]]:
    """Give claims back untried; the ids of those that were still ours."""
    ours: set[str] = set()
    for claim_ in claims:
        found = yield rows(
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
    """Leave what was claimed and not tried until a moment."""
    for claim_ in claims:
        yield rows(
            "update due set at = :until, lane = :lane, leased = 0, fence = fence + 1 "
            "where id = :id and fence = :fence",
            until=ms(until),
            lane=plain(claim_.lane) + WAITING,
            id=claim_.id,
            fence=claim_.fence,
        )


def plain(lane: str) -> str:
    """The lane whose slots one shares, whatever it is for."""
    return lane.partition(WAITING)[0]


def due_now(work: Work, lane: str, now: datetime) -> Transaction[None]:
    """Everything of a lane that waits is due at once."""
    yield rows(
        "update due set at = :now where work = :work and lane = :lane and leased = 0 and at > :now "
        "and lane not like '%~'",
        now=ms(now),
        work=work.value,
        lane=lane,
    )
