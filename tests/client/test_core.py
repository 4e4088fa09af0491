"""Requests and answers without a network."""

import json
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from ringback.calls import events, jobs
from ringback.core import Answer, content, known, outcome, passes, path, problem, query, some
from ringback.errors import (
    BY_CODE,
    ConfigurationError,
    FieldProblem,
    Gone,
    PlaceLost,
    RingbackError,
    ServiceError,
    UnexpectedAnswer,
    Unreachable,
)
from tests.client.driven import JOB, refused, said

SHOW = jobs.show("job_1")


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "a?b", "job 1", "jöb", "a" * 201, "a\n"])
def test_only_an_id_becomes_a_part_of_a_path(part: str) -> None:
    assert path("jobs", "job_1") == "/v1/jobs/job_1"
    with pytest.raises(ValueError, match="is not an id"):
        path("jobs", part)


def test_query_parameters_leave_out_nothing_but_none() -> None:
    moment = datetime(2026, 11, 21, 10, tzinfo=UTC)
    found = query(state=None, wait=0.0, limit=200, provider="", created_after=moment)
    assert found == (
        ("wait", "0.0"),
        ("limit", "200"),
        ("provider", ""),
        ("created_after", "2026-11-21T10:00:00Z"),
    )


def test_a_body_takes_moments_and_mappings_and_refuses_what_json_has_not() -> None:
    moment = datetime(2026, 11, 21, 10, tzinfo=UTC)
    given = {"since": moment, "filter": MappingProxyType({"a": 1})}
    assert json.loads(content(given)) == {"since": "2026-11-21T10:00:00Z", "filter": {"a": 1}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        content({"x": float("nan")})
    with pytest.raises(TypeError, match="a set is no JSON"):
        content({"x": {1}})
    assert some({"a": None, "b": 0, "c": False}) == {"b": 0, "c": False}


def test_an_unknown_keyword_is_named() -> None:
    with pytest.raises(TypeError, match="unexpected keyword 'metdata'; there are operation, metadata"):
        known({"metdata": {}}, jobs.JobOptions)


def test_the_page_of_a_cursor_replaces_the_cursor_before() -> None:
    call = jobs.pages(state="failed").at("job_2").at("job_1")
    assert call.query == (("state", "failed"), ("limit", "100"), ("cursor", "job_1"))


def test_a_success_is_read() -> None:
    assert outcome(SHOW, said(JOB)).state == "running"
    assert outcome(jobs.erase("job_1"), Answer(204, {}, b"")) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"[" * 5000, b"\xff", b'{"id": 7}'])
def test_a_success_of_something_else_is_an_unexpected_answer(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer) as caught:
        outcome(SHOW, Answer(200, {"x-request-id": "req_7"}, body))
    assert (caught.value.status, caught.value.request_id) == (200, "req_7")
    assert "GET /v1/jobs/job_1" in str(caught.value)


@pytest.mark.parametrize("code", BY_CODE)
def test_each_code_becomes_its_error(code: str) -> None:
    found = problem(refused(418, code))
    assert type(found) is BY_CODE[code]
    assert (found.code, found.status, found.detail, found.request_id) == (code, 418, f"{code} it is", "req_1")


def test_the_wrong_fields_are_told_and_a_new_code_is_kept() -> None:
    wrong = {"in": "body", "pointer": "/input/prompt", "name": "", "detail": "is missing", "new": 1}
    found = problem(refused(422, "validation", errors=[wrong]))
    assert found.errors == (FieldProblem("body", "/input/prompt", "", "is missing"),)
    assert (type(problem(refused(420, "new"))), problem(refused(420, "new")).code) == (ServiceError, "new")


def test_a_lost_place_is_an_error_of_the_feed_only() -> None:
    gone = refused(410, "gone", oldest="evt_7")
    with pytest.raises(PlaceLost) as caught:
        outcome(events.page(after="evt_1"), gone)
    assert (caught.value.oldest, caught.value.status) == ("evt_7", 410)
    with pytest.raises(Gone) as other:
        outcome(SHOW, gone)
    assert type(other.value) is Gone


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\x00\x1b[31m Bad\n Gateway" + b"x" * 9000,
        b"",
        b"{}",
        b"7",
        b'{"code": 1, "detail": "d"}',
        b'{"code": "c", "detail": "d", "errors": [1]}',
        b"[" * 5000,
    ],
)
def test_an_error_of_a_proxy_is_shown_in_short_and_harmless_words(body: bytes) -> None:
    found = problem(Answer(502, {}, body))
    assert type(found) is UnexpectedAnswer
    assert found.status == 502
    assert len(found.detail) < 400
    assert found.detail.isprintable()
    assert found.detail.startswith("status 502, ")


def test_errors_that_pass_are_lost_answers_server_errors_and_throttling() -> None:
    passing = [RingbackError("", status=status) for status in (429, 500, 502, 503)]
    assert all(map(passes, [*passing, Unreachable("cut", sent=True)]))
    lasting = [RingbackError("", status=status) for status in (200, 302, 400, 401, 404, 409, 410, 422)]
    assert not any(map(passes, lasting))


@pytest.mark.parametrize("part", ["../x", "", None])
def test_what_is_no_id_is_an_error_of_the_client(part: object) -> None:
    with pytest.raises(ConfigurationError, match="is not an id"):
        path("jobs", part)  # type: ignore[arg-type]  # as callers without types may
