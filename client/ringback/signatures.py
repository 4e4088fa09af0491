"""Keys and signatures of Standard Webhooks: `v1` is HMAC-SHA256, `v1a` is Ed25519."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import TypeAlias

from ringback.errors import ConfigurationError

SECRET, PUBLIC_KEY = "whsec_", "whpk_"
SHORTEST, LONGEST = 24, 75
"""The fewest and most bytes of a secret."""
PUBLIC_BYTES = 32
Fits: TypeAlias = Callable[[bytes], bool]
"""A function that returns whether a signature is one of its message."""
Verifier: TypeAlias = Callable[[bytes], Fits]
"""A function that prepares a key for the signatures of one message."""


def verifier(key: str) -> tuple[str, Verifier]:
    """Return the scheme of a key and its verifier. Raises `ConfigurationError`."""
    if not isinstance(key, str):
        raise ConfigurationError(f"a key to verify with is a text, not {type(key).__name__}: is it set?")
    if key.startswith(SECRET):
        secret = decoded(key.removeprefix(SECRET))
        if secret is None or not SHORTEST <= len(secret) <= LONGEST:
            raise ConfigurationError(f"a secret is `whsec_` and base64 of {SHORTEST} to {LONGEST} bytes")
        return "v1", _symmetric(secret)
    if key.startswith(PUBLIC_KEY):
        public = decoded(key.removeprefix(PUBLIC_KEY))
        if public is None or len(public) != PUBLIC_BYTES:
            raise ConfigurationError(f"a public key is `whpk_` and base64 of {PUBLIC_BYTES} bytes")
        return "v1a", _asymmetric(public)
    # A text without its prefix is refused: it may be a secret of another service.
    raise ConfigurationError("a key to verify with begins with `whsec_` or `whpk_`")


def decoded(text: str) -> bytes | None:
    """Return the bytes of strict base64, None for any other text."""
    try:
        raw = base64.b64decode(text)
    except (binascii.Error, ValueError):
        return None
    # Bytes have one form only: with junk or left-over bits, many texts would be the same signature.
    return raw if base64.b64encode(raw).decode() == text else None


def _symmetric(secret: bytes) -> Verifier:
    def prepare(message: bytes) -> Fits:
        # Once for a message: the sender chooses how many signatures are compared with it.
        expected = hmac.digest(secret, message, hashlib.sha256)
        return lambda signature: hmac.compare_digest(signature, expected)

    return prepare


def _asymmetric(public: bytes) -> Verifier:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # an optional extra
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415  # the same
            Ed25519PublicKey,
        )
    except ImportError:
        raise ConfigurationError(
            "verifying `v1a` needs the package cryptography: pip install 'ringback-client[v1a]'"
        ) from None
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
    except ValueError:
        raise ConfigurationError("a public key is a point of Ed25519") from None

    def prepare(message: bytes) -> Fits:
        def fits(signature: bytes) -> bool:
            try:
                key.verify(signature, message)
            except InvalidSignature:
                return False
            return True

        return fits

    return prepare
