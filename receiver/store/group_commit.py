"""Group commit: the writes of many callers in one transaction, each answered after the COMMIT.

One bounded queue takes all writes. A transaction takes the items that are queued when it begins, up to a
maximum cost, so that items that arrive while the writer is busy join it. When it fails because of its
content, the items run again one by one, so that a bad item never fails its neighbours; when the database
itself is unavailable, all of them fail at once.
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
"""Maximum cost of one transaction: a row or a kilobyte costs about 1."""
ROOM = 64_000
"""Maximum cost of the queue: a write beyond it is refused at once."""
RESERVED = 16_000
"""Additional cost of the queue that only outcomes of paid work may use."""


TRIES = 3
"""Maximum number of times that an item runs alone while other transactions conflict with it."""
PATIENCE = 0.02
"""Maximum number of seconds for which patient items wait for others."""


def _flat(_item: object) -> int:
    return 4


def _nothing(_told: object) -> None:
    return None


def _ignored(_seconds: float, _writes: int) -> None:
    return None


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchedWrite(Generic[Item, Result]):
    """A kind of write.

    `run` makes the transaction of a batch of items, and `cost` is the cost of one item. `rollback` gives back
    the slots that a result holds when the transaction fails. `follow` runs after the commit for each item,
    even if its caller is gone, because the result may hold slots.

    A batch that writes `in_order` takes the order lock (`Step.IN_ORDER`), for which other writers wait until
    the commit, so it runs behind the other batches. One that is also `last` runs behind all: it waits for no
    row of another transaction.
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
    """The queue of all writes. `write` runs a transaction to its commit, up to `writers` of them at once. A
    writer calls `between_commits` after the callers of one transaction have their answers and before the next
    begins. `committed` is called with the seconds and the writes of each transaction.

    The event loop fills the queue and the writer empties it, possibly on a thread of its own, so each of them
    has its own counter of cost.
    """

    def __init__(
        self,
        write: Callable[[Transaction[list[Any]]], Awaitable[list[Any]]],
        between_commits: Callable[[], Awaitable[None]],
        writers: int = 1,
        committed: Callable[[float, int], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = write
        self.writers = writers
        self._committed = committed or _ignored
        self._between_commits = between_commits
        self._waiting: deque[_Waiting] = deque()
        self._patient: list[_Waiting] = []
        self._queued = self._taken = 0
        self._running: set[asyncio.Task[None]] = set()
        self._closed = self._in_trouble = False

    async def do(
        self,
        verb: BatchedWrite[Item, Result],
        item: Item,
        *,
        reserved: bool = False,
        patient: bool = False,
    ) -> Result:
        """Return the result of `verb` for `item` once it is durable.

        Raises `StoreUnavailable` when it cannot be stored now, and any error that its transaction raises.
        """
        future = self.start(verb, item, reserved=reserved, patient=patient)
        return await future

    def start(
        self,
        verb: BatchedWrite[Item, Result],
        item: Item,
        *,
        reserved: bool = False,
        patient: bool = False,
    ) -> "asyncio.Future[Result]":
        """Queue `item` now. Returns a future of its result, set once the item is durable. A `reserved` item
        may also use the part of the queue that is kept for outcomes of paid work. A `patient` item for which
        a transaction would begin waits for others like it instead, at most `PATIENCE`.

        Raises `TooLarge` for an item that never fits, `StoreUnavailable` when the queue is full or closed.
        """
        cost = verb.cost(item)
        # A paid outcome exists only in this process. Why: receiver/README.md#an-outcome-waits-for-the-store
        room = ROOM + RESERVED if reserved else ROOM
        if cost > room:
            raise TooLarge("this is more than can be stored at once")
        if self._closed or self._queued - self._taken + cost > room:
            raise StoreUnavailable("too much is waiting to be stored" if not self._closed else "")
        future: asyncio.Future[Result] = self._loop.create_future()
        waiting = _Waiting(verb, item, cost, future)
        self._queued += cost
        if patient and len(self._running) < self.writers:
            if not self._patient:
                self._loop.call_later(PATIENCE, self._hasten)
            self._patient.append(waiting)
        else:
            self._waiting.append(waiting)
            self._begin()
        return future

    def _begin(self) -> None:
        if len(self._running) < self.writers:
            self._running.add(self._loop.create_task(self._run()))

    def _hasten(self) -> None:
        """Queue the patient items. None are left where the queue was closed meanwhile."""
        if self._patient:
            self._waiting.extend(self._patient)
            self._patient.clear()
            self._begin()

    async def close(self) -> None:
        """Refuse further items, and wait until the queued ones are stored or have failed."""
        self._closed = True
        self._hasten()
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch: list[_Waiting] = []
                began = self._loop.time()
                try:
                    results = await self._write(self._gathered(batch))
                except StoreUnavailable as error:
                    self._tell(error)
                    self._committed(0.0, 0)
                    # `batch` is empty when the transaction failed before it began. The waiting items fail
                    # with it, because the loop would otherwise retry them without a pause.
                    _fail(batch or self._take(), error)
                except Exception as error:  # noqa: BLE001  # the caller gets any error
                    await self._one_by_one(batch or self._take(), error)
                else:
                    self._tell(None)
                    self._committed(self._loop.time() - began, len(batch))
                    self._answer(batch, results)
                await self._between_commits()
        finally:
            # There is no await after the queue was seen empty, so the next item starts a new task.
            task = asyncio.current_task()
            if task is not None:
                self._running.discard(task)

    def _tell(self, trouble: StoreUnavailable | None) -> None:
        """Log once when the store stops taking writes, with the reason, and once when it takes them again."""
        if trouble is not None and not self._in_trouble:
            LOGGER.error("cannot store: %s (%s)", trouble.detail, trouble.__cause__)
        elif trouble is None and self._in_trouble:
            LOGGER.warning("can store again")
        self._in_trouble = trouble is not None

    def _gathered(self, batch: list[_Waiting]) -> Transaction[list[Any]]:
        """Run all items that wait when the transaction begins, and add them to `batch`."""
        # The body of a generator runs when the driver begins the transaction, not when `_run` makes it. Until
        # then the writer may be busy (it moves the log between commits), and items that arrive meanwhile join
        # this commit instead of waiting for the next. Why: receiver/README.md#the-log-moves-beside-commits
        batch += self._take()
        return (yield from _together(batch))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        cost = 0
        # An item above the maximum runs in a transaction of its own.
        while self._waiting and (not batch or cost + self._waiting[0].cost <= DRAIN):
            batch.append(self._waiting.popleft())
            cost += batch[-1].cost
        self._taken += cost
        return batch

    async def _one_by_one(self, batch: Sequence[_Waiting], error: Exception) -> None:
        # A single item would fail again with the same error, unless a conflict caused it and may be over.
        if len(batch) == 1 and not isinstance(error, Contended):
            _fail(batch, error)
            return
        # The error does not name its item. In transactions of their own, the other items are stored.
        for waiting in batch:
            await self._alone(waiting)

    async def _alone(self, waiting: _Waiting) -> None:
        for left in range(TRIES - 1, -1, -1):
            try:
                results = await self._write(_together([waiting]))
            except Contended as conflict:
                if left == 0:
                    away = StoreUnavailable("other transactions change the same rows again and again")
                    _fail([waiting], away if conflict.passes else conflict.__cause__ or conflict)
            except Exception as own:  # noqa: BLE001  # as above, each item its own error
                _fail([waiting], own)
                return
            else:
                self._answer([waiting], results)
                return

    def _answer(self, batch: Sequence[_Waiting], results: Sequence[Any]) -> None:
        for waiting, answer in zip(batch, results, strict=True):
            # Even if the caller is gone. Why: receiver/README.md#follow-ups-hang-on-the-write
            if waiting.verb.follow is not None:
                self._loop.call_soon(waiting.verb.follow, waiting.item, answer)
            if not waiting.future.done():
                waiting.future.set_result(answer)


def _together(batch: Sequence[_Waiting]) -> Transaction[list[Any]]:
    groups: dict[BatchedWrite[Any, Any], list[int]] = {}
    for index, waiting in enumerate(batch):
        groups.setdefault(waiting.verb, []).append(index)
    results: list[Any] = [None] * len(batch)
    done: list[tuple[BatchedWrite[Any, Any], Sequence[Any]]] = []
    try:
        # From the order lock to the commit other writers wait, so batches that take it run behind the others.
        # A `last` batch may take it and skips locked rows; a batch behind it could hold the lock while it
        # waits for a row of a transaction that waits for the lock.
        for verb, indexes in sorted(groups.items(), key=lambda group: (group[0].in_order, group[0].last)):
            answers = yield from verb.run([batch[index].item for index in indexes])
            done.append((verb, answers))
            for index, answer in zip(indexes, answers, strict=True):
                results[index] = answer
        # Yielded here, so that a COMMIT that fails also releases the slots that the results hold.
        yield Step.COMMIT
    except BaseException:
        for verb, answers in done:
            for answer in answers:
                verb.rollback(answer)
        raise
    return results


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
