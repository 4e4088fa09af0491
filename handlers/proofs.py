"""The verifiers of callbacks. A handler chooses one and never contains its own.

All of them read raw bytes, compare in constant time, try every key that may be valid, and raise
`BadSignature` and nothing else. A header that must come once is refused when it comes twice.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature

Verify = Callable[[HttpMessage, Keys], Proof]
KeySource = Callable[[Keys], Iterable[bytes]]

HEADER_LIMIT = 4096
"""The most characters of a header that carries a proof."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_\-]{1,256}", re.ASCII)


def job_secrets(keys: Keys) -> Iterable[bytes]:
    """Return the secrets derived for the job."""
    return _encoded(keys.job)


def account_whsec(keys: Keys) -> Iterable[bytes]:
    """Yield the account's secrets, decoded from the Standard Webhooks form: base64 behind `whsec_`."""
    for secret in keys.account:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            continue
        if key:
            yield key


def api_key_digests(keys: Keys) -> Iterable[bytes]:
    """Yield SHA-256 of each API key as 32 raw bytes and as hex text: providers and their users disagree."""
    for key in _encoded(keys.api):
        digest = hashlib.sha256(key)
        yield digest.digest()
        yield digest.hexdigest().encode()


def unproved(_message: HttpMessage, _keys: Keys) -> Proof:
    """Return UNPROVED for every callback: the provider proves nothing beyond the token in the URL."""
    return Proof.UNPROVED


def shared_secret(header: str, *, keys: KeySource = job_secrets) -> Verify:
    """Return a verifier of the secret itself, echoed in `header`."""

    def verify(message: HttpMessage, known: Keys) -> Proof:
        return _proved(_only(message, header), keys(known))

    return verify


def hmac_sha256(header: str, *, prefix: str = "", keys: KeySource = job_secrets) -> Verify:
    """Return a verifier of HMAC-SHA256 of the raw body, in hex in `header` behind an optional `prefix`."""

    def verify(message: HttpMessage, known: Keys) -> Proof:
        given = _only(message, header)
        given = given.removeprefix(prefix.encode())
        return _proved(given, (_hex(key, message.body) for key in keys(known)))

    return verify


def standard_webhooks(
    *, keys: KeySource = account_whsec, tolerance: timedelta = timedelta(minutes=5)
) -> Verify:
    """Return a verifier of Standard Webhooks `v1`: HMAC-SHA256 of `id.timestamp.body` in base64.

    The header may list several signatures. A timestamp more than `tolerance` away from the time of arrival is
    refused.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        message_id = _only(message, "webhook-id").decode("latin-1")
        stamp = _only(message, "webhook-timestamp").decode("latin-1")
        listed = _only(message, "webhook-signature").decode("latin-1").split(" ")
        # While a secret is rotated there are two signatures; the bound keeps a long list from costing time.
        if not _MESSAGE_ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(stamp) or len(listed) > 16:
            raise BadSignature
        if abs(message.received_at.timestamp() - int(stamp)) > tolerance.total_seconds():
            raise BadSignature
        signed = f"{message_id}.{stamp}.".encode() + message.body
        expected = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys(known)]
        given = [part[3:].encode("latin-1") for part in listed if part.startswith("v1,")]
        if any(hmac.compare_digest(one, other) for one in given for other in expected):
            return Proof.PROVED
        raise BadSignature

    return verify


def any_present(candidates: Sequence[tuple[str, Verify]]) -> Verify:
    """Return a verifier for an unpublished proof: every candidate header that is present must hold.

    A callback without any of these headers is a hint.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        there = [check for header, check in candidates if message.every(header)]
        for check in there:
            check(message, known)
        return Proof.PROVED if there else Proof.UNPROVED

    return verify


def optional(verify: Verify, keys: KeySource) -> Verify:
    """Return `verify` for an account with a secret; without a secret every callback is a hint."""

    def verifying(message: HttpMessage, known: Keys) -> Proof:
        return verify(message, known) if any(True for _ in keys(known)) else Proof.UNPROVED

    return verifying


def _encoded(secrets: Iterable[str]) -> Iterable[bytes]:
    return (secret.encode() for secret in secrets if secret)


def _only(message: HttpMessage, header: str) -> bytes:
    values = message.every(header)
    if len(values) != 1 or not values[0] or len(values[0]) > HEADER_LIMIT or not values[0].isascii():
        raise BadSignature
    return values[0].encode("latin-1")


def _proved(given: bytes, expected: Iterable[bytes]) -> Proof:
    if any(hmac.compare_digest(given, one) for one in expected):
        return Proof.PROVED
    raise BadSignature


def _hex(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256").hex().encode()
