"""Lists are rendered a piece at a time, and say the same as if they were rendered at once."""

import asyncio

from handlers import json
from receiver.api.paging import TURN_BYTES, rendered


async def test_a_large_list_lets_others_have_turns() -> None:
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    items = ["x" * (TURN_BYTES // 2)] * 40
    answer = await rendered(items, lambda item: {"result": item}, next_cursor=None, has_more=False)
    done = True
    await task
    assert turns >= 19
    whole = {"data": [{"result": item} for item in items], "next_cursor": None, "has_more": False}
    assert bytes(answer.body) == json.write(whole)


async def test_an_empty_list_is_one() -> None:
    answer = await rendered([], str, next_cursor="7")
    assert bytes(answer.body) == b'{"data":[],"next_cursor":"7"}'
    assert answer.headers["content-type"] == "application/json"
