"""Proofs of incoming callbacks: published vectors, and input that only looks like a proof."""

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import proofs
from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature
from tests.handlers.captures import HANDLERS, message
from tests.handlers.signatures import ACCOUNT, BODY, BY_BODY, JOB, SECRET, Change, fresh, holds, signed
from tests.handlers.strategies import LIMITED

V2_BODY = b'{"jobId":"j1","status":"COMPLETED"}'
V2_RAW = "sha256=9f4d2cf993d4c50ec38c33354e838b957eb8610b4e07a2f023d261e8a8caeb49"
V2_HEX = "sha256=236935c8ba8f183d2e59c2ffedf1859325f2160e9c8b7cdfbdd3bada35389592"

SHARED = proofs.shared_secret("x-secret")
PREFIXED = proofs.hmac_body("x-signature", prefix="sha256=")
BARE = proofs.hmac_body("x-signature")
WEBHOOKS = proofs.standard_webhooks()


def test_the_vector_of_a_signed_body() -> None:
    assert holds(PREFIXED, signed("sha256=" + BY_BODY), JOB)
    assert holds(BARE, signed(BY_BODY), JOB)
    assert not holds(BARE, signed("sha256=" + BY_BODY), JOB)


def test_a_prefix_may_be_left_out_and_comes_once_at_most() -> None:
    assert holds(PREFIXED, signed(BY_BODY), JOB)
    for prefix in ("sha256=sha256=", "SHA256=", "sha256:", "sha1=", "sha512=", "v1=", "=", " sha256="):
        assert not holds(PREFIXED, signed(prefix + BY_BODY), JOB), prefix


@pytest.mark.parametrize("given_signature", [V2_RAW, V2_HEX])
def test_both_readings_of_the_apiframe_v2_key(given_signature: str) -> None:
    callback = HANDLERS["apiframe-v2"].callback
    assert callback is not None
    told = message(200, V2_BODY, ("x-webhook-signature", given_signature))
    assert holds(callback.verify, told, Keys(api=("afk_test",)))
    assert holds(callback.verify, told, Keys(api=("afk_next", "afk_test")))
    assert not holds(callback.verify, told, Keys(api=("afk_next",)))
    assert not holds(callback.verify, told, Keys(job=("afk_test",), account=("afk_test",)))


@pytest.mark.parametrize("verify", [SHARED, PREFIXED, BARE])
def test_an_empty_job_secret_proves_nothing(verify: proofs.Verify) -> None:
    empty = hmac.digest(b"", BODY, "sha256").hex()
    for given_proof in ("", empty, f"sha256={empty}"):
        told = message(200, BODY, ("x-secret", given_proof), ("x-signature", given_proof))
        assert not holds(verify, told, Keys(job=("",)))


def tampered(body: bytes) -> list[bytes]:
    """Return variants of `body`: each bit flipped, cut, lengthened and written in other ways."""
    flips = [
        body[:index] + bytes([body[index] ^ 1 << bit]) + body[index + 1 :]
        for index in range(len(body))
        for bit in range(8)
    ]
    cuts = [body[:length] for length in range(len(body))]
    longer = [body + end for end in (b" ", b"\n", b"\x00", b"x", body)] + [
        b"\xef\xbb\xbf" + body,
        b" " + body,
    ]
    retold = [
        body.replace(b":", b": "),
        body.decode().encode("utf-16"),
        body.replace(b'"', b"'"),
        body.upper(),
    ]
    return flips + cuts + longer + retold


PROOFS: dict[str, tuple[proofs.Verify, HttpMessage, Keys]] = {
    "prefixed": (PREFIXED, signed("sha256=" + BY_BODY), JOB),
    "bare": (BARE, signed(BY_BODY), JOB),
    "standard": (WEBHOOKS, fresh(), ACCOUNT),
}


@pytest.mark.parametrize("name", PROOFS)
def test_any_change_of_the_body_breaks_the_proof(name: str) -> None:
    verify, told, keys = PROOFS[name]
    assert holds(verify, told, keys)
    for body in tampered(told.body):
        assert not holds(verify, message(200, body, *told.headers), keys), body


