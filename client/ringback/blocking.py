"""The blocking client."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from ringback import wire
from ringback.calls import administration, deliveries, endpoints, events, jobs
from ringback.core import Answer, Call, Lost, Pause, Reply, Result, Step
from ringback.events import Event
from ringback.following import FeedReply, Following, Load, OnLost, Save, follow
from ringback.methods import Listed, Method, Resource
from ringback.places import MemoryPlace, PlaceStore
from ringback.retrying import Retry
from ringback.settings import settings
from ringback.statistics import Statistic
from ringback.values import Item, Page, SigningKey
from ringback.waiting import Flow, run, steps, wait


class Jobs(Resource):
    """Jobs: submit them, wait for them, look at them."""

    submit = Method(jobs.submit)
    run = Method(run)
    wait = Method(wait)
    get = Method(jobs.show)
    list = Listed(jobs.pages)
    cancel = Method(jobs.cancel)
    resolve = Method(jobs.resolve)
    erase = Method(jobs.erase)
    revoke_assets = Method(jobs.revoke_assets)
    token = Method(jobs.token)
    timeline = Listed(jobs.timeline)
    messages = Listed(jobs.messages)


class Events(Resource):
    """The feed of events."""

    _client: "Ringback"
    page = Method(events.page)
    get = Method(events.show)

    def follow(
        self,
        *,
        place: PlaceStore | None = None,
        type: str | None = None,  # noqa: A002  # the API's word
        job: str | None = None,
        after: str | None = None,
        wait: float = 30.0,
        on_lost: OnLost = "raise",
    ) -> "Follower":
        """Follow the feed for ever, from the place that is kept on. Returns an iterator over its events.

        The place is kept once the loop asks for the next event, so that an event is handled at least once.
        Errors that pass are waited out. Raises `PlaceLost` when retention removed the place, unless `on_lost`
        is "oldest" or a function that takes the error: then it goes on at the oldest event.
        """
        chosen = Following(type=type, job=job, after=after, wait=wait, on_lost=on_lost)
        return Follower(self._client, MemoryPlace() if place is None else place, chosen)


class Endpoints(Resource):
    """Endpoints: the URLs that get events."""

    create = Method(endpoints.create)
    get = Method(endpoints.show)
    list = Listed(endpoints.pages)
    update = Method(endpoints.update)
    delete = Method(endpoints.delete)
    secret = Method(endpoints.secret)
    test = Method(endpoints.test)
    pause = Method(endpoints.pause)
    resume = Method(endpoints.resume)
    rotate_secret = Method(endpoints.rotate_secret)
    explain = Method(endpoints.explain)
    replay = Method(endpoints.replay)


class Replays(Resource):
    """Replays: old events that are sent to an endpoint again."""

    get = Method(endpoints.replay_show)
    list = Listed(endpoints.replay_pages)
    cancel = Method(endpoints.replay_cancel)


class Deliveries(Resource):
    """Deliveries of events to endpoints."""

    list = Listed(deliveries.pages)
    get = Method(deliveries.show)
    retry = Method(deliveries.retry)
    cancel = Method(deliveries.cancel)


class Keys(Resource):
    """API keys."""

    list = Listed(administration.key_pages)
    create = Method(administration.key_create)
    delete = Method(administration.key_delete)


class Providers(Resource):
    """The configured accounts."""

    list = Listed(administration.provider_pages)


class Sources(Resource):
    """The configured sources of messages about jobs that were submitted elsewhere."""

    list = Listed(administration.source_pages)


class Ringback:
    """A blocking client of one service; several threads may share it.

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
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings(url, api_key)
        self._timeout, self._sleep = timeout, sleep
        self.retry = retry or Retry()
        self._owned = http is None
        self._http = http or httpx.Client(limits=wire.LIMITS)
        self.jobs, self.events, self.endpoints = Jobs(self), Events(self), Endpoints(self)
        self.replays, self.deliveries = Replays(self), Deliveries(self)
        self.keys, self.providers, self.sources = Keys(self), Providers(self), Sources(self)

    def __repr__(self) -> str:
        """Return the client with its URL, without its key."""
        return f"{type(self).__name__}({self._settings.url!r})"

    def __enter__(self) -> Self:
        """Return the client, which is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def statistics(
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
        return self.perform(call)

    def signing_keys(self) -> tuple[SigningKey, ...]:
        """Read the public keys that verify `v1a` signatures. Returns them, newest first."""
        return self.perform(administration.signing_keys())

    def perform(self, plan: Call[Result] | Flow[Result]) -> Result:
        """Return the value of a call or a flow. Raises `RingbackError`."""
        made, reply = steps(plan, self.retry), None
        while True:
            try:
                step = made.send(reply)
            except StopIteration as ended:
                value: Result = ended.value
                return value
            reply = self.step(step)

    def pages(self, call: Call[Page[Item]]) -> Iterator[Item]:
        """Yield the items of all pages of a list, each page when it is needed."""
        while True:
            page = self.perform(call)
            yield from page.items
            if page.next_cursor is None:
                return
            call = call.at(page.next_cursor)

    def step(self, step: Step) -> Reply:
        """Perform one step of a flow. Returns the reply."""
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        return self._ask(step)

    def _ask(self, call: Call[Any]) -> Answer | Lost:
        request = self._http.build_request(**wire.request(self._settings, call, self._timeout))
        try:
            # Streamed, so that its size is bounded. A redirect would carry the key to another place.
            response = self._http.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                body = wire.Gathered()
                for part in response.iter_bytes():
                    body.add(part)
            finally:
                response.close()
        except httpx.HTTPError as error:
            return wire.lost(self._settings, error)
        return body.answer(response)


class Follower(Iterator[Event]):
    """An endless iterator over the feed, which `stop` ends."""

    def __init__(self, client: Ringback, place: PlaceStore, chosen: Following) -> None:
        self._client, self._place, self._chosen = client, place, chosen
        self._stopped = False
        self._events = self._following()

    def __next__(self) -> Event:
        """Return the next event, after the place behind the one before was kept."""
        return next(self._events)

    def stop(self) -> None:
        """End the loop once the present event is handled and its place kept, within one waiting call.

        A signal handler or another thread may call it.
        """
        self._stopped = True

    def close(self) -> None:
        """End now. The present event is not counted as handled."""
        self._events.close()

    def _following(self) -> Generator[Event, None, None]:
        made = follow(self._chosen, self._client.retry)
        reply: FeedReply = None
        while True:
            step = made.send(reply)
            reply = None
            # First, so that a loop that is stopped within an event keeps the place behind it.
            if isinstance(step, Save):
                self._place.save(step.place)
            elif self._stopped:
                return
            elif isinstance(step, Event):
                yield step
            elif isinstance(step, Load):
                reply = self._place.load()
            else:
                reply = self._client.step(step)
