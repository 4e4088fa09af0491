"""Calls about endpoints and replays."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ringback.calls import endpoints
from ringback.core import Call
from tests.client.test_retrying import ENDPOINT


def body(call: Call[Any]) -> Any:
    """Return the body of a call."""
    assert call.body is not None
    return json.loads(call.body)


def test_a_new_endpoint_leaves_the_rest_to_the_service() -> None:
    call = endpoints.create("https://app.example.com", events=["job.*"], filter=None, max_in_flight=1)
    assert body(call) == {"url": "https://app.example.com", "events": ["job.*"], "max_in_flight": 1}
    made = call.reads(ENDPOINT | {"secret": "whsec_shown_once"})
    assert made.secret == "whsec_shown_once"
    assert "whsec_shown_once" not in repr(made)


def test_a_change_sends_none_as_a_reset() -> None:
    assert body(endpoints.update("ep_1", filter=None, headers={"x": None})) == {
        "filter": None,
        "headers": {"x": None},
    }
    assert body(endpoints.update("ep_1")) == {}


@pytest.mark.parametrize("make", [endpoints.create, endpoints.update], ids=lambda make: make.__name__)
def test_an_unknown_field_is_named(make: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword 'event'"):
        make("ep_1", event="job.*")


def test_a_replay_sends_moments_and_what_is_chosen() -> None:
    since = datetime(2026, 11, 20, tzinfo=UTC)
    call = endpoints.replay("ep_1", since=since, only="missing", dry_run=True)
    assert body(call) == {"since": "2026-11-20T00:00:00Z", "only": "missing", "dry_run": True}


def test_a_rotation_leaves_the_overlap_to_the_service() -> None:
    assert body(endpoints.rotate_secret("ep_1")) == {}
    assert body(endpoints.rotate_secret("ep_1", overlap_seconds=0, secret="whsec_x")) == {
        "overlap_seconds": 0,
        "secret": "whsec_x",
    }
