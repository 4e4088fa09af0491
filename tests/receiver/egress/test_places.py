"""Places that many want: the order of turns, giving up, and that none is ever lost."""

import asyncio

import pytest

from receiver.egress.places import Full, Share


async def queued(share: Share, count: int) -> tuple[list[asyncio.Task[None]], list[int]]:
    """Tasks that wait for a place, and the numbers of those that got one, in turn."""
    served: list[int] = []

    async def take(number: int) -> None:
        await share.take()
        served.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks, served


@pytest.mark.parametrize(("newest_first", "order"), [(False, [0, 1, 2]), (True, [2, 1, 0])])
async def test_places_are_given_in_turn(newest_first: bool, order: list[int]) -> None:
    share = Share(1, 9, newest_first=newest_first)
    await share.take()
    tasks, served = await queued(share, 3)
    for _ in range(3):
        share.give()
    await asyncio.gather(*tasks)
    assert (served, share.taken) == (order, 1)


async def test_whoever_gives_up_is_passed_over_and_loses_no_place() -> None:
    share = Share(1, 9)
    await share.take()
    tasks, served = await queued(share, 4)
    tasks[0].cancel()
    share.give()
    tasks[2].cancel()
    await asyncio.wait(tasks[:3])
    assert served == [1]
    share.give()
    await asyncio.wait(tasks)
    share.give()
    assert (served, share.taken) == ([1, 3], 0)


async def test_a_place_given_to_one_who_gives_up_goes_to_the_next() -> None:
    share = Share(1, 9)
    await share.take()
    tasks, served = await queued(share, 2)
    share.give()
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert (served, share.taken) == ([1], 1)


async def test_so_many_may_wait_and_no_more() -> None:
    share = Share(1, 2)
    await share.take()
    tasks, _ = await queued(share, 2)
    with pytest.raises(Full):
        await share.take()
    share.give()
    share.give()
    await asyncio.gather(*tasks)
