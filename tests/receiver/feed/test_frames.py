"""Server-sent events as bytes."""

import json
from datetime import UTC, datetime

from receiver.domain.model import Event
from receiver.domain.rendering import event_body
from receiver.feed.frames import HEARTBEAT, frame, gap, opening, public

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


def event(text: str = "a") -> Event:
    """Return an event with a text in its data."""
    body = event_body("evt_1", "job.running", AT, {"id": "job_1", "text": text})
    return Event(id="evt_1", type="job.running", job_id="job_1", at=AT, sequence=1, body=body)


def test_a_frame_has_the_id_and_the_event_on_one_line() -> None:
    assert frame(event()) == (
        b'id: evt_1\ndata: {"object":"event","id":"evt_1","type":"job.running",'
        b'"timestamp":"2026-11-21T10:00:00.000Z","data":{"id":"job_1","text":"a"}}\n\n'
    )


def test_an_event_is_shown_on_one_line_with_the_data_of_its_body() -> None:
    for text in ("a", "line\nbreak\r\n", "\u2028\u0085", 'quo"te', "\u00e9\U0001f600"):
        made = event(text)
        assert list(json.loads(public(made)).items()) == [
            ("object", "event"),
            ("id", "evt_1"),
            ("type", "job.running"),
            ("timestamp", "2026-11-21T10:00:00.000Z"),
            ("data", {"id": "job_1", "text": text}),
        ]
        assert b"\n" not in public(made)
        assert b"\r" not in public(made)
        # Many clients end lines as Python's `splitlines` does.
        assert len(public(made).decode().splitlines()) == 1


def test_a_stream_opens_with_the_time_to_return_and_a_position() -> None:
    assert opening(None) == b"retry: 2000\n\n"
    assert opening("evt_1") == b"retry: 2000\nid: evt_1\n\n"


def test_a_gap_is_an_event_of_its_own_and_moves_the_position() -> None:
    assert gap("m-41", "evt_9") == b'event: gap\nid: m-41\ndata: {"oldest":"evt_9"}\n\n'
    assert gap("m-41", None) == b'event: gap\nid: m-41\ndata: {"oldest":null}\n\n'


def test_a_heartbeat_is_a_comment() -> None:
    assert HEARTBEAT.startswith(b":")
    assert HEARTBEAT.endswith(b"\n\n")
