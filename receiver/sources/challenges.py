"""Answers to senders that make sure that a URL is ours. Pure.

A challenge needs no proof: its answer tells only that the URL is served here.
"""

import base64
import hmac
import re
from collections.abc import Mapping

from handlers import json
from handlers.contract import HttpAnswer
from receiver.config.sources import ChallengeSettings

LONGEST = 1024
"""Most characters of a challenge; a longer one is none."""
LARGEST = 8 * 1024
"""Most bytes of a body that may be a challenge: it is read before the proof."""
TOKEN = re.compile(r"[A-Za-z0-9_=+/-]{1,256}", re.ASCII)
CRC = "crc_token"
"""The parameter of a CRC: https://docs.x.com/x-api/webhooks/introduction, read on 2026-11-29."""
PLAIN = "text/plain; charset=utf-8"


def by_query(challenge: ChallengeSettings | None, query: Mapping[str, str]) -> HttpAnswer | None:
    """Return the answer to a challenge in the URL, None where there is none."""
    if challenge is None:
        return None
    if challenge.query is not None and _fits(query.get(challenge.query)):
        return HttpAnswer(200, query[challenge.query].encode("utf-8", "replace"), PLAIN)
    # Only a plain token: senders sign their messages with the same secret, and any text would be signed here.
    if challenge.crc is not None and TOKEN.fullmatch(query.get(CRC, "")):
        key = challenge.crc.get_secret_value().encode()
        digest = hmac.digest(key, query[CRC].encode(), "sha256")
        return HttpAnswer(200, json.write({"response_token": "sha256=" + base64.b64encode(digest).decode()}))
    return None


def signed_for_strangers(challenge: ChallengeSettings | None, body: bytes) -> bool:
    """Return whether a challenge can bring a stranger the signature of this body."""
    return (
        challenge is not None
        and challenge.crc is not None
        and len(body) <= LARGEST
        and TOKEN.fullmatch(body.decode("latin-1")) is not None
    )


def by_body(challenge: ChallengeSettings | None, body: bytes) -> HttpAnswer | None:
    """Return the answer to a challenge in the body, None where there is none."""
    if challenge is None or challenge.json_field is None or len(body) > LARGEST:
        return None
    try:
        value = json.read_object(body).get(challenge.json_field)
    except json.BadJson:
        return None
    if not isinstance(value, str) or not _fits(value):
        return None
    return HttpAnswer(200, json.write({challenge.json_field: value}))


def _fits(text: str | None) -> bool:
    return text is not None and 0 < len(text) <= LONGEST
