"""Proofs of senders beside the providers of jobs: Stripe, Svix, Basic, Ed25519, and HMACs of other forms."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from handlers import proofs
from handlers.contract import HttpMessage, Keys
from handlers.errors import BadSignature
from tests.handlers.captures import message
from tests.handlers.signatures import ACCOUNT, BODY, NOW, SECRET, SENT_AT, holds, sign
from tests.handlers.strategies import LIMITED

KEYS = Keys(account=("older", SECRET))
OTHER = Keys(account=("other", ""))
FOR_EVER = timedelta(days=36_500)
STRIPE = proofs.stripe()
BASIC = proofs.basic()
FAMILIES = proofs.standard_webhooks(families=("webhook", "svix"))
LINES = ("x-fal-webhook-request-id", "x-fal-webhook-user-id", "x-fal-webhook-timestamp")
FAL = proofs.ed25519("x-fal-webhook-signature", LINES, stamp=LINES[-1], tolerance=FOR_EVER)
NOTHING: Mapping[str, str] = {}
SEED = bytes(range(32))
JWK = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
"""The public key of `SEED`."""


def stripe_of(body: bytes = BODY, at: int = NOW, key: str = SECRET) -> str:
    """Return the header of a message as Stripe signs it."""
    digest = hmac.digest(key.encode(), f"{at}.".encode() + body, "sha256").hex()
    return f"t={at},v1={digest}"


def by_stripe(header: str, body: bytes = BODY) -> HttpMessage:
    """Return a message with this header."""
    return message(200, body, ("stripe-signature", header))


def test_the_form_of_stripe_is_proved() -> None:
    assert holds(STRIPE, by_stripe(stripe_of()), KEYS)
    assert not holds(STRIPE, by_stripe(stripe_of()), OTHER)
    assert not holds(STRIPE, by_stripe(stripe_of(), BODY + b" "), KEYS)
    rotated = stripe_of() + ",v1=" + "0" * 64
    assert holds(STRIPE, by_stripe(rotated), KEYS)
    assert holds(STRIPE, by_stripe(rotated.replace(",", ", ")), KEYS)
    assert holds(STRIPE, by_stripe(stripe_of() + ",v0=x,unknown"), KEYS)


@pytest.mark.parametrize("off", [-301, 301, 10**9])
def test_a_time_of_stripe_outside_the_tolerance_is_refused(off: int) -> None:
    assert holds(STRIPE, by_stripe(stripe_of(at=NOW + (off // abs(off)) * 299)), KEYS)
    with pytest.raises(BadSignature, match=r"^its timestamp is too far from the time of its arrival$"):
        STRIPE(by_stripe(stripe_of(at=NOW + off)), KEYS)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=,v1=",
        "v1=" + "0" * 64,
        f"t={NOW}",
        stripe_of().replace("v1=", "v0="),
        stripe_of().replace("t=", "T="),
        stripe_of() + f",t={NOW}",
        stripe_of().replace(f"t={NOW}", f"t={NOW}.0"),
        stripe_of().upper(),
        stripe_of() + ",v1=0" * 16,
    ],
)
def test_a_header_that_only_looks_like_stripe_s_is_refused(header: str) -> None:
    assert not holds(STRIPE, by_stripe(header), KEYS)


def test_both_families_of_headers_are_read_and_never_two_at_once() -> None:
    headers = {"id": "msg_1", "timestamp": str(NOW), "signature": sign()}
    one = [(f"svix-{name}", value) for name, value in headers.items()]
    other = [(f"webhook-{name}", value) for name, value in headers.items()]
    assert holds(FAMILIES, message(200, BODY, *one), ACCOUNT)
    assert holds(FAMILIES, message(200, BODY, *other), ACCOUNT)
    assert not holds(FAMILIES, message(200, BODY, *one, *other), ACCOUNT)
    assert not holds(FAMILIES, message(200, BODY, one[0], one[1], other[2]), ACCOUNT)
    assert not holds(proofs.standard_webhooks(), message(200, BODY, *one), ACCOUNT)


def test_the_vector_that_svix_publishes_is_proved() -> None:
    body = b'{"test": 2432232314}'
    told = message(
        200,
        body,
        ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("svix-timestamp", "1614265330"),
        ("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )
    keys = Keys(account=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",))
    patient = proofs.standard_webhooks(families=("svix",), tolerance=FOR_EVER)
    assert holds(patient, told, keys)
    assert not holds(FAMILIES, told, keys)


def test_the_vector_that_github_publishes_is_proved() -> None:
    verify = proofs.hmac_body("x-hub-signature-256", prefix="sha256=", keys=proofs.account_secrets)
    proof = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    told = message(200, b"Hello, World!", ("x-hub-signature-256", proof))
    assert holds(verify, told, Keys(account=("It's a Secret to Everybody",)))
    assert not holds(verify, told, KEYS)


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_digest_is_compared_in_its_own_encoding(digest: str, encoding: str) -> None:
    verify = proofs.hmac_body("x-s", digest=digest, encoding=encoding, keys=proofs.account_secrets)
    raw = hmac.digest(SECRET.encode(), BODY, digest)
    forms = {"hex": raw.hex(), "base64": base64.b64encode(raw).decode()}
    for name, text in forms.items():
        assert holds(verify, message(200, BODY, ("x-s", text)), KEYS) == (name == encoding)


def test_a_shared_secret_may_stand_behind_a_prefix() -> None:
    verify = proofs.shared_secret("authorization", prefix="Bearer ", keys=proofs.account_secrets)
    for text, good in (
        (f"Bearer {SECRET}", True),
        (SECRET, True),
        (f"Basic {SECRET}", False),
        ("Bearer ", False),
    ):
        assert holds(verify, message(200, BODY, ("authorization", text)), KEYS) == good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("Basic " + base64.b64encode(b"me:pass").decode(), True),
        ("basic  " + base64.b64encode(b"me:pass").decode(), True),
        ("Basic " + base64.b64encode(b"me:pas").decode(), False),
        ("Basic me:pass", False),
        ("Bearer " + base64.b64encode(b"me:pass").decode(), False),
        ("Basic", False),
    ],
)
def test_basic_is_a_user_and_a_password(text: str, good: bool) -> None:
    told = message(200, BODY, ("authorization", text))
    assert holds(BASIC, told, Keys(account=("me:pass",))) == good


def by_fal(body: bytes = BODY, seed: bytes = SEED, changed: Mapping[str, str] = NOTHING) -> HttpMessage:
    """Return a message as fal signs it, with some headers changed behind the signature."""
    lines = ["req_1", "user_1", str(SENT_AT), hashlib.sha256(body).hexdigest()]
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign("\n".join(lines).encode()).hex()
    headers = dict(zip(LINES, lines, strict=False)) | {"x-fal-webhook-signature": signature}
    return message(200, body, *(headers | dict(changed)).items())


def test_the_vectors_of_fal_and_of_a_timed_body() -> None:
    signature = (
        "867c52d633208faccfb024306e7a3be76bf0e790385811b3f907194c16b4b970"
        "c54cd8d2f1306d49ab4a1dd64684e88d9efba40e049b2d8748b42df9e9e1bf09"
    )
    assert dict(by_fal().headers)["x-fal-webhook-signature"] == signature
    assert holds(FAL, by_fal(changed={"x-fal-webhook-signature": signature}), Keys(account=(JWK,)))
    timed = "2382c1d0968a5e57238c68de957f44d87e83d3049a5588ec251442ca372b8aec"
    assert holds(proofs.stripe(tolerance=FOR_EVER), by_stripe(f"t={SENT_AT},v1={timed}"), KEYS)


def test_the_form_of_fal_is_proved_by_any_of_its_keys() -> None:
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    assert base64.urlsafe_b64encode(public).decode().rstrip("=") == JWK
    assert holds(FAL, by_fal(), Keys(account=(JWK,)))
    assert holds(FAL, by_fal(), Keys(account=("x", "A" * 43, JWK)))
    assert not holds(FAL, by_fal(), Keys(account=()))
    assert not holds(FAL, by_fal(), Keys(account=("A" * 43,)))
    assert not holds(FAL, by_fal(seed=bytes(32)), Keys(account=(JWK,)))


@pytest.mark.parametrize(
    "changed",
    [
        {"x-fal-webhook-request-id": "req_2"},
        {"x-fal-webhook-user-id": "user_2"},
        {"x-fal-webhook-timestamp": str(SENT_AT + 1)},
        {"x-fal-webhook-timestamp": "soon"},
        {"x-fal-webhook-signature": "zz"},
        {"x-fal-webhook-signature": ""},
        {"x-fal-webhook-signature": "00" * 64},
    ],
)
def test_a_changed_header_of_fal_is_refused(changed: dict[str, str]) -> None:
    assert not holds(FAL, by_fal(changed=changed), Keys(account=(JWK,)))


def test_a_message_of_fal_from_another_time_is_refused() -> None:
    strict = proofs.ed25519("x-fal-webhook-signature", LINES, stamp=LINES[-1])
    assert not holds(strict, by_fal(), Keys(account=(JWK,)))


@LIMITED
@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=20))
def test_any_header_and_any_key_is_a_refusal(text: str, key: str, body: bytes) -> None:
    for name, verify in (("stripe-signature", STRIPE), ("authorization", BASIC)):
        assert not holds(verify, message(200, body, (name, text)), Keys(account=(key,)))
    told = by_fal(body, changed={"x-fal-webhook-signature": text})
    assert not holds(FAL, told, Keys(account=(key,)))
