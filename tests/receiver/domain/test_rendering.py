"""JSON of jobs and events: each field of a response, and the bytes of an event."""

import json as plain
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import json
from handlers.contract import Asset, FailureCode, Kind
from receiver.domain.model import By, Job, JobError, State, Waiting, WaitReason
from receiver.domain.rendering import (
    asset_view,
    event_body,
    job_view,
    stamp,
    waiting_view,
    when,
    with_result,
)
from tests.receiver.raw_server import BOUNDED

NOW = datetime(2026, 11, 21, 10, 0, 0, 123_000, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
LINK = "https://hooks.example/assets/t0"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def job(**others: Any) -> Job:
    """Return a job that was just created, with these fields changed."""
    made = Job(
        id="job_1",
        account="apiframe",
        operation="imagine",
        state=State.PENDING,
        created_at=NOW,
        updated_at=NOW,
        deadline_at=LATER,
    )
    return made.but(**others)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 21, 10, 0, tzinfo=UTC), "2026-11-21T10:00:00.000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 6_000, tzinfo=UTC), "2026-01-02T03:04:05.006Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "2026-12-31T23:59:59.999Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_moment_is_shown_in_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert stamp(moment) == text
    assert when(moment) == text


def test_a_missing_moment_is_null() -> None:
    assert when(None) is None


@BOUNDED
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_that_is_read_again_lost_less_than_a_millisecond(moment: datetime) -> None:
    lost = moment - datetime.fromisoformat(stamp(moment))
    assert timedelta() <= lost < timedelta(milliseconds=1)


def test_an_asset_shows_the_link_of_the_service_beside_that_of_its_provider() -> None:
    asset = Asset(
        kind=Kind.VIDEO,
        url="https://cdn.example/1.mp4",
        source="never shown",
        expires_at=NOW,
        deletes_at=LATER,
        mime_type="video/mp4",
        width=1280,
        height=720,
        duration=5.5,
        fps=24.0,
        has_sound=False,
    )
    assert asset_view(3, asset, LINK) == {
        "index": 3,
        "kind": "video",
        "url": LINK,
        "provider_url": "https://cdn.example/1.mp4",
        "expires_at": "2026-11-21T10:00:00.123Z",
        "deletes_at": "2026-11-21T12:00:00.123Z",
        "mime_type": "video/mp4",
        "width": 1280,
        "height": 720,
        "duration": 5.5,
        "fps": 24.0,
        "has_sound": False,
    }


def test_the_unknown_fields_of_an_asset_are_null() -> None:
    seen = asset_view(0, Asset(kind=Kind.FILE), LINK)
    assert {name: value for name, value in seen.items() if value is not None} == {
        "index": 0,
        "kind": "file",
        "url": LINK,
    }
    assert len(seen) == 12


@pytest.mark.parametrize(("until", "shown"), [(None, None), (LATER, "2026-11-21T12:00:00.123Z")])
def test_a_reason_to_wait_shows_since_when_and_until_when(until: datetime | None, shown: str | None) -> None:
    assert waiting_view(Waiting(WaitReason.THROTTLED, "too many calls", NOW, until)) == {
        "reason": "throttled",
        "detail": "too many calls",
        "since": "2026-11-21T10:00:00.123Z",
        "until": shown,
    }


def test_a_job_that_was_just_created_shows_null_for_all_that_is_unknown() -> None:
    assert job_view(job(), []) == {
        "object": "job",
        "id": "job_1",
        "provider": "apiframe",
        "operation": "imagine",
        "state": "pending",
        "provider_job_id": None,
        "progress": None,
        "metadata": {},
        "assets": [],
        "error": None,
        "usage": None,
        "waiting": None,
        "completed_by": None,
        "created_at": "2026-11-21T10:00:00.123Z",
        "updated_at": "2026-11-21T10:00:00.123Z",
        "completed_at": None,
        "deadline_at": "2026-11-21T12:00:00.123Z",
    }


def test_a_job_that_ended_shows_its_error_its_usage_and_the_report_that_ended_it() -> None:
    failed = job(
        state=State.FAILED,
        provider_job_id="p1",
        progress=0.5,
        metadata={"order": "42"},
        error=JobError(FailureCode.CONTENT_POLICY, "not allowed", "E7"),
        usage={"credits": 3},
        waiting=Waiting(WaitReason.POLL_FAILING, "503", NOW),
        completed_by=By.CALLBACK,
        completed_at=LATER,
        result=b'{"never":"shown"}',
    )
    seen, asset = job_view(failed, [{"index": 0}]), {"index": 0}
    changed = {name: value for name, value in seen.items() if value != job_view(job(), [])[name]}
    assert changed == {
        "state": "failed",
        "provider_job_id": "p1",
        "progress": 0.5,
        "metadata": {"order": "42"},
        "assets": [asset],
        "error": {"code": "content_policy", "message": "not allowed", "provider_code": "E7"},
        "usage": {"credits": 3},
        "waiting": {
            "reason": "poll_failing",
            "detail": "503",
            "since": "2026-11-21T10:00:00.123Z",
            "until": None,
        },
        "completed_by": "callback",
        "completed_at": "2026-11-21T12:00:00.123Z",
    }


def test_an_event_without_blanks_begins_with_its_id() -> None:
    assert event_body("evt_1", "job.failed", NOW, {"id": "job_1", "note": "Flut \u2013 Ebbe"}) == (
        b'{"id":"evt_1","type":"job.failed","timestamp":"2026-11-21T10:00:00.123Z",'
        b'"data":{"id":"job_1","note":"Flut \xe2\x80\x93 Ebbe"}}'
    )


@BOUNDED
@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=3), VALUES)
def test_a_result_is_added_to_the_data_of_an_event_and_changes_no_other_byte(
    data: dict[str, Any], result: Any
) -> None:
    data.pop("result", None)
    data["object"] = "job"
    body, written = event_body("evt_1", "job.succeeded", NOW, data), json.write(result)
    added = with_result(body, written)
    assert added == body[:-2] + b',"result":' + written + b"}}"
    assert plain.loads(added)["data"] == {**data, "result": result}
