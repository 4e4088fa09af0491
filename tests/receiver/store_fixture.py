"""A store on a real file: the whole service without running workers, and with a clock moved by the test."""

import asyncio
import contextlib
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from handlers.contract import Asset, Failure, Kind, Phase, Update
from receiver.app import App, running
from receiver.bodies.parts import Parts
from receiver.config.load import load
from receiver.delivery.sender import SETTLE
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import (
    Claim,
    Endpoint,
    EndpointState,
    Job,
    ScheduledWork,
    Source,
    State,
    Work,
)
from receiver.domain.reports import (
    Action,
    Command,
    FailureKind,
    Note,
    ProviderFailure,
    ProviderUpdate,
    Report,
)
from receiver.jobs.service import PROMISE
from receiver.store import Store
from receiver.store.attempts import Attempt
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.deliveries import load as load_deliveries
from receiver.store.due import Claimed, ClaimRequest, Prepare, claim
from receiver.store.jobs import Added, ClaimedPoll, NewJob, claim_for_poll, claim_for_submission, get
from receiver.store.record import record
from receiver.store.record_context import NewDelivery, RecordContext, RecordResult
from receiver.store.settling import Settled
from receiver.store.sqlite.driver import SqliteDriver
from receiver.store.sqlite.file_lock import FileLock
from receiver.store.statements import Row, Transaction, moment, ms, query
from receiver.work.limits import ConcurrencyLimits
from tests.engines import ENGINES

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SECRET = "whsec_" + "A" * 43 + "="
ACCOUNTS = {
    "apiframe": {"api_key": "k", "backstop_after": 180},
    "apiframe-v2": {"api_key": "k"},
    "aiml": {"api_key": "k", "poll_interval": 10},
    "minimax": {"api_key": "k"},
    "replicate": {"api_key": "k"},
}


OPERATIONS = {"apiframe": "imagine", "minimax": "text2video", "replicate": "prediction"}


def owed(claims: Sequence[Claim]) -> Transaction[list[ClaimedDelivery]]:
    """Return the deliveries of these claims with all that sending them needs."""
    _, found = yield from load_deliveries(claims)
    return found


NOWHERE: Mapping[str, int] = {}
LEASE = timedelta(seconds=30)
PREPARE: Mapping[Work, Prepare] = {Work.POLL: claim_for_poll, Work.DELIVER: owed}


@dataclass(slots=True)
class ManualClock:
    """A manual clock: time passes only when a test moves it, and random bytes are a counter."""

    at: datetime = START
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def pass_(self, **by: float) -> None:
        """Move the clock on, by the arguments of `timedelta`."""
        self.at += timedelta(**by)

    def _counted(self, size: int) -> bytes:
        """Return bytes that never repeat: a count in every ten bytes, or in all where there are fewer."""
        parts = [next(self._count).to_bytes(min(size, 10), "big") for _ in range(0, size, 10)]
        return b"".join(parts)[:size]

    def clock(self) -> Clock:
        """Return a clock that follows this one."""
        return Clock(
            now=lambda: self.at,
            monotonic=lambda: (self.at - START).total_seconds() + 1000.0,
            chance=lambda: 0.0,
            entropy=self._counted,
        )


