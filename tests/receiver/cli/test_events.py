"""Tests of `ringback events`: the request and the output of each command."""

import json

import pytest

from tests.receiver.scripted_service import ScriptedService

EVENT = {"object": "event", "id": "evt_1", "type": "job.failed", "timestamp": "t", "data": {"id": "job_1"}}


def test_events_are_listed_with_the_option_that_goes_on(service: ScriptedService) -> None:
    service.answer({"data": [EVENT], "next_cursor": "evt_1", "has_more": True})
    options = ["--after", "evt_0", "--type", "job.*", "--job", "job_1", "--wait", "2.5", "--limit", "1"]
    result = service.run("events", "list", *options)
    assert result.stdout == "id\ttype\ttimestamp\tdata.id\nevt_1\tjob.failed\tt\tjob_1\n"
    assert result.stderr == "there are more: add --after evt_1\n"
    assert (service.only_request().method, service.only_request().path) == ("GET", "/v1/events")
    query = {"after": "evt_0", "type": "job.*", "job": "job_1", "wait": "2.5", "limit": "1"}
    assert service.only_request().query == query


def test_the_end_of_the_feed_names_no_next_place(service: ScriptedService) -> None:
    service.answer({"data": [EVENT], "next_cursor": "evt_1", "has_more": False})
    result = service.run("events", "list", "-q")
    assert (result.stdout, result.stderr) == ("evt_1\n", "")
    assert service.only_request().query == {"limit": "20"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--type", "job.fialed"), "'job.fialed' is no event type; did you mean job.failed? (types: "),
        (("--wait", "61"), "'61' must be a number from 0 to 60"),
        (("--job", "a/b"), "'a/b' is no id; lists show them"),
    ],
)
def test_a_filter_that_cannot_be_right_is_not_sent(
    service: ScriptedService, options: tuple[str, ...], says: str
) -> None:
    result = service.run("events", "list", *options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert service.requests == []


def test_an_event_is_shown_with_its_deliveries_below(service: ScriptedService) -> None:
    deliveries = [
        {"endpoint": "ep_1", "status": "delivered", "delivery": "dlv_1", "reason": None},
        {"endpoint": "ep_2", "status": "skipped", "delivery": None, "reason": "its events do not match"},
    ]
    service.answer(EVENT | {"deliveries": deliveries})
    result = service.run("events", "show", "evt_1")
    assert result.stdout.splitlines() == [
        "id: evt_1",
        "type: job.failed",
        "timestamp: t",
        "data.id: job_1",
        "",
        "endpoint\tstatus\tdelivery\treason",
        "ep_1\tdelivered\tdlv_1\t",
        "ep_2\tskipped\t\tits events do not match",
    ]
    assert service.only_request().path == "/v1/events/evt_1"


def test_an_event_in_json_has_its_deliveries_inside(service: ScriptedService) -> None:
    service.answer(EVENT | {"deliveries": []})
    result = service.run("events", "show", "evt_1", "--json")
    assert json.loads(result.stdout) == EVENT | {"deliveries": []}


def test_a_type_is_given_once(service: ScriptedService) -> None:
    for command in (("events", "list"), ("events", "tail"), ("listen", "--print")):
        result = service.run(*command, "--type", "job.failed", "--type", "job.succeeded")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "give it once; a pattern such as job.* stands for several" in result.stderr
    assert service.requests == []
