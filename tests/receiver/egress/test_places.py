"""Tests of bounded places: the order of the queue, cancellation, and that no place is lost."""

import asyncio

import pytest

from receiver.egress.places import NoPlace, Places


async def queued(share: Places, count: int) -> tuple[list[asyncio.Task[None]], list[int]]:
    """Return tasks that wait for a place, and a list that gets the number of each one served, in order."""
    served: list[int] = []

    async def take(number: int) -> None:
        await share.acquire()
        served.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks, served


@pytest.mark.parametrize(("newest_first", "order"), [(False, [0, 1, 2]), (True, [2, 1, 0])])
async def test_places_are_given_in_turn(newest_first: bool, order: list[int]) -> None:
    share = Places(1, 9, newest_first=newest_first)
    await share.acquire()
    tasks, served = await queued(share, 3)
    for _ in range(3):
        share.release()
    await asyncio.gather(*tasks)
    assert (served, share.taken) == (order, 1)


async def test_whoever_gives_up_is_passed_over_and_loses_no_place() -> None:
    share = Places(1, 9)
    await share.acquire()
    tasks, served = await queued(share, 4)
    tasks[0].cancel()
    share.release()
    tasks[2].cancel()
    await asyncio.wait(tasks[:3])
    assert served == [1]
    share.release()
    await asyncio.wait(tasks)
    share.release()
    assert (served, share.taken) == ([1, 3], 0)


async def test_a_place_given_to_one_who_gives_up_goes_to_the_next() -> None:
    share = Places(1, 9)
    await share.acquire()
    tasks, served = await queued(share, 2)
    share.release()
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert (served, share.taken) == ([1], 1)


async def test_so_many_may_wait_and_no_more() -> None:
    share = Places(1, 2)
    await share.acquire()
    tasks, _ = await queued(share, 2)
    with pytest.raises(NoPlace):
        await share.acquire()
    share.release()
    share.release()
    await asyncio.gather(*tasks)
