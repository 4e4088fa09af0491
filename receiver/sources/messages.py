"""The event of a message: its data, with the body exactly as it came where that is JSON. Pure."""

import base64
import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from handlers import json, wire
from handlers.contract import HttpMessage, Update
from handlers.pointers import Ambiguous, every
from handlers.values import immutable
from receiver.config.sources import SCHEMES, SECRET_HEADERS, SourceSettings
from receiver.domain.event_types import of_source
from receiver.domain.model import Event
from receiver.domain.rendering import asset_facts, error_view, stamp
from receiver.security.ids import event_id

KEPT_HEADERS = frozenset(
    {
        "content-type",
        "user-agent",
        "date",
        "x-request-id",
        "x-webhook-event",
        "webhook-id",
        "webhook-timestamp",
        "svix-id",
        "svix-timestamp",
        "x-github-event",
        "x-github-delivery",
        "x-github-hook-id",
    }
)
"""The headers that an event carries beside those that the settings name. No proof is among them."""
LONGEST_HEADER = 1000
"""Most characters of a header in an event."""
LONGEST_ID = 256
"""Most characters of a sender's id; a longer one is known by its digest."""
MENDED = "\ufffd"
UPDATE_LIMIT = 64 * 1024
"""Most bytes of an update in an event."""
BETWEEN = re.compile(rb'("(?:[^"\\]|\\.)*+")|[ \t\r\n]++')
"""A text of JSON, or blanks between two tokens."""
# Of the sources in the settings, which are few: each message of one has the same place.
_finder = functools.lru_cache(maxsize=64)(every)


@immutable(kw_only=True)
class SourceMessage:
    """A message of a source that is proved. `id` is our own, `sender_id` the sender's."""

    id: str
    source: str
    sender_id: str | None
    at: datetime
    headers: Mapping[str, str]
    body: bytes
    update: Update | None


def sender_id_of(source: SourceSettings, message: HttpMessage) -> str | None:
    """Return the sender's id of a message, None where there is none that can be used."""
    rule = SCHEMES[source.proof.scheme]
    pointer = source.id_pointer or (None if source.id_header else rule.id_pointer)
    if pointer is not None:
        return _pointed(message.body, pointer)
    name = source.id_header or rule.id_header or ""
    # The id of the family that is signed: one of the other family proves nothing.
    if source.id_header is None and name in {"webhook-id", "svix-id"}:
        name = "svix-id" if message.every("svix-signature") else "webhook-id"
    found = message.every(name)
    return _bounded(found[0]) if len(found) == 1 else None


def _pointed(body: bytes, pointer: str) -> str | None:
    try:
        found = _finder(pointer)(json.forgive(body))
    except (json.BadJson, Ambiguous):
        # An id that stands there twice may be that of either message.
        return None
    at = found[0] if len(found) == 1 else None
    text = str(at) if isinstance(at, str | int) and not isinstance(at, bool) else ""
    # A text that had to be mended may stand for several: such a message is never taken for a repetition.
    return None if MENDED in text else _bounded(text)


def _bounded(text: str) -> str | None:
    """Return an id, a long one as its digest; None for an empty one."""
    if len(text) > LONGEST_ID:
        return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return text or None


def headers_of(source: SourceSettings, message: HttpMessage) -> dict[str, str]:
    """Return the headers that the event of a message carries."""
    proof = {source.proof.header, SCHEMES[source.proof.scheme].header}
    kept = (KEPT_HEADERS | set(source.headers) | {source.id_header}) - SECRET_HEADERS - proof
    found: dict[str, str] = {}
    for name, value in message.headers:
        if name in kept:
            found[name] = f"{found[name]}, {value}" if name in found else value[:LONGEST_HEADER]
    return {name: value[:LONGEST_HEADER] for name, value in found.items()}


def event_of(message: SourceMessage) -> Event:
    """Return the event of a message."""
    name = of_source(message.source)
    identity = event_id(message.id, "received")
    update = None if message.update is None else _fitting(message.update)
    plain, encoded = _as_json(message.body), b'"body_base64":"%b"' % base64.b64encode(message.body)
    # The last one is made of short texts only, so it can be read.
    rendered = b""
    for body, told in ((plain, update), (plain, None), (encoded, update), (encoded, None)):
        rendered = b"" if body is None else _rendered(message, identity, name, body, told)
        if rendered and _readable(rendered):
            break
    return Event(id=identity, type=name, job_id=None, at=message.at, sequence=1, body=rendered)


def _as_json(body: bytes) -> bytes | None:
    """Return a body as a field of JSON, None where it is no JSON itself."""
    try:
        # By itself: the bytes `1,"x":2` would become fields of the event.
        json.read(body)
    except json.BadJson:
        return None
    return b'"body":' + BETWEEN.sub(rb"\1", body)


def _readable(rendered: bytes) -> bool:
    """Return whether an event can be read again: as parts of it, a body or an update may be too deep."""
    try:
        json.read_object(rendered)
    except json.BadJson:
        return False
    return True


def _fitting(update: Update) -> dict[str, Any] | None:
    """Return an update as JSON, None where it is too large: most of the body would be there twice."""
    told = _update(replace(update, assets=wire.kept(update.assets)))
    return None if json.outgrows(told, UPDATE_LIMIT) or len(json.write(told)) > UPDATE_LIMIT else told


def _rendered(
    message: SourceMessage, identity: str, name: str, body: bytes, update: dict[str, Any] | None
) -> bytes:
    head = json.write({"id": identity, "type": name, "timestamp": stamp(message.at)})
    data = json.write(
        {
            "object": "message",
            "id": message.id,
            "source": message.source,
            "sender_id": message.sender_id,
            "received_at": stamp(message.at),
            "headers": message.headers,
            "update": update,
            "sequence": 1,
        }
    )
    return head[:-1] + b',"data":' + data[:-1] + b"," + body + b"}}"


def _update(update: Update) -> dict[str, Any]:
    return {
        "provider_job_id": update.provider_job_id,
        "phase": update.phase.value,
        "progress": update.progress,
        "assets": [asset_facts(one) for one in update.assets],
        "error": error_view(update.failure),
        "usage": dict(update.usage) if update.usage else None,
    }
