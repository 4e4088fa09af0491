"""Erasure of jobs with all their rows, a bounded number of rows and bytes in one transaction."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from receiver.store.events import note_issued, note_removed, note_removed_events, remember_places
from receiver.store.statements import Rows, Transaction, for_update, ms, query

ROWS = 1_000
BYTES = 4 << 20
"""Approximate maximum of rows and bytes that one transaction removes: other writers wait for it."""
OWED_AT_ONCE = ROWS // 10
"""Maximum number of deliveries that one transaction removes: each may have many attempts."""

WEIGHT = """
select j.id, (select count(*) from (select 1 from evidence e where e.job = j.id limit :most) c) as words,
    (select coalesce(sum(size), 0) from (
        select coalesce(length(body), 0) + 100 as size from evidence e where e.job = j.id limit :most
    ) s) as bytes,
    (select count(*) from (
        select 1 from event e left join delivery d on d.event = e.id where e.job = j.id limit :most
    ) c) as owed
from job j where j.id in (:ids) order by j.completed_at, j.id
"""


def groups(ids: Sequence[str]) -> Transaction[list[tuple[list[str], bool]]]:
    """Return jobs in groups that one transaction can remove; True marks one job that is too heavy."""
    # Counts stop one above the bound: that is enough to know that a job is too heavy.
    found = yield query(WEIGHT, ids=list(ids), most=ROWS + 1)
    return list(_grouped(found))


def _grouped(found: Rows) -> Iterator[tuple[list[str], bool]]:
    group: list[str] = []
    total = 0.0
    for row in found:
        # A delivery weighs ten rows, as `OWED_AT_ONCE` does: it may have many attempts.
        weight = max((row["words"] + 10 * row["owed"]) / ROWS, row["bytes"] / BYTES)
        if weight > 1:
            yield [row["id"]], True
            continue
        if group and total + weight > 1:
            yield group, False
            group, total = [], 0.0
        group.append(row["id"])
        total += weight
    if group:
        yield group, False


def lighten(job_id: str, erased_at: datetime | None) -> Transaction[tuple[bool, Mapping[str, int]]]:
    """Remove some rows of a heavy job. Returns whether more may be left, and pending deliveries by target.

    With `erased_at` the feed positions of its events are kept: retention did not remove them.
    """
    yield for_update("select id from job where id = :id", id=job_id)
    if (yield from _some_evidence(job_id)):
        return True, {}
    found = yield query(
        "select d.id from event e join delivery d on d.event = e.id where e.job = :job limit :most",
        job=job_id,
        most=OWED_AT_ONCE,
    )
    if found:
        return True, (yield from erase_deliveries([row["id"] for row in found]))
    return (yield from _some_events(job_id, erased_at)), {}


def _some_evidence(job_id: str) -> Transaction[bool]:
    found = yield query(
        "select id, coalesce(length(body), 0) as size from evidence where job = :job order by id limit :most",
        job=job_id,
        most=ROWS,
    )
    ids = _within(found)
    if ids:
        yield query("delete from evidence where job = :job and id in (:ids)", job=job_id, ids=ids)
    return bool(ids)


def _some_events(job_id: str, erased_at: datetime | None) -> Transaction[bool]:
    found = yield query(
        "select id, length(body) + coalesce(length(result), 0) as size from event where job = :job "
        "order by at limit :most",
        job=job_id,
        most=ROWS,
    )
    ids = _within(found)
    # The remaining events fit into the transaction of `erase`.
    if len(found) < ROWS and len(ids) == len(found):
        return False
    yield from note_issued()
    yield from (note_removed_events(ids) if erased_at is None else remember_places(ids, erased_at))
    yield query("delete from event where id in (:ids)", ids=ids)
    return True


def _within(found: Rows) -> list[str]:
    ids: list[str] = []
    size = 0
    for row in found:
        size += row["size"]
        if ids and size > BYTES:
            break
        ids.append(row["id"])
    return ids


def erase_deliveries(ids: Sequence[str]) -> Transaction[Mapping[str, int]]:
    """Remove deliveries with their attempts. Returns the number of pending ones by target."""
    these = list(ids)
    if not these:
        return {}
    # Locked before the read, so that a delivery that is settled meanwhile does not count as pending.
    yield for_update("select id from due where id in (:ids) order by id", ids=these)
    owed = yield query(
        "select target from delivery where id in (:ids) and id in (select id from due where id in (:ids))",
        ids=these,
    )
    yield query("delete from attempt where delivery in (:ids)", ids=these)
    yield query("delete from due where id in (:ids)", ids=these)
    yield query("delete from delivery where id in (:ids)", ids=these)
    return Counter(row["target"] for row in owed)


def erase_some_of(event_id: str) -> Transaction[Mapping[str, int]]:
    """Remove at most `OWED_AT_ONCE` deliveries of an event. Returns the number of pending ones by target."""
    found = yield query(
        "select id from delivery where event = :event limit :most", event=event_id, most=OWED_AT_ONCE
    )
    return (yield from erase_deliveries([row["id"] for row in found]))


def erase(job_ids: Sequence[str], erased_at: datetime | None) -> Transaction[Mapping[str, int]]:
    """Remove jobs with all their rows. Returns the number of pending deliveries by target.

    The rows of the jobs are locked first: a report that comes meanwhile waits and then finds no job. With
    `erased_at` the feed positions of their events are kept: retention did not remove them.
    """
    ids = list(job_ids)
    if not ids:
        return {}
    yield for_update("select id from job where id in (:ids) order by id", ids=ids)
    found = yield query("select id from event where job in (:ids)", ids=ids)
    events = [row["id"] for row in found]
    yield from note_issued()
    yield from (note_removed(ids) if erased_at is None else remember_places(events, erased_at))
    found = yield query("select id from delivery where event in (:events)", events=events)
    lost = yield from erase_deliveries([row["id"] for row in found])
    for table, column in (
        ("event", "job"),
        ("evidence", "job"),
        ("input_piece", "job"),
        ("job_label", "job"),
        ("idempotency", "job"),
        ("due", "id"),
        ("job", "id"),
    ):
        yield query(f"delete from {table} where {column} in (:ids)", ids=ids)
    return lost


ORPHANS = """
with recursive kept(job, place) as (
    select min(job), 1 from evidence where job > :after
    union all
    select (select min(e.job) from evidence e where e.job > kept.job), place + 1 from kept
    where kept.job is not null and place < :limit
)
select kept.job, j.id from kept left join job j on j.id = kept.job where kept.job is not null
order by kept.job
"""
"""A loose index scan over the job ids in `evidence`, each with null where its job no longer exists."""


def prune_orphans(before: datetime, after: str, limit: int) -> Transaction[str]:
    """Remove old evidence of jobs that no longer exist (callbacks that came after their removal), among the
    `limit` jobs after the id `after`. Returns the id to continue from, "" at the end.
    """
    found = yield query(ORPHANS, after=after, limit=limit)
    for row in found:
        if row["id"] is None and (yield from _some_old(row["job"], before)):
            # More of this job's evidence is left: the next call begins with the same job.
            return after
        after = str(row["job"])
    return after if len(found) == limit else ""


def _some_old(job_id: str, before: datetime) -> Transaction[bool]:
    found = yield query(
        "select id, coalesce(length(body), 0) as size from evidence where job = :job and at < :before "
        "order by id limit :most",
        job=job_id,
        before=ms(before),
        most=ROWS,
    )
    ids = _within(found)
    yield query("delete from evidence where job = :job and id in (:ids)", job=job_id, ids=ids)
    return len(found) == ROWS or len(ids) < len(found)
