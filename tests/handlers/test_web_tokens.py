"""JSON Web Tokens in callbacks: their keys, their times, their audience and the body that they cover."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from handlers.captures import RECEIVED_AT
from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature
from handlers.web_tokens import key_text, verifier

NOW = int(RECEIVED_AT.timestamp())
CLAIMS = {"iat": NOW, "exp": NOW + 60, "aud": "acme"}
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.derive_private_key(7, ec.SECP256R1())
ED = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNERS: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def jwk_of(algorithm: str, key: Any, **members: object) -> dict[str, object]:
    """Return the JSON Web Key of a private key's public one."""
    made = jwt.get_algorithm_by_name(algorithm)
    made_of: dict[str, object] = json.loads(type(made).to_jwk(key.public_key()))
    return made_of | members


KEYS = Keys(account=tuple(filter(None, (key_text(jwk_of(name, key)) for name, key in SIGNERS.items()))))


def message(token: str, body: bytes = b"{}") -> HttpMessage:
    """Return a callback with this token."""
    return HttpMessage(200, (("webhook-signature", token),), body, RECEIVED_AT)


def token_of(claims: dict[str, object] | None = None, algorithm: str = "RS256", **headers: object) -> str:
    """Return a token that is signed with the key of its algorithm."""
    made: dict[str, Any] = dict(CLAIMS if claims is None else claims)
    return jwt.encode(made, SIGNERS[algorithm], algorithm=algorithm, headers=headers)


VERIFY = verifier("webhook-signature", audience="acme")


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_token_of_any_known_key_proves_a_callback(algorithm: str) -> None:
    assert VERIFY(message(token_of(algorithm=algorithm)), KEYS) is Proof.PROVED


def test_the_prefix_before_a_token_may_be_there() -> None:
    verify = verifier("webhook-signature", prefix="Bearer ")
    assert verify(message("Bearer " + token_of()), KEYS) is Proof.PROVED


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "acme"}, "its token has no time"),
        ({"aud": "acme", "exp": "soon"}, "its token has no time"),
        ({"aud": "acme", "exp": True}, "its token has no time"),
        ({"aud": "acme", "exp": NOW - 301}, "its token is not of the time of its arrival"),
        ({"aud": "acme", "iat": NOW - 301}, "its token is not of the time of its arrival"),
        ({"aud": "acme", "iat": NOW + 301, "exp": NOW + 900}, "its token is not of the time of its arrival"),
        ({"aud": "acme", "nbf": NOW + 301, "exp": NOW + 900}, "its token is not of the time of its arrival"),
        ({"exp": NOW + 60}, "its token is for another audience"),
        ({"exp": NOW + 60, "aud": ["other"]}, "its token is for another audience"),
    ],
)
def test_a_token_of_another_time_or_audience_is_refused(claims: dict[str, object], reason: str) -> None:
    with pytest.raises(BadSignature) as raised:
        VERIFY(message(token_of(claims)), KEYS)
    assert str(raised.value) == reason


@pytest.mark.parametrize(
    "claims",
    [{"exp": NOW - 299}, {"iat": NOW - 299}, {"iat": NOW + 299}, {"exp": NOW + 60, "aud": ["x", "acme"]}],
)
def test_a_time_may_be_off_by_the_tolerance(claims: dict[str, object]) -> None:
    assert VERIFY(message(token_of({"aud": "acme", **claims})), KEYS) is Proof.PROVED


def test_the_claim_of_the_body_must_hold() -> None:
    verify = verifier("webhook-signature", claim="body_sha256", tolerance=timedelta(minutes=1))
    digest = hashlib.sha256(b'{"a":1}')
    for value in (
        digest.hexdigest(),
        base64.b64encode(digest.digest()).decode(),
        base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode(),
    ):
        token = token_of({"exp": NOW + 60, "body_sha256": value})
        assert verify(message(token, b'{"a":1}'), KEYS) is Proof.PROVED
        with pytest.raises(BadSignature, match="its token is not of this body"):
            verify(message(token, b'{"a":2}'), KEYS)
    for wrong in (None, 7, "", "é", "x"):
        with pytest.raises(BadSignature, match="its token is not of this body"):
            verify(message(token_of({"exp": NOW + 60, "body_sha256": wrong}), b'{"a":1}'), KEYS)


def by_secret(claims: str, secret: bytes) -> str:
    """Return a token with an HMAC under a public key, which is no secret."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
    digest = hmac.digest(secret, f"{head}.{claims}".encode(), "sha256")
    return f"{head}.{claims}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def forged() -> list[str]:
    """Return tokens that no key of the set has signed."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head, claims, _ = token_of().split(".")
    return [
        jwt.encode(dict(CLAIMS), other, algorithm="RS256"),
        jwt.encode(dict(CLAIMS), "", algorithm="none"),
        by_secret(claims, KEYS.account[0].encode()),
        token_of(algorithm="RS256")[:-4],
        f"{head}.{claims}.",
        f"{head}.{base64.urlsafe_b64encode(b'[]').decode()}.AAAA",
        "a.b.c",
        "a",
        "." * 100,
        "[" * 4000,
        base64.urlsafe_b64encode(b"[" * 2000).decode() + ".e30.AAAA",
    ]


@pytest.mark.parametrize("token", forged())
def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(BadSignature):
        VERIFY(message(token), KEYS)


def test_a_token_names_the_key_that_it_is_signed_with() -> None:
    named = Keys(account=(key_text(jwk_of("RS256", RSA, kid="one")) or "",))
    assert VERIFY(message(token_of(kid="one")), named) is Proof.PROVED
    assert VERIFY(message(token_of()), named) is Proof.PROVED
    with pytest.raises(BadSignature, match="fits none of the keys"):
        VERIFY(message(token_of(kid="two")), named)


def test_a_missing_or_doubled_header_is_refused() -> None:
    for headers in ((), (("webhook-signature", token_of()),) * 2):
        with pytest.raises(BadSignature):
            VERIFY(HttpMessage(200, headers, b"{}", RECEIVED_AT), KEYS)


@pytest.mark.parametrize(
    "value",
    [
        7,
        {},
        {"kty": "oct", "k": "AAAA"},
        {"kty": ["RSA"], "n": "x", "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": 7, "e": "AQAB"},
        {"kty": "RSA", "n": "é", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
        {"kty": "EC", "crv": "P-384", "x": "AQAB", "y": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AQAB"},
        jwk_of("RS256", rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505  # weak on purpose
    ],
)
def test_other_keys_are_left_out(value: object) -> None:
    assert key_text(value) is None


def test_a_private_key_leaves_its_secret_behind() -> None:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA))
    assert key_text(private) == key_text(jwk_of("RS256", RSA))
