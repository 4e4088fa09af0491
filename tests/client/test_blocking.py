"""The blocking client over sockets."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from receiver.api.event_examples import EXAMPLES
from ringback import (
    Invalid,
    JobSucceeded,
    MemoryPlace,
    Retry,
    Ringback,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from tests.client.driven import DONE, JOB
from tests.receiver.scripted_service import KEY, ScriptedService

PATIENT = Retry(first=0.0, longest=0.0)


def client_of(service: ScriptedService, **others: Any) -> Ringback:
    """Return a client of the scripted service that does not pause."""
    options: dict[str, Any] = {"retry": PATIENT, "timeout": 20.0} | others
    return Ringback(service.url, KEY, **options)


def test_a_call_is_made_and_its_answer_read(service: ScriptedService) -> None:
    service.answer(JOB)
    with client_of(service) as client:
        job = client.jobs.cancel(JOB["id"])
    assert job.raw == JOB
    request = service.only_request()
    assert (request.method, request.path) == ("POST", f"/v1/jobs/{JOB['id']}/cancel")
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_the_key_is_in_no_repr_and_no_error(unserved: str) -> None:
    with Ringback(unserved, KEY, retry=replace(PATIENT, attempts=1)) as client:
        assert repr(client) == f"Ringback('{unserved}')"
        with pytest.raises(Unreachable) as caught:
            client.jobs.get("job_1")
    assert not caught.value.sent
    assert KEY not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


def test_the_environment_names_the_service(service: ScriptedService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer(JOB)
    monkeypatch.setenv("RINGBACK_URL", service.url)
    monkeypatch.setenv("RINGBACK_API_KEY", KEY)
    with Ringback() as client:
        assert client.jobs.get("job_1").id == JOB["id"]


def test_a_lost_answer_is_asked_for_again(service: ScriptedService) -> None:
    service.answer(status=None)
    service.answer({"title": "x", "detail": "later", "code": "unavailable"}, 503, **{"retry-after": "3"})
    service.answer(JOB, 202)
    slept: list[float] = []
    with client_of(service, sleep=slept.append) as client:
        assert client.jobs.submit("apiframe", {"prompt": "x"}).id == JOB["id"]
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1
    assert (len(service.requests), slept) == (3, [0.0, 3.0])


def test_the_error_of_the_service_is_raised(service: ScriptedService) -> None:
    wrong = {"in": "body", "pointer": "/provider", "name": "", "detail": "is unknown"}
    problem = {"code": "validation", "title": "t", "detail": "d", "errors": [wrong]}
    service.answer(problem, 422, **{"x-request-id": "req_5"})
    service.answer({"code": "unauthorized", "title": "t", "detail": ""}, 401)
    with client_of(service) as client:
        with pytest.raises(Invalid) as caught:
            client.jobs.submit("nobody", {})
        with pytest.raises(Unauthorized, match="unauthorized: t"):
            client.jobs.get("job_1")
    assert (caught.value.request_id, caught.value.errors[0].pointer) == ("req_5", "/provider")


def test_a_redirect_is_not_followed(service: ScriptedService) -> None:
    service.answer(b"", 307, location=f"{service.url}/elsewhere")
    with client_of(service) as client, pytest.raises(UnexpectedAnswer, match="status 307"):
        client.jobs.get("job_1")
    assert len(service.requests) == 1


def page_of(*names: str, cursor: str | None) -> dict[str, Any]:
    """Return a page of jobs."""
    return {"data": [JOB | {"id": name} for name in names], "next_cursor": cursor}


def test_a_list_reads_each_page_when_it_is_needed(service: ScriptedService) -> None:
    service.answer(page_of("job_3", "job_2", cursor="job_2"))
    service.answer(page_of("job_1", cursor=None))
    with client_of(service) as client:
        listed: Iterator[Any] = client.jobs.list(state="failed", metadata={"order": "42"}, page_size=2)
        assert service.requests == []
        assert [job.id for job in itertools.islice(listed, 2)] == ["job_3", "job_2"]
        assert len(service.requests) == 1
        assert [job.id for job in listed] == ["job_1"]
    wanted = {"state": "failed", "metadata.order": "42", "limit": "2"}
    assert [one.query for one in service.requests] == [wanted, wanted | {"cursor": "job_2"}]


def test_a_wrong_argument_is_told_when_the_method_is_called(service: ScriptedService) -> None:
    with client_of(service) as client:
        with pytest.raises(ValueError, match="is not an id"):
            client.jobs.timeline("../keys")
        with pytest.raises(TypeError, match="unexpected keyword 'oops'"):
            client.jobs.submit("p", {}, oops=1)  # type: ignore[call-arg]  # the keyword that is refused
    assert service.requests == []


def test_a_client_of_ones_own_is_used_and_left_open(service: ScriptedService) -> None:
    service.answer(JOB)
    with httpx.Client(headers={"x-own": "1"}) as http:
        with client_of(service, http=http) as client:
            client.jobs.get("job_1")
        assert not http.is_closed
    assert service.only_request().headers["x-own"] == "1"


def fed(cursor: str, *names: str) -> dict[str, Any]:
    """Return a page of the feed."""
    events = [EXAMPLES["job.succeeded"] | {"object": "event", "id": name} for name in names]
    return {"data": events, "next_cursor": cursor, "has_more": True}


def test_the_follower_keeps_each_place_behind_the_body_of_the_loop(service: ScriptedService) -> None:
    service.answer(fed("7", "evt_1", "evt_2"))
    service.answer(status=None)
    service.answer(fed("8", "evt_3"))
    place, seen = MemoryPlace("evt_0"), []
    with client_of(service) as client:
        follower = client.events.follow(place=place, type="job.*", wait=5)
        for event in follower:
            assert isinstance(event, JobSucceeded)
            seen.append((event.id, place.place))
            if event.id == "evt_3":
                follower.stop()
    assert seen == [("evt_1", "evt_0"), ("evt_2", "evt_1"), ("evt_3", "7")]
    assert place.place == "8"
    assert [one.query["after"] for one in service.requests] == ["evt_0", "7", "7"]


def test_a_loop_that_breaks_leaves_its_event_unhandled(service: ScriptedService) -> None:
    service.answer(fed("7", "evt_1", "evt_2"))
    place = MemoryPlace()
    with client_of(service) as client:
        for event in client.events.follow(place=place):
            if event.id == "evt_2":
                break
    assert place.place == "evt_1"


def test_a_closed_follower_ends_without_keeping_its_place(service: ScriptedService) -> None:
    service.answer(fed("7", "evt_1"))
    place = MemoryPlace()
    with client_of(service) as client:
        follower = client.events.follow(place=place)
        assert next(follower).id == "evt_1"
        follower.close()
        assert list(follower) == []
    assert place.place is None


def test_threads_share_a_client(service: ScriptedService) -> None:
    for _ in range(20):
        service.answer(DONE)
    with client_of(service) as client:
        states: list[str] = []
        threads = [
            threading.Thread(target=lambda: states.append(client.jobs.get("job_1").state)) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert states == ["succeeded"] * 20
