"""Signatures of outgoing deliveries: Standard Webhooks, over exactly the bytes that are sent.

`v1` is HMAC-SHA256 with the endpoint's secret. `v1a` is Ed25519 with the deployment's key, so that a receiver
needs only a public key.
"""

import base64
import binascii
import functools
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 75
"""The fewest and most bytes of a signing key: 32 to 100 characters of base64."""


class BadSecret(ValueError):
    """A text that is not a secret in Standard Webhooks form."""


def new_secret(entropy: bytes) -> str:
    """Return a secret in the form that the Standard Webhooks libraries of receivers accept."""
    return PREFIX + base64.b64encode(entropy).decode()


def key_of(secret: str) -> bytes:
    """Return the key of a secret. Raises `BadSecret` unless it is `whsec_` and base64 of 24 to 75 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret("a secret is `whsec_` and base64") from None
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise BadSecret(f"a secret is `whsec_` and base64 of {SHORTEST} to {LONGEST} bytes")
    return key


def base64url(raw: bytes) -> str:
    """Return `raw` in the base64 of URLs, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def mac(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA256 of `message`."""
    # The keyed state is cached and copied: `hmac` of the standard library takes nearly twice as long.
    made = _keyed(key).copy()
    made.update(message)
    return made.finalize()


@functools.lru_cache(maxsize=256)
def _keyed(key: bytes) -> HMAC:
    return HMAC(key, SHA256())


def headers(
    event_id: str,
    timestamp: int,
    body: bytes,
    keys: Sequence[bytes],
    signing_keys: Sequence[Ed25519PrivateKey] = (),
) -> list[tuple[str, str]]:
    """Return the three headers of one attempt, with one signature for each key in the order of the keys."""
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    signatures = [
        *("v1," + base64.b64encode(mac(key, signed)).decode() for key in keys),
        *("v1a," + base64.b64encode(key.sign(signed)).decode() for key in signing_keys),
    ]
    return [
        ("webhook-id", event_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(signatures)),
    ]
