"""The follower of the feed."""

import logging
from typing import Any

import pytest

from receiver.api.event_examples import EXAMPLES
from ringback.errors import Forbidden, Invalid, PlaceLost
from ringback.following import Following, OnLost, follow
from tests.client.driven import AWAY, CUT, UNSENT, Driven, ScriptEnded, refused, said, then_end


def event(number: int) -> dict[str, Any]:
    """Return an event of the feed."""
    return EXAMPLES["job.succeeded"] | {"object": "event", "id": f"evt_{number}"}


def fed(cursor: str, *numbers: int, more: bool = False) -> Any:
    """Return a page of the feed."""
    return said({"data": [event(number) for number in numbers], "next_cursor": cursor, "has_more": more})


LOST = refused(410, "gone", oldest="evt_5")


def followed(*replies: Any, place: str | None = None, slow: bool = True, **chosen: Any) -> Driven:
    """Follow the feed until the script ends. Returns the driver."""
    driven = Driven(then_end(*replies), place=place, slow=slow)
    with pytest.raises(ScriptEnded):
        driven.run(lambda retry: follow(Following(**chosen), retry))
    return driven


def places(driven: Driven) -> list[str | None]:
    """Return the place that each call asked for."""
    return [dict(call.query).get("after") for call in driven.calls]


def test_it_begins_at_the_place_that_is_kept() -> None:
    assert places(followed(fed("9"), place="evt_4", after="evt_1")) == ["evt_4", "9"]
    assert places(followed(fed("9"), after="evt_1")) == ["evt_1", "9"]
    assert places(followed(fed("9"))) == [None, "9"]


def test_the_place_is_kept_behind_each_event_and_behind_the_page() -> None:
    driven = followed(fed("12", 1, 2, 3, more=True), fed("20", 4))
    assert [one.id for one in driven.events] == ["evt_1", "evt_2", "evt_3", "evt_4"]
    assert driven.saved == ["evt_1", "evt_2", "12", "20"]
    assert places(driven) == [None, "12", "20"]


def test_an_event_is_kept_only_once_it_was_taken() -> None:
    driven = Driven([fed("12", 1, 2)])
    flow = follow(Following(), driven.retry())
    flow.send(None)  # the place is loaded
    flow.send(None)
    assert getattr(flow.send(fed("12", 1, 2)), "id", None) == "evt_1"
    flow.close()  # the loop ended within the event
    assert driven.saved == []


def test_a_place_behind_events_of_other_types_is_kept() -> None:
    driven = followed(fed("50"), fed("50"), fed("90"), place="9")
    assert driven.saved == ["50", "90"]


def test_the_call_asks_for_the_filter_and_waits() -> None:
    driven = followed(fed("1"), type="job.*", job="job_1", wait=20.0, page_size=7)
    assert dict(driven.calls[0].query) == {"type": "job.*", "job": "job_1", "wait": "20.0", "limit": "7"}
    assert driven.calls[0].waits == 20.0


def test_a_service_that_is_away_is_waited_for_as_long_as_it_takes() -> None:
    driven = followed(CUT, *[UNSENT] * 20, AWAY, fed("3", 1), place="evt_0")
    assert places(driven) == ["evt_0"] * 23 + ["3"]
    assert driven.pauses[:6] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert set(driven.pauses[6:]) == {8.0}
    assert [one.id for one in driven.events] == ["evt_1"]


def test_pauses_begin_anew_behind_an_answer() -> None:
    assert followed(CUT, CUT, fed("3", 1), CUT).pauses == [0.25, 0.5, 0.25]


def test_an_answer_without_the_wait_is_followed_by_a_pause() -> None:
    assert followed(fed("3"), fed("3"), fed("4", 1), slow=False).pauses == [0.25, 0.5]
    assert followed(fed("3"), fed("3")).pauses == []
    assert followed(fed("3", more=True), fed("4", more=True), slow=False).pauses == []


@pytest.mark.parametrize(
    ("answer", "kind"), [(refused(403, "forbidden"), Forbidden), (refused(422, "validation"), Invalid)]
)
def test_a_refusal_ends_it(answer: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Driven([answer]).run(lambda retry: follow(Following(), retry))


def test_a_lost_place_is_an_error() -> None:
    driven = Driven([LOST], place="evt_1")
    with pytest.raises(PlaceLost) as caught:
        driven.run(lambda retry: follow(Following(), retry))
    assert (caught.value.oldest, driven.saved) == ("evt_5", [])


def test_where_it_is_asked_for_it_goes_on_at_the_oldest_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "ringback"):
        driven = followed(LOST, fed("7", 5), place="evt_1", on_lost="oldest")
    assert places(driven) == ["evt_1", None, "7"]
    assert [one.id for one in driven.events] == ["evt_5"]
    assert len(caplog.records) == 1
    assert "the place in the feed was removed" in caplog.text


def test_a_function_is_told_of_the_lost_place_and_may_end_it() -> None:
    told: list[PlaceLost] = []
    take: OnLost = told.append
    followed(LOST, fed("7", 5), place="evt_1", on_lost=take)
    assert [one.oldest for one in told] == ["evt_5"]

    def stop(_error: PlaceLost) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        Driven([LOST], place="evt_1").run(lambda retry: follow(Following(on_lost=stop), retry))


def test_a_service_that_lost_even_the_beginning_is_not_asked_for_ever() -> None:
    with pytest.raises(PlaceLost):
        Driven([LOST, LOST], place="evt_1").run(lambda retry: follow(Following(on_lost="oldest"), retry))
