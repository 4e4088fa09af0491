"""Hand-made messages with a proof, as the senders of the published vectors would send them."""

import base64
import hmac
from collections.abc import Callable

from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature
from handlers.proofs import Verify
from tests.handlers.captures import RECEIVED_AT, message

Change = Callable[[str], str]

BODY = b'{"id":"x"}'
SECRET = "s3cret"
BY_BODY = "9f0beccf514841d21c56dba276089c2345c12d5d2deb19b4d22c873371e5e8b6"
"""The HMAC of `BODY` under `SECRET`, as published."""
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SENT_AT = 1_700_000_000
NOW = int(RECEIVED_AT.timestamp())
JOB = Keys(job=(SECRET,))
ACCOUNT = Keys(account=(WHSEC,))


def holds(verify: Verify, told: HttpMessage, keys: Keys) -> bool:
    """Return whether `verify` proves a message. A refusal must be a `BadSignature`."""
    try:
        return verify(told, keys) is Proof.PROVED
    except BadSignature:
        return False


def signed(given: str, body: bytes = BODY) -> HttpMessage:
    """Return a message with this signature of its body."""
    return message(200, body, ("x-signature", given))


def standard(
    signature: str, body: bytes = BODY, *, identity: str = "msg_1", stamp: str = str(SENT_AT)
) -> HttpMessage:
    """Return a message in the form of Standard Webhooks."""
    heads = (("webhook-id", identity), ("webhook-timestamp", stamp), ("webhook-signature", signature))
    return message(200, body, *heads)


def sign(identity: str = "msg_1", stamp: str = str(NOW), body: bytes = BODY, secret: str = WHSEC) -> str:
    """Return the signature of these parts by Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{identity}.{stamp}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def fresh(change: Change = str, body: bytes = BODY) -> HttpMessage:
    """Return an authentic message of this moment, with its signature changed."""
    return standard(change(sign(body=body)), body, stamp=str(NOW))
