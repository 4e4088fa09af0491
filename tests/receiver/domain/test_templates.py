"""Templates: values of an event in JSON, and the faults that are found before there is an event."""

import json
from typing import Any

import pytest

from receiver.api.event_examples import EXAMPLES
from receiver.domain.event_types import LITERAL_ONLY
from receiver.domain.templates import LONGEST, MOST, ROOM, BadTemplate, check, filled

ALL = ("*", *sorted(LITERAL_ONLY))
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "type": "job.succeeded",
    "timestamp": "2026-11-21T10:00:00.123Z",
    "data": {
        "id": "job_1",
        "progress": 100,
        "error": None,
        "metadata": {"order": "42", "a/b": "slash", "a~b": "tilde", "say": '"quoted"\n'},
        "assets": [{"url": "https://a.example/0"}, {"url": "https://a.example/1"}],
    },
}
FILLED: list[tuple[Any, Any]] = [
    ("{/type}", "job.succeeded"),
    ("{/data/progress}", 100),
    ("done: {/data/progress} %", "done: 100 %"),
    ("{/data/assets}", EVENT["data"]["assets"]),
    ("all: {/data/assets}", 'all: [{"url":"https://a.example/0"},{"url":"https://a.example/1"}]'),
    ("{/data/assets/1/url}", "https://a.example/1"),
    ("{/data/assets/2/url}", ""),
    ("{/data/assets/" + "9" * 5000 + "}", ""),
    ("{/data/assets/x}", ""),
    ("{/data/error/message}", ""),
    ("why: {/data/error/message}.", "why: ."),
    ("{/data/metadata/a~1b} {/data/metadata/a~0b}", "slash tilde"),
    ("say {/data/metadata/say}", 'say "quoted"\n'),
    ("{/id}{/id}", "evt_1evt_1"),
    ("{} {x} { /id}", "{} {x} { /id}"),
    (
        {"a": ["{/id}", 1, None, True], "b": {"c": "{/data/id}"}},
        {"a": ["evt_1", 1, None, True], "b": {"c": "job_1"}},
    ),
    ({"{/id}": 1}, {"{/id}": 1}),
]
FAULTS: list[tuple[str, tuple[str, ...], str]] = [
    ('"{data/id}"', ALL, "'{data/id}' is no placeholder and would be sent as it is"),
    ('"{data.id}"', ALL, "'{data.id}' is no placeholder"),
    ('["a", "job {/data/id is done"]', ALL, "'{/data/id is done' is no placeholder"),
    ('{"x": "{ /data/id }"}', ALL, "'{ /data/id }' is no placeholder"),
    ('"{/id} {type}"', ALL, "'{type}' is no placeholder"),
    ('{"a": [{"{/data/id}": 1}]}', ALL, "a name stays as it is: write the placeholder of '{/data/id}' as"),
    ("{", ALL, "must be JSON: "),
    ("", ALL, "must be JSON: "),
    ('{"a": 1, "a": 2}', ALL, "must be JSON: "),
    (
        '"{/typ}"',
        ALL,
        "{/typ} is no value of an event; it has id, type, timestamp, data; did you mean `type`?",
    ),
    ('"{/}"', ALL, "{/} is no value of an event"),
    ('"{/id/x}"', ALL, "{/id/x} leads into a text"),
    ('"{/data/jobb}"', ALL, "{/data/jobb} is no value of the events of this endpoint"),
    (
        '{"x": [{"y": "a {/data/providr}"}]}',
        ALL,
        "{/data/providr} is no value of the events of this endpoint; did you",
    ),
    ('"{/data/error/kode}"', ALL, "{/data/error/kode} is no value"),
    ('"{/data/id/x}"', ALL, "{/data/id/x} is no value"),
    ('"{/data/assets}"', ("provider.*",), "{/data/assets} is no value"),
    ('"{/data/result/x}"', ("provider.*",), "{/data/result/x} is no value"),
    (json.dumps("{/id}" * (MOST + 1)), ALL, f"must have at most {MOST} placeholders"),
    (json.dumps("x" * LONGEST), ALL, f"must have at most {LONGEST} bytes"),
]
FITTING = [
    '"{/data/metadata/anything/at~1all}"',
    '"{/data/usage/cost/amount}"',
    '"{/data/assets/0/url}"',
    '"{/data/result/video_url}"',
    '"{/data/error/message} {/data/waiting/reason} {/data}"',
    "1",
    json.dumps("{/id}" * MOST),
]


@pytest.mark.parametrize(("template", "value"), FILLED)
def test_a_template_takes_the_values_of_an_event(template: Any, value: Any) -> None:
    assert filled(json.dumps(template), EVENT) == value


@pytest.mark.parametrize(("template", "patterns", "fault"), FAULTS)
def test_a_fault_is_found_before_there_is_an_event(
    template: str, patterns: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(BadTemplate) as raised:
        check(template, patterns)
    assert str(raised.value).startswith(fault)


@pytest.mark.parametrize("template", FITTING)
def test_a_template_that_fits_is_taken(template: str) -> None:
    check(template, ALL)


@pytest.mark.parametrize("event_type", EXAMPLES)
def test_every_event_fills_every_template_that_was_taken(event_type: str) -> None:
    for template in FITTING:
        filled(template, EXAMPLES[event_type])


def test_the_values_of_a_template_are_bounded_together() -> None:
    event = {**EVENT, "data": {**EVENT["data"], "text": "x" * (ROOM // 3)}}
    template = json.dumps(["{/data/text}", "a{/data/text}", *["b{/data/text}{/id}"] * 98])
    made = filled(template, event)
    assert [len(one) for one in made[:3]] == [ROOM // 3, ROOM // 3 + 1, ROOM // 3 + 1]
    assert made[3:] == ["b"] * 97
    assert len(json.dumps(made)) < ROOM + 1000
