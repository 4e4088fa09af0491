"""The proofs of simulated callbacks, made as the descriptions say they are read."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from handlers import json, proofs, signed_text
from handlers.captures import ACCOUNT_SECRET, PUBLIC_KEY
from handlers.contract import HttpMessage
from handlers.description.callbacks import ProofScheme, ProofTable
from handlers.description.proving import scheme_of
from receiver.sandbox.world import Made

Headers = tuple[tuple[str, str], ...]
FORGED = "forged"
_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""The key of every provider that signs with one; `PUBLIC_KEY` of the captures fits it."""
TOKEN_LIFE = 300
"""Seconds for which a token of the sandbox is valid."""
KEYS: Mapping[str, Callable[[Made], bytes]] = {
    "job": lambda made: (made.secret or "").encode(),
    "account": lambda _made: ACCOUNT_SECRET.encode(),
    "whsec": lambda _made: base64.b64decode(ACCOUNT_SECRET.removeprefix("whsec_")),
    "whsec-text": lambda _made: ACCOUNT_SECRET.removeprefix("whsec_").encode(),
    "api": lambda made: made.key.encode(),
    "api-sha256": lambda made: hashlib.sha256(made.key.encode()).digest(),
}
"""The key of a proof, by the name that descriptions give it."""


def key_set() -> bytes:
    """Return the JSON Web Key Set with the public key of the sandbox."""
    return json.write({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": PUBLIC_KEY}]})


def proof_of(proof: ProofTable, made: Made, body: bytes, *, forged: bool) -> Headers:
    """Return the headers that prove a callback; with `forged` they do not fit."""
    key = FORGED.encode() if forged else KEYS[proof.key](made)
    now = made.at or datetime.now(UTC)
    match proof.scheme:
        case ProofScheme.SECRET:
            return ((proof.header or "", proof.prefix + key.decode()),)
        case ProofScheme.HEADERS:
            return ((proof.secret_header or proof.headers[0], key.decode()),)
        case ProofScheme.STANDARD_WEBHOOKS:
            return _standard(key, body, now)
        case ProofScheme.ED25519_JWKS:
            return _ed25519(proof, body, now, forged=forged)
        case ProofScheme.JWT:
            return _token(proof, body, now, forged=forged)
        case ProofScheme.HMAC:
            return _hmac(proof, made, key, body, now)
        case _:
            return ()


def _standard(key: bytes, body: bytes, now: datetime) -> Headers:
    name, stamp = f"msg_{secrets.token_hex(8)}", str(int(now.timestamp()))
    digest = hmac.digest(key, f"{name}.{stamp}.".encode() + body, "sha256")
    signature = "v1," + base64.b64encode(digest).decode()
    return (("webhook-id", name), ("webhook-timestamp", stamp), ("webhook-signature", signature))


def _ed25519(proof: ProofTable, body: bytes, now: datetime, *, forged: bool) -> Headers:
    stamp = (proof.time or "").partition(":")[2]
    values = {name: f"{name.rpartition('-')[0][-8:]}-1" for name in proof.signed}
    values[stamp] = str(int(now.timestamp()))
    lines = [*(values[name] for name in proof.signed), hashlib.sha256(body).hexdigest()]
    signature = _PRIVATE.sign("\n".join(lines).encode()).hex()
    return (*values.items(), (proof.header or "", "00" * 64 if forged else signature))


def _token(proof: ProofTable, body: bytes, now: datetime, *, forged: bool) -> Headers:
    claims: dict[str, object] = {"iat": int(now.timestamp()), "exp": int(now.timestamp()) + TOKEN_LIFE}
    if proof.audience is not None:
        claims["aud"] = proof.audience
    if proof.claim is not None:
        claims[proof.claim] = hashlib.sha256(body).hexdigest()
    key = Ed25519PrivateKey.generate() if forged else _PRIVATE
    return ((proof.header or "", proof.prefix + jwt.encode(claims, key, algorithm="EdDSA")),)


def _hmac(proof: ProofTable, made: Made, key: bytes, body: bytes, now: datetime) -> Headers:
    seconds = str(int(now.timestamp()))
    where, _, header = (proof.time or "").partition(":")
    time = now.strftime("%a, %d %b %Y %H:%M:%S GMT") if header == "date" else seconds
    named = header_names(proof.message)
    headers: Headers = tuple((name, f"msg_{secrets.token_hex(8)}") for name in named)
    if where == "header":
        headers = (*headers, (header, time))
    if proof.names_header is not None:
        headers = (
            *headers,
            (proof.names_header, "x-request-nonce"),
            ("x-request-nonce", secrets.token_hex(8)),
        )
    url = urlsplit(made.callback_url or "")
    target = f"{url.path}?{url.query}" if url.query else url.path
    message = HttpMessage(200, headers, body, now, target=target)
    text = signed_text.text_of(scheme_of(proof), message, time)
    made_of = proofs.ENCODINGS[proof.encoding](hmac.digest(key, text, proof.digest)).decode()
    if proof.signature is not None:
        return (*headers, (proof.header or "", f"{where}={time},{proof.signature}={made_of}"))
    return (*headers, (proof.header or "", proof.prefix + made_of))


def header_names(template: str) -> list[str]:
    """Return the headers that a template of a signed text names."""
    parts = [text for text, named in signed_text.pieces(template) if named]
    return [text.removeprefix("header:") for text in parts if text.startswith("header:")]
