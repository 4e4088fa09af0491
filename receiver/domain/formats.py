"""The formats of deliveries: the bytes and headers of an event as an endpoint wants it. Pure.

CloudEvents 1.0: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md.
Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Discord:
https://docs.discord.com/developers/resources/webhook#execute-webhook. Teams:
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using. Read on
2026-11-29.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json

from handlers import json
from handlers.values import immutable
from receiver.domain.model import STANDARD
from receiver.domain.rendering import data_of
from receiver.domain.templates import filled

TEMPLATE = "template"
JSON = "application/json"
LONGEST = {"slack": 3000, "discord": 2000, "teams": 3000}
"""The most characters of a message; Discord refuses longer ones."""
PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""The characters that the header of a CloudEvents attribute holds as they are; all others are encoded."""
LINKS = 5
"""The most files that a message links to; it counts the others."""
MARKS = re.compile(r"([\\*_~`|<>\[\]()#])")
"""The characters that Discord reads as marks: https://docs.discord.com/developers/reference#message-formatting,
and https://support.discord.com/hc/articles/210298617, read on 2026-11-30.
"""


@immutable
class Rendered:
    """The body of a delivery, its content type, and the headers that belong to its format."""

    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


Message = Callable[[Mapping[str, Any]], Any]


def render(name: str, template: str | None, body: bytes, source: str) -> Rendered:
    """Return an event, given by its standard body, in a format. `source` is the URL of this deployment."""
    if name == STANDARD:
        return Rendered(body)
    event = from_json(body)
    if name == TEMPLATE:
        return Rendered(json.write(filled(template or "{}", event)))
    if name == "cloudevents":
        head = json.write({**_attributes(event, source), "datacontenttype": JSON})
        whole = b'%b,"data":%b}' % (head[:-1], data_of(body))
        return Rendered(whole, "application/cloudevents+json; charset=UTF-8")
    if name == "cloudevents-binary":
        headers = [(f"ce-{key}", quote(value, PLAIN)) for key, value in _attributes(event, source).items()]
        return Rendered(data_of(body), JSON, tuple(headers))
    return Rendered(json.write(MESSAGES[name](event)))


def _attributes(event: Mapping[str, Any], source: str) -> dict[str, str]:
    found = {
        "specversion": "1.0",
        "id": event["id"],
        "source": source,
        "type": event["type"],
        "time": event["timestamp"],
    }
    subject = event["data"].get("id")
    return found | ({"subject": subject} if isinstance(subject, str) else {})


def _slack(event: Mapping[str, Any]) -> Any:
    # https://docs.slack.dev/messaging/formatting-message-text#escaping names the three characters.
    def escape(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    links = [f"<{escape(url)}|{kind} {index}>" for kind, index, url in _files(event)]
    return {"text": _message(event, escape, [*links, *_others(event)], LONGEST["slack"])}


def _discord(event: Mapping[str, Any]) -> Any:
    def escape(text: str) -> str:
        return MARKS.sub(r"\\\1", " ".join(text.split()))

    links = [url for _, _, url in _files(event)]
    text = _message(event, escape, [*links, *_others(event)], LONGEST["discord"])
    # A prompt or an error could hold `@everyone`.
    return {"content": text, "allowed_mentions": {"parse": []}}


def _teams(event: Mapping[str, Any]) -> Any:
    # A TextBlock reads marks, such as those of links; a RichTextBlock shows texts of strangers as they are.
    links = [*(f"[{kind} {index}]({url})" for kind, index, url in _files(event)), *_others(event)]
    room = LONGEST["teams"] - sum(1 + len(link) for link in links)
    text = _message(event, lambda text: text, [], room if room > 0 else LONGEST["teams"])
    body: list[Any] = [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text}]}]
    body += [{"type": "TextBlock", "text": link, "wrap": True} for link in links if room > 0]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    content_type = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": content_type, "content": card}]}


MESSAGES: Mapping[str, Message] = {"slack": _slack, "discord": _discord, "teams": _teams}


def _files(event: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return the kind, the index and the link of each file of an event; revoked links are left out."""
    return [(one["kind"], one["index"], one["url"]) for one in _linked(event)[:LINKS]]


def _linked(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in event["data"].get("assets") or () if one["url"] is not None]


def _others(event: Mapping[str, Any]) -> list[str]:
    """Return a line with the number of files that a message does not link to, if there are any."""
    left = len(_linked(event)) - LINKS
    return [f"and {left} more"] if left > 0 else []


def _message(event: Mapping[str, Any], escape: Callable[[str], str], links: list[str], longest: int) -> str:
    """Return a sentence about an event for people, with its links, of at most `longest` characters."""
    data = event["data"]
    about = [escape(data[name]) for name in ("provider", "operation") if isinstance(data.get(name), str)]
    reason = data.get("disabled_reason") or data.get("reason") or data.get("last_error")
    if isinstance(data.get("error"), dict):
        reason = f"{data['error']['code']}: {data['error']['message']}"
    said = f"{event['type']} {data.get('id', '')}".strip()
    said += f" ({', '.join(about)})" if about else ""
    said += f": {escape(str(reason))}" if reason else ""
    tail = "".join(f"\n{link}" for link in links)
    return said[: max(0, longest - len(tail))] + tail if len(tail) < longest else said[:longest]
