"""A job on one time axis, as text."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.cli.waterfall import NAME, Axis, drawn, span

BEGAN = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    """Return a moment of the API, so many seconds after the job began."""
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job(ended: float | None = 10, state: str = "succeeded") -> dict[str, Any]:
    """Return a job."""
    return {"created_at": at(0), "completed_at": None if ended is None else at(ended), "state": state}


ENTRIES: list[dict[str, Any]] = [
    {"at": at(1), "kind": "submission", "outcome": "applied"},
    {"at": at(1), "kind": "update", "to": "queued"},
    {"at": at(5), "kind": "callback", "outcome": "refused"},
    {"at": at(10), "kind": "callback", "outcome": "applied"},
    {"at": at(10), "kind": "update", "to": "succeeded"},
    {"at": at(10), "kind": "event", "type": "job.succeeded"},
    {"at": at(10), "kind": "delivery", "delivery": "dlv_1", "endpoint": "ep_1", "state": "delivered"},
    {"at": at(10.5), "kind": "attempt", "delivery": "dlv_1", "status": 503},
    {"at": at(11), "kind": "attempt", "delivery": "dlv_1", "status": 204},
]


def test_a_job_is_drawn_from_its_submission_to_its_last_delivery() -> None:
    lines = drawn(job(), ENTRIES, 60, 0.0)
    assert [line[:NAME].rstrip() for line in lines] == [
        "state",
        "submission",
        "callbacks",
        "events",
        "ep_1",
        "10.0 s",
    ]
    state, submission, callbacks, events, endpoint, _ = [line[NAME + 1 :] for line in lines]
    assert state.startswith("·")
    assert "=" in state
    assert state.rstrip().endswith("✓")
    assert submission.strip() == "●"
    assert callbacks.split() == ["✗", "●"]
    assert events.index("●") == callbacks.index("●")
    assert endpoint.strip().split() == ["o", "✗", "✓"]
    assert all(len(line) <= 60 for line in lines)


def test_a_long_time_without_anything_is_shortened_and_told() -> None:
    late = [{"at": at(one), "kind": "poll", "outcome": "unchanged"} for one in (1, 2, 3, 4, 3600)]
    *_, polls, axis = drawn(job(3601), late, 80, 0.0)
    columns = [number for number, mark in enumerate(polls) if mark == "●"]
    assert len(columns) == 5
    assert "⋯59 min 56 s⋯" in axis
    # The idle hour takes no more room than two seconds of work.
    assert columns[-1] - columns[-2] < 3 * (columns[1] - columns[0])


def test_an_open_job_goes_on_until_now() -> None:
    lines = drawn(
        job(None, "running"), [{"at": at(1), "kind": "update", "to": "running"}], 60, BEGAN.timestamp() + 2
    )
    assert lines[0].rstrip().endswith("#")
    assert lines[-1].startswith("2.0 s")


def test_texts_of_others_cannot_act_on_the_terminal() -> None:
    entry = {
        "at": at(1),
        "kind": "delivery",
        "delivery": "d",
        "endpoint": "\x1b[31m\u202eep",
        "state": "pending",
    }
    lines = drawn(job(), [entry], 60, 0.0)
    assert lines[1].startswith("\\u001b[31m\\u20")


@pytest.mark.parametrize("moments", [[5.0], [5.0, 5.0], [1.0, 2.0, 3.0], [0.0, 1e9]])
def test_every_moment_has_a_column_within_the_axis(moments: list[float]) -> None:
    axis = Axis(moments, 40)
    columns = [axis.column(one) for one in (min(moments) - 1, *moments, max(moments) + 1)]
    assert columns == sorted(columns)
    assert all(0 <= column < 40 for column in columns)


@pytest.mark.parametrize(
    ("value", "told"), [(0.25, "250 ms"), (1.25, "1.2 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_a_time_is_told_as_people_say_it(value: float, told: str) -> None:
    assert span(value) == told
