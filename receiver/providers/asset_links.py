"""Stable asset links: each resolves to the provider's current URL, cached while it is valid."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from handlers.contract import REPOLL, Asset, AssetRef, Exchange, JobRef, Phase, Update
from handlers.errors import Garbled, ProviderError, Rejected
from receiver.config.load import AccountSetup
from receiver.domain.bounded import keep
from receiver.domain.clock import Clock
from receiver.domain.errors import Gone, NotFound, ProviderUnavailable
from receiver.domain.model import Job, Work
from receiver.providers.accounts import POLL, RESOLVE, Accounts
from receiver.security.redaction import forms, holds
from receiver.security.tokens import BadToken, MasterKeys
from receiver.store import Store, jobs
from receiver.work.dispatcher import Dispatcher
from receiver.work.limits import ConcurrencyLimits

GOOD_FOR = timedelta(minutes=1)
"""The least remaining validity of a URL that is handed out."""
KEPT = timedelta(minutes=5)
"""The longest time that a resolved URL is cached."""
GONE_FOR = timedelta(minutes=1)
AWAY_FOR = timedelta(seconds=5)
BUSY_FOR = timedelta(seconds=1)
"""The times for which a refusal answers later requests too, by its cause: a link needs no API key, so any
number of requests may come, and each would cost a call to the provider.
"""
LONGEST = timedelta(hours=1)
"""The longest `Retry-After` of a provider for which a refusal is kept."""
LOOKS, LOOK = 20, 0.25
"""Tries to get a slot of a busy account, and the seconds between them."""
CACHE = 10_000
"""The maximum number of entries of each cache."""
Place = tuple[str, int]


@dataclass(slots=True, kw_only=True)
class AssetLinks:
    """A resolver of asset links."""

    store: Store
    accounts: Accounts
    master_keys: MasterKeys
    clock: Clock
    limits: ConcurrencyLimits
    dispatcher: Dispatcher
    _found: dict[Place, tuple[str, datetime]] = field(default_factory=dict)
    _refused: dict[Place, tuple[Gone | ProviderUnavailable, datetime]] = field(default_factory=dict)
    _asking: dict[Place, asyncio.Task[str]] = field(default_factory=dict)

    async def url(self, token: str) -> str:
        """Return the current URL of the file. Raises `NotFound`, `Gone` or `ProviderUnavailable`."""
        try:
            claims = self.master_keys.read_asset(token)
        except BadToken:
            raise NotFound("this link is not one of ours") from None
        if claims.expires_at <= self.clock.now():
            raise Gone("this link has ended")
        place = (claims.job_id, claims.index)
        # One look-up serves all requests for a file meanwhile; it is shielded, so that a client that
        # disconnects does not cancel it for the others.
        task = self._asking.get(place)
        if task is None:
            task = self._asking[place] = asyncio.ensure_future(self._find(*place))
            task.add_done_callback(lambda _: self._asking.pop(place, None))
        return await asyncio.shield(task)

    async def _find(self, job_id: str, index: int) -> str:
        job = await self.store.read(jobs.get(job_id))
        if job is None or index >= len(job.assets):
            raise Gone("retention removed this job, or its asset is not known")
        asset, now = job.assets[index], self.clock.now()
        if asset.deletes_at is not None and asset.deletes_at <= now:
            raise Gone("the provider has deleted this file")
        good = asset.expires_at is None or asset.expires_at - GOOD_FOR > now
        if asset.url is not None and good:
            return asset.url
        place = (job_id, index)
        known = self._found.get(place)
        if known is not None and known[1] - GOOD_FOR > now:
            return known[0]
        refused = self._refused.get(place)
        if refused is not None and now < refused[1]:
            raise _again(refused[0], refused[1] - now)
        return await self._look(place, job, asset)

    async def _look(self, place: Place, job: Job, asset: Asset) -> str:
        """Call the provider, and cache its answer or its refusal for a while."""
        try:
            return self._keep(place, job, await self._ask(job, place[1], asset))
        except Gone as error:
            keep(self._refused, place, (error, self.clock.now() + GONE_FOR), CACHE)
            raise
        except ProviderUnavailable as error:
            keep(self._refused, place, (error, self.clock.now() + timedelta(seconds=error.seconds)), CACHE)
            raise

    async def _ask(self, job: Job, index: int, asset: Asset) -> Asset:
        setup = self.accounts.setups.get(job.account)
        if setup is None or not setup.on or job.provider_job_id is None:
            raise ProviderUnavailable("the account of this job is off")
        ref = JobRef(job.id, job.provider_job_id, job.operation)
        resolve = setup.handler.resolve
        if isinstance(resolve, Exchange) and asset.source is not None:
            return await _answered(self._resolve(setup, resolve, AssetRef(ref, index, asset.source)))
        operation = setup.handler.operations.get(job.operation)
        if resolve is REPOLL and operation is not None and operation.poll:
            return await _answered(self._poll_again(setup, ref, index))
        raise Gone("the provider's link has ended, and it has no way to a fresh one")

    async def _resolve(self, setup: AccountSetup, resolve: Exchange[AssetRef, Asset], ref: AssetRef) -> Asset:
        async with self._slot(setup.name):
            found, _ = await self.accounts.ask(setup, resolve, ref, RESOLVE)
        return found

    async def _poll_again(self, setup: AccountSetup, ref: JobRef, index: int) -> Asset:
        poll = setup.handler.poll
        assert poll is not None  # noqa: S101  # REPOLL means that there is one
        one = Exchange(poll.build, lambda message: _file(poll.parse(message), index))
        async with self._slot(setup.name):
            found, _ = await self.accounts.ask(setup, one, ref, POLL)
        if found is None:
            raise Gone("the provider no longer has this file")
        return found

    @contextlib.asynccontextmanager
    async def _slot(self, account: str) -> AsyncIterator[None]:
        """Hold a slot of the account's polls as long as the context lasts.

        Raises `ProviderUnavailable` where the account's limit or rate leaves none.
        """
        for _ in range(LOOKS):
            if self.limits.seize(Work.POLL, account):
                break
            await asyncio.sleep(LOOK)
        else:
            raise ProviderUnavailable(
                "the account has no call to spare now", seconds=BUSY_FOR.total_seconds()
            )
        try:
            yield
        finally:
            for work in self.limits.release(account, Work.POLL):
                self.dispatcher.wake(work)

    def _keep(self, place: Place, job: Job, found: Asset) -> str:
        if found.url is None:
            raise Gone("the provider no longer has this file")
        if holds(found.url, forms(self.accounts.secrets_of(job))):
            raise Gone("the provider's link holds a secret of ours, so it is not handed on")
        now = self.clock.now()
        if found.expires_at is not None and found.expires_at <= now:
            raise Gone("the provider's link has ended")
        # A URL without a known end is used for a minute: `_find` stops `GOOD_FOR` before the time kept here.
        good_until = found.expires_at or now + GOOD_FOR * 2
        keep(self._found, place, (found.url, min(good_until, now + KEPT)), CACHE)
        self._refused.pop(place, None)
        return found.url


def _file(update: Update, index: int) -> Asset | None:
    """Return one file of an answer: the rest does not leave the thread that parsed it."""
    ended = update.phase is Phase.SUCCEEDED and index < len(update.assets)
    return update.assets[index] if ended else None


def _again(error: Gone | ProviderUnavailable, left: timedelta) -> Gone | ProviderUnavailable:
    """Return a refusal for a later request, with the time that is left of it."""
    if isinstance(error, ProviderUnavailable):
        return ProviderUnavailable(error.detail, seconds=left.total_seconds())
    return Gone(error.detail)


async def _answered(asking: Coroutine[Any, Any, Asset]) -> Asset:
    """Return the answer to a call.

    Raises `Gone` for a file that the provider does not know or that cannot be requested, and
    `ProviderUnavailable` for any other failure, because a later call may work.
    """
    try:
        return await asking
    except Rejected:
        raise Gone("the provider no longer has this file") from None
    except Garbled as error:
        # Without a status there was no answer: no request can be built from the stored link.
        if error.status is None:
            raise Gone("the provider's link is not one that can be followed") from None
        raise ProviderUnavailable(str(error)) from None
    except ProviderError as error:
        wait = min(max(error.retry_after or AWAY_FOR, AWAY_FOR), LONGEST)
        raise ProviderUnavailable("the provider does not answer now", seconds=wait.total_seconds()) from None
