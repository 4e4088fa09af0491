"""The proofs of callbacks by description: the key that each uses, and the jobs that it may speak for."""

import base64
import hmac
from dataclasses import replace
from pathlib import Path

import pytest

from handlers.captures import ACCOUNT_SECRET, API_KEY, JOB_SECRET, KEYS, RECEIVED_AT
from handlers.contract import Callback, HttpMessage, Proof
from handlers.description import making
from handlers.description.callbacks import ProofTable
from handlers.description.proving import verifier
from handlers.errors import BadSignature
from receiver.egress.key_sets import read_keys
from receiver.sandbox.signing import key_set, proof_of
from receiver.sandbox.world import Made
from tests.handlers.description.test_loading import GOOD

PROOF = 'callback.proof = { scheme = "hmac", header = "x-signature" }'
SETTING = """
[settings.webhook_secret]
kind = "secret"
say = "the account's secret"
"""
STANDARD = {
    "job": JOB_SECRET.encode(),
    "account": ACCOUNT_SECRET.encode(),
    "whsec": base64.b64decode(ACCOUNT_SECRET.removeprefix("whsec_")),
    "whsec-text": ACCOUNT_SECRET.removeprefix("whsec_").encode(),
    "api": API_KEY.encode(),
}
"""The bytes of each key."""


def callback(folder: Path, proof: str) -> Callback:
    """Return the callback of a description with this proof."""
    path = folder / "acme.toml"
    path.write_text(GOOD.replace(PROOF, f"callback.proof = {{ {proof} }}") + SETTING)
    provider = making.provider(path)
    found = provider.configure(provider.options()).callback
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "wide"),
    [
        ("job", False),
        ("account", True),
        ("whsec", True),
        ("whsec-text", True),
        ("api", True),
        ("api-sha256", True),
    ],
)
def test_every_key_but_the_job_s_is_shared_by_the_jobs_of_an_account(
    tmp_path: Path, key: str, *, wide: bool
) -> None:
    made = callback(tmp_path, f'scheme = "hmac", header = "x-signature", key = "{key}"')
    assert made.account_wide is wide


@pytest.mark.parametrize(
    "scheme",
    [
        'scheme = "ed25519-jwks", signed = ["x-id", "x-time"], time = "header:x-time"',
        'scheme = "jwt", claim = "body_sha256"',
    ],
)
def test_a_key_set_is_shared_by_the_jobs_of_an_account(tmp_path: Path, scheme: str) -> None:
    made = callback(tmp_path, f'{scheme}, header = "x-signature", keys_url = "https://acme.example/keys"')
    assert made.account_wide


def test_a_web_token_that_covers_no_body_leaves_a_hint() -> None:
    proof = ProofTable.model_validate(
        {
            "scheme": "jwt",
            "header": "webhook-signature",
            "keys_url": "https://acme.example/keys",
            "covers_body": False,
        }
    )
    known = replace(KEYS, account=read_keys(key_set()))
    made = Made(
        id="1",
        provider="acme",
        operation="a",
        input={},
        words=frozenset(),
        key="k",
        started=0.0,
        takes=1.0,
        origin="http://127.0.0.1",
        at=RECEIVED_AT,
    )
    for forged, want in ((False, Proof.UNPROVED), (True, None)):
        headers = proof_of(proof, made, b"{}", forged=forged)
        message = HttpMessage(200, headers, b"{}", RECEIVED_AT)
        if want is None:
            with pytest.raises(BadSignature):
                verifier(proof)(message, known)
        else:
            assert verifier(proof)(message, known) is want
    whole = proof.model_copy(update={"covers_body": True, "claim": "body_sha256", "audience": "acme"})
    message = HttpMessage(200, proof_of(whole, made, b"{}", forged=False), b"{}", RECEIVED_AT)
    assert verifier(whole)(message, known) is Proof.PROVED


def signed(key: bytes) -> HttpMessage:
    """Return a message of Standard Webhooks, signed with this key."""
    stamp = str(int(RECEIVED_AT.timestamp()))
    digest = hmac.digest(key, f"msg_1.{stamp}.".encode() + b"{}", "sha256")
    headers = (
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", stamp),
        ("webhook-signature", "v1," + base64.b64encode(digest).decode()),
    )
    return HttpMessage(200, headers, b"{}", RECEIVED_AT)


@pytest.mark.parametrize("key", STANDARD)
def test_standard_webhooks_are_verified_with_the_key_that_the_proof_names(tmp_path: Path, key: str) -> None:
    made = callback(tmp_path, f'scheme = "standard-webhooks", key = "{key}"')
    assert made.verify(signed(STANDARD[key]), KEYS) is Proof.PROVED
    for other in STANDARD.keys() - {key}:
        with pytest.raises(BadSignature):
            made.verify(signed(STANDARD[other]), KEYS)