@pytest.mark.parametrize("name", PROOFS)
def test_any_change_of_a_bit_of_the_signature_breaks_the_proof(name: str) -> None:
    verify, told, keys = PROOFS[name]
    header, right = told.headers[-1]
    for index in range(len(right)):
        for bit in range(7):
            wrong = right[:index] + chr(ord(right[index]) ^ 1 << bit) + right[index + 1 :]
            forged = message(200, told.body, *told.headers[:-1], (header, wrong))
            assert not holds(verify, forged, keys), wrong


HEX_FORGERIES: dict[str, Change] = {
    "upper case": str.upper,
    "blanks": " ".join,
    "0x": lambda right: "0x" + right,
    "colons": lambda right: ":".join(right[index : index + 2] for index in range(0, 64, 2)),
    "63 digits": lambda right: right[:-1],
    "62 digits": lambda right: right[2:],
    "65 digits": lambda right: right + "0",
    "twice": lambda right: right * 2,
    "base64": lambda right: base64.b64encode(bytes.fromhex(right)).decode(),
    "list": lambda right: f"{right} {right}",
    "comma list": lambda right: f"{right},{right}",
    "4 kB": lambda right: right + "0" * 4096,
}


@pytest.mark.parametrize("name", HEX_FORGERIES)
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_a_malformed_hex_signature_is_refused(name: str, prefix: str) -> None:
    assert not holds(PREFIXED, signed(prefix + HEX_FORGERIES[name](BY_BODY)), JOB)


def test_the_scheme_is_the_handlers_choice_not_the_messages() -> None:
    secret = ("x-secret", SECRET)
    signature = ("x-signature", "sha256=" + BY_BODY)
    assert not holds(PREFIXED, message(200, BODY, secret), JOB)
    assert not holds(SHARED, message(200, BODY, signature), JOB)
    assert not holds(PREFIXED, message(200, BODY, ("x-signature", SECRET)), JOB)
    assert not holds(SHARED, message(200, BODY, ("x-secret", BY_BODY)), JOB)
    assert not holds(WEBHOOKS, message(200, BODY, secret, signature), ACCOUNT)


def test_a_candidate_that_is_there_must_hold() -> None:
    either = proofs.any_present([("x-secret", SHARED), ("x-signature", PREFIXED)])
    right, wrong = ("x-secret", SECRET), ("x-secret", "wrong")
    signature, forged = ("x-signature", BY_BODY), ("x-signature", "0" * 64)
    for headers in ((right,), (signature,), (right, signature)):
        assert either(message(200, BODY, *headers), JOB) is Proof.PROVED
    for headers in ((wrong,), (forged,), (right, forged), (wrong, signature), (right, wrong), (right, right)):
        assert not holds(either, message(200, BODY, *headers), JOB)
    with pytest.raises(BadSignature):
        either(message(200, BODY, ("x-secret", "")), JOB)
    assert either(message(200, BODY), JOB) is Proof.UNPROVED
    assert proofs.any_present([])(message(200, BODY, right), JOB) is Proof.UNPROVED


def test_an_optional_proof_is_asked_for_once_there_is_a_secret() -> None:
    verify = proofs.optional(SHARED, proofs.job_secrets)
    assert verify(message(200, BODY), Keys()) is Proof.UNPROVED
    assert verify(message(200, BODY), Keys(job=("",))) is Proof.UNPROVED
    assert verify(message(200, BODY, ("x-secret", SECRET)), JOB) is Proof.PROVED
    for told in (message(200, BODY), message(200, BODY, ("x-secret", "wrong"))):
        with pytest.raises(BadSignature):
            verify(told, JOB)


def test_a_provider_that_proves_nothing_always_hints() -> None:
    for keys in (Keys(), JOB, ACCOUNT):
        assert proofs.unproved(message(200, BODY, ("x-secret", SECRET)), keys) is Proof.UNPROVED


@LIMITED
@given(body=st.binary(), secret=st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_body_under_any_secret_is_proved(body: bytes, secret: str) -> None:
    right = hmac.digest(secret.encode(), body, "sha256").hex()
    assert holds(PREFIXED, signed(f"sha256={right}", body), Keys(job=(secret,)))
    assert not holds(PREFIXED, signed(f"sha256={right}", body), Keys(job=(secret + "x",)))
