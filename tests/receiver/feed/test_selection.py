"""Selections: by type, pattern and job, with the key under which a reader is woken."""

import pytest

from receiver.domain.event_types import TYPES
from receiver.feed.selection import Selection, keys_of

ROWS = [
    (Selection(), "*", [], [], {("job.failed", "job_1"), ("job.failed", "job_2"), ("endpoint.test", None)}),
    (
        Selection(type="*"),
        "*",
        [],
        [],
        {("job.failed", "job_1"), ("job.failed", "job_2"), ("endpoint.test", None)},
    ),
    (Selection(type="job.*"), "job.*", [], ["job."], {("job.failed", "job_1"), ("job.failed", "job_2")}),
    (Selection(type="endpoint.test"), "endpoint.test", ["endpoint.test"], [], {("endpoint.test", None)}),
    (Selection(job_id="job_1"), "job_1", [], [], {("job.failed", "job_1")}),
    (Selection(type="endpoint.*", job_id="job_1"), "job_1", [], ["endpoint."], set()),
]
EVENTS = [("job.failed", "job_1"), ("job.failed", "job_2"), ("endpoint.test", None)]


@pytest.mark.parametrize(("selection", "key", "types", "prefixes", "taken"), ROWS)
def test_a_selection_takes_its_events_and_is_woken_for_them(
    selection: Selection, key: str, types: list[str], prefixes: list[str], taken: set[tuple[str, str | None]]
) -> None:
    assert (selection.key, selection.types, selection.prefixes) == (key, types, prefixes)
    assert {event for event in EVENTS if selection.takes(*event)} == taken
    assert all(key in keys_of(*event) for event in taken)


def test_an_event_has_a_key_for_each_pattern_that_includes_it() -> None:
    assert keys_of("source.shop.received", None) == ["*", "source.shop.received", "source.*", "source.shop.*"]
    assert keys_of("job.failed", "job_1") == ["*", "job.failed", "job.*", "job_1"]


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_selected_by_itself_and_its_prefix(name: str) -> None:
    for pattern in (name, name.partition(".")[0] + ".*", "*"):
        selection = Selection(type=pattern)
        assert selection.takes(name, None)
        assert selection.key in keys_of(name, None)
