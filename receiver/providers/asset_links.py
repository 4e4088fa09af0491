"""Stable asset links: each resolves to the provider's current URL, cached while it is valid."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from handlers.contract import REPOLL, Asset, AssetRef, Exchange, JobRef, Phase, Update
from handlers.errors import Garbled, ProviderError, Rejected
from handlers.values import immutable
from receiver.config.load import AccountSetup
from receiver.domain.bounded import keep
from receiver.domain.clock import Clock
from receiver.domain.errors import Gone, NotFound, ProviderUnavailable
from receiver.domain.model import Job, Work
from receiver.metrics import Metrics
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
Refusals = dict[Place, tuple[Gone | ProviderUnavailable, datetime]]
NO_LONGER = "the provider no longer has this file"


@immutable
class FoundAsset:
    """The file behind a link: its job, its index there, its description, and its URL now."""

    job: Job
    index: int
    asset: Asset
    url: str

    @property
    def place(self) -> Place:
        """Return the key of the file."""
        return (self.job.id, self.index)


@dataclass(slots=True, kw_only=True)
class AssetLinks:
    """A resolver of asset links."""

    store: Store
    accounts: Accounts
    master_keys: MasterKeys
    clock: Clock
    limits: ConcurrencyLimits
    dispatcher: Dispatcher
    metrics: Metrics
    _found: dict[Place, tuple[str, datetime]] = field(default_factory=dict)
    _refused: Refusals = field(default_factory=dict)
    _dead: Refusals = field(default_factory=dict)
    """The refusals for files with a URL that looked good and was refused by its server."""
    _asking: dict[Place, asyncio.Task[str]] = field(default_factory=dict)

    async def url(self, token: str) -> str:
        """Return the current URL of the file. Raises `NotFound`, `Gone` or `ProviderUnavailable`."""
        return (await self.find(token)).url

    async def find(self, token: str) -> FoundAsset:
        """Return the file behind a link. Raises `NotFound`, `Gone` or `ProviderUnavailable`."""
        try:
            claims = self.master_keys.read_asset(token)
        except BadToken:
            raise NotFound("this link is not one of ours") from None
        if claims.expires_at <= self.clock.now():
            raise Gone("this link has ended")
        # Read for each request, even where a call to the provider is shared: from the commit of a revocation
        # on, no replica hands out the link's URL.
        job = await self.store.read(jobs.get(claims.job_id))
        if job is None or claims.index >= len(job.assets):
            raise Gone("retention removed this job, or its asset is not known")
        if job.assets_revoked_at is not None:
            raise Gone("the links to the files of this job were revoked")
        asset = job.assets[claims.index]
        if asset.deletes_at is not None and asset.deletes_at <= self.clock.now():
            raise Gone("the provider has deleted this file")
        return FoundAsset(job, claims.index, asset, await self._url(job, claims.index, asset))

    async def renew(self, dead: FoundAsset) -> FoundAsset:
        """Return the file with a fresh URL, after the server of the old one refused it.

        Raises `Gone` or `ProviderUnavailable`.
        """
        known = self._known(dead.place)
        if known is None or known == dead.url:
            self._refuse_again(dead.place, self._dead)
            known = await self._shared(dead.place, dead.job, dead.asset, self._dead)
        if known == dead.url:
            raise self.give_up(dead)
        return FoundAsset(dead.job, dead.index, dead.asset, known)

    def give_up(self, dead: FoundAsset) -> Gone:
        """Return the error for a fresh URL that its server refuses, too, and ask for none for a while."""
        error = Gone(NO_LONGER)
        keep(self._dead, dead.place, (error, self.clock.now() + GONE_FOR), CACHE)
        return error

    async def _url(self, job: Job, index: int, asset: Asset) -> str:
        place, now = (job.id, index), self.clock.now()
        # First, because it may stand for a stored URL that looks good and was refused.
        known = self._known(place)
        if known is not None:
            return known
        good = asset.expires_at is None or asset.expires_at - GOOD_FOR > now
        if asset.url is not None and good:
            return asset.url
        self._refuse_again(place, self._refused)
        return await self._shared(place, job, asset, self._refused)

    def _known(self, place: Place) -> str | None:
        """Return the URL of a file that was found before and is still good, or None."""
        known = self._found.get(place)
        return known[0] if known is not None and known[1] - GOOD_FOR > self.clock.now() else None

    def _refuse_again(self, place: Place, refusals: Refusals) -> None:
        """Raise the refusal that is kept for a file, if there is one."""
        refused, now = refusals.get(place), self.clock.now()
        if refused is not None and now < refused[1]:
            raise _again(refused[0], refused[1] - now)

    async def _shared(self, place: Place, job: Job, asset: Asset, refusals: Refusals) -> str:
        """Return a fresh URL of a file, from one call to the provider for all requests meanwhile."""
        # Shielded, so that a client that disconnects does not cancel the call for the others.
        task = self._asking.get(place)
        if task is None:
            task = self._asking[place] = asyncio.ensure_future(self._look(place, job, asset, refusals))
            task.add_done_callback(lambda _: self._asking.pop(place, None))
        return await asyncio.shield(task)

    async def _look(self, place: Place, job: Job, asset: Asset, refusals: Refusals) -> str:
        """Call the provider, and cache its answer or its refusal for a while."""
        result = "error"
        try:
            url = self._keep(place, job, await self._ask(job, place[1], asset))
            result = "found"
            return url
        except Gone as error:
            result = "gone"
            keep(refusals, place, (error, self.clock.now() + GONE_FOR), CACHE)
            raise
        except ProviderUnavailable as error:
            result = "unavailable"
            keep(refusals, place, (error, self.clock.now() + timedelta(seconds=error.seconds)), CACHE)
            raise
        finally:
            self.metrics.count("ringback_assets_resolved", job.account, result)

    async def _ask(self, job: Job, index: int, asset: Asset) -> Asset:
        setup = self.accounts.setups.get(job.account)
        if setup is None or not setup.on or job.provider_job_id is None:
            raise ProviderUnavailable("the account of this job is off")
        ref = JobRef(job.id, job.provider_job_id, job.operation, job.kept_url)
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
        # The job has succeeded, so its result can be asked for at once where a second request brings it.
        poll = setup.handler.result or setup.handler.poll
        assert poll is not None  # noqa: S101  # REPOLL means that there is one
        one = Exchange(poll.build, lambda message: _file(poll.parse(message), index))
        async with self._slot(setup.name):
            found, _ = await self.accounts.ask(setup, one, ref, POLL)
        if found is None:
            raise Gone(NO_LONGER)
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
            raise Gone(NO_LONGER)
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
        raise Gone(NO_LONGER) from None
    except Garbled as error:
        # Without a status there was no answer: no request can be built from the stored link.
        if error.status is None:
            raise Gone("the provider's link is not one that can be followed") from None
        raise ProviderUnavailable(str(error)) from None
    except ProviderError as error:
        wait = min(max(error.retry_after or AWAY_FOR, AWAY_FOR), LONGEST)
        raise ProviderUnavailable("the provider does not answer now", seconds=wait.total_seconds()) from None
