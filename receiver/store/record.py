"""The heart: what was said about jobs, what they become, the events and what is owed, in one transaction.

The fold happens inside it. The words of one job are folded in their order of arrival against the row that
this transaction read, so two words of one job can never both believe that they ended it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from handlers import json
from handlers.values import immutable
from receiver.filters import wants
from receiver.keys import Ids
from receiver.model import (
    Claim,
    Due,
    Endpoint,
    EndpointState,
    Event,
    Job,
    Outcome,
    Owed,
    Source,
    State,
    Verdict,
    Word,
    Work,
)
from receiver.store.due import NOBODY, first_fence
from receiver.store.evidence import count_quiet, told_of
from receiver.store.rows import ENDPOINTS, JOB_CHANGES, JOB_SEEN, event_row, job_changes, read_job
from receiver.store.statements import Step, Transaction, change, locked, many, ms, remove, rows

TO_CALLBACK_URL = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired", "job.unconfirmed"})
CALLBACK_TARGET = "callback"
UNSENT = frozenset({State.PENDING, State.SUBMITTING, State.UNCONFIRMED})


@immutable
class Folded:
    """What a word did: the job now, its events, how the word is filed, and what is due next.

    `keep_due` leaves the due work as it is; otherwise `due` replaces it, None removing it.
    """

    job: Job
    events: tuple[str, ...]
    outcome: Outcome
    due: Due | None = None
    keep_due: bool = False


@immutable
class Born:
    """A delivery that was recorded. With a claim, a slot is held for it and it can be sent at once."""

    owed: Owed
    lane: str
    claim: Claim | None


@immutable
class Recorded:
    """What became of a word."""

    job: Job | None
    outcome: Outcome
    events: tuple[Event, ...] = ()
    born: tuple[Born, ...] = ()
    due: Due | None = None


class Lanes(Protocol):
    """Who hands out the slots that a delivery may be born with."""

    def reserve(self, lane: str, /) -> bool:
        """Take a free slot of `lane`; False when there is none."""

    def release(self, lane: str, /) -> object:
        """Give it back."""


class Meaning(Protocol):
    """What the service knows and the store does not."""

    def fold(self, job: Job, word: Word) -> Folded:
        """What `word` does to `job`; pure."""

    def render(self, job: Job, event_type: str) -> Event:
        """The event of this type about `job` as it is now."""

    def endpoints(self, generation: str) -> Sequence[Endpoint] | None:
        """The endpoints as of `generation`; None when ours are older."""

    def adopt(self, generation: str, found: Sequence[Any]) -> Sequence[Endpoint]:
        """Take these rows as the endpoints of `generation`."""

    def lane_of(self, url: str) -> str:
        """The lane of a job's own callback URL."""


@immutable
class Recorder:
    """All that recording needs beside the words."""

    meaning: Meaning
    lanes: Lanes
    ids: Ids
    now: Callable[[], datetime]
    lease: Callable[[], tuple[datetime, float]]
    owner: str


@dataclass(slots=True)
class _Batch:
    """What one transaction is going to write."""

    jobs: dict[str, Job] = field(default_factory=dict)
    unsent: set[str] = field(default_factory=set)
    bound: dict[str, str | None] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    evidence: list[tuple[Any, ...]] = field(default_factory=list)
    quiet: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    events: list[tuple[Event, Job | None]] = field(default_factory=list)
    due: dict[str, tuple[Due | None, bool]] = field(default_factory=dict)


def record(recorder: Recorder, words: Sequence[Word]) -> Transaction[list[Recorded]]:
    """Fold `words` into their jobs and write all that follows."""
    ids = sorted({word.job_id for word in words})
    found = yield locked(f"select {JOB_SEEN} from job where id in (:ids) order by id", ids=ids)
    batch = _Batch({row["id"]: read_job(row) for row in found})
    held = yield from _held([word.claim for word in words if word.claim is not None])
    taken = yield from _taken(words, batch.jobs)
    told = [_fold(recorder, batch, word, held, taken) for word in words]
    yield many("evidence", batch.evidence)
    yield from count_quiet(batch.quiet)
    changed = [batch.jobs[job_id] for job_id in sorted(batch.changed)]
    yield change("job", JOB_CHANGES, [(*job_changes(job), job.id) for job in changed])
    yield change("job", ("provider_job_id",), [(theirs, job_id) for job_id, theirs in batch.bound.items()])
    yield from _forget_inputs(batch)
    yield from _write_due(batch.due, recorder.now())
    born = yield from emit(recorder, batch.events)
    return list(_with_born(told, born))


