"""The circuit breaker: pauses submissions to an account that the provider refuses, throttles or fails.

One probe at a time finds out when the account works again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from handlers.errors import AccountRefused
from receiver.domain.backoff import Ladder, Pace
from receiver.domain.clock import Clock
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Event, Job, ScheduledWork, Work
from receiver.domain.rendering import stamp
from receiver.events.recorder import Recorder
from receiver.providers.accounts import Accounts
from receiver.providers.refusal_scope import RefusalScope
from receiver.store import Store, accounts
from receiver.store.due import due_now
from receiver.store.statements import Transaction, moment
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits

LOGGER = logging.getLogger("ringback.blocking")
PROBES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds before each probe of a blocked account, and before each call for a job that alone is refused."""
STEADY = 60.0
"""Seconds for which an account must stay open to count as working again. One that is refused earlier goes on
with its probes where they were, and is announced only once it has been blocked for as long.
"""


@dataclass(slots=True)
class _Gate:
    """The state of one account: its block and the reason, its probes, its pace and its refused jobs."""

    since: datetime | None = None
    reason: str = ""
    announced: bool = False
    announcing: bool = False
    by_submit: bool = False
    probes: int = 0
    probe_at: float = 0.0
    closed_at: float = 0.0
    opened_at: float | None = None
    pace: Pace = field(default_factory=Pace)
    slow_since: datetime | None = None
    slowed_by: Ladder | None = None
    submits: RefusalScope = field(default_factory=RefusalScope)
    polls: RefusalScope = field(default_factory=RefusalScope)


