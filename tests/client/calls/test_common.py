"""Pages of lists."""

from typing import Any

import pytest

from ringback.calls.common import nothing, read_page
from ringback.reading import Unreadable


def test_a_page_has_its_items_and_the_place_of_the_next() -> None:
    page = read_page(str, {"data": [1, 2], "next_cursor": "c", "new": 1})
    assert (page.items, page.next_cursor) == (("1", "2"), "c")
    assert read_page(str, {"data": []}).next_cursor is None


@pytest.mark.parametrize("given", [None, [], {}, {"data": {}}, {"data": [], "next_cursor": 7}])
def test_anything_else_is_no_page(given: Any) -> None:
    with pytest.raises(Unreadable):
        read_page(str, given)


def test_any_answer_is_nothing_where_none_is_read() -> None:
    nothing({"object": "job"})