def emit(
    recorder: Recorder, events: Sequence[tuple[Event, Job | None]], *, alone: bool = False
) -> Transaction[dict[str, list[Born]]]:
    """Write events and one delivery for every endpoint that wants each; what was born, by event.

    With `alone` nothing is owed for them: they are sent another way.
    """
    if not events:
        return {}
    endpoints = yield from _endpoints(recorder.meaning)
    until, until_monotonic = recorder.lease()
    now = recorder.now()
    born: dict[str, list[Born]] = {}
    try:
        for event, job in events:
            targets = () if alone else _targets(recorder.meaning, endpoints, event, job)
            born[event.id] = [
                _bear(recorder, event, endpoint_id, lane, live, now, until_monotonic)
                for endpoint_id, lane, live in targets
            ]
        yield many("event", [event_row(event) for event, _ in events])
        yield many("delivery", [_delivery_row(one, now) for many_ in born.values() for one in many_])
        yield many(
            "due", [_due_row(one, now, until, recorder.owner) for many_ in born.values() for one in many_]
        )
    except BaseException:
        for many_born in born.values():
            for one in many_born:
                give_back(recorder.lanes, one)
        raise
    return born


def give_back(lanes: Lanes, born: Born) -> None:
    """The slot of a delivery whose transaction failed."""
    if born.claim is not None:
        lanes.release(born.lane)


def _endpoints(meaning: Meaning) -> Transaction[Sequence[Endpoint]]:
    found = yield Step.IN_ORDER
    generation = found[0]["value"]
    known = meaning.endpoints(generation)
    if known is None:
        known = meaning.adopt(generation, (yield rows(ENDPOINTS)))
    return known


def _targets(
    meaning: Meaning, endpoints: Sequence[Endpoint], event: Event, job: Job | None
) -> Iterator[tuple[str | None, str, bool]]:
    for endpoint in endpoints:
        if wants(endpoint.events, event.type):
            yield endpoint.id, endpoint.id, endpoint.state is EndpointState.ACTIVE
    if job is not None and job.callback_url and not job.callback_off and event.type in TO_CALLBACK_URL:
        yield None, meaning.lane_of(job.callback_url), True


def _bear(
    recorder: Recorder,
    event: Event,
    endpoint_id: str | None,
    lane: str,
    live: bool,
    now: datetime,
    until: float,
) -> Born:
    owed = Owed(recorder.ids.new("dlv", now), event, endpoint_id, event.job_id)
    claimed = live and recorder.lanes.reserve(lane)
    claim = Claim(owed.id, Work.DELIVER, lane, 1, 0, until) if claimed else None
    return Born(owed, lane, claim)


def _delivery_row(born: Born, now: datetime) -> tuple[Any, ...]:
    owed, at = born.owed, ms(now)
    target = owed.endpoint_id or CALLBACK_TARGET
    return (owed.id, owed.event.id, target, "", owed.job_id, "pending", at, at, 0, None)


def _due_row(born: Born, now: datetime, until: datetime, owner: str) -> tuple[Any, ...]:
    leased = born.claim is not None
    return (
        born.owed.id,
        Work.DELIVER.value,
        born.lane,
        ms(until if leased else now),
        int(leased),
        int(leased),
        0,
        owner if leased else NOBODY,
    )


def _held(claims: Sequence[Claim]) -> Transaction[set[tuple[str, int]]]:
    if not claims:
        return set()
    ids = sorted({claim.id for claim in claims})
    found = yield locked("select id, fence from due where id in (:ids) order by id", ids=ids)
    return {(row["id"], row["fence"]) for row in found}


def _taken(words: Sequence[Word], jobs: dict[str, Job]) -> Transaction[dict[tuple[str, str], str]]:
    """Who holds the provider ids that these words would bind."""
    wanted = []
    for word in words:
        job = jobs.get(word.job_id)
        theirs = _names(word)
        if job is not None and theirs is not None and _may_bind(word, job):
            wanted.append((job.account, theirs))
    taken: dict[tuple[str, str], str] = {}
    for account in sorted({account for account, _ in wanted}):
        found = yield rows(
            "select id, provider_job_id from job where account = :account and provider_job_id in (:theirs)",
            account=account,
            theirs=[theirs for owner, theirs in wanted if owner == account],
        )
        taken |= {(account, row["provider_job_id"]): row["id"] for row in found}
    return taken


