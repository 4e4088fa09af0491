"""Places in the feed as clients hold them."""

import pytest

from receiver.feed.places import FeedPlaces, ForeignPlace

PLACES = FeedPlaces("0123abcd")


@pytest.mark.parametrize("number", [0, 1, 41, 10**18 - 1])
def test_a_place_is_read_as_it_was_told(number: int) -> None:
    assert PLACES.text(number) == f"0123abcd-{number}"
    assert PLACES.read(PLACES.text(number)) == number


def test_zero_is_the_beginning_of_every_feed() -> None:
    assert PLACES.read("0") == FeedPlaces("76543210").read("0") == 0


def test_a_place_of_another_feed_is_refused() -> None:
    with pytest.raises(ForeignPlace):
        PLACES.read(FeedPlaces("76543210").text(41))


@pytest.mark.parametrize(
    "text", ["", "1", "41", "0123abcd", "0123abcd-", "0123abcd-x", "0123ABCD-1", "0123abcd-" + "1" * 19]
)
def test_other_texts_are_no_places(text: str) -> None:
    assert PLACES.read(text) is None
