"""Tests of `ringback deliveries`: the request and the output of each command."""

import pytest

from tests.receiver.scripted_service import ScriptedService

DELIVERY = {"object": "delivery", "id": "dlv_1", "state": "pending", "endpoint": "ep_1", "attempts_made": 1}


def test_deliveries_are_listed_with_their_filters(service: ScriptedService) -> None:
    service.answer({"data": [DELIVERY], "next_cursor": "c-2"})
    options = ["--endpoint", "ep_1", "--state", "pending", "--event", "evt_1", "--job", "job_1"]
    result = service.run("deliveries", "list", *options, "--cursor", "c-1", "--limit", "3")
    header, row = (line.split("\t") for line in result.stdout.splitlines())
    found = dict(zip(header, row, strict=True))
    assert (found["id"], found["endpoint"], found["attempts_made"]) == ("dlv_1", "ep_1", "1")
    assert result.stderr == "there are more: add --cursor c-2\n"
    assert (service.only_request().method, service.only_request().path) == ("GET", "/v1/deliveries")
    assert service.only_request().query == {
        "endpoint": "ep_1",
        "state": "pending",
        "event": "evt_1",
        "job": "job_1",
        "cursor": "c-1",
        "limit": "3",
    }


def test_a_state_that_is_none_gets_the_nearest(service: ScriptedService) -> None:
    result = service.run("deliveries", "list", "--state", "exausted")
    assert result.exit_code == 2
    listed = "pending, delivered, exhausted, canceled"
    assert f"'exausted' is none of {listed}; did you mean exhausted?" in result.stderr
    assert service.requests == []


def test_a_delivery_is_shown_with_its_attempts_below(service: ScriptedService) -> None:
    attempt = {"id": "att_1", "at": "t", "status": 500, "latency_ms": 1.5, "error": None, "answer": "no"}
    service.answer(DELIVERY | {"attempts": [attempt]})
    result = service.run("deliveries", "show", "dlv_1")
    assert result.stdout.splitlines() == [
        "id: dlv_1",
        "state: pending",
        "endpoint: ep_1",
        "attempts_made: 1",
        "",
        "at\tstatus\tlatency_ms\terror\tanswer",
        "t\t500\t1.5\t\tno",
    ]
    assert service.only_request().path == "/v1/deliveries/dlv_1"


def test_a_quiet_delivery_is_its_id(service: ScriptedService) -> None:
    service.answer(DELIVERY | {"attempts": []})
    assert service.run("deliveries", "show", "dlv_1", "-q").stdout == "dlv_1\n"


@pytest.mark.parametrize("command", ["retry", "cancel"])
def test_a_delivery_is_retried_and_canceled(service: ScriptedService, command: str) -> None:
    service.answer(DELIVERY)
    result = service.run("deliveries", command, "dlv_1")
    assert "id: dlv_1\nstate: pending\n" in result.stdout
    assert (service.only_request().method, service.only_request().path) == (
        "POST",
        f"/v1/deliveries/dlv_1/{command}",
    )


@pytest.mark.parametrize("command", ["show", "retry", "cancel"])
def test_a_text_that_is_no_id_is_not_sent(service: ScriptedService, command: str) -> None:
    result = service.run("deliveries", command, "../jobs")
    assert result.exit_code == 2
    assert "'../jobs' is no id; lists show them" in result.stderr
    assert service.requests == []
