"""Redaction: the service's secrets are hidden in every part of an update."""

from typing import Any

import pytest

from handlers.contract import Asset, Failure, FailureCode, Kind, Phase, Update
from receiver.security.redaction import DROPPED, REDACTED, UNNAMED, forms, hide, redacted

SECRET = "key/with+odd=signs"
SPELLINGS = [SECRET, "key%2Fwith%2Bodd%3Dsigns"]
PLAIN = Asset(kind=Kind.VIDEO, url="https://cdn.example/0.mp4")


def update(**fields: Any) -> Update:
    """Return a success with one plain file, changed by `fields`."""
    return Update(**{"provider_job_id": "p1", "phase": Phase.SUCCEEDED, "assets": (PLAIN,), **fields})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_hidden_in_texts_and_names_however_it_is_spelled(spelling: str) -> None:
    told = {"a": [f"x{spelling}y"], spelling: {"b": spelling, "c": 1}}
    assert hide(told, forms([SECRET])) == {"a": [f"x{REDACTED}y"], REDACTED: {"b": REDACTED, "c": 1}}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_whose_link_holds_a_secret_is_left_out(spelling: str) -> None:
    link = f"https://cdn.example/x?k={spelling}"
    for leaky in (Asset(kind=Kind.IMAGE, url=link), Asset(kind=Kind.IMAGE, source=link)):
        told, note = redacted(update(assets=(leaky, PLAIN)), forms([SECRET]))
        assert (told.assets, told.failure, note) == ((PLAIN,), None, DROPPED)
        told, note = redacted(update(assets=(leaky,)), forms([SECRET]))
        assert told.assets == ()
        assert told.failure == Failure(None, DROPPED, FailureCode.RESULT_MISSING)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_id_that_holds_a_secret_is_left_out(spelling: str) -> None:
    told, note = redacted(update(provider_job_id=f"x-{spelling}"), forms([SECRET]))
    assert (told.provider_job_id, told.assets, note) == (None, (PLAIN,), UNNAMED)


def test_a_failure_and_the_usage_are_hidden_too() -> None:
    failure = Failure(f"c-{SECRET}", f"no {SECRET}", FailureCode.CONTENT_POLICY)
    told, note = redacted(update(failure=failure, usage={"k": SECRET}), forms([SECRET]))
    assert told.failure == Failure(f"c-{REDACTED}", f"no {REDACTED}", FailureCode.CONTENT_POLICY)
    assert (told.usage, note) == ({"k": REDACTED}, None)


def test_an_empty_secret_hides_nothing() -> None:
    assert forms(["", "a"]) == ["a"]
    assert redacted(update(), forms([""])) == (update(), None)
