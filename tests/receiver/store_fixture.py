"""A store on a real file: the service as it is built, nothing at work, its clock moved by hand."""

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
from receiver.store.deliveries import ClaimedDelivery, Settled
from receiver.store.deliveries import load as load_deliveries
from receiver.store.due import Claimed, ClaimRequest, Prepare, claim
from receiver.store.jobs import Added, ClaimedPoll, NewJob, claim_for_poll, claim_for_submission, get
from receiver.store.record import NewDelivery, RecordContext, RecordResult, record
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
    """What sending needs."""
    _, found = yield from load_deliveries(claims)
    return found


NOWHERE: Mapping[str, int] = {}
LEASE = timedelta(seconds=30)
PREPARE: Mapping[Work, Prepare] = {Work.POLL: claim_for_poll, Work.DELIVER: owed}


@dataclass(slots=True)
class ManualClock:
    """The hands of a clock: time passes only when a test says so, and chance is a count."""

    at: datetime = START
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def pass_(self, **by: float) -> None:
        """Move on, in the words of `timedelta`."""
        self.at += timedelta(**by)

    def _counted(self, size: int) -> bytes:
        """Bytes that never repeat: a number for every ten of them, or for those that there are."""
        parts = [next(self._count).to_bytes(min(size, 10), "big") for _ in range(0, size, 10)]
        return b"".join(parts)[:size]

    def clock(self) -> Clock:
        """The clock that these hands move."""
        return Clock(
            now=lambda: self.at,
            monotonic=lambda: (self.at - START).total_seconds() + 1000.0,
            chance=lambda: 0.0,
            entropy=self._counted,
        )


