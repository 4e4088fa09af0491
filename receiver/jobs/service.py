"""The use cases of jobs: submit, read, wait, cancel, resolve, revoke asset links, erase."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from handlers import json
from handlers.contract import FailureCode, Problem, Submission
from handlers.values import immutable
from receiver.bodies.large_json import LargeJson, with_strings
from receiver.bodies.offload import OFFLOAD
from receiver.bodies.parts import Parts
from receiver.config.load import AccountSetup
from receiver.config.provider_handlers import operation_label
from receiver.domain.clock import Clock
from receiver.domain.errors import (
    Conflict,
    FieldError,
    IdempotencyMismatch,
    Invalid,
    did_you_mean,
    invalid,
    nearest,
    no_such,
)
from receiver.domain.model import (
    By,
    Job,
    JobError,
    Outcome,
    ScheduledWork,
    Source,
    State,
    Work,
)
from receiver.domain.reports import Action, Command
from receiver.events.long_polling import WaitingCalls
from receiver.events.recorder import Recorder
from receiver.providers.accounts import Accounts
from receiver.security.ids import IdGenerator
from receiver.security.signing import new_secret
from receiver.security.tokens import MasterKeys
from receiver.store import Store, erasure
from receiver.store import jobs as table
from receiver.store.group_commit import BatchedWrite
from receiver.store.jobs import Added, NewJob
from receiver.store.rows import evidence_row
from receiver.work.dispatcher import Dispatcher

SHOWN = 1024
"""The bytes of a text in an input that are kept for showing."""
REVOKED = "the links to the job's files were revoked"
"""The note of a revocation in the timeline."""
ACCEPTED = frozenset({State.QUEUED, State.RUNNING}) | {s for s in State if s.final}
"""The states of a job that the provider has accepted, or that has ended."""


def _cost(item: NewJob) -> int:
    return 6 + len(item.whole_input) // 1024


PROMISE: BatchedWrite[NewJob, Added] = BatchedWrite(name="promise", run=table.add, cost=_cost)
"""The write of a new job."""


@immutable(kw_only=True)
class JobSpec:
    """A request for a job, checked for its form only.

    `input` is for checks: its long texts are cut. `whole` and `shown` are JSON of the input, `hashed` is a
    hash of the whole request.
    """

    provider: str
    operation: str | None
    input: Mapping[str, Any] = field(repr=False)
    whole: Parts = field(repr=False)
    shown: bytes = field(repr=False)
    hashed: bytes
    metadata: Mapping[str, str]
    callback_url: str | None = None
    callback_secret: str | None = field(default=None, repr=False)
    deadline_seconds: int | None = None


@immutable
class Submitted:
    """A job that was added, or found under its idempotency key, and the secret to show once."""

    job: Job
    created: bool
    callback_secret: str | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class JobService:
    """The use cases of jobs behind the API."""

    store: Store
    accounts: Accounts
    recorder: Recorder
    dispatcher: Dispatcher
    waiting_calls: WaitingCalls
    master_keys: MasterKeys
    ids: IdGenerator
    clock: Clock
    check_url: Callable[[str], None]
    deadline: timedelta
    _promise: BatchedWrite[NewJob, Added] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Even if the caller is gone. Why: receiver/README.md#follow-ups-hang-on-the-write
        self._promise = replace(PROMISE, follow=self._hint)

    async def submit(
        self, spec: JobSpec, owner: str, key: str | None, traceparent: str | None = None
    ) -> Submitted:
        """Add a job, or find the one that the idempotency key added before.

        Raises `Invalid` before any money is spent, `IdempotencyMismatch` for a key that was used with another
        body.
        """
        # Before the checks: a repeated request finds its job even if the checks would refuse it by now.
        known = await self._known(owner, key, spec.hashed)
        if known is not None:
            return Submitted(known, created=False)
        setup, operation = self._account(spec)
        problems = await OFFLOAD.read(len(spec.whole), lambda: self._check(setup, operation, spec))
        secret = None
        if spec.callback_url is not None:
            secret = spec.callback_secret or new_secret(self.clock.entropy(32))
        job = self._job(setup, operation, spec, secret).but(traceparent=traceparent)
        due = ScheduledWork(Work.SUBMIT, setup.name, job.created_at)
        warnings = self._warnings(job.id, problems)
        item = NewJob(
            job=job,
            whole_input=spec.whole,
            shown_input=spec.shown,
            due=due,
            operation_label=operation_label(setup.handler, operation),
            notes=warnings,
            owner=owner,
            key=key,
            digest=spec.hashed,
        )
        added = await self.store.do(self._promise, item)
        if added.job is None:
            raise IdempotencyMismatch("this Idempotency-Key was used with another body")
        return Submitted(added.job, added.created, secret if added.created else None)

    def _hint(self, item: NewJob, added: Added) -> None:
        if added.created:
            self.dispatcher.wake_at(item.due)

    def _job(self, setup: AccountSetup, operation: str, spec: JobSpec, secret: str | None) -> Job:
        now, job_id, seconds = self.clock.now(), self.ids.new("job"), spec.deadline_seconds
        return Job(
            id=job_id,
            account=setup.name,
            operation=operation,
            state=State.PENDING,
            created_at=now,
            updated_at=now,
            deadline_at=now + (timedelta(seconds=seconds) if seconds else self.deadline),
            metadata=spec.metadata,
            expects_callback=self.accounts.calls_back(setup, operation),
            callback_url=spec.callback_url,
            callback_secret=self.master_keys.seal(secret, job_id) if secret else None,
        )

    async def _known(self, owner: str, key: str | None, hashed: bytes) -> Job | None:
        """Return the job that this key added before, even if its account is off by now."""
        if key is None:
            return None
        known = await self.store.read(table.by_key(owner, key, hashed))
        if known is not None and known.job is None:
            raise IdempotencyMismatch("this Idempotency-Key was used with another body")
        return known.job if known else None

    async def get(self, job_id: str) -> tuple[Job, bytes]:
        """Return a job, and its input as JSON for showing. Raises `NotFound`."""
        found = await self.store.read(table.get_with_input(job_id))
        if found is None:
            raise no_such("job")
        job, shown = found
        return job, bytes(shown)

    async def wait(self, job: Job, seconds: float, owner: str, *, accepted: bool = False) -> Job:
        """Return the job once it is final (or accepted), or as it is after so many seconds."""
        ends = self.clock.monotonic() + seconds

        def done(now: Job) -> bool:
            return now.state.final or (accepted and now.state in ACCEPTED)

        if done(job):
            return job
        waiting_calls = self.waiting_calls
        with waiting_calls.waiting(job.id, owner) as waiter:
            # Read once more: the job may have changed before this call was registered.
            job = await self._fresh(job.id)
            while not done(job) and not waiting_calls.closed and (left := ends - self.clock.monotonic()) > 0:
                waiter.seen = job.state
                await waiter.news(left)
                # Many calls may wake at once, and few of them read at a time.
                async with waiting_calls.turn:
                    job = await self._fresh(job.id)
        return job

    async def _fresh(self, job_id: str) -> Job:
        job = await self.store.read(table.get(job_id))
        if job is None:
            raise no_such("job")
        return job

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job. Returns it. Raises `Conflict` where the job has ended otherwise.

        The worker that polls then asks the provider to cancel, where that is possible.
        """
        job, _ = await self.get(job_id)
        if job.state is State.CANCELED:
            return job
        command = Command(job_id=job_id, source=Source.NOTE, at=self.clock.now(), action=Action.CANCEL)
        recorded = await self.recorder.record(command)
        if recorded.job is None:
            raise no_such("job")
        if recorded.outcome is Outcome.LATE and recorded.job.state is not State.CANCELED:
            raise Conflict(
                f"the job is already {recorded.job.state}; only one that is not final can be canceled"
            )
        return recorded.job

    async def resolve(self, job_id: str, action: Action, provider_job_id: str | None = None) -> Job:
        """Apply a decision about an unconfirmed job. Returns the job.

        Raises `Conflict` where it is not unconfirmed, `Invalid` for a provider id of another job.
        """
        job, _ = await self.get(job_id)
        if job.state is not State.UNCONFIRMED:
            raise Conflict(f"only an unconfirmed job can be resolved; this one is {job.state}")
        command = Command(
            job_id=job_id,
            source=Source.NOTE,
            at=self.clock.now(),
            action=action,
            by=By.OPERATOR,
            error=JobError(FailureCode.LOST, "given up by the operator"),
            provider_job_id=provider_job_id,
            note=provider_job_id,
        )
        recorded = await self.recorder.record(command)
        if recorded.job is None or recorded.outcome is Outcome.LATE:
            raise Conflict("the job was resolved meanwhile")
        if recorded.outcome is Outcome.MISMATCH:
            raise invalid("/provider_job_id", "belongs to another job")
        return recorded.job

    async def revoke_assets(self, job_id: str) -> Job:
        """Revoke every link to a file of a job, in any state. Returns the job."""
        now = self.clock.now()
        note = evidence_row(
            id=self.ids.new("evd"),
            job=job_id,
            at=now,
            kind=Source.NOTE,
            outcome=Outcome.APPLIED.value,
            details={"note": REVOKED},
        )
        job = await self.store.write(lambda: table.revoke_assets(job_id, now, note))
        if job is None:
            raise no_such("job")
        return job

    async def erase(self, job_id: str) -> None:
        """Erase a final job with its events and attempts. Raises `Conflict` for an open one."""
        job, _ = await self.get(job_id)
        if not job.state.final:
            raise Conflict(f"only a final job can be erased; this one is {job.state}: cancel it first")
        now = self.clock.now()
        for _, heavy in await self.store.read(erasure.groups([job_id])):
            # A heavy job is emptied in pieces first. Why: receiver/README.md#long-removals-go-in-pieces
            more = heavy
            while more:
                more, _ = await self.store.write(lambda: erasure.lighten(job_id, now))
        await self.store.write(lambda: erasure.erase([job_id], now))

    def _account(self, spec: JobSpec) -> tuple[AccountSetup, str]:
        setup = self.accounts.setups.get(spec.provider)
        if setup is None or not setup.on:
            on = ", ".join(name for name, one in self.accounts.setups.items() if one.on) or "none"
            why = "is off: it has no api_key" if setup else "is not configured"
            near = None if setup else nearest(spec.provider, self.accounts.setups)
            meant = f" (did you mean `{near}`?)" if near else ""
            raise invalid("/provider", f"this account {why}{meant}; accounts that are on: {on}")
        operation = spec.operation or setup.handler.default_operation
        if operation not in setup.handler.operations:
            known = setup.handler.operations
            near = did_you_mean(operation, known) or f"; it has: {', '.join(known)}"
            raise invalid("/operation", f"{setup.handler.name} has no such operation{near}")
        return setup, operation

    def _check(self, setup: AccountSetup, operation: str, spec: JobSpec) -> list[Problem]:
        """Check every known rule before money is spent. Returns the warnings. Raises `Invalid`."""
        if spec.callback_url is not None:
            try:
                self.check_url(spec.callback_url)
            except ValueError as error:
                raise invalid("/callback_url", str(error)) from None
        elif spec.callback_secret is not None:
            raise invalid("/callback_secret", "needs a callback_url")
        reserved = [
            Problem(f"/{name}", "Ringback sets this itself; use callback_url or an endpoint instead")
            for name in sorted(setup.handler.reserved)
            if _holds(spec.input, name)
        ]
        problems = [*reserved, *setup.handler.check(Submission("", operation, spec.input))]
        wrong = [problem for problem in problems if not problem.warning]
        if wrong:
            raise Invalid(
                "the provider would refuse this input",
                errors=[
                    FieldError("body", f"/input{one.pointer}", one.pointer.rsplit("/", 1)[-1], one.detail)
                    for one in wrong
                ],
            )
        return problems

    def _warnings(self, job_id: str, problems: Sequence[Problem]) -> tuple[tuple[Any, ...], ...]:
        now = self.clock.now()
        return tuple(
            evidence_row(
                id=self.ids.new("evd"),
                job=job_id,
                at=now,
                kind=Source.NOTE,
                outcome="warning",
                details={"note": f"{problem.pointer}: {problem.detail}"},
            )
            for problem in problems
        )


def shown(bulk: LargeJson, given: Any, whole: Parts) -> bytes:
    """Return the JSON of the input `given` for showing; `whole` is all of it."""
    if len(whole) <= SHOWN:
        return whole.joined()
    return json.write(
        bulk.with_texts(with_strings(given, _shown), lambda text: _begun(text.head, text.length))
    )


def _shown(text: str) -> str:
    """Return a text of an input, cut."""
    return text if len(text.encode()) <= SHOWN else _begun(text, len(text))


def _begun(text: str, length: int) -> str:
    return f"{text.encode()[:SHOWN].decode('utf-8', 'ignore')}... ({length} characters)"


def _holds(value: Any, name: str) -> bool:
    """Return whether an input has a field; `a/b` is a field inside an object."""
    for step in name.split("/"):
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return True
