"""The async client: the blocking one, awaited."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from ringback import wire
from ringback.calls import administration, deliveries, endpoints, events, jobs
from ringback.core import Answer, Call, Lost, Pause, Reply, Result, Step
from ringback.events import Event
from ringback.following import FeedReply, Following, Load, OnLost, Save, follow
from ringback.methods import AsyncListed, AsyncMethod, AsyncResource
from ringback.places import AsyncPlaceStore, MemoryPlace, PlaceStore
from ringback.retrying import Retry
from ringback.settings import settings
from ringback.statistics import Statistic
from ringback.values import Item, Page, SigningKey
from ringback.waiting import Flow, run, steps, wait


class AsyncJobs(AsyncResource):
    """Jobs: submit them, wait for them, look at them."""

    submit = AsyncMethod(jobs.submit)
    run = AsyncMethod(run)
    wait = AsyncMethod(wait)
    get = AsyncMethod(jobs.show)
    list = AsyncListed(jobs.pages)
    cancel = AsyncMethod(jobs.cancel)
    resolve = AsyncMethod(jobs.resolve)
    erase = AsyncMethod(jobs.erase)
    revoke_assets = AsyncMethod(jobs.revoke_assets)
    token = AsyncMethod(jobs.token)
    timeline = AsyncListed(jobs.timeline)
    messages = AsyncListed(jobs.messages)


class AsyncEvents(AsyncResource):
    """The feed of events."""

    _client: "AsyncRingback"
    page = AsyncMethod(events.page)
    get = AsyncMethod(events.show)

    def follow(
        self,
        *,
        place: AsyncPlaceStore | PlaceStore | None = None,
        type: str | None = None,  # noqa: A002  # the API's word
        job: str | None = None,
        after: str | None = None,
        wait: float = 30.0,
        on_lost: OnLost = "raise",
    ) -> "AsyncFollower":
        """Follow the feed for ever, from the place that is kept on. Returns an iterator over its events.

        The place is kept once the loop asks for the next event, so that an event is handled at least once.
        A store that is not async works in a thread. Errors that pass are waited out. Raises `PlaceLost` when
        retention removed the place, unless `on_lost` is "oldest" or a function that takes the error: then it
        goes on at the oldest event.
        """
        chosen = Following(type=type, job=job, after=after, wait=wait, on_lost=on_lost)
        return AsyncFollower(self._client, MemoryPlace() if place is None else place, chosen)


class AsyncEndpoints(AsyncResource):
    """Endpoints: the URLs that get events."""

    create = AsyncMethod(endpoints.create)
    get = AsyncMethod(endpoints.show)
    list = AsyncListed(endpoints.pages)
    update = AsyncMethod(endpoints.update)
    delete = AsyncMethod(endpoints.delete)
    secret = AsyncMethod(endpoints.secret)
    test = AsyncMethod(endpoints.test)
    pause = AsyncMethod(endpoints.pause)
    resume = AsyncMethod(endpoints.resume)
    rotate_secret = AsyncMethod(endpoints.rotate_secret)
    explain = AsyncMethod(endpoints.explain)
    replay = AsyncMethod(endpoints.replay)


class AsyncReplays(AsyncResource):
    """Replays: old events that are sent to an endpoint again."""

    get = AsyncMethod(endpoints.replay_show)
    list = AsyncListed(endpoints.replay_pages)
    cancel = AsyncMethod(endpoints.replay_cancel)


class AsyncDeliveries(AsyncResource):
    """Deliveries of events to endpoints."""

    list = AsyncListed(deliveries.pages)
    get = AsyncMethod(deliveries.show)
    retry = AsyncMethod(deliveries.retry)
    cancel = AsyncMethod(deliveries.cancel)


class AsyncKeys(AsyncResource):
    """API keys."""

    list = AsyncListed(administration.key_pages)
    create = AsyncMethod(administration.key_create)
    delete = AsyncMethod(administration.key_delete)


class AsyncProviders(AsyncResource):
    """The configured accounts."""

    list = AsyncListed(administration.provider_pages)


class AsyncSources(AsyncResource):
    """The configured sources of messages about jobs that were submitted elsewhere."""

    list = AsyncListed(administration.source_pages)


class AsyncRingback:
    """An async client of one service, for one event loop.

    `url` and `api_key` default to RINGBACK_URL and RINGBACK_API_KEY, or the file that RINGBACK_API_KEY_FILE
    names. `timeout` is in seconds, for connecting and for each part of an answer. `http` is an httpx client
    of your own, which you close yourself.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._settings = settings(url, api_key)
        self._timeout, self._sleep = timeout, sleep
        self.retry = retry or Retry()
        self._owned = http is None
        self._http = http or httpx.AsyncClient(limits=wire.LIMITS)
        self.jobs, self.events, self.endpoints = AsyncJobs(self), AsyncEvents(self), AsyncEndpoints(self)
        self.replays, self.deliveries = AsyncReplays(self), AsyncDeliveries(self)
        self.keys, self.providers, self.sources = AsyncKeys(self), AsyncProviders(self), AsyncSources(self)

    def __repr__(self) -> str:
        """Return the client with its URL, without its key."""
        return f"{type(self).__name__}({self._settings.url!r})"

    async def __aenter__(self) -> Self:
        """Return the client, which is closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._http.aclose()

    async def statistics(
        self,
        metric: str,
        *,
        by: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        step: int | None = None,
    ) -> Statistic:
        """Read a statistic, split by labels: the last hour, or from `since` in steps of `step` seconds."""
        call = administration.statistics(metric, by=by, since=since, until=until, step=step)
        return await self.perform(call)

    async def signing_keys(self) -> tuple[SigningKey, ...]:
        """Read the public keys that verify `v1a` signatures. Returns them, newest first."""
        return await self.perform(administration.signing_keys())

    async def perform(self, plan: Call[Result] | Flow[Result]) -> Result:
        """Return the value of a call or a flow. Raises `RingbackError`."""
        made, reply = steps(plan, self.retry), None
        while True:
            try:
                step = made.send(reply)
            except StopIteration as ended:
                value: Result = ended.value
                return value
            reply = await self.step(step)

    async def pages(self, call: Call[Page[Item]]) -> AsyncIterator[Item]:
        """Yield the items of all pages of a list, each page when it is needed."""
        while True:
            page = await self.perform(call)
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            call = call.at(page.next_cursor)

    async def step(self, step: Step) -> Reply:
        """Perform one step of a flow. Returns the reply."""
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        return await self._ask(step)

    async def _ask(self, call: Call[Any]) -> Answer | Lost:
        request = self._http.build_request(**wire.request(self._settings, call, self._timeout))
        try:
            # Streamed, so that its size is bounded. A redirect would carry the key to another place.
            response = await self._http.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                body = wire.Gathered()
                async for part in response.aiter_bytes():
                    body.add(part)
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            return wire.lost(self._settings, error)
        return body.answer(response)


class AsyncFollower(AsyncIterator[Event]):
    """An endless iterator over the feed, which `stop` or a cancellation of the task ends."""

    def __init__(self, client: AsyncRingback, place: AsyncPlaceStore | PlaceStore, chosen: Following) -> None:
        self._client, self._place, self._chosen = client, place, chosen
        self._stopped = False
        self._events = self._following()

    async def __anext__(self) -> Event:
        """Return the next event, after the place behind the one before was kept."""
        return await anext(self._events)

    def stop(self) -> None:
        """End the loop once the present event is handled and its place kept, within one waiting call.

        A signal handler of the loop may call it.
        """
        self._stopped = True

    async def aclose(self) -> None:
        """End now. The present event is not counted as handled."""
        await self._events.aclose()

    async def _following(self) -> AsyncGenerator[Event, None]:
        made = follow(self._chosen, self._client.retry)
        reply: FeedReply = None
        while True:
            step = made.send(reply)
            reply = None
            # First, so that a loop that is stopped within an event keeps the place behind it.
            if isinstance(step, Save):
                await _kept(self._place.save, step.place)
            elif self._stopped:
                return
            elif isinstance(step, Event):
                yield step
            elif isinstance(step, Load):
                reply = await _kept(self._place.load)
            else:
                reply = await self._client.step(step)


async def _kept(function: Callable[..., Any], *given: str) -> Any:
    """Call a function of a place store, in a thread unless it is async. Returns its result."""
    # A thread for a coroutine function would only make the coroutine.
    if inspect.iscoroutinefunction(function):
        return await function(*given)
    return await asyncio.to_thread(function, *given)
