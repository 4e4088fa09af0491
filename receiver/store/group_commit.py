"""Group commit: many callers' writes in one transaction, each answered after its COMMIT.

One bounded queue takes every write verb. A transaction takes what has gathered at the moment when it
begins, bounded by its cost, so that what comes while the writer is still busy goes along. When it fails for
a reason of its content, the items run again one by one, so that a bad one never fails its neighbours; when
the database itself is away, all of them are told so at once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from receiver.domain.errors import Contended, StoreUnavailable, TooLarge
from receiver.store.statements import Step, Transaction

Item = TypeVar("Item")
Result = TypeVar("Result")

LOGGER = logging.getLogger("ringback.store")
DRAIN = 2_000
"""The cost that one transaction takes at most: about one for a row or a kilobyte."""
ROOM = 64_000
"""The cost that may wait; beyond it a write is refused at once."""
RESERVED = 16_000
"""The cost that may wait beyond it of outcomes of paid work."""


TRIES = 3
"""How often an item runs alone when other transactions are in its way."""


def _flat(_item: object) -> int:
    return 4


def _nothing(_told: object) -> None:
    return None


@dataclass(frozen=True, eq=False)
class BatchedWrite(Generic[Item, Result]):
    """A write: the transaction of a batch of its items, the cost of one, the undoing of a promise on failure,
    and the work that follows the commit of each, even where the caller is gone: it may hold slots for it.

    A batch that writes `in_order` runs behind the others of its transaction, because other writers wait for
    it from there to the commit; the `last` is one that waits for none of their rows.
    """

    name: str
    run: Callable[[Sequence[Item]], Transaction[Sequence[Result]]]
    cost: Callable[[Item], int] = _flat
    rollback: Callable[[Result], None] = _nothing
    follow: Callable[[Item, Result], None] | None = None
    in_order: bool = False
    last: bool = False


@dataclass(slots=True)
class _Waiting:
    verb: BatchedWrite[Any, Any]
    item: Any
    cost: int
    future: asyncio.Future[Any]


class GroupCommit:
    """The one way to write. `write` runs a transaction to its commit, `writers` of them at once. A writer
    calls `between_commits` once the callers of one have their answers, before the next begins.

    The queue is filled by the loop and emptied by the writer, perhaps on a thread of its own: each has its
    own counter of cost.
    """

    def __init__(
        self,
        write: Callable[[Transaction[list[Any]]], Awaitable[list[Any]]],
        between_commits: Callable[[], Awaitable[None]],
        writers: int = 1,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = write
        self.writers = writers
        self._between_commits = between_commits
        self._waiting: deque[_Waiting] = deque()
        self._queued = self._taken = 0
        self._running: set[asyncio.Task[None]] = set()
        self._closed = self._in_trouble = False

    async def do(self, verb: BatchedWrite[Item, Result], item: Item, *, reserved: bool = False) -> Result:
        """What `verb` says of `item`, once it is durable; `StoreUnavailable` when it cannot be."""
        future = self.start(verb, item, reserved=reserved)
        return await future

    def start(
        self, verb: BatchedWrite[Item, Result], item: Item, *, reserved: bool = False
    ) -> "asyncio.Future[Result]":
        """Queue `item` now; the future tells once it is durable. A `reserved` one finds room longer.

        Raises `TooLarge` for an item that would never fit.
        """
        cost = verb.cost(item)
        room = ROOM + RESERVED if reserved else ROOM
        if cost > room:
            raise TooLarge("this is more than can be stored at once")
        if self._closed or self._queued - self._taken + cost > room:
            raise StoreUnavailable("too much is waiting to be stored" if not self._closed else "")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append(_Waiting(verb, item, cost, future))
        self._queued += cost
        if len(self._running) < self.writers:
            self._running.add(self._loop.create_task(self._run()))
        return future

    async def close(self) -> None:
        """Store what is queued, then take no more."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch: list[_Waiting] = []
                try:
                    told = await self._write(self._gathered(batch))
                except StoreUnavailable as error:
                    self._tell(error)
                    _fail(batch or self._take(), error)
                except Exception as error:  # noqa: BLE001  # the caller gets it, whatever it is
                    await self._one_by_one(batch or self._take(), error)
                else:
                    self._tell(None)
                    self._answer(batch, told)
                await self._between_commits()
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._running.discard(task)

    def _tell(self, trouble: StoreUnavailable | None) -> None:
        """Log once that nothing can be stored, and why, and once that it can again."""
        if trouble is not None and not self._in_trouble:
            LOGGER.error("cannot store: %s (%s)", trouble.detail, trouble.__cause__)
        elif trouble is None and self._in_trouble:
            LOGGER.warning("can store again")
        self._in_trouble = trouble is not None

    def _gathered(self, batch: list[_Waiting]) -> Transaction[list[Any]]:
        """One transaction of all that waits when it begins; `batch` tells what that was."""
        batch += self._take()
        return (yield from _together(batch))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        cost = 0
        while self._waiting and (not batch or cost + self._waiting[0].cost <= DRAIN):
            batch.append(self._waiting.popleft())
            cost += batch[-1].cost
        self._taken += cost
        return batch

    async def _one_by_one(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if len(batch) == 1 and not isinstance(error, Contended):
            _fail(batch, error)
            return
        for waiting in batch:
            await self._alone(waiting)

    async def _alone(self, waiting: _Waiting) -> None:
        for left in range(TRIES - 1, -1, -1):
            try:
                told = await self._write(_together([waiting]))
            except Contended as conflict:
                if left == 0:
                    away = StoreUnavailable("other transactions change the same rows again and again")
                    _fail([waiting], away if conflict.passes else conflict.__cause__ or conflict)
            except Exception as own:  # noqa: BLE001  # as above, each its own
                _fail([waiting], own)
                return
            else:
                self._answer([waiting], told)
                return

    def _answer(self, batch: Sequence[_Waiting], told: Sequence[Any]) -> None:
        for waiting, answer in zip(batch, told, strict=True):
            if waiting.verb.follow is not None:
                self._loop.call_soon(waiting.verb.follow, waiting.item, answer)
            if not waiting.future.done():
                waiting.future.set_result(answer)


def _together(batch: Sequence[_Waiting]) -> Transaction[list[Any]]:
    groups: dict[BatchedWrite[Any, Any], list[int]] = {}
    for index, waiting in enumerate(batch):
        groups.setdefault(waiting.verb, []).append(index)
    told: list[Any] = [None] * len(batch)
    done: list[tuple[BatchedWrite[Any, Any], Sequence[Any]]] = []
    try:
        for verb, indexes in sorted(groups.items(), key=lambda group: (group[0].in_order, group[0].last)):
            answers = yield from verb.run([batch[index].item for index in indexes])
            done.append((verb, answers))
            for index, answer in zip(indexes, answers, strict=True):
                told[index] = answer
        yield Step.COMMIT
    except BaseException:
        for verb, answers in done:
            for answer in answers:
                verb.rollback(answer)
        raise
    return told


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
