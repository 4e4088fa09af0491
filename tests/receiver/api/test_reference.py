"""The API reference: every route and event with a valid example, and every link with a target."""

import re

import pytest

from receiver.api.event_examples import EXAMPLES, MEANINGS
from receiver.api.openapi import description, name_of
from receiver.api.reference import reference
from receiver.api.routes import ROUTES
from receiver.api.routing import Route
from receiver.api.webhooks import Webhook
from receiver.domain.errors import PROBLEMS
from receiver.domain.event_types import TYPES

DESCRIPTION = description(ROUTES, "1.2.3")
PAGE = reference(DESCRIPTION)


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
