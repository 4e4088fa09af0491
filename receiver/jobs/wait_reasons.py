"""The reasons why jobs wait: stored ones, and those that only this process or the account knows."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from handlers.values import immutable
from receiver.domain.backoff import LOST, THROTTLED, UNREACHABLE
from receiver.domain.clock import Clock
from receiver.domain.model import Job, State, Waiting, WaitReason, Work
from receiver.events.recorder import Recorder
from receiver.providers.accounts import Accounts
from receiver.providers.circuit_breaker import CircuitBreaker
from receiver.store import Store
from receiver.store.jobs import running
from receiver.work.limits import ConcurrencyLimits

TURN = timedelta(seconds=1)
"""The time for which a pending job does not count as waiting: workers look for due work once in it."""

_ONE_AT_A_TIME = "submissions to the account go out one at a time"
SLOWED = {
    THROTTLED: (WaitReason.THROTTLED, f"the provider throttles the account: {_ONE_AT_A_TIME}"),
    UNREACHABLE: (WaitReason.UNREACHABLE, f"the provider cannot be reached: {_ONE_AT_A_TIME}"),
    LOST: (WaitReason.UNREACHABLE, f"the provider's answers are lost: {_ONE_AT_A_TIME}"),
}
"""The reason and its detail for a job that waits because other jobs of its account are in trouble."""


@immutable(kw_only=True)
class WaitReasons:
    """The reasons why open jobs do not move."""

    store: Store
    accounts: Accounts
    breaker: CircuitBreaker
    limits: ConcurrencyLimits
    recorder: Recorder
    clock: Clock

    async def of(self, jobs: Sequence[Job]) -> Mapping[str, Waiting]:
        """Return the reason of each of these jobs that waits, by the job's id."""
        # Only accounts with a limit are counted: each count is a query.
        limited = {job.account for job in jobs if job.state is State.PENDING and self._limit(job) is not None}
        busy = {account: await self.store.read(running(account)) for account in sorted(limited)}
        found = {job.id: self._reason(job, busy) for job in jobs if not job.state.final}
        return {job_id: waiting for job_id, waiting in found.items() if waiting is not None}

    def _reason(self, job: Job, busy: Mapping[str, int]) -> Waiting | None:
        # First: the stored state of such a job is out of date.
        held = self.recorder.waiting_since.get(job.id)
        if held is not None:
            return Waiting(WaitReason.STORE, "the provider's answer waits for the database", held)
        if job.state is not State.PENDING:
            return job.waiting
        return self._closed(job) or job.waiting or self._slowed(job) or self._full(job, busy)

    def _closed(self, job: Job) -> Waiting | None:
        blocked = self.breaker.blocked.get(job.account)
        if blocked is not None:
            since, reason = blocked
            until = self.breaker.probe_at(job.account) or (job.waiting.until if job.waiting else None)
            return Waiting(WaitReason.ACCOUNT_BLOCKED, reason, max(since, job.created_at), until)
        if not self.accounts.serves(job.account):
            why = "is off: it has no api_key" if job.account in self.accounts.setups else "is not configured"
            return Waiting(WaitReason.ACCOUNT_BLOCKED, f"the account {job.account} {why}", job.created_at)
        return None

    def _slowed(self, job: Job) -> Waiting | None:
        slowed = self.breaker.slowed(job.account)
        if slowed is None:
            return None
        ladder, since, until = slowed
        reason, detail = SLOWED[ladder]
        return Waiting(reason, detail, max(since, job.created_at), until)

    def _full(self, job: Job, busy: Mapping[str, int]) -> Waiting | None:
        limit = self._limit(job)
        if limit is not None and busy.get(job.account, 0) >= limit:
            detail = f"max_jobs of the account is {limit}, and as many run at the provider"
            return Waiting(WaitReason.ACCOUNT_FULL, detail, job.created_at)
        late = self.clock.now() - job.created_at > TURN
        if late and self.limits.opens_in(Work.SUBMIT, job.account) is None:
            detail = "every call that max_in_flight of the account allows is under way"
            return Waiting(WaitReason.ACCOUNT_FULL, detail, job.created_at)
        return None

    def _limit(self, job: Job) -> int | None:
        setup = self.accounts.setups.get(job.account)
        return setup.settings.max_jobs if setup else None