# Each test's loop prints what ran in it, and a whole service takes long to print.
@dataclass(slots=True, repr=False)
class StoreFixture:
    """The operations of a store, each with the defaults that most tests need."""

    services: App
    clock: ManualClock
    path: Path
    busy: frozenset[str] = frozenset()

    @property
    def store(self) -> Store:
        """Return the store."""
        return self.services.core.store

    @property
    def context(self) -> RecordContext:
        """Return the context that recording needs."""
        return self.services.core.recorder.context

    @property
    def lanes(self) -> ConcurrencyLimits:
        """Return the concurrency limits, which hold the slots."""
        found = self.context.limits
        assert isinstance(found, ConcurrencyLimits)
        return found

    def job(self, account: str = "apiframe", **others: Any) -> Job:
        """Return a job that is not stored yet."""
        now = self.clock.at
        made = Job(
            id=self.services.core.ids.new("job"),
            account=account,
            operation=OPERATIONS.get(account, "video"),
            state=State.PENDING,
            created_at=now,
            updated_at=now,
            deadline_at=now + timedelta(hours=2),
            expects_callback=account == "apiframe",
        )
        return made.but(**others)

    async def promise(self, job: Job | None = None, **others: Any) -> Added:
        """Store a job that is due for its submission now."""
        return await self.store.do(PROMISE, self.wish(job or self.job(), **others))

    def wish(self, job: Job, **others: Any) -> NewJob:
        """Return a job as the store takes it, with its input and its due submission."""
        whole = others.pop("whole_input", b'{"prompt":"a tide"}')
        return NewJob(
            job=job, whole_input=Parts([whole]), shown_input=b'{"prompt":"a"}', due=self.due(job), **others
        )

    def due(self, job: Job) -> ScheduledWork:
        """Return the due work of a job's submission: due now."""
        return ScheduledWork(Work.SUBMIT, job.account, self.clock.at)

    async def added(self, account: str = "apiframe", **others: Any) -> Job:
        """Store a job. Returns it."""
        promised = await self.promise(self.job(account, **others))
        assert promised.job is not None
        return promised.job

    async def submitted(self, account: str = "apiframe", theirs: str | None = None, **others: Any) -> Job:
        """Store and submit a job, which the provider accepts under the id `theirs`. Returns the job."""
        job = await self.added(account, **others)
        [chosen] = await self.claim(Work.SUBMIT, {account: 1})
        update = told(Phase.QUEUED, theirs or f"p-{job.id}")
        [taken] = await self.hear(word(job, self, update, Source.SUBMISSION, claim=chosen.claim))
        assert taken.job is not None
        return taken.job

    async def claim(
        self,
        work: Work,
        room: Mapping[str, int] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> list[Any]:
        """Claim due work. Returns it prepared as for the service's performers.

        Every lane has room unless `room` says otherwise.
        """
        return list((await self._claim(work, room, limits or {})).prepared)

    async def next_at(self, work: Work, room: Mapping[str, int] | None = NOWHERE) -> datetime | None:
        """Return the moment at which work of a kind is due next, after a claim with this room."""
        return (await self._claim(work, room, {})).next_at

    async def _claim(self, work: Work, room: Mapping[str, int] | None, limits: Mapping[str, int]) -> Claimed:
        now = self.clock.at
        request = ClaimRequest(
            work=work,
            owner=self.context.owner,
            now=now,
            lease_until=now + LEASE,
            until=1030.0,
            room=lambda lane: 100 if room is None else room.get(lane, 0),
            prepare=PREPARE.get(work, lambda claims: claim_for_submission(claims, now)),
            busy=self.busy,
            running_limits=limits,
        )
        return await self.store.write(lambda: claim(request))

    async def hear(self, *words: Report) -> list[RecordResult]:
        """Record reports, all in one transaction. Returns their results."""
        return await asyncio.gather(*(self.services.core.recorder.record(one) for one in words))

    def recording(self, *words: Report) -> Transaction[list[RecordResult]]:
        """Return the transaction that records these reports."""
        return (yield from record(self.context, words))

    async def poll_claim(self, job: Job) -> Claim:
        """Move the clock to a job's next poll and claim the poll. Returns its claim."""
        [at] = await self.column("select at from due where id = :id", id=job.id)
        self.clock.at = max(self.clock.at, moment(at))
        asked: Sequence[ClaimedPoll] = await self.claim(Work.POLL)
        return next(one.claim for one in asked if one.job.id == job.id)

    async def endpoint(self, endpoint_id: str = "ep_1", *events: str, **others: Any) -> Endpoint:
        """Create an endpoint, stored and cached. Returns it."""
        now = self.clock.at
        made = Endpoint(
            id=endpoint_id,
            url=others.pop("url", "https://app.example/hooks"),
            events=events or ("job.*",),
            created_at=now,
            updated_at=now,
            state=others.pop("state", EndpointState.ACTIVE),
            secrets=(SECRET,),
            **others,
        )
        await self.services.api.endpoints.create(made)
        return made

    async def settle(self, claim_: Claim, state: str = "delivered", **others: Any) -> bool:
        """Settle an attempt under a claim. Returns whether the lease still held."""
        return (await self.store.do(SETTLE, self.attempted(claim_, state, **others))).mine

    async def settle_born(self, born: NewDelivery) -> None:
        """Settle a delivery that was claimed as it was recorded."""
        assert born.claim is not None
        assert await self.settle(born.claim)

    def attempted(self, claim_: Claim, state: str = "delivered", **others: Any) -> Settled:
        """Return an attempt under a claim, with its outcome."""
        status = 204 if state == "delivered" else 500
        attempt = Attempt(
            id=self.services.core.ids.new("att"),
            delivery_id=claim_.id,
            at=self.clock.at,
            status=status,
            latency_ms=1.5,
        )
        return Settled(claim=claim_, attempt=attempt, state=state, **others)

    async def now(self, job: Job) -> Job:
        """Return the job as it is stored."""
        found = await self.store.read(get(job.id))
        assert found is not None
        return found

    async def due_of(self, job: Job) -> list[tuple[str, float, int, int]]:
        """Return the due work of a job: kind, seconds from the start, whether it is leased, and fence."""
        found = await self.query("select work, at, leased, fence from due where id = :id", id=job.id)
        return [(row["work"], (row["at"] - ms(START)) / 1000, row["leased"], row["fence"]) for row in found]

    async def evidence(self, job: Job) -> list[tuple[str, str, int]]:
        """Return the evidence of a job: kind, outcome and count of each entry."""
        sql = "select kind, outcome, count from evidence where job = :id order by id"
        return [(row["kind"], row["outcome"], row["count"]) for row in await self.query(sql, id=job.id)]

    async def query(self, sql: str, **parameters: Any) -> list[Row]:
        """Return the rows of a query on a read connection."""
        return list(await self.store.read(asking(sql, **parameters)))

    async def column(self, sql: str, **parameters: Any) -> list[Any]:
        """Return the first column of a query on a read connection."""
        return [row[0] for row in await self.store.read(asking(sql, **parameters))]

    async def write(self, sql: str, **parameters: Any) -> Any:
        """Run one statement on the writer. Returns its rows."""
        return await self.store.write(lambda: asking(sql, **parameters))

    def outside(self) -> sqlite3.Connection:
        """Return another program's connection to the file."""
        return sqlite3.connect(self.path, isolation_level=None, timeout=0)


def asking(sql: str, **parameters: Any) -> Transaction[Any]:
    """Return a transaction of one statement."""
    return (yield query(sql, **parameters))


def types(recorded: Sequence[RecordResult]) -> list[str]:
    """Return the types of the events that these reports caused, in order."""
    return [event.type for one in recorded for event in one.events]


def outcomes(recorded: Sequence[RecordResult]) -> list[str]:
    """Return the outcome of each report."""
    return [one.outcome.value for one in recorded]


def finals(events: Sequence[str]) -> list[str]:
    """Return the types among these that end a job."""
    return [event for event in events if event in JOB_FINAL]


def told(phase: Phase, theirs: str | None = None, **others: Any) -> Update:
    """Return a provider's update. By default a success names a file and a failure has a reason."""
    if phase is Phase.SUCCEEDED:
        others.setdefault("assets", (Asset(kind=Kind.VIDEO, url="https://cdn.example/1.mp4"),))
    if phase is Phase.FAILED:
        others.setdefault("failure", Failure("E7", "it did not work"))
    return Update(provider_job_id=theirs, phase=phase, **others)


def word(
    job: Job,
    fixture: StoreFixture,
    update: Update | None = None,
    source: Source = Source.CALLBACK,
    **others: Any,
) -> Report:
    """Return a report about a job, made now: an update, a failure or command by `verdict`, or a note."""
    given: dict[str, Any] = {"job_id": job.id, "source": source, "at": fixture.clock.at} | others
    verdict = given.pop("verdict", None)
    if update is not None:
        return ProviderUpdate(update=update, **given)
    if isinstance(verdict, FailureKind):
        return ProviderFailure(kind=verdict, **given)
    if verdict is Action.BIND:
        return Command(action=verdict, provider_job_id=given["note"], **given)
    return Command(action=verdict, **given) if verdict is not None else Note(**given)


def lock_of(path: Path) -> Path:
    """Return the path of the lock file that keeps a second process out."""
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def write_locked(path: Path) -> Iterator[None]:
    """Hold the write lock as another program, as long as the context lasts."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


@contextlib.asynccontextmanager
async def opened(path: Path, *, migrate: bool = True) -> AsyncIterator[Store]:
    """Open a store on `path` and close it with the context. Yields it."""
    store = Store(SqliteDriver(path, on_fatal=print))
    try:
        await store.open(migrate=migrate)
    except BaseException:
        await let_go(store, path)
        raise
    try:
        yield store
    finally:
        await store.close()


async def let_go(store: Store, path: Path) -> None:
    """Close a store after a refused start, if it still holds its lock."""
    try:
        FileLock(path).release()
    except Misconfigured:
        await store.close()


@contextlib.asynccontextmanager
async def store_fixture(folder: Path, **settings: str) -> AsyncIterator[StoreFixture]:
    """Run the service over a database in `folder`, without workers. Yields the fixture."""
    config = folder / "ringback.toml"
    config.touch()
    clock = ManualClock()
    environment = {
        "RINGBACK_DATABASE_URL": ENGINES.url(folder / "store.db"),
        "RINGBACK_SECRET_KEYS": json.dumps(["m" * 32]),
        "RINGBACK_ADMIN_KEY": "rb_" + "k" * 32,
        "RINGBACK_PUBLIC_URL": "https://hooks.example",
        "RINGBACK_PROVIDERS": json.dumps(ACCOUNTS),
        **{f"RINGBACK_{name.upper()}": value for name, value in settings.items()},
    }
    async with running(load(config, environment), clock=clock.clock(), work=False) as services:
        yield StoreFixture(services, clock, folder / "store.db")
