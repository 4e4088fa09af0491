"""Signatures by Standard Webhooks: the receivers' own library verifies them; secrets have one form."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from receiver.security.signing import LONGEST, SHORTEST, BadSecret, headers, key_of, new_secret
from tests.receiver.raw_server import BOUNDED

BODY = b'{"id":"x"}'
PUBLISHED = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OLD, NEW = new_secret(b"o" * 32), new_secret(b"n" * 32)
NOT_SECRETS = [
    "",
    "whsec_",
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "WHSEC_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
    "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZW-_",
    "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
    " whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "whsec_whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "whsec_ééééééééééééééééééééééééééééééééééééééééééé=",
    "whsec_\ud800",
]


def now() -> int:
    """Return the system's time, with which the library compares timestamps."""
    return int(datetime.now(UTC).timestamp())


def signed(
    body: bytes, *secrets: str, event_id: str = "evt_1", timestamp: int | None = None
) -> dict[str, str]:
    """Return the headers of one attempt."""
    keys = [key_of(secret) for secret in secrets]
    return dict(headers(event_id, now() if timestamp is None else timestamp, body, keys))


def test_the_published_vector() -> None:
    assert signed(BODY, PUBLISHED, event_id="msg_1", timestamp=1700000000) == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1,Fxnqsz7pYJzHwtKkOFBoq5YiM+xF+DBoJ8/RmoIqtNI=",
    }


@BOUNDED
@given(st.dictionaries(st.text(), st.text() | st.integers()), st.binary(min_size=SHORTEST, max_size=LONGEST))
def test_any_body_verifies_with_the_receivers_library(value: dict[str, object], entropy: bytes) -> None:
    body, secret = json.dumps(value).encode(), new_secret(entropy)
    assert Webhook(secret).verify(body, signed(body, secret)) == value


@pytest.mark.parametrize("known", [OLD, NEW])
def test_during_a_rotation_either_secret_verifies(known: str) -> None:
    assert Webhook(known).verify(BODY, signed(BODY, NEW, OLD)) == {"id": "x"}


def test_the_newest_signature_stands_first() -> None:
    both = signed(BODY, NEW, OLD, timestamp=1)["webhook-signature"].split(" ")
    assert both == [signed(BODY, one, timestamp=1)["webhook-signature"] for one in (NEW, OLD)]


def test_an_asymmetric_signature_stands_behind_and_covers_the_same_bytes() -> None:
    private = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    made = dict(headers("evt_1", 1700000000, BODY, [key_of(NEW)], [private]))["webhook-signature"]
    symmetric, asymmetric = made.split(" ")
    assert symmetric == signed(BODY, NEW, timestamp=1700000000)["webhook-signature"]
    scheme, _, signature = asymmetric.partition(",")
    assert scheme == "v1a"
    private.public_key().verify(base64.b64decode(signature), b"evt_1.1700000000." + BODY)
    with pytest.raises(InvalidSignature):
        private.public_key().verify(base64.b64decode(signature), b"evt_1.1700000001." + BODY)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (BODY + b" ", {}),
        (b'{"id":"y"}', {}),
        (BODY, {"webhook-id": "evt_2"}),
        (BODY, {"webhook-timestamp": str(now() - 1)}),
        (BODY, {"webhook-signature": signed(BODY, OLD)["webhook-signature"]}),
    ],
)
def test_nothing_else_verifies(body: bytes, changes: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, signed(BODY, NEW) | changes)


@pytest.mark.parametrize("size", range(SHORTEST - 4, LONGEST + 5))
def test_a_secret_has_24_to_75_bytes(size: int) -> None:
    secret = new_secret(b"s" * size)
    if 24 <= size <= 75:
        assert key_of(secret) == b"s" * size
    else:
        with pytest.raises(BadSecret, match="24 to 75"):
            key_of(secret)


@pytest.mark.parametrize("text", NOT_SECRETS)
def test_a_secret_has_one_form(text: str) -> None:
    with pytest.raises(BadSecret) as refused:
        key_of(text)
    assert "MDEy" not in str(refused.value)


@BOUNDED
@given(st.text())
def test_any_text_is_a_secret_or_refused(text: str) -> None:
    try:
        key = key_of(text)
    except BadSecret:
        return
    assert base64.b64decode(text.removeprefix("whsec_")) == key
