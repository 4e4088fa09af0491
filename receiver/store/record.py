"""Recording: reports about jobs, the jobs after them, events, deliveries and due work, in one transaction.

The fold happens inside the transaction. The reports of one job are folded in their order of arrival against
the row that this transaction has locked, so two reports can never both end the job.
Why: receiver/README.md#one-recording-transaction
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from receiver.domain.model import Claim, Event, Job, Outcome, ScheduledWork, Source, State, Work
from receiver.domain.reports import Action, FailureKind, ProviderFailure, ProviderUpdate, Report, meaning_of
from receiver.store.due_changes import DueChanges, Keep
from receiver.store.emission import emit
from receiver.store.evidence import Evidence, heard_of
from receiver.store.inputs import forget
from receiver.store.provider_ids import taken_by, unless_taken
from receiver.store.record_context import NewDelivery, RecordContext, RecordResult
from receiver.store.rows import JOB_SEEN, changed_columns, job_changes, read_job
from receiver.store.samples import of_report
from receiver.store.statements import Transaction, for_update, ms, update

UNCERTAIN = frozenset({State.SUBMITTING, State.UNCONFIRMED})
"""The states in which the outcome of the latest submission is unknown."""
UNSENT = frozenset({State.PENDING, State.SUBMITTING, State.UNCONFIRMED})
"""The states in which the whole input may be needed for another submission."""


@dataclass(slots=True)
class _Batch:
    """The rows that one transaction is going to write. `changed` has each changed job as it was before."""

    jobs: dict[str, Job]
    evidence: Evidence
    unsent: set[str] = field(default_factory=set)
    bound: dict[str, Job] = field(default_factory=dict)
    changed: dict[str, Job] = field(default_factory=dict)
    events: list[tuple[Event, Job | None]] = field(default_factory=list)
    due: DueChanges = field(default_factory=DueChanges)


def record(context: RecordContext, reports: Sequence[Report]) -> Transaction[list[RecordResult]]:
    """Fold `reports` into their jobs and write all effects. Returns a result for each report."""
    # Locked in the order of ids, so that two transactions cannot wait for each other.
    ids = sorted({report.job_id for report in reports})
    found = yield for_update(f"select {JOB_SEEN} from job where id in (:ids) order by id", ids=ids)
    jobs = {row["id"]: read_job(row) for row in found}
    orphans = yield from heard_of([job_id for job_id in ids if job_id not in jobs])
    batch = _Batch(jobs, Evidence(context.ids, orphans))
    held = yield from _held([report.claim for report in reports if report.claim is not None])
    owners = yield from taken_by(reports, batch.jobs)
    results = [_fold(context, batch, report, held, owners) for report in reports]
    yield from batch.evidence.write()
    yield from _write_jobs(batch)
    known = [(job.provider_job_id, job.kept_url, job_id) for job_id, job in batch.bound.items()]
    yield update("job", ("provider_job_id", "kept_url"), known)
    yield from _forget_inputs(batch)
    yield from batch.due.write(context.now())
    # Last, because it takes the order lock, for which other writers wait until the commit.
    samples = [sample for one in results for sample in one.samples]
    deliveries = yield from emit(context, batch.events, samples)
    return list(_with_born(results, deliveries))


def _held(claims: Sequence[Claim]) -> Transaction[Mapping[str, Any]]:
    """Return the due work of these claims as it stands, by id."""
    if not claims:
        return {}
    ids = sorted({claim.id for claim in claims})
    found = yield for_update(
        "select id, work, at, leased, fence from due where id in (:ids) order by id", ids=ids
    )
    return {row["id"]: row for row in found}


def _fold(
    context: RecordContext,
    batch: _Batch,
    report: Report,
    held: Mapping[str, Any],
    owners: dict[tuple[str, str], str],
) -> RecordResult:
    job = batch.jobs.get(report.job_id)
    if job is None:
        batch.evidence.file_orphan(report)
        return RecordResult(job=None, outcome=Outcome.LATE)
    row = held.get(report.claim.id) if report.claim is not None else None
    # The lease was lost: the due work was claimed again, replaced or removed, and the report must not
    # settle it. Why: receiver/README.md#a-late-answer-still-counts
    stale = report.claim is not None and (row is None or row["fence"] != report.claim.fence)
    if stale and not _still_tells(report, job):
        _keep(batch, job, batch.evidence.file(report, Outcome.LATE, job, job))
        return RecordResult(job=job, outcome=Outcome.LATE)
    folded = context.rules.fold(job, unless_taken(report, job, owners))
    after = folded.job
    _bind(batch, owners, job, after)
    events = []
    for event_type in folded.events:
        after = after.but(sequence=after.sequence + 1)
        event = context.rules.render(after, event_type)
        events.append(event)
        batch.events.append((event, after))
    # An expiry that came late is no evidence: every replica looks for overdue jobs, so it reports only that
    # the job had ended before.
    if meaning_of(report) is not Action.EXPIRE or folded.outcome is not Outcome.LATE:
        after = batch.evidence.file(report, folded.outcome, job, after)
    _keep(batch, job, after)
    due = None if isinstance(folded.due, Keep) else folded.due.due
    # A late report leaves the due work that took its place, with two exceptions.
    if not stale or _supersedes(job, after) or _gives_way(row, due, after):
        batch.due.add(job.id, folded.due)
    samples = of_report(report, folded.outcome, job, after, context.rules.operation_label(after))
    return RecordResult(job=after, outcome=folded.outcome, events=tuple(events), due=due, samples=samples)


def _bind(batch: _Batch, owners: dict[tuple[str, str], str], before: Job, after: Job) -> None:
    """Note the provider's id and URL of a job, where they are new."""
    if after.provider_job_id is not None and after.provider_job_id != before.provider_job_id:
        owners[(after.account, after.provider_job_id)] = after.id
        batch.bound[after.id] = after
    if after.kept_url != before.kept_url:
        batch.bound[after.id] = after


