"""Calls about events."""

from typing import Any

import pytest

from receiver.api.event_examples import EXAMPLES
from ringback.calls import events
from ringback.events import JobFailed
from ringback.reading import Unreadable

EVENT = EXAMPLES["job.failed"] | {"object": "event"}


def test_a_page_of_the_feed_has_typed_events_and_its_place() -> None:
    page = events.page(after="evt_1").reads({"data": [EVENT], "next_cursor": "7", "has_more": True})
    assert isinstance(page.items[0], JobFailed)
    assert (page.next_cursor, page.has_more) == ("7", True)
    assert not events.page().reads({"data": [], "next_cursor": "7"}).has_more


@pytest.mark.parametrize("given", [{"data": []}, {"data": [], "next_cursor": None}, {"data": [{}]}, None])
def test_a_page_without_its_place_is_unreadable(given: Any) -> None:
    with pytest.raises(Unreadable):
        events.page().reads(given)


def test_an_event_is_read_with_where_it_went() -> None:
    place = {"endpoint": "ep_1", "delivery": None, "status": "filtered", "reason": "$eq"}
    event = events.show("evt_1").reads(EVENT | {"deliveries": [place]})
    assert [(one.endpoint, one.status, one.reason) for one in event.deliveries] == [
        ("ep_1", "filtered", "$eq")
    ]
