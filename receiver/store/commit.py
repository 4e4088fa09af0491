"""Group commit: many callers' writes in one transaction, each answered after its COMMIT.

One bounded queue takes every write verb. A drain takes what has gathered, bounded by its cost, and runs it
as one transaction. When that fails for a reason of its content, the items run again one by one, so that a
bad one never fails its neighbours; when the database itself is away, all of them are told so at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from receiver.errors import StoreUnavailable
from receiver.store.statements import COMMIT, Transaction

Item = TypeVar("Item")
Told = TypeVar("Told")

DRAIN = 2_000
"""The cost that one transaction takes at most: about one for a row or a kilobyte."""
ROOM = 64_000
"""The cost that may wait; beyond it a write is refused at once."""


def _flat(_item: object) -> int:
    return 4


def _nothing(_told: object) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Verb(Generic[Item, Told]):
    """A write: how a batch of its items runs, what one costs, and how to undo a promise on failure."""

    name: str
    run: Callable[[Sequence[Item]], Transaction[Sequence[Told]]]
    cost: Callable[[Item], int] = _flat
    abandon: Callable[[Told], None] = _nothing


@dataclass(slots=True)
class _Waiting:
    verb: Verb[Any, Any]
    item: Any
    cost: int
    future: asyncio.Future[Any]


class GroupCommit:
    """The one way to write. `write` runs a transaction to its commit."""

    def __init__(self, write: Callable[[Transaction[list[Any]]], Awaitable[list[Any]]]) -> None:
        self._write = write
        self._waiting: list[_Waiting] = []
        self._cost = 0
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    async def do(self, verb: Verb[Item, Told], item: Item) -> Told:
        """What `verb` says of `item`, once it is durable; `StoreUnavailable` when it cannot be."""
        future = self.start(verb, item)
        return await future

    def start(self, verb: Verb[Item, Told], item: Item) -> "asyncio.Future[Told]":
        """Queue `item` now; the future tells once it is durable."""
        cost = verb.cost(item)
        if self._closed or self._cost + cost > ROOM:
            raise StoreUnavailable("too much is waiting to be stored" if not self._closed else "")
        future: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(verb, item, cost, future))
        self._cost += cost
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())
        return future

    async def close(self) -> None:
        """Store what is queued, then take no more."""
        self._closed = True
        if self._runner is not None:
            await self._runner

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    told = await self._write(_together(batch))
                except StoreUnavailable as error:
                    _fail(batch, error)
                except Exception as error:  # noqa: BLE001  # the caller gets it, whatever it is
                    await self._one_by_one(batch, error)
                else:
                    _answer(batch, told)
        finally:
            self._runner = None

    def _take(self) -> list[_Waiting]:
        cost = count = 0
        for waiting in self._waiting:
            if count and cost + waiting.cost > DRAIN:
                break
            cost += waiting.cost
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._cost -= cost
        return batch

    async def _one_by_one(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if len(batch) == 1:
            _fail(batch, error)
            return
        for waiting in batch:
            try:
                told = await self._write(_together([waiting]))
            except Exception as own:  # noqa: BLE001  # as above, each its own
                _fail([waiting], own)
            else:
                _answer([waiting], told)


def _together(batch: Sequence[_Waiting]) -> Transaction[list[Any]]:
    groups: dict[Verb[Any, Any], list[int]] = {}
    for index, waiting in enumerate(batch):
        groups.setdefault(waiting.verb, []).append(index)
    told: list[Any] = [None] * len(batch)
    done: list[tuple[Verb[Any, Any], Sequence[Any]]] = []
    try:
        for verb, indexes in groups.items():
            answers = yield from verb.run([batch[index].item for index in indexes])
            done.append((verb, answers))
            for index, answer in zip(indexes, answers, strict=True):
                told[index] = answer
        yield COMMIT
    except BaseException:
        for verb, answers in done:
            for answer in answers:
                verb.abandon(answer)
        raise
    return told


def _answer(batch: Sequence[_Waiting], told: Sequence[Any]) -> None:
    for waiting, answer in zip(batch, told, strict=True):
        if not waiting.future.done():
            waiting.future.set_result(answer)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
