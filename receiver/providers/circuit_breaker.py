"""Accounts that a provider refuses, throttles or fails: submissions pause, one probe at a time finds out when
it works again.
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
"""Seconds before each probe of a blocked account, and before each call of a job that is refused by itself."""
STEADY = 60.0
"""An account that is refused again within so many seconds was never open: its ladder goes on, and nothing is
announced before it has been closed for as long."""


@dataclass(slots=True)
class _Gate:
    """The state of one account: why it is closed, its ladder, its pace and the jobs it refused."""

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
    """Which accounts are blocked, since when and why, and how fast the others may go."""

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
        """The blocked accounts: since when, and why."""
        return {
            name: (gate.since, gate.reason) for name, gate in self._gates.items() if gate.since is not None
        }

    def probe_at(self, account: str) -> datetime | None:
        """Return when a blocked account is tried next; None where this process does not know, or may now."""
        gate = self._gates.get(account)
        left = gate.probe_at - self._clock.monotonic() if gate is not None and gate.since is not None else 0.0
        return self._clock.now() + timedelta(seconds=left) if left > 0 else None

    def slowed(self, account: str) -> tuple[Ladder, datetime, datetime | None] | None:
        """Return by which trouble submissions to an account are slowed, since when, and when the next goes
        out; None where they are not."""
        gate = self._gates.get(account)
        if gate is None or not gate.pace.narrow or gate.slowed_by is None or gate.slow_since is None:
            return None
        left = gate.pace.until - self._clock.monotonic()
        until = self._clock.now() + timedelta(seconds=left) if left > 0 else None
        return gate.slowed_by, gate.slow_since, until

    async def load(self, probe_in: float = 0.0) -> None:
        """Take up what an earlier process knew or another one found out; seconds until the first probe."""
        stored = await self._store.read(accounts.blocked())
        for name, gate in self._gates.items():
            if gate.announced and not gate.announcing and name not in stored:
                self._open(name, gate)
        for name in stored.keys() & self._accounts.setups.keys():
            gate = self._gate(name)
            if gate.since is None:
                since, gate.reason = stored[name]
                gate.since, gate.announced, gate.by_submit = moment(since), True, True
                gate.probe_at = self._clock.monotonic() + probe_in
                self._apply(name, gate)

    async def record_refusal(
        self, job: Job, error: AccountRefused, reason: str, *, submit: bool
    ) -> timedelta:
        """The provider refused a call; returns how long this job waits.

        Calls that were under way together count as one: the ladder takes a step for each probe only.
        """
        gate, now = self._gate(job.account), self._clock.monotonic()
        suspects = gate.submits if submit else gate.polls
        of_account, count = suspects.refuses(job.id, job.operation, certain=error.certain)
        if gate.since is None and not of_account:
            return timedelta(seconds=PROBES[min(count, len(PROBES)) - 1])
        gate.by_submit |= submit
        if gate.since is not None and gate.probe_at > now:
            return timedelta(seconds=gate.probe_at - now)
        if gate.since is None:
            self._close(gate, reason, now)
        wait = PROBES[min(gate.probes, len(PROBES) - 1)]
        gate.probes += 1
        gate.probe_at = now + wait
        self._apply(job.account, gate)
        if not gate.announced and (gate.opened_at is None or now - gate.closed_at >= STEADY):
            await self._announce(job.account, gate)
        return timedelta(seconds=wait)

    async def record_success(self, job: Job, *, submit: bool) -> None:
        """The provider took a call; a poll says nothing about a block that a submission met."""
        account = job.account
        gate = self._gate(account)
        gate.polls.takes(job.id)
        if submit:
            gate.submits.takes(job.id)
            if gate.pace.worked(self._clock.monotonic()):
                self._apply(account, gate)
                self._dispatcher.wake_at(ScheduledWork(Work.SUBMIT, account, self._clock.now()))
        if gate.since is None or (gate.by_submit and not submit):
            return
        announced, now = gate.announced, self._clock.now()

        def unblock() -> Transaction[Sequence[Event]]:
            yield from due_now(Work.SUBMIT, account, now)
            count = (yield from accounts.unblock(account)) if announced else None
            return [] if count is None else [self._event("unblocked", account, count, None, now)]

        try:
            await self._recorder.write(unblock)
        except StoreUnavailable:
            LOGGER.warning("that account %s works again could not be stored; its next call tells", account)
            return
        self._open(account, gate)
        self._dispatcher.wake_at(ScheduledWork(Work.SUBMIT, account, now))

    def troubled(self, account: str, ladder: Ladder, asked: timedelta | None) -> timedelta | None:
        """A submission was throttled, lost or not sent; returns how long the account pauses for it."""
        gate = self._gate(account)
        seconds = asked.total_seconds() if asked is not None else None
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
        """Close an account; one that was open for a moment only goes on where it was."""
        if gate.opened_at is None or now - gate.opened_at >= STEADY:
            gate.probes, gate.opened_at = 0, None
        gate.since, gate.reason, gate.closed_at = self._clock.now(), reason, now

    def _open(self, account: str, gate: _Gate) -> None:
        """Let an account's submissions go."""
        gate.since, gate.by_submit, gate.probe_at = None, False, 0.0
        gate.announced, gate.opened_at = False, self._clock.monotonic()
        self._apply(account, gate)

    def _apply(self, account: str, gate: _Gate) -> None:
        """Tell the lanes: one at a time behind the longer of the two waits, or open."""
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

        gate.announced = gate.announcing = True
        try:
            await self._recorder.write(block)
        except StoreUnavailable:
            gate.announced = False
            LOGGER.warning("that account %s is blocked could not be stored; its next probe tells", account)
        finally:
            gate.announcing = False

    def _event(self, what: str, account: str, count: int, reason: str | None, now: datetime) -> Event:
        handler = self._accounts.setups[account].handler.name
        data = {
            "object": "provider",
            "id": account,
            "handler": handler,
            "blocked": what == "blocked",
            "reason": reason,
            "at": stamp(now),
        }
        return self._recorder.event(f"provider.{what}", account, f"{what}|{count}", data, now)