def _keep(batch: _Batch, before: Job, after: Job) -> None:
    """Note the new state of a job, if it changed."""
    if after is before:
        return
    if before.state in UNSENT:
        batch.unsent.add(before.id)
    batch.jobs[before.id] = after
    batch.changed.setdefault(before.id, before)


def _write_jobs(batch: _Batch) -> Transaction[None]:
    """Write the jobs that changed, those with the same columns in one statement."""
    rows: defaultdict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for job_id in sorted(batch.changed):
        job = batch.jobs[job_id]
        columns = changed_columns(batch.changed[job_id], job)
        rows[columns].append((*job_changes(job, columns), job_id))
    for columns, values in rows.items():
        yield update("job", columns, values)


def _still_tells(report: Report, job: Job) -> bool:
    """Return whether a report under a lost lease changes its job all the same.

    An update of the provider does. So does the proof that its latest submission was not accepted; a proof
    about an earlier submission says nothing about a later one.
    """
    if isinstance(report, ProviderUpdate):
        return True
    if not isinstance(report, ProviderFailure) or report.source is not Source.SUBMISSION:
        return False
    # `intents` tells the submissions of a job apart. Why: receiver/README.md#a-late-answer-still-counts
    proves = report.kind in {FailureKind.RESTORE, FailureKind.REJECT}
    return proves and job.state in UNCERTAIN and report.intent == job.intents


def _supersedes(before: Job, after: Job) -> bool:
    """Return whether a late report makes all other work on its job needless.

    That is when the job ended, or when its submission, which may be taken for lost at this moment, was not
    accepted.
    """
    ended = after.state.final and not before.state.final
    return ended or (before.state is State.SUBMITTING and after.state is State.PENDING)


def _gives_way(row: Any, due: ScheduledWork | None, job: Job) -> bool:
    """Return whether due work that replaced a claim makes room for that of the late report under the claim.

    Every open job has something due, so the late report's work is due where nothing is, where a submission is
    due that the late answer made needless, and where the waiting work would come later or is of another kind.
    """
    if row is None or (row["work"] == Work.SUBMIT.value and job.state not in UNSENT):
        return True
    # Work under way settles its own row.
    if due is None or row["leased"]:
        return False
    return bool(row["at"] > ms(due.at) or row["work"] != due.work.value)


def _forget_inputs(batch: _Batch) -> Transaction[None]:
    """Remove the whole inputs of jobs that the provider has accepted or that have ended."""
    done = [job_id for job_id in sorted(batch.unsent) if batch.jobs[job_id].state not in UNSENT]
    if done:
        yield from forget(done)


def _with_born(
    results: Sequence[RecordResult], deliveries: dict[str, list[NewDelivery]]
) -> Iterator[RecordResult]:
    for recorded in results:
        if recorded.events:
            mine = [one for event in recorded.events for one in deliveries.get(event.id, ())]
            yield RecordResult(
                job=recorded.job,
                outcome=recorded.outcome,
                events=recorded.events,
                deliveries=tuple(mine),
                due=recorded.due,
                samples=recorded.samples,
            )
        else:
            yield recorded
