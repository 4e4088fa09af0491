"""Jobs: added, claimed, listed, and their asset links revoked."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from handlers.values import immutable
from receiver.bodies.parts import Parts
from receiver.domain.model import FINAL, Claim, Job, ScheduledWork, State, Work
from receiver.store import inputs, rollups
from receiver.store.due import PASSED_BY, release
from receiver.store.rows import JOB_SEEN, due_row, job_row, read_job
from receiver.store.samples import of_new_job
from receiver.store.statements import (
    Transaction,
    for_update,
    insert,
    ms,
    one_or_none,
    query,
    skip_locked,
)

UNANSWERED = frozenset({State.PENDING.value, State.SUBMITTING.value})
"""The states of a job before the answer to its submission."""
SELDOM = FINAL - {State.SUCCEEDED}
"""The states that have an index: final ones in which few jobs end."""


@immutable(kw_only=True)
class NewJob:
    """A job to add, counted under `operation_label`.

    `owner`, `key` and `digest` are those of its Idempotency-Key, if it has one.
    """

    job: Job
    whole_input: Parts = field(repr=False)
    shown_input: bytes = field(repr=False)
    due: ScheduledWork
    operation_label: str = ""
    notes: tuple[tuple[Any, ...], ...] = ()
    owner: str = ""
    key: str | None = None
    digest: bytes = b""


@immutable
class Added:
    """The result of adding a job: not `created` where its key was known, None where the body was another."""

    job: Job | None
    created: bool


@immutable
class ClaimedSubmission:
    """A job claimed for a submission. With `crashed`, an earlier submission began and was not settled.

    A large input is not read here (`input` is None): `inputs.read` does that.
    """

    claim: Claim
    job: Job
    input: bytes | None = field(repr=False)
    crashed: bool


@immutable
class ClaimedPoll:
    """A job claimed for a poll; `hinted` where an unproved callback caused it."""

    claim: Claim
    job: Job
    hinted: bool = False


@immutable(kw_only=True)
class JobFilter:
    """The filter of a list of jobs."""

    state: tuple[str, ...] = ()
    account: str | None = None
    provider_job_id: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: str | None = None
    limit: int = 50


def add(items: Sequence[NewJob]) -> Transaction[list[Added]]:
    """Add jobs; one key never adds two. Returns a result for each."""
    results: list[Added] = []
    fresh: list[NewJob] = []
    keyed: dict[tuple[str, str], NewJob] = {}
    for item in items:
        if item.key is not None:
            known = yield from _by_key(item, keyed)
            if known is not None:
                results.append(known)
                continue
            # The same key may come twice in one batch, before any row has it.
            keyed[item.owner, item.key] = item
        fresh.append(item)
        results.append(Added(item.job, created=True))
    yield insert("job", [job_row(one.job, inputs.in_row(one.whole_input), one.shown_input) for one in fresh])
    labels = [(label(k, v), item.job.id) for item in fresh for k, v in item.job.metadata.items()]
    yield insert("job_label", labels)
    yield insert("due", [_due_row(item) for item in fresh])
    yield insert("evidence", [note for item in fresh for note in item.notes])
    yield insert("idempotency", [(i.owner, i.key, i.job.id, i.digest) for i in fresh if i.key is not None])
    if fresh:
        samples = [of_new_job(one.job.account, one.operation_label) for one in fresh]
        yield rollups.changes(samples, max(one.job.created_at for one in fresh))
    for item in fresh:
        yield from inputs.write(item.job.id, item.whole_input)
    return results


def _by_key(item: NewJob, keyed: dict[tuple[str, str], NewJob]) -> Transaction[Added | None]:
    earlier = keyed.get((item.owner, item.key or ""))
    if earlier is not None:
        return Added(earlier.job if earlier.digest == item.digest else None, created=False)
    return (yield from by_key(item.owner, item.key or "", item.digest))


def by_key(owner: str, key: str, digest: bytes) -> Transaction[Added | None]:
    """Return the job that a key added, without it where its body was another; None for an unknown key."""
    found = yield query(
        "select job, digest from idempotency where owner = :owner and key = :key", owner=owner, key=key
    )
    row = one_or_none(found)
    if row is None:
        return None
    if bytes(row["digest"]) != digest:
        return Added(None, created=False)
    return Added((yield from get(row["job"])), created=False)


def _due_row(item: NewJob) -> tuple[Any, ...]:
    due = item.due
    return due_row(id=item.job.id, work=due.work, lane=due.lane, at=due.at, tries=due.tries)


def label(key: str, value: str) -> bytes:
    """Return the value by which a pair of metadata is found: of one length, however long the pair is."""
    # With the length, since `a` and `bc` must differ from `ab` and `c`.
    return hashlib.sha256(f"{len(key)}:{key}{value}".encode()).digest()[:16]


def get(job_id: str) -> Transaction[Job | None]:
    """Return a job, None where it does not exist."""
    row = one_or_none((yield query(f"select {JOB_SEEN} from job where id = :id", id=job_id)))
    return None if row is None else read_job(row)


def get_with_input(job_id: str) -> Transaction[tuple[Job, bytes] | None]:
    """Return a job and its input as it is shown; None where it does not exist."""
    found = yield query(f"select {JOB_SEEN}, input_shown from job where id = :id", id=job_id)
    row = one_or_none(found)
    return None if row is None else (read_job(row), row["input_shown"])


def revoke_assets(job_id: str, now: datetime, note: tuple[Any, ...]) -> Transaction[Job | None]:
    """Revoke the asset links of a job, with a `note` in its timeline. Returns the job, None for no such job.

    Where they were revoked before, nothing changes.
    """
    row = one_or_none((yield for_update(f"select {JOB_SEEN} from job where id = :id", id=job_id)))
    if row is None:
        return None
    job = read_job(row)
    if job.assets_revoked_at is not None:
        return job
    changed = "update job set assets_revoked_at = :now, updated_at = :now where id = :id"
    yield query(changed, now=ms(now), id=job_id)
    yield insert("evidence", [note])
    return job.but(assets_revoked_at=now, updated_at=now)


def claim_for_submission(claims: Sequence[Claim], now: datetime) -> Transaction[list[ClaimedSubmission]]:
    """Commit the intent to submit, before a byte goes out. Returns the jobs to submit.

    A job past its deadline is left to expire.
    """
    ids = [claim.id for claim in claims]
    # Skipped are jobs that a recording transaction has locked: it may wait for the due work held here.
    found = yield skip_locked(f"select {JOB_SEEN}, input from job where id in (:ids)", ids=ids)
    there = {row["id"] for row in found}
    if passed_by := [job_id for job_id in ids if job_id not in there]:
        yield query(
            "update due set at = :soon, leased = 0 where id in (:ids)",
            soon=ms(now) + PASSED_BY,
            ids=passed_by,
        )
    by_id = {row["id"]: row for row in found if row["deadline_at"] > ms(now)}
    pending = [job_id for job_id, row in by_id.items() if row["state"] == State.PENDING.value]
    yield query(
        "update job set state = 'submitting', updated_at = :now, intents = intents + 1 where id in (:ids)",
        now=ms(now),
        ids=pending,
    )
    accepted = {job_id: row for job_id, row in by_id.items() if row["state"] not in UNANSWERED}
    yield from _poll_instead(accepted, now)
    return [
        _chosen(claim, row, crashed=claim.id not in pending)
        for claim in claims
        if (row := by_id.get(claim.id)) is not None and claim.id not in accepted
    ]


def _chosen(claim: Claim, row: Any, *, crashed: bool) -> ClaimedSubmission:
    job = read_job(row)
    job = job if crashed else job.but(intents=job.intents + 1)
    given = row["input"] or b"{}"
    return ClaimedSubmission(claim, job, None if given == inputs.IN_PIECES else given, crashed)


def _poll_instead(accepted: Mapping[str, Any], now: datetime) -> Transaction[None]:
    """Replace the submission of a job that the provider has accepted by a poll, if its id is known."""
    known = [job_id for job_id, row in accepted.items() if row["provider_job_id"] and not row["completed_at"]]
    yield query(
        "update due set work = 'poll', at = :now, leased = 0, owner = '', tries = 0, fence = fence + 1 "
        "where id in (:ids)",
        now=ms(now),
        ids=known,
    )
    yield query("delete from due where id in (:ids)", ids=[one for one in accepted if one not in known])


def release_submission(chosen: Sequence[ClaimedSubmission], now: datetime) -> Transaction[None]:
    """Take the intent back before a byte went out.

    A job that was being submitted before stays as uncertain as it was.
    """
    ours = yield from release([one.claim for one in chosen], now)
    yield query(
        "update job set state = 'pending', intents = intents - 1 where id in (:ids) and state = 'submitting'",
        ids=[one.job.id for one in chosen if one.job.id in ours and not one.crashed],
    )


def claim_for_poll(claims: Sequence[Claim]) -> Transaction[list[ClaimedPoll]]:
    """Return the jobs to poll. A callback that comes from now on causes a further poll."""
    ids = [claim.id for claim in claims]
    found = yield query(f"select {JOB_SEEN} from job where id in (:ids)", ids=ids)
    by_id = {row["id"]: read_job(row) for row in found}
    if hinted := [job_id for job_id, job in by_id.items() if job.poll_wanted]:
        # Skips jobs that other transactions have locked: they may wait for the due work held here.
        ours = yield skip_locked("select id from job where id in (:ids)", ids=hinted)
        yield query("update job set poll_wanted = 0 where id in (:ids)", ids=[row["id"] for row in ours])
    return [ClaimedPoll(claim, by_id[claim.id], claim.id in hinted) for claim in claims if claim.id in by_id]


def search(wanted: JobFilter) -> Transaction[list[Job]]:
    """Return jobs, newest first."""
    conditions = ["1 = 1"]
    parameters: dict[str, Any] = {"limit": wanted.limit}
    for name, value in (
        ("account", wanted.account),
        ("provider_job_id", wanted.provider_job_id),
    ):
        if value is not None:
            conditions.append(f"{name} = :{name}")
            parameters[name] = value
    if wanted.state:
        conditions.append(_in_states(wanted.state))
        parameters["states"] = list(wanted.state)
    for index, (key, value) in enumerate(wanted.labels):
        conditions.append(f"id in (select job from job_label where label = :label{index})")
        parameters[f"label{index}"] = label(key, value)
    for name, sign, bound in (
        ("after", ">", wanted.created_after),
        ("until", "<", wanted.created_before),
    ):
        if bound is not None:
            conditions.append(f"created_at {sign} :{name}")
            parameters[name] = ms(bound)
    if wanted.before is not None:
        conditions.append("id < :before")
        parameters["before"] = wanted.before
    where = " and ".join(conditions)
    found = yield query(
        f"select {JOB_SEEN} from job where {where} order by id desc limit :limit",
        **parameters,
    )
    return [read_job(row) for row in found]


def _in_states(states: Sequence[str]) -> str:
    """Return the SQL condition for these states, worded for the index that serves them, if one does."""
    requested = set(states)
    if requested <= SELDOM:
        return "state in (:states) and state in ('failed', 'canceled', 'expired')"
    if requested.isdisjoint(FINAL):
        return "state in (:states) and id in (select id from job where completed_at is null)"
    return "state in (:states)"


def running(account: str) -> Transaction[int]:
    """Return the number of jobs of an account that run at its provider, or may."""
    found = yield query(
        "select count(*) as busy from job where account = :account and completed_at is null "
        "and state in ('submitting', 'unconfirmed', 'queued', 'running')",
        account=account,
    )
    return int(found[0]["busy"])


def undecided(policy_at: datetime, paid: int, limit: int) -> Transaction[int]:
    """Make the policy for lost answers due for unconfirmed jobs that have nothing due. Returns their number.

    They became unconfirmed while the policy was `hold`.
    """
    found = yield query(
        "select id, account from job where completed_at is null and state = 'unconfirmed' "
        "and intents < :paid and not exists (select 1 from due where due.id = job.id) limit :limit",
        paid=paid,
        limit=limit,
    )
    rows = [
        due_row(id=row["id"], work=Work.POLL, lane=row["account"], at=policy_at, fence=ms(policy_at))
        for row in found
    ]
    yield insert("due", rows)
    return len(found)


def overdue(now: datetime, long_ago: datetime, limit: int) -> Transaction[list[str]]:
    """Return open jobs past their deadline that no poll will end: never sent, never answered, or stuck."""
    found = yield query(
        "select id from job where completed_at is null and deadline_at <= :now and (deadline_at <= :long_ago "
        "or not exists (select 1 from due where due.id = job.id and due.work = 'poll' "
        "and due.lane not like '%~')) limit :limit",
        now=ms(now),
        long_ago=ms(long_ago),
        limit=limit,
    )
    return [row["id"] for row in found]


def done_before(moment_: datetime, limit: int) -> Transaction[list[str]]:
    """Return final jobs that ended before a moment."""
    found = yield query(
        "select id from job where completed_at is not null and completed_at < :before "
        "order by completed_at limit :limit",
        before=ms(moment_),
        limit=limit,
    )
    return [row["id"] for row in found]


def open_by_account() -> Transaction[dict[str, int]]:
    """Return the number of open jobs by account."""
    found = yield query(
        "select account, count(*) as open from job where completed_at is null group by account"
    )
    return {row["account"]: int(row["open"]) for row in found}


def durations(since: datetime) -> Transaction[dict[str, list[float]]]:
    """Return the seconds from creation to success of the jobs that ended since a moment, by account.

    Only the newest 1,000 of each account are read, among the newest 10,000 of all.
    """
    found = yield query(
        "select account, took from (select account, took, row_number() over (partition by account "
        "order by completed_at desc) as place from (select account, completed_at, completed_at - created_at "
        "as took from job where completed_at >= :since and state = 'succeeded' order by completed_at desc "
        "limit 10000) as newest) as placed where place <= 1000",
        since=ms(since),
    )
    took: dict[str, list[float]] = {}
    for row in found:
        took.setdefault(row["account"], []).append(row["took"] / 1000)
    return took