class CircuitBreaker:
    """A circuit breaker for each account. It knows the blocked accounts and the pace of the others."""

    def __init__(
        self,
        accounts: Accounts,
        store: Store,
        recorder: Recorder,
        dispatcher: Dispatcher,
        limits: ConcurrencyLimits,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._limits = limits
        self._clock = clock
        self._gates: dict[str, _Gate] = {}

    @property
    def blocked(self) -> dict[str, tuple[datetime, str]]:
        """Return the blocked accounts, each with the time and the reason."""
        return {
            name: (gate.since, gate.reason) for name, gate in self._gates.items() if gate.since is not None
        }

    def probe_at(self, account: str) -> datetime | None:
        """Return the time of the next probe of a blocked account.

        Returns None where the account may be probed now, or where this process does not know the time.
        """
        gate = self._gates.get(account)
        left = gate.probe_at - self._clock.monotonic() if gate is not None and gate.since is not None else 0.0
        return self._clock.now() + timedelta(seconds=left) if left > 0 else None

    def slowed(self, account: str) -> tuple[Ladder, datetime, datetime | None] | None:
        """Return the trouble that slows submissions to an account, its start, and the next submission.

        Returns None where submissions are not slowed.
        """
        gate = self._gates.get(account)
        if gate is None or not gate.pace.narrow or gate.slowed_by is None or gate.slow_since is None:
            return None
        left = gate.pace.until - self._clock.monotonic()
        until = self._clock.now() + timedelta(seconds=left) if left > 0 else None
        return gate.slowed_by, gate.slow_since, until

    async def load(self, probe_in: float = 0.0) -> None:
        """Load the blocked accounts that an earlier process or another replica stored.

        `probe_in` is the number of seconds until the first probe.
        """
        stored = await self._store.read(accounts.blocked())
        for name, gate in self._gates.items():
            # Another replica found that the account works again. A block that this process is just storing is
            # not in the store yet, and stays.
            if gate.announced and not gate.announcing and name not in stored:
                self._open(name, gate)
        for name in stored.keys() & self._accounts.setups.keys():
            gate = self._gate(name)
            if gate.since is None:
                since, gate.reason = stored[name]
                # The store does not say which kind of call was refused, so only a submission ends this block.
                gate.since, gate.announced, gate.by_submit = moment(since), True, True
                gate.probe_at = self._clock.monotonic() + probe_in
                self._apply(name, gate)

    async def record_refusal(
        self, job: Job, error: AccountRefused, reason: str, *, submit: bool
    ) -> timedelta:
        """Count a call that the provider refused. Returns the time for which this job waits.

        Calls that were under way together count as one: the wait grows by one step for each probe only.
        """
        gate, now = self._gate(job.account), self._clock.monotonic()
        suspects = gate.submits if submit else gate.polls
        of_account, count = suspects.refuses(job.id, job.operation, certain=error.certain)
        # Only this job is refused: it waits by itself, and the account stays open.
        if gate.since is None and not of_account:
            return timedelta(seconds=PROBES[min(count, len(PROBES)) - 1])
        gate.by_submit |= submit
        # A call that was under way before the last probe, so it takes no step.
        if gate.since is not None and gate.probe_at > now:
            return timedelta(seconds=gate.probe_at - now)
        if gate.since is None:
            self._close(gate, reason, now)
        wait = PROBES[min(gate.probes, len(PROBES) - 1)]
        gate.probes += 1
        gate.probe_at = now + wait
        self._apply(job.account, gate)
        # An account that opens and closes all the time is announced once it has stayed closed.
        if not gate.announced and (gate.opened_at is None or now - gate.closed_at >= STEADY):
            await self._announce(job.account, gate)
        return timedelta(seconds=wait)

    async def record_success(self, job: Job, *, submit: bool, asked: float) -> None:
        """Count a call that the provider accepted, and that began at the monotonic moment `asked`.

        A poll does not end a block that a submission met, nor does a call that was under way before it.
        """
        account = job.account
        gate = self._gate(account)
        gate.polls.takes(job.id)
        if submit:
            gate.submits.takes(job.id)
            if gate.pace.worked(self._clock.monotonic()):
                self._apply(account, gate)
                self._dispatcher.wake_at(ScheduledWork(Work.SUBMIT, account, self._clock.now()))
        if gate.since is None or (gate.by_submit and not submit) or asked < gate.closed_at:
            return
        announced, now = gate.announced, self._clock.now()

        def unblock() -> Transaction[Sequence[Event]]:
            # The waiting jobs need no probe any more.
            yield from due_now(Work.SUBMIT, account, now)
            # Only an announced block was stored, so only then is there an end to announce.
            count = (yield from accounts.unblock(account)) if announced else None
            return [] if count is None else [self._event("unblocked", account, count, None, now)]

        try:
            # Opened here only once it is stored, so that the other replicas learn of it too.
            await self._recorder.write(unblock)
        except StoreUnavailable:
            LOGGER.warning(
                "account %s works again but stays blocked until its next call: the store is unavailable",
                account,
            )
            return
        self._open(account, gate)
        self._dispatcher.wake_at(ScheduledWork(Work.SUBMIT, account, now))

    def troubled(self, account: str, ladder: Ladder, retry_after: timedelta | None) -> timedelta | None:
        """Count a submission that was throttled, lost or not sent. Returns the account's pause, if any."""
        gate = self._gate(account)
        seconds = retry_after.total_seconds() if retry_after is not None else None
        since = gate.slow_since if gate.pace.narrow else self._clock.now()
        pause = gate.pace.troubled(ladder, seconds, self._clock.monotonic())
        if not pause:
            return None
        gate.slowed_by, gate.slow_since = ladder, since
        self._apply(account, gate)
        return timedelta(seconds=pause)

    def _gate(self, account: str) -> _Gate:
        gate = self._gates.get(account)
        if gate is None:
            gate = self._gates[account] = _Gate()
        return gate

    def _close(self, gate: _Gate, reason: str, now: float) -> None:
        """Block an account. One that was open for less than `STEADY` goes on with its probes where it was."""
        if gate.opened_at is None or now - gate.opened_at >= STEADY:
            gate.probes, gate.opened_at = 0, None
        gate.since, gate.reason, gate.closed_at = self._clock.now(), reason, now

    def _open(self, account: str, gate: _Gate) -> None:
        """Unblock an account."""
        gate.since, gate.by_submit, gate.probe_at = None, False, 0.0
        gate.announced, gate.opened_at = False, self._clock.monotonic()
        self._apply(account, gate)

    def _apply(self, account: str, gate: _Gate) -> None:
        """Apply the state to the lane: one call at a time after the longer of the two waits, or no limit."""
        closed = gate.since is not None or gate.pace.narrow
        wait = max(gate.probe_at if gate.since is not None else 0.0, gate.pace.until)
        left = max(0.0, wait - self._clock.monotonic())
        self._limits.block(account, blocked=closed, probe_in=left)

    async def _announce(self, account: str, gate: _Gate) -> None:
        assert gate.since is not None  # noqa: S101  # only a closed account is announced
        now, reason = self._clock.now(), gate.reason

        def block() -> Transaction[Sequence[Event]]:
            count = yield from accounts.block(account, reason, now)
            return [] if count is None else [self._event("blocked", account, count, reason, now)]

        # Before the write: refusals that come while it runs must not announce the block again.
        gate.announced = gate.announcing = True
        try:
            await self._recorder.write(block)
        except StoreUnavailable:
            gate.announced = False
            LOGGER.warning(
                "account %s is blocked, announced only after its next probe: the store is unavailable",
                account,
            )
        finally:
            gate.announcing = False

    def _event(self, change: str, account: str, count: int, reason: str | None, now: datetime) -> Event:
        handler = self._accounts.setups[account].handler.name
        data = {
            "object": "provider",
            "id": account,
            "handler": handler,
            "blocked": change == "blocked",
            "reason": reason,
            "at": stamp(now),
        }
        return self._recorder.event(f"provider.{change}", account, f"{change}|{count}", data, now)