def _fold(
    recorder: Recorder,
    batch: _Batch,
    word: Word,
    held: set[tuple[str, int]],
    taken: dict[tuple[str, str], str],
) -> Recorded:
    job = batch.jobs.get(word.job_id)
    if job is None:
        _file(recorder, batch, word, Outcome.LATE, None, None)
        return Recorded(None, Outcome.LATE)
    stale = word.claim is not None and (word.claim.id, word.claim.fence) not in held
    if stale and word.update is None:
        _file(recorder, batch, word, Outcome.LATE, job, job)
        return Recorded(job, Outcome.LATE)
    folded = recorder.meaning.fold(job, _unless_taken(word, job, taken))
    after = folded.job
    if after.provider_job_id is not None and after.provider_job_id != job.provider_job_id:
        taken[(job.account, after.provider_job_id)] = job.id
        batch.bound[job.id] = after.provider_job_id
    events = []
    for event_type in folded.events:
        after = after.but(sequence=after.sequence + 1)
        event = recorder.meaning.render(after, event_type)
        events.append(event)
        batch.events.append((event, after))
    after = _file(recorder, batch, word, folded.outcome, job, after)
    if after is not job:
        if job.state in UNSENT:
            batch.unsent.add(job.id)
        batch.jobs[job.id] = after
        batch.changed.add(job.id)
    if not folded.keep_due and (not stale or after.state.final):
        batch.due[job.id] = (folded.due, word.claim is None)
    return Recorded(after, folded.outcome, tuple(events), due=None if folded.keep_due else folded.due)


def _names(word: Word) -> str | None:
    """The provider's id that a word would bind to its job."""
    if word.update is not None:
        return word.update.provider_job_id
    return word.note if word.verdict is Verdict.BIND else None


def _may_bind(word: Word, job: Job) -> bool:
    """Whether the job's id is open: there is none, or only a guess that the submission's answer outranks."""
    answer = word.source is Source.SUBMISSION and job.state is State.SUBMITTING
    return job.provider_job_id is None or answer


def _unless_taken(word: Word, job: Job, taken: dict[tuple[str, str], str]) -> Word:
    """An id that another job holds binds nothing: the answer is kept, the job is as good as unanswered."""
    theirs = _names(word)
    if theirs is None or not _may_bind(word, job):
        return word
    owner = taken.get((job.account, theirs))
    if owner is None or owner == job.id:
        return word
    note = "the provider named an id that belongs to another job"
    lost = Verdict.LOST if word.source is Source.SUBMISSION else None
    return replace(word, update=None, verdict=lost, note=note, kept_as=Outcome.MISMATCH)


def _file(
    recorder: Recorder, batch: _Batch, word: Word, outcome: Outcome, before: Job | None, after: Job | None
) -> Any:
    """Keep the word as evidence; unchanged polls in a row share one entry. The job, with that entry noted."""
    at = ms(word.at)
    quiet = word.source is Source.POLL and outcome is Outcome.UNCHANGED
    if quiet and after is not None and after.quiet_poll is not None:
        place = (word.job_id, after.quiet_poll)
        count, _ = batch.quiet.get(place, (0, at))
        batch.quiet[place] = (count + 1, at)
        return after
    entry = recorder.ids.new("evd", word.at)
    told = json.write(told_of(word, before, after)).decode()
    batch.evidence.append(
        (entry, word.job_id, at, word.source.value, outcome.value, told, word.headers, word.body, 1, at)
    )
    if after is None:
        return None
    if quiet:
        return after.but(quiet_poll=entry)
    return after.but(quiet_poll=None) if after.quiet_poll is not None else after


def _forget_inputs(batch: _Batch) -> Transaction[None]:
    """The whole input is kept only until the provider accepted it."""
    done = [job_id for job_id in sorted(batch.unsent) if batch.jobs[job_id].state not in UNSENT]
    if done:
        yield rows("update job set input = null where id in (:ids) and input is not null", ids=done)


def _write_due(due: dict[str, tuple[Due | None, bool]], now: datetime) -> Transaction[None]:
    gone = [job_id for job_id, (what, _) in due.items() if what is None]
    yield remove("due", gone)
    promised = [(job_id, what) for job_id, (what, _) in due.items() if what is not None]
    if not promised:
        return
    found = yield rows("select id from due where id in (:ids)", ids=[job_id for job_id, _ in promised])
    there = {row["id"] for row in found}
    values = [
        (what.work.value, what.lane, ms(what.at), 0, what.tries, job_id)
        for job_id, what in promised
        if job_id in there
    ]
    yield change("due", ("work", "lane", "at", "leased", "tries"), values)
    yield rows("update due set fence = fence + 1 where id in (:ids)", ids=[row[-1] for row in values])
    new = [
        (job_id, what.work.value, what.lane, ms(what.at), 0, first_fence(now), what.tries, NOBODY)
        for job_id, what in promised
        if job_id not in there
    ]
    yield many("due", new)


def _with_born(told: Sequence[Recorded], born: dict[str, list[Born]]) -> Iterator[Recorded]:
    for recorded in told:
        if recorded.events:
            mine = [one for event in recorded.events for one in born.get(event.id, ())]
            yield Recorded(recorded.job, recorded.outcome, recorded.events, tuple(mine), recorded.due)
        else:
            yield recorded
