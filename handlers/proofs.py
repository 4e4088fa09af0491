"""The verifiers of callbacks. A handler chooses one and never contains its own.

All of them read raw bytes, compare in constant time, try every key that may be valid, and raise
`BadSignature` and nothing else. A header that must come once is refused when it comes twice.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature

Verify = Callable[[HttpMessage, Keys], Proof]
KeySource = Callable[[Keys], Iterable[bytes]]

HEADER_LIMIT = 4096
"""The most characters of a header that carries a proof."""
_ED25519 = re.compile(r"[0-9a-f]{128}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURES = 16
"""The most signatures in one header: a rotation has two, and a long list would cost time."""
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


def account_whsec_text(keys: Keys) -> Iterable[bytes]:
    """Return the account's secrets as the text behind `whsec_`, not decoded."""
    return _encoded(secret.removeprefix("whsec_") for secret in keys.account)


def api_key_digests(keys: Keys) -> Iterable[bytes]:
    """Yield SHA-256 of each API key as 32 raw bytes and as hex text: providers and their users disagree."""
    for key in _encoded(keys.api):
        digest = hashlib.sha256(key)
        yield digest.digest()
        yield digest.hexdigest().encode()


def unproved(_message: HttpMessage, _keys: Keys) -> Proof:
    """Return UNPROVED for every callback: the provider proves nothing beyond the token in the URL."""
    return Proof.UNPROVED


def account_secrets(keys: Keys) -> Iterable[bytes]:
    """Return the secrets of the account, as they are."""
    return _encoded(keys.account)


def api_keys(keys: Keys) -> Iterable[bytes]:
    """Return the API keys of the account, as they are."""
    return _encoded(keys.api)


def shared_secret(header: str, *, prefix: str = "", keys: KeySource = job_secrets) -> Verify:
    """Return a verifier of the secret itself, echoed in `header` behind an optional `prefix`."""

    def verify(message: HttpMessage, known: Keys) -> Proof:
        return _proved(only(message, header).removeprefix(prefix.encode()), keys(known))

    return verify


def basic(*, keys: KeySource = account_secrets) -> Verify:
    """Return a verifier of HTTP Basic authentication (RFC 7617). A secret is `user:password`."""

    def verify(message: HttpMessage, known: Keys) -> Proof:
        scheme, _, given = only(message, "authorization").partition(b" ")
        if scheme.lower() != b"basic":
            raise BadSignature("the scheme of its authorization is not Basic")
        return _proved(given.strip(), (base64.b64encode(key) for key in keys(known)))

    return verify


def hmac_body(
    header: str,
    *,
    digest: str = "sha256",
    encoding: str = "hex",
    prefix: str = "",
    keys: KeySource = job_secrets,
) -> Verify:
    """Return a verifier of the HMAC of the raw body, in hex or base64 in `header` behind a `prefix`.

    The prefix may be left out.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        given = only(message, header).removeprefix(prefix.encode())
        made = (hmac.digest(key, message.body, digest) for key in keys(known))
        return _proved(given, (ENCODINGS[encoding](one) for one in made))

    return verify


def standard_webhooks(
    *,
    keys: KeySource = account_whsec,
    tolerance: timedelta = timedelta(minutes=5),
    families: Sequence[str] = ("webhook",),
) -> Verify:
    """Return a verifier of Standard Webhooks `v1`: HMAC-SHA256 of `id.timestamp.body` in base64.

    The header may list several signatures. A timestamp more than `tolerance` away from the time of arrival is
    refused. `families` are the beginnings of the names of the three headers; a message has those of one.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        there = [one for one in families if message.every(f"{one}-signature")] or families[:1]
        if len(there) > 1:
            raise BadSignature(f"it has signatures of {' and '.join(there)}")
        message_id = only(message, f"{there[0]}-id").decode("latin-1")
        stamp = only(message, f"{there[0]}-timestamp").decode("latin-1")
        listed = only(message, f"{there[0]}-signature").decode("latin-1").split(" ")
        if not _MESSAGE_ID.fullmatch(message_id) or len(listed) > _SIGNATURES:
            raise BadSignature("its id or its list of signatures is malformed")
        _check_time(message, stamp, tolerance)
        signed = f"{message_id}.{stamp}.".encode() + message.body
        expected = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys(known)]
        return any_proved([part[3:] for part in listed if part.startswith("v1,")], expected)

    return verify


