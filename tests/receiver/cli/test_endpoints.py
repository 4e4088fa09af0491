"""Tests of `ringback endpoints`: the request and the output of each command."""

from typing import Any

import pytest

from tests.receiver.scripted_service import ScriptedService

ENDPOINT = {"object": "endpoint", "id": "ep_1", "state": "active", "url": "http://h/x", "events": ["job.*"]}


def test_an_endpoint_is_created_with_every_option(service: ScriptedService) -> None:
    service.answer(ENDPOINT | {"secret": "whsec_x"}, 201)
    options = ["--event", "job.*", "--event", "endpoint.test", "--description", "ours", "--include-result"]
    more = ["--header", "x-a=1", "--header", "x-b=c=d", "--max-in-flight", "7", "--secret", "whsec_y"]
    result = service.run("endpoints", "create", "http://h/x", *options, *more)
    assert "secret: whsec_x\n" in result.stdout
    request = service.only_request()
    assert (request.method, request.path) == ("POST", "/v1/endpoints")
    assert request.body == {
        "url": "http://h/x",
        "events": ["job.*", "endpoint.test"],
        "description": "ours",
        "headers": {"x-a": "1", "x-b": "c=d"},
        "max_in_flight": 7,
        "secret": "whsec_y",
        "include": ["result"],
    }


def test_an_endpoint_without_options_leaves_everything_to_the_service(service: ScriptedService) -> None:
    service.answer(ENDPOINT, 201)
    service.run("endpoints", "create", "http://h/x")
    assert service.only_request().body == {"url": "http://h/x"}


def test_an_event_that_is_none_is_told_before_anything_is_sent(service: ScriptedService) -> None:
    result = service.run("endpoints", "create", "http://h/x", "--event", "job.succeded")
    assert result.exit_code == 2
    assert "'job.succeded' is no event type; did you mean job.succeeded? (types: " in result.stderr
    assert service.requests == []


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--url", "http://h/y"), {"url": "http://h/y"}),
        (("--event", "job.failed"), {"events": ["job.failed"]}),
        (("--description", "new"), {"description": "new"}),
        (("--description", ""), {"description": ""}),
        (("--header", "x-a=1"), {"headers": {"x-a": "1"}}),
        (("--drop-header", "x-b"), {"headers": {"x-b": None}}),
        (("--header", "x-a=1", "--drop-header", "x-b"), {"headers": {"x-a": "1", "x-b": None}}),
        (("--max-in-flight", "3"), {"max_in_flight": 3}),
        (("--include-result",), {"include": ["result"]}),
        (("--no-include-result",), {"include": []}),
    ],
)
def test_an_update_sends_the_given_fields_only(
    service: ScriptedService, options: tuple[str, ...], body: dict[str, Any]
) -> None:
    service.answer(ENDPOINT)
    assert service.run("endpoints", "update", "ep_1", *options).exit_code == 0
    request = service.only_request()
    assert (request.method, request.path, request.body) == ("PATCH", "/v1/endpoints/ep_1", body)


def test_an_update_of_nothing_is_refused(service: ScriptedService) -> None:
    result = service.run("endpoints", "update", "ep_1")
    says = "Error: give what to update, for example --url or --event"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, says)
    assert service.requests == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--url", "", "--description", "x"), "--url must not be empty"),
        (("--filter", "{}", "--drop-filter"), "choose one of --filter and --drop-filter"),
        (("--header", "a=b", "--drop-header", "A"), "choose one of --header and --drop-header for A"),
        (("--event", "job.failed", "--reset", "events"), "--reset events: is given a value as well"),
        (("--max-in-flight", "5", "--reset", "max-in-flight"), "--reset max-in-flight: is given a value"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    service: ScriptedService, options: tuple[str, ...], says: str
) -> None:
    result = service.run("endpoints", "update", "ep_1", *options)
    assert (result.exit_code, service.requests) == (2, [])
    assert says in result.stderr


def test_endpoints_are_listed(service: ScriptedService) -> None:
    service.answer({"data": [ENDPOINT], "next_cursor": "c-2", "has_more": True})
    result = service.run("endpoints", "list", "--cursor", "c-1", "--limit", "1")
    assert result.stdout.splitlines()[0] == "id\tstate\turl\tevents\tcreated_at\tdisabled_reason"
    assert result.stdout.splitlines()[1] == "ep_1\tactive\thttp://h/x\tjob.*\t\t"
    assert result.stderr == "there are more: add --cursor c-2\n"
    assert (service.only_request().path, service.only_request().query) == (
        "/v1/endpoints",
        {"cursor": "c-1", "limit": "1"},
    )


@pytest.mark.parametrize(
    ("command", "method", "where"),
    [("show", "GET", "/v1/endpoints/ep_1"), ("resume", "POST", "/v1/endpoints/ep_1/resume")],
)
def test_an_endpoint_is_shown_and_resumed(
    service: ScriptedService, command: str, method: str, where: str
) -> None:
    service.answer(ENDPOINT)
    result = service.run("endpoints", command, "ep_1")
    assert result.stdout == "id: ep_1\nstate: active\nurl: http://h/x\nevents: job.*\n"
    assert (service.only_request().method, service.only_request().path) == (method, where)


def test_the_secret_is_printed_alone(service: ScriptedService) -> None:
    service.answer({"secret": "whsec_x"})
    assert service.run("endpoints", "secret", "ep_1").stdout == "whsec_x\n"
    assert service.only_request().path == "/v1/endpoints/ep_1/secret"


FIX = (
    "an endpoint takes an event with an answer of 200 to 299: "
    "correct its server or its url, and test it again"
)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (200, ""),
        (299, ""),
        (199, f"Error: it answered 199; {FIX}\n"),
        (300, f"Error: it answered 300; {FIX}\n"),
        (None, f"Error: it did not answer; {FIX}\n"),
    ],
)
def test_a_ping_fails_unless_it_is_answered_with_2xx(
    service: ScriptedService, status: int | None, says: str
) -> None:
    service.answer({"object": "attempt", "id": "att_1", "status": status, "latency_ms": 1.5})
    result = service.run("endpoints", "test", "ep_1")
    assert (result.exit_code, result.stderr) == (1 if says else 0, says)
    assert result.stdout == f"id: att_1\nstatus: {status or '-'}\nlatency_ms: 1.5\n"
    assert (service.only_request().method, service.only_request().path) == ("POST", "/v1/endpoints/ep_1/test")


def test_an_endpoint_is_deleted(service: ScriptedService) -> None:
    service.answer(b"", 204)
    assert service.run("endpoints", "delete", "ep_1").stdout == "removed ep_1\n"
    assert (service.only_request().method, service.only_request().path) == ("DELETE", "/v1/endpoints/ep_1")


def test_a_field_gets_its_default_again_and_the_receiver_is_asked(service: ScriptedService) -> None:
    service.answer(ENDPOINT)
    options = ("--reset", "rate-limit", "--reset", "format", "--handshake", "--timeout", "5")
    assert service.run("endpoints", "update", "ep_1", *options).exit_code == 0
    assert service.only_request().body == {
        "rate_limit": None,
        "format": None,
        "handshake": True,
        "timeout": 5.0,
    }
