"""Rows and the objects of the service: each object comes back from its row as it was."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Asset, FailureCode, Kind
from receiver.domain.model import (
    By,
    Endpoint,
    EndpointState,
    Event,
    Job,
    JobError,
    Source,
    State,
    Waiting,
    WaitReason,
    Work,
)
from receiver.store.rows import (
    JOB_CHANGES,
    JOB_FIELDS,
    JOB_USUAL_CHANGES,
    UNOWNED,
    changed_columns,
    delivery_row,
    due_row,
    endpoint_row,
    event_row,
    evidence_row,
    first_id,
    job_changes,
    job_row,
    read_assets,
    read_endpoint,
    read_event,
    read_job,
    write_assets,
)
from receiver.store.schema import TABLES

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
AT_MS = 1795255200000
LATER = AT + timedelta(minutes=5)
MINIMAL = Job(
    id="job_1",
    account="aiml",
    operation="video",
    state=State.PENDING,
    created_at=AT,
    updated_at=AT,
    deadline_at=LATER,
)
FULL = Job(
    id="job_2",
    account="apiframe",
    operation="imagine",
    state=State.FAILED,
    created_at=AT,
    updated_at=LATER,
    deadline_at=LATER + timedelta(hours=1),
    completed_at=LATER,
    provider_job_id="p-1",
    progress=12.5,
    progressed_at=AT + timedelta(seconds=1),
    metadata={"order": "7", "\u00e4": "\u2603"},
    assets=(Asset(kind=Kind.IMAGE, url="https://cdn.example/1.png", expires_at=LATER, width=3),),
    result=b'{"a":"\xc3\xa4"}',
    error=JobError(FailureCode.NO_CREDIT, "no credit is left", "E402"),
    usage={"credits": 1.5},
    completed_by=By.POLL,
    sequence=4,
    misses=2,
    missing_since=AT + timedelta(seconds=2),
    quiet_poll="evd_1",
    expects_callback=True,
    callback_url="https://me.example/",
    callback_secret=b"sealed",
    callback_off=True,
    poll_wanted=True,
    guessed_id="p-2",
    intents=1,
    hinted_polls=3,
    hint_after=AT + timedelta(seconds=3),
    heard=5,
    heard_bytes=600,
    overflow="evd_2",
    cancel_wanted=True,
    waiting=Waiting(WaitReason.THROTTLED, "429", AT, LATER),
    assets_revoked_at=LATER,
    kept_url="https://queue.example/requests/1",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
ENDPOINT = Endpoint(
    id="ep_1",
    url="https://app.example/hooks",
    events=("job.*", "endpoint.test"),
    created_at=AT,
    updated_at=LATER,
    state=EndpointState.DISABLED,
    disabled_reason="410",
    description="ours",
    headers={"x-own": "1"},
    include=("result",),
    max_in_flight=3,
    secrets=("whsec_x",),
    from_file=True,
)
MOMENTS = st.datetimes(AT.replace(tzinfo=None), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
ASSETS = st.builds(
    Asset,
    kind=st.sampled_from(Kind),
    url=st.none() | st.just("https://cdn.example/1.mp4"),
    source=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
    expires_at=st.none() | MOMENTS,
    deletes_at=st.none() | MOMENTS,
    width=st.none() | st.integers(0, 10_000),
    duration=st.none() | st.floats(0, 1e6),
    has_sound=st.none() | st.booleans(),
)


def stored(job: Job) -> dict[str, object]:
    """Return the columns of a new job with their values."""
    return dict(zip(TABLES["job"], job_row(job, b"whole", b"shown"), strict=True))


# Jobs.


@pytest.mark.parametrize("job", [MINIMAL, FULL], ids=["minimal", "full"])
def test_a_job_comes_back_from_its_row_as_it_was(job: Job) -> None:
    row = stored(job)
    read = read_job([row[name] for name in JOB_FIELDS])  # type: ignore[arg-type]  # read by place
    assert {one.name: getattr(read, one.name) for one in fields(Job)} == job.__dict__


def test_the_full_job_leaves_no_field_at_its_default() -> None:
    assert [name for name in JOB_FIELDS if getattr(FULL, name) == getattr(MINIMAL, name)] == ["created_at"]


def test_a_new_job_is_stored_with_its_input() -> None:
    row = stored(FULL)
    assert (row["input"], row["input_shown"]) == (b"whole", b"shown")
    assert (row["created_at"], row["state"], row["expects_callback"]) == (AT_MS, "failed", 1)
    assert row["error"] == '["no_credit","no credit is left","E402"]'
    assert row["waiting"] == f'["throttled","429",{AT_MS},{AT_MS + 300_000}]'


def test_a_row_may_go_on_behind_the_fields_of_a_job() -> None:
    row = stored(MINIMAL)
    found = [*(row[name] for name in JOB_FIELDS), "more"]
    assert read_job(found) == MINIMAL  # type: ignore[arg-type]  # read by place


@pytest.mark.parametrize("name", JOB_CHANGES)
def test_each_column_that_changed_is_written(name: str) -> None:
    columns = changed_columns(MINIMAL, MINIMAL.but(**{name: getattr(FULL, name)}))
    assert columns == (JOB_USUAL_CHANGES if name in JOB_USUAL_CHANGES else JOB_CHANGES)
    assert name in columns


def test_a_report_changes_every_column_but_the_fixed_ones() -> None:
    row = stored(FULL)
    for columns in (JOB_CHANGES, JOB_USUAL_CHANGES):
        assert job_changes(FULL, columns) == tuple(row[name] for name in columns)
    assert row.keys() - set(JOB_CHANGES) == {
        "id",
        "account",
        "operation",
        "created_at",
        "deadline_at",
        "metadata",
        "provider_job_id",
        "callback_url",
        "callback_secret",
        "intents",
        "assets_revoked_at",
        "kept_url",
        "traceparent",
        "input",
        "input_shown",
    }


def test_a_job_that_waits_without_an_end_has_none() -> None:
    job = MINIMAL.but(waiting=Waiting(WaitReason.ACCOUNT_FULL, "", AT))
    row = stored(job)
    read = read_job([row[name] for name in JOB_FIELDS])  # type: ignore[arg-type]  # read by place
    assert read.waiting == Waiting(WaitReason.ACCOUNT_FULL, "", AT, None)


# Assets.


def test_only_the_known_fields_of_an_asset_are_stored() -> None:
    found = write_assets((Asset(kind=Kind.VIDEO, source="s", deletes_at=AT, has_sound=False),))
    assert found == f'[{{"kind":"video","source":"s","deletes_at":{AT_MS},"has_sound":false}}]'


def test_no_assets_are_stored_as_null() -> None:
    assert write_assets(()) is None
    assert read_assets(None) == ()


@given(st.lists(ASSETS, max_size=3))
def test_assets_come_back_as_they_were(assets: list[Asset]) -> None:
    assert read_assets(write_assets(tuple(assets))) == tuple(assets)


# Events and endpoints.


@pytest.mark.parametrize(("job", "result"), [("job_1", b"{}"), (None, None)])
def test_an_event_comes_back_from_its_row_as_it_was(job: str | None, result: bytes | None) -> None:
    event = Event(
        id="evt_1", type="job.failed", job_id=job, at=AT, sequence=3, body=b'{"a":1}', result=result
    )
    row = dict(zip(TABLES["event"], event_row(event), strict=True))
    assert row["at"] == AT_MS
    assert read_event(row) == event


@pytest.mark.parametrize(
    "endpoint",
    [
        ENDPOINT,
        replace(ENDPOINT, include=(), disabled_reason=None, state=EndpointState.ACTIVE, from_file=False),
    ],
)
def test_an_endpoint_comes_back_from_its_row_and_its_decrypted_parts(endpoint: Endpoint) -> None:
    row = dict(zip(TABLES["endpoint"], endpoint_row(endpoint, b"headers", b"secrets"), strict=True))
    assert (row["headers"], row["secrets"], row["deleted_at"]) == (b"headers", b"secrets", None)
    assert row["events"] == '["job.*","endpoint.test"]'
    assert read_endpoint(row, {"x-own": "1"}, ("whsec_x",)) == endpoint


# Due work, deliveries and evidence.


def test_due_work_is_free_without_an_owner_and_leased_with_one() -> None:
    free = due_row(id="job_1", work=Work.POLL, lane="aiml", at=AT)
    assert free == ("job_1", "poll", "aiml", AT_MS, 0, 0, 0, UNOWNED)
    leased = due_row(id="dlv_1", work=Work.DELIVER, lane="ep_1", at=LATER, fence=7, tries=2, owner="rpc_1")
    assert leased == ("dlv_1", "deliver", "ep_1", AT_MS + 300_000, 1, 7, 2, "rpc_1")


def test_a_new_delivery_is_pending_and_untried() -> None:
    row = delivery_row(id="dlv_1", event="evt_1", target="ep_1", job=None, at=AT, origin="test")
    assert dict(zip(TABLES["delivery"], row, strict=True)) == {
        "id": "dlv_1",
        "event": "evt_1",
        "target": "ep_1",
        "origin": "test",
        "job": None,
        "state": "pending",
        "created_at": AT_MS,
        "updated_at": AT_MS,
        "tries": 0,
        "reason": None,
    }


def test_a_timeline_entry_is_counted_once_at_first() -> None:
    row = evidence_row(
        id="evd_1", job="job_1", at=AT, kind=Source.CALLBACK, outcome="applied", details={"a": 1}, body=b"{}"
    )
    assert dict(zip(TABLES["evidence"], row, strict=True)) == {
        "id": "evd_1",
        "job": "job_1",
        "at": AT_MS,
        "kind": "callback",
        "outcome": "applied",
        "told": '{"a":1}',
        "headers": None,
        "body": b"{}",
        "count": 1,
        "last_at": AT_MS,
    }


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_ids_of_an_earlier_moment_come_first(one: int, other: int) -> None:
    assert (first_id("evt", one) < first_id("evt", other)) == (one < other)
    assert first_id("evt", 255) == "evt_0000000000ff"