@dataclass(slots=True)
class StoreFixture:
    """The verbs of a store, each with what a test mostly wants."""

    services: App
    clock: ManualClock
    path: Path
    busy: frozenset[str] = frozenset()

    @property
    def store(self) -> Store:
        """The store itself."""
        return self.services.core.store

    @property
    def context(self) -> RecordContext:
        """What recording needs."""
        return self.services.core.recorder.context

    @property
    def lanes(self) -> ConcurrencyLimits:
        """The slots."""
        found = self.context.limits
        assert isinstance(found, ConcurrencyLimits)
        return found

    def job(self, account: str = "apiframe", **others: Any) -> Job:
        """A job that nobody promised yet."""
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
        """Promise a job that is due for its submission now."""
        return await self.store.do(PROMISE, self.wish(job or self.job(), **others))

    def wish(self, job: Job, **others: Any) -> NewJob:
        """A job to promise."""
        whole = others.pop("whole_input", b'{"prompt":"a tide"}')
        return NewJob(
            job=job, whole_input=Parts([whole]), shown_input=b'{"prompt":"a"}', due=self.due(job), **others
        )

    def due(self, job: Job) -> ScheduledWork:
        """When its submission is due: now."""
        return ScheduledWork(Work.SUBMIT, job.account, self.clock.at)

    async def added(self, account: str = "apiframe", **others: Any) -> Job:
        """A job that was promised."""
        promised = await self.promise(self.job(account, **others))
        assert promised.job is not None
        return promised.job

    async def submitted(self, account: str = "apiframe", theirs: str | None = None, **others: Any) -> Job:
        """A job that the provider took under the id `theirs`."""
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
        """What is due, prepared as the service's performers have it; every lane has room unless told."""
        return list((await self._claim(work, room, limits or {})).prepared)

    async def next_at(self, work: Work, room: Mapping[str, int] | None = NOWHERE) -> datetime | None:
        """When work of a kind is due next, behind a claim that has this room."""
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
        """What became of these words, all recorded in one transaction."""
        return await asyncio.gather(*(self.services.core.recorder.record(one) for one in words))

    def recording(self, *words: Report) -> Transaction[list[RecordResult]]:
        """The transaction that records these words."""
        return (yield from record(self.context, words))

    async def poll_claim(self, job: Job) -> Claim:
        """The claim of a job's next poll, once that is due."""
        [at] = await self.column("select at from due where id = :id", id=job.id)
        self.clock.at = max(self.clock.at, moment(at))
        asked: Sequence[ClaimedPoll] = await self.claim(Work.POLL)
        return next(one.claim for one in asked if one.job.id == job.id)

    async def endpoint(self, endpoint_id: str = "ep_1", *events: str, **others: Any) -> Endpoint:
        """An endpoint that is stored and known."""
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
        """Record an attempt and what follows; whether the lease was ours."""
        return (await self.store.do(SETTLE, self.attempted(claim_, state, **others))).mine

    async def settle_born(self, born: NewDelivery) -> None:
        """A delivery went out at once."""
        assert born.claim is not None
        assert await self.settle(born.claim)

    def attempted(self, claim_: Claim, state: str = "delivered", **others: Any) -> Settled:
        """An attempt under a claim."""
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
        """The job as it is stored."""
        found = await self.store.read(get(job.id))
        assert found is not None
        return found

    async def due_of(self, job: Job) -> list[tuple[str, float, int, int]]:
        """What is due for a job, when (in seconds from the start), whether leased, under which fence."""
        found = await self.query("select work, at, leased, fence from due where id = :id", id=job.id)
        return [(row["work"], (row["at"] - ms(START)) / 1000, row["leased"], row["fence"]) for row in found]

    async def evidence(self, job: Job) -> list[tuple[str, str, int]]:
        """What is kept of what was said: kind, outcome and count."""
        sql = "select kind, outcome, count from evidence where job = :id order by id"
        return [(row["kind"], row["outcome"], row["count"]) for row in await self.query(sql, id=job.id)]

    async def query(self, sql: str, **parameters: Any) -> list[Row]:
        """What the readers see."""
        return list(await self.store.read(asking(sql, **parameters)))

    async def column(self, sql: str, **parameters: Any) -> list[Any]:
        """The first column of what the readers see."""
        return [row[0] for row in await self.store.read(asking(sql, **parameters))]

    async def write(self, sql: str, **parameters: Any) -> Any:
        """A statement of its own on the writer."""
        return await self.store.write(lambda: asking(sql, **parameters))

    def outside(self) -> sqlite3.Connection:
        """Another program's connection to the file."""
        return sqlite3.connect(self.path, isolation_level=None, timeout=0)


def asking(sql: str, **parameters: Any) -> Transaction[Any]:
    """A transaction of one statement."""
    return (yield query(sql, **parameters))


def types(recorded: Sequence[RecordResult]) -> list[str]:
    """The events that these words brought, in order."""
    return [event.type for one in recorded for event in one.events]


def outcomes(recorded: Sequence[RecordResult]) -> list[str]:
    """How these words were filed."""
    return [one.outcome.value for one in recorded]


def finals(events: Sequence[str]) -> list[str]:
    """The events among these that end a job."""
    return [event for event in events if event in JOB_FINAL]


def told(phase: Phase, theirs: str | None = None, **others: Any) -> Update:
    """What a provider says; a success names a file unless told otherwise."""
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
    """Return a report about a job, made now: an update, or else what `verdict` says, or a note."""
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
    """The file that keeps a second process out."""
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def write_locked(path: Path) -> Iterator[None]:
    """Another program holds the write lock."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        yield
        other.execute("rollback")


@contextlib.asynccontextmanager
async def opened(path: Path, *, migrate: bool = True) -> AsyncIterator[Store]:
    """A store on `path`, closed whatever happens."""
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
    """Close what a refusal left open."""
    try:
        FileLock(path).release()
    except Misconfigured:
        await store.close()


@contextlib.asynccontextmanager
async def store_fixture(folder: Path, **settings: str) -> AsyncIterator[StoreFixture]:
    """The service over a database in `folder`, with nothing at work."""
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
