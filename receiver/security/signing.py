"""Standard Webhooks, outgoing: the scheme `v1` over exactly the bytes that are sent."""

import base64
import binascii
import functools
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
SHORTEST, LONGEST = 24, 75


class BadSecret(ValueError):
    """The text is no secret in Standard Webhooks form."""


def new_secret(entropy: bytes) -> str:
    """A secret in the form that the libraries of receivers take."""
    return PREFIX + base64.b64encode(entropy).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign, or `BadSecret`: base64 of 24 to 75 bytes behind `whsec_`."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret("a secret is `whsec_` and base64") from None
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise BadSecret(f"a secret is `whsec_` and base64 of {SHORTEST} to {LONGEST} bytes")
    return key


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256, copied from a keyed state: `hmac.digest` is slower and lets go of the interpreter."""
    made = _keyed(key).copy()
    made.update(message)
    return made.digest()


@functools.lru_cache(maxsize=256)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def headers(event_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
    """The three headers for one attempt; one signature for every key, newest first."""
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    signatures = " ".join("v1," + base64.b64encode(mac(key, signed)).decode() for key in keys)
    return [
        ("webhook-id", event_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signatures),
    ]
