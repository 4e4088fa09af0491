"""The verifier of JSON Web Tokens (RFC 7519) in callbacks, and the public keys (RFC 7517) that prove them.

A key is text: of Ed25519 the key itself in base64url, of RSA and P-256 the JSON Web Key.
"""

import base64
import binascii
import hashlib
import hmac
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.types import Options

from handlers import json
from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature
from handlers.proofs import Verify, only

RAW = 32
"""Bytes of an Ed25519 public key."""
MODULUS = range(2048, 4097)
"""Bits of an RSA key: a shorter one is weak, a longer one costs time."""
MEMBERS: Mapping[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC P-256": ("crv", "x", "y")}
"""The members of a JSON Web Key that make up the public key, by its type and curve."""
ALGORITHMS: Mapping[type, str] = {
    rsa.RSAPublicKey: "RS256",
    ec.EllipticCurvePublicKey: "ES256",
    Ed25519PublicKey: "EdDSA",
}
"""The one algorithm of each kind of key: a token cannot choose another, `none` or a shared secret."""
UNCHECKED: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""The claims that the library leaves alone: this module compares times with that of the arrival."""
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey


def key_text(value: Any) -> str | None:
    """Return the text of a JSON Web Key, None where it is none of the kinds that we know."""
    if not isinstance(value, dict):
        return None
    kind, curve = value.get("kty"), value.get("crv")
    if (kind, curve) == ("OKP", "Ed25519"):
        text = value.get("x")
        return text if isinstance(text, str) and len(_raw(text) or b"") == RAW else None
    names = MEMBERS.get(f"{kind} {curve}" if kind == "EC" else str(kind))
    if names is None or not all(isinstance(value.get(name), str) for name in names):
        return None
    kept = {name: value[name] for name in ("kty", *names)}
    if isinstance(value.get("kid"), str):
        kept["kid"] = value["kid"]
    text = json.write(kept).decode()
    return text if _public_key(text) is not None else None


def verifier(
    header: str,
    *,
    claim: str | None = None,
    audience: str | None = None,
    prefix: str = "",
    tolerance: timedelta = timedelta(minutes=5),
) -> Verify:
    """Return a verifier of a token in `header`, behind an optional `prefix`, under the account's public keys.

    `claim` is the claim with SHA-256 of the body, in hex or base64; without it the token says nothing of the
    body. A token that is not for `audience`, or not of now, is refused.
    """

    def verify(message: HttpMessage, known: Keys) -> Proof:
        token = only(message, header).decode("ascii").removeprefix(prefix)
        claims = _claims(token, known.account)
        _check_time(claims, message.received_at, tolerance)
        if audience is not None and audience not in _texts(claims.get("aud")):
            raise BadSignature("its token is for another audience")
        if claim is not None and not _covers(claims.get(claim), message.body):
            raise BadSignature("its token is not of this body")
        return Proof.PROVED

    return verify


def _claims(token: str, keys: Sequence[str]) -> Mapping[str, Any]:
    try:
        said = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise BadSignature("its token is malformed") from None
    for key in _candidates(keys, said.get("kid"), said.get("alg")):
        try:
            return jwt.decode(token, key, algorithms=[_algorithm(key)], options=UNCHECKED)
        except (jwt.PyJWTError, ValueError, RecursionError):
            continue
    raise BadSignature("its token fits none of the keys")


def _candidates(keys: Sequence[str], kid: Any, algorithm: Any) -> Iterator[PublicKey]:
    """Yield the keys that a token may be signed with, by the name and the algorithm in its header."""
    for text in keys:
        key = _public_key(text)
        if key is None or _algorithm(key) != algorithm:
            continue
        # Old tokens may name a key that the sender has replaced: only the named one is tried.
        named = json.as_object(json.read(text.encode())).get("kid") if text.startswith("{") else None
        if named is None or kid is None or named == kid:
            yield key


def _algorithm(key: PublicKey) -> str:
    return next(name for kind, name in ALGORITHMS.items() if isinstance(key, kind))


def _public_key(text: str) -> PublicKey | None:
    try:
        if not text.startswith("{"):
            return Ed25519PublicKey.from_public_bytes(_raw(text) or b"")
        key = jwt.PyJWK.from_json(text).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size not in MODULUS:
        return None
    return key if isinstance(key, PublicKey) else None


def _check_time(claims: Mapping[str, Any], received_at: datetime, tolerance: timedelta) -> None:
    """Raise `BadSignature` for a token that has ended, is not valid yet, or has no time at all."""
    now, slack = received_at.timestamp(), tolerance.total_seconds()
    begins = [claims[name] for name in ("iat", "nbf") if name in claims]
    # Without an end, a token is as old as its beginning says.
    ends = [claims["exp"]] if "exp" in claims else begins[:1]
    if not ends or not all(_number(one) for one in (*begins, *ends)):
        raise BadSignature("its token has no time")
    if any(one > now + slack for one in begins) or any(one < now - slack for one in ends):
        raise BadSignature("its token is not of the time of its arrival")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _covers(value: Any, body: bytes) -> bool:
    digest = hashlib.sha256(body)
    if not isinstance(value, str) or not value.isascii():
        return False
    if hmac.compare_digest(value.lower(), digest.hexdigest()):
        return True
    return hmac.compare_digest(_raw(value) or b"", digest.digest())


def _raw(text: str) -> bytes | None:
    """Return the bytes of base64 or base64url, with or without its padding; None where it is neither."""
    try:
        plain = text.rstrip("=").replace("+", "-").replace("/", "_")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
