"""Accounts that a provider refuses: submissions pause, one probe at a time finds out when it works again."""

import logging
from collections.abc import Sequence
from datetime import datetime

from receiver.accounts import Accounts
from receiver.clock import Clock
from receiver.errors import StoreUnavailable
from receiver.lanes import Lanes
from receiver.model import Due, Event, Work
from receiver.recording import Recording
from receiver.steadily import insist
from receiver.store import Store
from receiver.store import endpoints as table
from receiver.store.due import due_now
from receiver.store.statements import Transaction, moment
from receiver.views import stamp

LOGGER = logging.getLogger("ringback.blocking")
PROBES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds before each probe of a blocked account."""


def _away(error: StoreUnavailable) -> None:
    """The job's own outcome waits for the store behind this."""
    LOGGER.debug("a block waits for the store: %s", error.detail)


class Blocking:
    """Which accounts are blocked, since when and why."""

    def __init__(
        self, accounts: Accounts, store: Store, recording: Recording, lanes: Lanes, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._recording = recording
        self._lanes = lanes
        self._clock = clock
        self._probes: dict[str, int] = {}
        self._probe_at: dict[str, float] = {}
        self._by_submit: set[str] = set()
        self.blocked: dict[str, tuple[datetime, str]] = {}

    async def load(self, probe_in: float = 0.0) -> None:
        """Take up what an earlier process knew or another one found out; seconds until the first probe."""
        stored = await self._store.read(table.blocked())
        for name in self.blocked.keys() - stored.keys():
            self._open(name)
        for name in (stored.keys() & self._accounts.setups.keys()) - self.blocked.keys():
            since, reason = stored[name]
            self.blocked[name] = (moment(since), reason)
            self._by_submit.add(name)
            self._lanes.block(name, blocked=True, probe_in=probe_in)

    async def refused(self, account: str, reason: str, *, submit: bool) -> float:
        """The provider refused the account; seconds until the next probe.

        Calls that were under way together count as one: the ladder takes a step for each probe only.
        """
        left = self._probe_at.get(account, 0.0) - self._clock.monotonic()
        if submit:
            self._by_submit.add(account)
        if account in self.blocked and left > 0:
            return left
        probes = self._probes.get(account, 0)
        self._probes[account] = probes + 1
        wait = PROBES[min(probes, len(PROBES) - 1)]
        self._probe_at[account] = self._clock.monotonic() + wait
        self._lanes.block(account, blocked=True, probe_in=wait)
        if account in self.blocked:
            return wait
        now = self._clock.now()
        self.blocked[account] = (now, reason)

        def block() -> Transaction[Sequence[Event]]:
            count = yield from table.block(account, reason, now)
            return [] if count is None else [self._event("blocked", account, count, reason, now)]

        await insist(lambda: self._recording.write(block), _away)
        return wait

    async def works(self, account: str, *, submit: bool) -> None:
        """The provider took a call of the account; a poll says nothing about a block that a submit met."""
        if account not in self.blocked or (account in self._by_submit and not submit):
            return
        reason = self._open(account)
        now = self._clock.now()

        def unblock() -> Transaction[Sequence[Event]]:
            yield from due_now(Work.SUBMIT, account, now)
            count = yield from table.unblock(account)
            return [] if count is None else [self._event("unblocked", account, count, reason, now)]

        await insist(lambda: self._recording.write(unblock), _away)
        self._recording.promised(Due(Work.SUBMIT, account, now))

    def _open(self, account: str) -> str:
        """Let an account's submissions go; why they could not."""
        self._by_submit.discard(account)
        self._probe_at.pop(account, None)
        self._probes.pop(account, None)
        self._lanes.block(account, blocked=False)
        _, reason = self.blocked.pop(account)
        return reason

    def _event(self, what: str, account: str, count: int, reason: str, now: datetime) -> Event:
        handler = self._accounts.setups[account].handler.name
        data = {
            "object": "provider",
            "id": account,
            "handler": handler,
            "blocked": what == "blocked",
            "reason": reason,
            "at": stamp(now),
        }
        return self._recording.event(f"provider.{what}", account, f"{what}|{count}", data, now)
