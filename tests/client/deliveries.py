"""Deliveries of every event, signed by the service's own signer."""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.security.signing import headers, key_of, new_secret

SECRET, OLD_SECRET, OTHER_SECRET = (new_secret(letter * 32) for letter in (b"s", b"o", b"x"))
NOW = 1795255200
"""The time of every delivery here."""


def signed(
    event: Mapping[str, Any] | bytes,
    *secrets: str,
    at: int = NOW,
    event_id: str | None = None,
    signing_keys: tuple[Ed25519PrivateKey, ...] = (),
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a delivery of an event."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    named = event_id or (event["id"] if isinstance(event, Mapping) else "evt_1")
    keys = [key_of(secret) for secret in secrets or ([] if signing_keys else [SECRET])]
    return body, dict(headers(named, at, body, keys, signing_keys))