def stripe(
    header: str = "stripe-signature",
    *,
    signature: str = "v1",
    keys: KeySource = account_secrets,
    tolerance: timedelta = timedelta(minutes=5),
) -> Verify:
    """Return a verifier of Stripe's form: `t=<seconds>,v1=<hex>` over `t.body`, several `v1` in a rotation.

    Others name the `signature` otherwise, as ElevenLabs does with `v0`.
    https://docs.stripe.com/webhooks#verify-manually, read on 2026-11-29.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        parts = only(message, header).decode("latin-1").split(",")
        pairs = [part.strip().partition("=")[::2] for part in parts]
        stamps = [value for name, value in pairs if name == "t"]
        if len(stamps) != 1 or len(pairs) > _SIGNATURES:
            raise BadSignature(f"{header} is malformed")
        _check_time(message, stamps[0], tolerance)
        signed = stamps[0].encode() + b"." + message.body
        expected = [hmac.digest(key, signed, "sha256").hex().encode() for key in keys(known)]
        return any_proved([value for name, value in pairs if name == signature], expected)

    return verify


def ed25519(
    signature: str, signed: Sequence[str], *, stamp: str, tolerance: timedelta = timedelta(minutes=5)
) -> Verify:
    """Return a verifier of Ed25519 over lines: the headers `signed`, then SHA-256 of the body in hex.

    The header `signature` is in hex, `stamp` holds the time in seconds. The account's keys are the public
    keys, in base64url as in a JSON Web Key; any of them may fit. fal signs so: https://fal.ai/docs, its page
    on webhooks, read on 2026-11-22.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        lines = [only(message, name) for name in signed]
        _check_time(message, only(message, stamp).decode("latin-1"), tolerance)
        text = b"\n".join([*lines, hashlib.sha256(message.body).hexdigest().encode()])
        given = only(message, signature).decode("latin-1")
        # `bytes.fromhex` would pass over blanks, so that one signature had many forms.
        if not _ED25519.fullmatch(given):
            raise BadSignature(f"{signature} is not an Ed25519 signature in hexadecimal")
        if any(_fits(key, bytes.fromhex(given), text) for key in known.account):
            return Proof.PROVED
        raise BadSignature("its signature fits none of the keys")

    return verify


def _fits(key: str, signature: bytes, text: bytes) -> bool:
    try:
        raw = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_time(message: HttpMessage, stamp: str, tolerance: timedelta) -> None:
    """Raise `BadSignature` for a time in seconds that is not within `tolerance` of the arrival."""
    if not _TIMESTAMP.fullmatch(stamp):
        raise BadSignature("its timestamp is malformed")
    # The reason is the same for every time: it is counted in the log, and the sender chooses the time.
    if abs(message.received_at.timestamp() - int(stamp)) > tolerance.total_seconds():
        raise BadSignature("its timestamp is too far from the time of its arrival")


def any_proved(given: Sequence[str], expected: Sequence[bytes]) -> Proof:
    """Return PROVED where one of the given signatures is expected. Raises `BadSignature`."""
    if any(hmac.compare_digest(one.encode("latin-1"), other) for one in given for other in expected):
        return Proof.PROVED
    raise BadSignature("none of its signatures fits")


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


def only(message: HttpMessage, header: str) -> bytes:
    """Return the value of a header that must come once. Raises `BadSignature`."""
    values = message.every(header)
    if len(values) != 1 or not values[0] or len(values[0]) > HEADER_LIMIT or not values[0].isascii():
        raise BadSignature(f"the header {header} is missing, doubled or malformed")
    return values[0].encode("latin-1")


def _proved(given: bytes, expected: Iterable[bytes]) -> Proof:
    if any(hmac.compare_digest(given, one) for one in expected):
        return Proof.PROVED
    raise BadSignature("its proof does not fit")


def _hex(digest: bytes) -> bytes:
    return digest.hex().encode()


ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {"hex": _hex, "base64": base64.b64encode}
"""The forms in which a digest is sent."""
