"""The API reference: every call and event with an example that is right, every link with a goal."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.api import ROUTES
from receiver.api.examples import ANSWERS, BODIES
from receiver.api.openapi import description, name_of, tag_of
from receiver.api.reference import reference
from receiver.api.routing import Route
from receiver.api.webhooks import EXAMPLES, MEANINGS, Webhook
from receiver.domain.errors import PROBLEMS
from receiver.domain.event_types import TYPES

DESCRIPTION = description(ROUTES, "1.2.3")
PAGE = reference(DESCRIPTION)


def test_every_call_that_takes_or_answers_something_has_an_example_that_fits() -> None:
    assert {name_of(call) for call in ROUTES if call.body} == set(BODIES)
    assert {name_of(call) for call in ROUTES if call.told} == set(ANSWERS)
    for call in ROUTES:
        if call.body is not None:
            call.body.model_validate(BODIES[name_of(call)])
        if call.told is not None:
            example = ANSWERS[name_of(call)]
            for one in example if call.paged else [example]:
                call.told.model_validate(one)


@pytest.mark.parametrize("name", TYPES)
def test_every_event_type_has_a_meaning_and_an_example_that_fits(name: str) -> None:
    assert Webhook.model_validate(EXAMPLES[name]).root.type == name
    assert MEANINGS[name] in PAGE.replace("<code>", "`").replace("</code>", "`")
    assert f"<h3 id='{name.replace('.', '-').replace('_', '-')}'>" in PAGE


def test_every_link_within_the_page_leads_somewhere_and_every_anchor_is_one() -> None:
    anchors = re.findall(r"id=['\"]([^'\"]+)['\"]", PAGE)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"href='#([^']+)'", PAGE)) <= set(anchors)


@pytest.mark.parametrize("call", ROUTES, ids=name_of)
def test_every_call_is_told_with_a_curl_and_its_fields(call: Route) -> None:
    section = PAGE.split(f"'><code>{call.method} {call.path}</code>", 1)[1].split("<h3", 1)[0]
    assert section.count("<code>curl ") == 1
    assert ("Authorization: Bearer $RINGBACK_API_KEY" in section) == (call.scope is not None)
    for field in call.body.model_fields if call.body else ():
        assert f"<td><code>{field}</code></td>" in section, field
    for field in call.query.model_fields:
        assert f"<td><code>{field}</code></td>" in section, field


@pytest.mark.parametrize("field", ["state", "waiting", "error", "provider_code", "deletes_at", "next_cursor"])
def test_what_answers_hold_is_told(field: str) -> None:
    assert field in PAGE


def test_every_error_leads_to_its_page() -> None:
    assert all(f"<a href='/problems/{kind.code}'>" in PAGE for kind in PROBLEMS)


def schema(*path: str) -> Any:
    """A part of the description."""
    found: Any = DESCRIPTION
    for name in path:
        found = found[name]
    return found


def words(model: str, field: str) -> list[str]:
    """The values that a field of a model may have."""
    told = schema("components", "schemas", model, "properties", field)
    found: list[str] = next(one["enum"] for one in told.get("anyOf", [told]) if "enum" in one)
    return found


def test_what_has_a_list_of_words_is_typed_by_it() -> None:
    assert words("Job", "state")[:3] == ["pending", "submitting", "unconfirmed"]
    assert words("Job", "completed_by") == ["callback", "poll", "submit", "deadline", "cancel", "operator"]
    assert "content_policy" in words("JobError", "code")
    assert words("Waiting", "reason")[0] == "unreachable"
    scopes = schema("components", "schemas", "Key", "properties", "scopes", "items", "enum")
    assert "endpoints:write" in scopes


def test_events_are_told_apart_by_their_type() -> None:
    for model in ("Webhook", "Event", "EventWithReasons"):
        told = schema("components", "schemas", model, "discriminator")
        assert told["propertyName"] == "type"
        assert set(told["mapping"]) == set(TYPES)
    posted = schema("webhooks", "event", "post")
    assert set(posted["requestBody"]["content"]["application/json"]["examples"]) == set(TYPES)
    assert [one["name"] for one in posted["parameters"]] == [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]


def parameters(path: str) -> Iterator[str]:
    """The names of a listing's parameters."""
    return (one["name"] for one in schema("paths", path, "get", "parameters"))


def test_a_filter_by_metadata_is_described() -> None:
    assert "metadata.*" in parameters("/v1/jobs")


def test_every_call_has_a_tag_that_is_described() -> None:
    known = {one["name"] for one in schema("tags")}
    for call in ROUTES:
        assert schema("paths", call.path, call.method.lower(), "tags") == [tag_of(call.path)]
        assert tag_of(call.path) in known


def test_every_summary_is_a_sentence_that_begins_with_a_verb() -> None:
    for call in ROUTES:
        told = schema("paths", call.path, call.method.lower(), "summary")
        assert re.fullmatch(r"[A-Z][a-z]+ .*\.", told), told
