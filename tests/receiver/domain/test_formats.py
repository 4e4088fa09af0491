"""The formats of deliveries, for an example of every event type."""

import json
from datetime import datetime
from typing import Any, get_args

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event

from handlers.json import write
from receiver.api.event_examples import EXAMPLES
from receiver.api.requests import EndpointRequest
from receiver.cli import params
from receiver.config.settings import EndpointSettings
from receiver.domain.event_types import SHOWN
from receiver.domain.formats import LINKS, LONGEST, MESSAGES, TEMPLATE, Rendered, render
from receiver.domain.model import STANDARD, Format

SOURCE = "https://hooks.example"
every_type = pytest.mark.parametrize("event_type", SHOWN)


def rendered(name: str, event: dict[str, Any], template: str | None = None) -> Rendered:
    """Return an event in a format."""
    return render(name, template, write(event), SOURCE)


def job(**data: Any) -> dict[str, Any]:
    """Return an event of a failed job with other data."""
    example = EXAMPLES["job.failed"]
    return {**example, "data": {**example["data"], **data}}


def text(name: str, event: dict[str, Any]) -> str:
    """Return the text of a message."""
    body = json.loads(rendered(name, event).body)
    if name == "teams":
        first, *others = body["attachments"][0]["content"]["body"]
        [run] = first["inlines"]
        return "\n".join([run["text"], *(part["text"] for part in others)])
    return str(body["content" if name == "discord" else "text"])


def same(found: BaseCloudEvent, event: dict[str, Any]) -> None:
    """Assert that a CloudEvent, as its library reads it, is an event."""
    assert found.get_id() == event["id"]
    assert found.get_type() == event["type"]
    assert found.get_source() == SOURCE
    assert found.get_subject() == event["data"]["id"]
    assert found.get_specversion() == "1.0"
    assert found.get_time() == datetime.fromisoformat(event["timestamp"])
    assert found.get_data() == event["data"]


def test_every_list_of_formats_has_the_same() -> None:
    formats = get_args(Format)
    for model in (EndpointRequest, EndpointSettings):
        assert get_args(model.model_fields["format"].annotation) == formats
    assert params.FORMATS == formats == (STANDARD, "cloudevents", "cloudevents-binary", *MESSAGES, TEMPLATE)


@every_type
def test_the_standard_format_is_the_stored_body(event_type: str) -> None:
    body = json.dumps(EXAMPLES[event_type]).encode()
    assert render("standard", None, body, SOURCE) == Rendered(body, "application/json")


@every_type
def test_a_structured_cloud_event_is_read_by_its_library(event_type: str) -> None:
    made = rendered("cloudevents", EXAMPLES[event_type])
    assert (made.content_type, made.headers) == ("application/cloudevents+json; charset=UTF-8", ())
    message = HTTPMessage({"content-type": made.content_type}, made.body)
    same(from_structured_event(message), EXAMPLES[event_type])


@every_type
def test_a_binary_cloud_event_is_read_by_its_library(event_type: str) -> None:
    made = rendered("cloudevents-binary", EXAMPLES[event_type])
    message = HTTPMessage({"content-type": made.content_type, **dict(made.headers)}, made.body)
    same(from_binary_event(message), EXAMPLES[event_type])


@pytest.mark.parametrize("name", ["cloudevents", "cloudevents-binary"])
def test_numbers_in_a_cloud_event_stay_as_they_were(name: str) -> None:
    data = b'{"id":"msg_1","body":{"price":1.10,"big":12345678901234567890.5,"text":",\\"data\\":{}"}}'
    body = b'{"id":"evt_1","type":"source.shop.received","timestamp":"2026-11-21T10:00:00.000Z","data":%b}'
    made = render(name, None, body % data, SOURCE).body
    assert made == data if name == "cloudevents-binary" else made.endswith(b',"data":%b}' % data)


def test_headers_of_a_cloud_event_are_encoded() -> None:
    made = rendered("cloudevents-binary", job(id='a "b" \u20ac 5%'))
    assert dict(made.headers)["ce-subject"] == "a%20%22b%22%20%E2%82%AC%205%25"


@every_type
@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_names_the_event_and_its_subject(name: str, event_type: str) -> None:
    made = text(name, EXAMPLES[event_type])
    assert made.startswith(f"{EXAMPLES[event_type]['type']} {EXAMPLES[event_type]['data']['id']}")


def test_a_message_has_the_reason_and_the_files() -> None:
    failed = text("slack", EXAMPLES["job.failed"])
    assert failed == (
        "job.failed job_06fm3k2v9qg8r1t5n7w4x0yz2c (apiframe, runway-imagine): "
        "content_policy: the prompt was refused"
    )
    [asset] = EXAMPLES["job.succeeded"]["data"]["assets"]
    assert text("slack", EXAMPLES["job.succeeded"]).endswith(f"\n<{asset['url']}|video 0>")
    assert text("discord", EXAMPLES["job.succeeded"]).endswith(f"\n{asset['url']}")
    assert text("teams", EXAMPLES["job.succeeded"]).endswith(f"\n[video 0]({asset['url']})")
    assert "answered 410 Gone" in text("slack", EXAMPLES["endpoint.disabled"])


def test_slack_gets_its_three_characters_escaped_and_discord_no_mentions() -> None:
    hostile = job(error={"code": "rejected", "message": "<!channel> & @everyone", "provider_code": None})
    assert text("slack", hostile).endswith("rejected: &lt;!channel&gt; &amp; @everyone")
    assert json.loads(rendered("discord", hostile).body)["allowed_mentions"] == {"parse": []}


def test_marks_in_texts_of_strangers_are_shown_as_they_are() -> None:
    message = "[Click here](https://evil.test/)\n# **bold** ~~x~~ `y` ||z|| <@1>"
    hostile = job(error={"code": "rejected", "message": message, "provider_code": None})
    assert text("discord", hostile).endswith(
        r"rejected: \[Click here\]\(https://evil.test/\) \# \*\*bold\*\* \~\~x\~\~ \`y\` \|\|z\|\| \<@1\>"
    )
    # Teams reads no marks in a TextRun.
    card = json.loads(rendered("teams", hostile).body)["attachments"][0]["content"]
    assert [part["type"] for part in card["body"]] == ["RichTextBlock"]
    assert card["body"][0]["inlines"][0]["text"].endswith(f"rejected: {message}")


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_never_too_long_and_keeps_its_links(name: str) -> None:
    [asset] = EXAMPLES["job.succeeded"]["data"]["assets"]
    error = {"code": "rejected", "message": "x" * 10_000, "provider_code": None}
    made = text(name, job(error=error, assets=[{**asset, "index": number} for number in range(50)]))
    assert len(made) == LONGEST[name]
    assert made.count(asset["url"]) == LINKS
    assert made.endswith(f"\nand {50 - LINKS} more")
    long = text(name, job(error=error, assets=[{**asset, "url": "https://a.example/" + "x" * 9000}]))
    assert len(long) <= LONGEST[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_leaves_out_links_that_were_revoked(name: str) -> None:
    [asset] = EXAMPLES["job.succeeded"]["data"]["assets"]
    both = [{**asset, "url": None}, {**asset, "index": 1}]
    made = text(name, job(assets=both))
    assert "None" not in made
    assert "video 0" not in made
    assert made.count(asset["url"]) == 1


def test_a_template_is_filled() -> None:
    made = rendered("template", EXAMPLES["job.failed"], '{"text": "{/type}: {/data/error/message}"}')
    assert json.loads(made.body) == {"text": "job.failed: the prompt was refused"}
    assert made.content_type == "application/json"
