"""Request models: values that they accept, and the field and the sentence for each that they refuse."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from receiver.api.guard import checked
from receiver.api.requests import (
    SCOPES,
    DeliveryQuery,
    EndpointPatch,
    EndpointRequest,
    FeedQuery,
    JobQuery,
    JobRequest,
    KeyRequest,
    PageQuery,
    QueryModel,
    Resolution,
    WaitQuery,
)
from receiver.domain.errors import Invalid
from receiver.domain.event_types import JOB_FINAL, SHOWN
from receiver.domain.model import MAX_IN_FLIGHT, State
from receiver.security.signing import LONGEST, SHORTEST, new_secret
from tests.receiver.raw_server import BOUNDED

JOB: dict[str, Any] = {"provider": "apiframe", "input": {}}
ENDPOINT: dict[str, Any] = {"url": "https://app.example/hooks"}
KEY: dict[str, Any] = {"name": "orders", "scopes": ["admin"]}
ANY_TYPE = f"must be an event type, `*`, or a prefix such as `job.*`; types: {', '.join(SHOWN)}"
RFC_3339 = "must be an RFC 3339 moment with its offset, for example 2026-11-21T10:00:00Z"
YEARS = "must lie between the years 1970 and 9000"
SECONDS = "must be a number of seconds"
UNFIT = "must not hold control or format characters; it holds U+"
NOT_A_SECRET = "a secret is `whsec_` and base64; leave it out to have one made"
WRONG_LENGTH = "a secret is `whsec_` and base64 of 24 to 75 bytes; leave it out to have one made"


def refused(model: type[BaseModel], value: Any, place: str = "body") -> list[tuple[str, str]]:
    """Return the pointer and the detail of each error that `model` finds in `value`."""
    with pytest.raises(Invalid) as caught:
        checked(model, value, place)
    assert {one.place for one in caught.value.errors} == {place}
    return [(one.pointer, one.detail) for one in caught.value.errors]


BODIES: list[tuple[type[BaseModel], Any, str, str]] = [
    (JobRequest, JOB | {"provider": 7}, "/provider", "input should be a valid string"),
    (JobRequest, JOB | {"provider": "a\x00b"}, "/provider", f"{UNFIT}0000"),
    (JobRequest, JOB | {"operation": "a\u202eb"}, "/operation", f"{UNFIT}202E"),
    (JobRequest, JOB | {"input": []}, "/input", "must be an object"),
    (JobRequest, JOB | {"metadata": []}, "/metadata", "must be an object"),
    (JobRequest, JOB | {"metadata": {"a": 1}}, "/metadata/a", "input should be a valid string"),
    (JobRequest, JOB | {"metadata": {"a/b~c": "\n"}}, "/metadata/a~1b~0c", f"{UNFIT}000A"),
    (JobRequest, JOB | {"metadata": {"x\u200b": ""}}, "/metadata/x\u200b", f"{UNFIT}200B"),
    (
        JobRequest,
        JOB | {"metadata": {"a": "x" * 501}},
        "/metadata/a",
        "string should have at most 500 characters",
    ),
    (JobRequest, JOB | {"deadline_seconds": "60"}, "/deadline_seconds", "input should be a valid integer"),
    (JobRequest, JOB | {"deadline_seconds": True}, "/deadline_seconds", "input should be a valid integer"),
    (
        JobRequest,
        JOB | {"deadline_seconds": 0},
        "/deadline_seconds",
        "input should be greater than or equal to 1",
    ),
    (
        JobRequest,
        JOB | {"deadline_seconds": 604801},
        "/deadline_seconds",
        "input should be less than or equal to 604800",
    ),
    (JobRequest, JOB | {"callback_url": ""}, "/callback_url", "string should have at least 1 character"),
    (
        JobRequest,
        JOB | {"callback_url": "x" * 2049},
        "/callback_url",
        "string should have at most 2048 characters",
    ),
    (JobRequest, JOB | {"callback_secret": "secret"}, "/callback_secret", NOT_A_SECRET),
    (JobRequest, JOB | {"callback_secret": "whsec_QUJD"}, "/callback_secret", WRONG_LENGTH),
    (JobRequest, JOB | {"inptu": 1}, "/inptu", "there is no such field; did you mean `input`?"),
    (Resolution, {"fail": False}, "/fail", "must be true, or be left out"),
    (Resolution, {"resubmit": 1}, "/resubmit", "input should be a valid boolean"),
    (Resolution, {"provider_job_id": "a\tb"}, "/provider_job_id", f"{UNFIT}0009"),
    *[
        (
            Resolution,
            {"provider_job_id": dots},
            "/provider_job_id",
            "must be the provider's id, and `.` and `..` are none",
        )
        for dots in (".", "..")
    ],
    (EndpointRequest, {}, "/url", "field required"),
    (EndpointRequest, ENDPOINT | {"events": "job.*"}, "/events", "must be a list"),
    (EndpointRequest, ENDPOINT | {"events": ["*", "jo*"]}, "/events/1", ANY_TYPE),
    (
        EndpointRequest,
        ENDPOINT | {"events": ["x" * 101]},
        "/events/0",
        "string should have at most 100 characters",
    ),
    (EndpointRequest, ENDPOINT | {"description": "a\nb"}, "/description", f"{UNFIT}000A"),
    (EndpointRequest, ENDPOINT | {"headers": {"a": None}}, "/headers/a", "input should be a valid string"),
    (EndpointRequest, ENDPOINT | {"secret": new_secret(b"k" * (SHORTEST - 1))}, "/secret", WRONG_LENGTH),
    (EndpointRequest, ENDPOINT | {"secret": new_secret(b"k" * (LONGEST + 1))}, "/secret", WRONG_LENGTH),
    (
        EndpointRequest,
        ENDPOINT | {"max_in_flight": 1001},
        "/max_in_flight",
        "input should be less than or equal to 1000",
    ),
    (EndpointRequest, ENDPOINT | {"include": ["input"]}, "/include/0", "input should be 'result'"),
    (EndpointPatch, {"url": None}, "/url", "input should be a valid string"),
    (
        EndpointPatch,
        {"secret": new_secret(b"k" * 32)},
        "/secret",
        "there is no such field; POST to its /rotate-secret",
    ),
    (EndpointPatch, {"max_in_flight": 0}, "/max_in_flight", "input should be greater than or equal to 1"),
    (KeyRequest, KEY | {"expires_at": 1}, "/expires_at", RFC_3339),
    (KeyRequest, KEY | {"expires_at": "2026-11-21T10:00:00"}, "/expires_at", RFC_3339),
    (KeyRequest, KEY | {"expires_at": "1969-12-31T23:59:59Z"}, "/expires_at", YEARS),
    (KeyRequest, KEY | {"expires_at": "9000-01-01T00:00:00Z"}, "/expires_at", YEARS),
    (KeyRequest, KEY | {"expires_at": "0001-01-01T00:00:00+23:59"}, "/expires_at", YEARS),
]


@pytest.mark.parametrize(("model", "body", "pointer", "detail"), BODIES)
def test_a_wrong_field_is_refused_with_its_pointer_and_a_sentence(
    model: type[BaseModel], body: Any, pointer: str, detail: str
) -> None:
    assert refused(model, body) == [(pointer, detail)]


@pytest.mark.parametrize(
    ("model", "name", "most", "pointer"),
    [
        (JobRequest, "metadata", {str(number): "v" for number in range(16)}, "/metadata"),
        (EndpointRequest, "headers", {f"x-{number}": "v" for number in range(50)}, "/headers"),
        (EndpointRequest, "events", ["job.*"] * 50, "/events"),
        (EndpointRequest, "include", ["result"], "/include"),
        (KeyRequest, "scopes", list(SCOPES), "/scopes"),
        (KeyRequest, "name", "x" * 100, "/name"),
        (Resolution, "provider_job_id", "x" * 500, "/provider_job_id"),
    ],
)
def test_a_value_may_have_its_greatest_size_and_no_more(
    model: type[BaseModel], name: str, most: Any, pointer: str
) -> None:
    base = {JobRequest: JOB, EndpointRequest: ENDPOINT, KeyRequest: KEY}.get(model, {})
    assert getattr(checked(model, base | {name: most}, "body"), name) == most
    more = most | {"more": "v"} if isinstance(most, dict) else most + most[:1]
    assert [found for found, _ in refused(model, base | {name: more})] == [pointer]


@pytest.mark.parametrize(
    ("model", "body", "pointer"),
    [
        (EndpointRequest, ENDPOINT | {"events": []}, "/events"),
        (EndpointPatch, {"events": []}, "/events"),
        (KeyRequest, KEY | {"scopes": []}, "/scopes"),
        (KeyRequest, KEY | {"scopes": ["root"]}, "/scopes/0"),
        (KeyRequest, KEY | {"name": ""}, "/name"),
        (KeyRequest, KEY | {"name": " \u200b\t"}, "/name"),
        (Resolution, {"provider_job_id": ""}, "/provider_job_id"),
        (KeyRequest, KEY | {"expires_at": "2026-02-30T00:00:00Z"}, "/expires_at"),
    ],
)
def test_an_empty_or_unknown_value_is_refused(model: type[BaseModel], body: Any, pointer: str) -> None:
    assert [found for found, _ in refused(model, body)] == [pointer]


@pytest.mark.parametrize("model", [JobRequest, Resolution, EndpointRequest, EndpointPatch, KeyRequest])
@pytest.mark.parametrize("value", [[], "text", None, 7])
def test_a_body_must_be_an_object(model: type[BaseModel], value: Any) -> None:
    assert refused(model, value) == [("", "must be an object")]


def test_every_missing_field_is_reported_at_once() -> None:
    assert refused(JobRequest, {}) == [("/provider", "field required"), ("/input", "field required")]
    assert refused(KeyRequest, {}) == [("/name", "field required"), ("/scopes", "field required")]


def test_too_many_entries_are_one_error_except_in_the_input_of_a_job() -> None:
    crowd = {str(number): 1 for number in range(201)}
    assert refused(JobRequest, JOB | {"metadata": crowd}) == [("/metadata", "must have at most 200 entries")]
    assert refused(JobRequest, crowd) == [("", "must have at most 200 entries")]
    assert checked(JobRequest, JOB | {"input": crowd}, "body").input == crowd


def test_the_defaults_of_a_job_and_of_an_endpoint() -> None:
    job = checked(JobRequest, JOB, "body")
    assert job.model_dump(exclude={"provider", "input"}) == {
        "operation": None,
        "metadata": {},
        "callback_url": None,
        "callback_secret": None,
        "deadline_seconds": None,
    }
    endpoint = checked(EndpointRequest, ENDPOINT, "body")
    assert endpoint.model_dump(exclude={"url"}) == {
        "events": list(JOB_FINAL),
        "description": "",
        "headers": {},
        "secret": None,
        "max_in_flight": MAX_IN_FLIGHT,
        "include": [],
        "filter": None,
        "signatures": ["v1"],
        "retry_schedule": None,
        "timeout": None,
        "rate_limit": None,
        "format": "standard",
        "template": None,
        "state": "active",
        "handshake": False,
    }


def test_a_change_tells_a_missing_field_from_a_null_one() -> None:
    assert checked(EndpointPatch, {}, "body").model_fields_set == set()
    change = checked(EndpointPatch, {"events": None, "headers": {"x-a": None}}, "body")
    assert change.model_fields_set == {"events", "headers"}
    assert (change.events, change.headers) == (None, {"x-a": None})


@pytest.mark.parametrize(
    ("name", "kept"),
    [("orders", "orders"), ("  a\tb\nc ", "a b c"), ("a\u202eb\x00c", "abc"), ("\U0001f30a", "\U0001f30a")],
)
def test_the_name_of_a_key_is_cleaned_and_not_refused(name: str, kept: str) -> None:
    assert checked(KeyRequest, KEY | {"name": name}, "body").name == kept


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T12:00:00+02:00", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21t10:00:00.5z", datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("8999-12-31T23:59:59Z", datetime(8999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_with_its_offset(text: str, moment: datetime) -> None:
    found = checked(KeyRequest, KEY | {"expires_at": text}, "body").expires_at
    assert found == moment
    assert found is not None
    assert found.tzinfo is UTC


MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001  # hypothesis adds the offset
    max_value=datetime(8998, 1, 1),  # noqa: DTZ001  # hypothesis adds the offset
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@BOUNDED
@given(MOMENTS)
def test_every_moment_with_an_offset_is_the_same_moment_in_utc(moment: datetime) -> None:
    found = checked(JobQuery, {"created_after": moment.isoformat()}, "query").created_after
    assert found == moment
    assert found is not None
    assert found.utcoffset() == timedelta()


QUERIES: list[tuple[type[BaseModel], dict[str, str], str, str]] = [
    (PageQuery, {"limit": "0"}, "limit", "input should be greater than or equal to 1"),
    (PageQuery, {"limit": "201"}, "limit", "input should be less than or equal to 200"),
    *[
        (PageQuery, {"limit": text}, "limit", "must be a whole number")
        for text in ("", "ten", "+1", " 1", "1_0", "1.0", "\u0663")
    ],
    (PageQuery, {"cursor": ""}, "cursor", "string should have at least 1 character"),
    (PageQuery, {"cursor": "x" * 201}, "cursor", "string should have at most 200 characters"),
    (WaitQuery, {"wait": "61"}, "wait", "input should be less than or equal to 60"),
    (WaitQuery, {"wait": "-1"}, "wait", "input should be greater than or equal to 0"),
    (WaitQuery, {"wait": "nan"}, "wait", "input should be a finite number"),
    (WaitQuery, {"wait": "inf"}, "wait", "input should be a finite number"),
    (WaitQuery, {"wait": "1_0"}, "wait", SECONDS),
    (FeedQuery, {"wait": "0_1"}, "wait", SECONDS),
    (FeedQuery, {"after": "x" * 201}, "after", "string should have at most 200 characters"),
    (FeedQuery, {"type": "x" * 101}, "type", "string should have at most 100 characters"),
    (FeedQuery, {"job": "x" * 101}, "job", "string should have at most 100 characters"),
    (JobQuery, {"created_before": "2026-01-01"}, "created_before", RFC_3339),
    (JobQuery, {"stat": "queued"}, "stat", "there is no such parameter; did you mean `state`?"),
    (
        DeliveryQuery,
        {"state": "lost"},
        "state",
        "input should be 'pending', 'delivered', 'exhausted' or 'canceled'",
    ),
    (QueryModel, {"x": "1"}, "x", "there is no such parameter"),
]


@pytest.mark.parametrize(("model", "query", "name", "detail"), QUERIES)
def test_a_wrong_parameter_is_refused_with_its_name_and_a_sentence(
    model: type[BaseModel], query: dict[str, str], name: str, detail: str
) -> None:
    assert refused(model, query, "query") == [(name, detail)]


@pytest.mark.parametrize(
    ("model", "query", "kept"),
    [
        (PageQuery, {}, {"limit": 50, "cursor": None}),
        (PageQuery, {"limit": "007", "cursor": "x"}, {"limit": 7, "cursor": "x"}),
        (WaitQuery, {"wait": "2.5"}, {"wait": 2.5}),
        (WaitQuery, {}, {"wait": 0}),
        (
            DeliveryQuery,
            {"event": ""},
            {"limit": 50, "cursor": None, "endpoint": None, "state": None} | {"event": "", "job": None},
        ),
    ],
)
def test_a_query_is_read_from_text(
    model: type[BaseModel], query: dict[str, str], kept: dict[str, Any]
) -> None:
    assert checked(model, query, "query").model_dump() == kept


@pytest.mark.parametrize("state", State)
def test_jobs_can_be_listed_by_each_of_their_states(state: State) -> None:
    assert checked(JobQuery, {"state": state.value}, "query").state == state.value
