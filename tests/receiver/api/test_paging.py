"""Pages of lists: rendered item by item with the same bytes as at once, and the cursor of the next page."""

import asyncio

import pytest

from handlers import json
from receiver.api.paging import TURN_BYTES, foreign_cursor, page, rendered


async def test_a_large_list_lets_others_have_turns() -> None:
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    items = ["x" * (TURN_BYTES // 2)] * 40
    answer = await rendered(
        items, lambda item: json.write({"result": item}), next_cursor=None, has_more=False
    )
    done = True
    await task
    assert turns >= 19
    whole = {"data": [{"result": item} for item in items], "next_cursor": None, "has_more": False}
    assert bytes(answer.body) == json.write(whole)


async def test_an_empty_list_is_one() -> None:
    answer = await rendered([], bytes, next_cursor="7")
    assert bytes(answer.body) == b'{"data":[],"next_cursor":"7"}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("count", "place", "shown", "cursor"),
    [
        (0, None, [], None),
        (2, None, ["id_0", "id_1"], None),
        (3, None, ["id_0", "id_1"], "id_1"),
        (1, "id_9", ["id_0"], "id_9"),
        (0, "id_9", [], "id_9"),
        (3, "id_9", ["id_0", "id_1"], "id_1"),
    ],
)
def test_a_page_has_a_cursor_where_more_items_may_follow(
    count: int, place: str | None, shown: list[str], cursor: str | None
) -> None:
    body = json.read(bytes(page([{"id": f"id_{number}"} for number in range(count)], 2, place).body))
    assert body == {"data": [{"id": one} for one in shown], "next_cursor": cursor}


def test_the_cursor_of_another_list_is_an_error_of_the_query() -> None:
    error = foreign_cursor()
    [field] = error.errors
    assert (field.place, field.pointer, field.name) == ("query", "cursor", "cursor")
    assert error.detail == "cursor: is not a cursor of this list"
