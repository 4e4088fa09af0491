"""The verifier of a source, from its settings."""

import hmac
from datetime import timedelta
from typing import Any, get_args

import pytest

from handlers.contract import Keys, Proof
from handlers.errors import BadSignature
from receiver.config.sources import SCHEMES, ProofSettings
from receiver.sources.proofs import MAKERS, secrets_of, verifier_of
from tests.handlers.captures import RECEIVED_AT, message
from tests.receiver.sources.source_settings import SECRET, source

BODY = b'{"a":1}'


def test_every_scheme_of_the_settings_has_a_verifier() -> None:
    assert MAKERS.keys() == SCHEMES.keys() == set(get_args(ProofSettings.model_fields["scheme"].annotation))


@pytest.mark.parametrize(
    ("scheme", "proof", "digest", "header", "before"),
    [
        ("hmac-sha256", {"header": "X-Sig"}, "sha256", "x-sig", ""),
        ("hmac-sha512", {"header": "X-Sig", "prefix": "v="}, "sha512", "x-sig", "v="),
        ("github", {}, "sha256", "x-hub-signature-256", "sha256="),
        ("github", {"header": "x-gitea"}, "sha256", "x-gitea", "sha256="),
    ],
)
def test_the_header_and_its_prefix_are_those_of_the_settings(
    scheme: str, proof: dict[str, Any], digest: str, header: str, before: str
) -> None:
    made = source(scheme, proof=proof)
    text = before + hmac.digest(SECRET.encode(), BODY, digest).hex()
    keys = Keys(account=secrets_of(made))
    assert verifier_of(made)(message(200, BODY, (header, text)), keys) is Proof.PROVED
    with pytest.raises(BadSignature):
        verifier_of(made)(message(200, BODY, (header + "x", text)), keys)


def test_the_tolerance_is_that_of_the_source() -> None:
    at = int((RECEIVED_AT - timedelta(seconds=100)).timestamp())
    proof = hmac.digest(SECRET.encode(), f"{at}.".encode() + BODY, "sha256").hex()
    told = message(200, BODY, ("stripe-signature", f"t={at},v1={proof}"))
    assert verifier_of(source("stripe", tolerance=101))(told, Keys(account=(SECRET,))) is Proof.PROVED
    with pytest.raises(BadSignature):
        verifier_of(source("stripe", tolerance=99))(told, Keys(account=(SECRET,)))


def test_every_secret_of_a_rotation_is_valid() -> None:
    made = source(proof={"secrets": ["new", "old"]})
    assert secrets_of(made) == ("new", "old")
    for secret in ("new", "old"):
        text = hmac.digest(secret.encode(), BODY, "sha256").hex()
        told = message(200, BODY, ("x-signature", text))
        assert verifier_of(made)(told, Keys(account=secrets_of(made))) is Proof.PROVED


def test_without_a_proof_a_message_is_accepted_unproved() -> None:
    assert verifier_of(source("none"))(message(200, BODY), Keys()) is Proof.UNPROVED
