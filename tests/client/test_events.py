"""Events: a class for each type."""

import base64
from typing import Any

import pytest

from receiver.api.event_examples import AT, EXAMPLES
from receiver.domain.event_types import SOURCE_TYPE
from ringback import events
from ringback.events import KINDS, Event, JobEvent, JobSucceeded, SourceReceived, read_event
from ringback.reading import Unreadable, moment
from ringback.values import Job


@pytest.mark.parametrize("name", KINDS)
def test_every_type_becomes_its_class_with_its_object(name: str) -> None:
    event = read_event(EXAMPLES[name])
    kind, attribute, inner = KINDS[name]
    assert type(event) is kind
    assert kind.__name__.lower() == name.replace(".", "").replace("_", "")
    assert (event.id, event.type, event.timestamp) == (EXAMPLES[name]["id"], name, moment(AT))
    assert (event.data, event.raw) == (EXAMPLES[name]["data"], EXAMPLES[name])
    about = getattr(event, attribute)
    assert type(about) is inner
    assert isinstance(about, Job | events.AccountState | events.EndpointState)
    assert (about.id, about.sequence) == (event.data["id"], event.data["sequence"])


def test_a_job_in_an_event_is_a_whole_job() -> None:
    event = read_event(EXAMPLES["job.succeeded"])
    assert isinstance(event, JobSucceeded)
    assert isinstance(event, JobEvent)
    assert isinstance(event.job, Job)
    assert event.job.succeeded
    assert event.job.assets[0].url == "https://hooks.example.com/assets/eyJ..."
    assert event.job.assets[0].duration == 5.0
    assert event.job.metadata == {"order": "42"}
    failed = read_event(EXAMPLES["job.failed"])
    assert isinstance(failed, events.JobFailed)
    assert failed.job.error is not None
    assert (failed.job.error.code, failed.job.succeeded, failed.job.final) == ("content_policy", False, True)
    failing = read_event(EXAMPLES["endpoint.failing"])
    assert isinstance(failing, events.EndpointFailing)
    assert failing.endpoint.disable_at == moment("2026-11-24T04:00:00Z")


def test_a_type_that_is_not_known_is_a_plain_event_with_its_data() -> None:
    event = read_event(EXAMPLES["job.succeeded"] | {"type": "moon.rose", "data": {"phase": 1}, "new": 2})
    assert type(event) is Event
    assert (event.type, event.data, event.raw["new"]) == ("moon.rose", {"phase": 1}, 2)


def received(**data: Any) -> Event:
    """Return the event of a webhook that a source took."""
    return read_event(EXAMPLES["endpoint.test"] | {"type": "source.shop_renders.received", "data": data})


def test_a_source_s_event_has_the_webhook_that_came() -> None:
    event = received(body={"a": 1}, headers={"x-id": "7"}, update={"state": "done"})
    assert isinstance(event, SourceReceived)
    assert (event.source, event.body, event.headers) == ("shop_renders", {"a": 1}, {"x-id": "7"})
    assert event.update == {"state": "done"}
    shown = read_event(EXAMPLES[SOURCE_TYPE])
    assert isinstance(shown, SourceReceived)
    assert (shown.sender_id, shown.received_at, shown.source) == ("8f2a0c52", moment(AT), "shop_renders")
    assert shown.body == {"render": 7, "status": "done"}
    raw = received(body_base64=base64.b64encode(b"\xff\x00").decode())
    assert isinstance(raw, SourceReceived)
    assert (raw.body, raw.headers, raw.update) == (b"\xff\x00", {}, None)


@pytest.mark.parametrize(
    "data", [{"body_base64": "!"}, {"body_base64": 7}, {"body_base64": "é"}, {"headers": 1}, {"update": []}]
)
def test_a_source_s_event_of_another_form_is_unreadable(data: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="data: "):
        received(**data)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 7},
        {"type": None},
        {"timestamp": "now"},
        {"data": []},
        {"data": {}},
        {"data": EXAMPLES["job.succeeded"]["data"] | {"assets": [{}]}},
    ],
)
def test_an_event_of_another_form_is_unreadable(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        read_event(EXAMPLES["job.succeeded"] | change)
