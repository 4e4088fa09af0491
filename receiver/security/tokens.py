"""API keys, callback and asset tokens, and the encryption of stored secrets under the master keys.

A token is a key id, its claims and a signature, separated by dots. The key id (`kid`) names the master key
that signed the token: it is the first eight hex digits of a SHA-256 of that key. Verification compares the
text of the signature, not its decoded bytes, so each token has exactly one spelling. The purpose of a token
salts the signing key, so that a token for one purpose is invalid for every other.
"""

import functools
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from itsdangerous import Signer

from handlers.values import immutable
from receiver.security.signing import base64url, mac

KID = 8
"""Hexadecimal digits of a key id."""
NONCE = 12
"""Bytes of an AES-GCM nonce: 96 bits, the size that the mode is made for."""
API_KEY_PREFIX = "rb_"
JOB_TOKEN_PREFIX = "rbj_"  # noqa: S105  # the beginning of each, no secret
SHORTEST_MASTER = 32
"""The fewest characters of a master key: every signature and every encrypted secret depends on it."""


class BadToken(Exception):
    """A token that this service did not sign, or not for this purpose."""


@immutable
class CallbackToken:
    """The claims of a callback token: the id of the job, and the secret that the provider received for it."""

    job_id: str
    secret: str


@immutable
class AssetToken:
    """The claims of an asset link: the job, the index of the asset, and the moment at which the link ends."""

    job_id: str
    index: int
    expires_at: datetime


@immutable
class JobToken:
    """The claims of a job token: the job that it may read, and the moment at which it ends."""

    job_id: str
    expires_at: datetime


def kid_of(master: str) -> str:
    """Return the key id of a master key: its short public name."""
    return hashlib.sha256(b"kid|" + master.encode()).hexdigest()[:KID]


def hash_api_key(key: str) -> bytes:
    """Return the hash that is stored for an API key. A key is so random that a single fast hash is safe."""
    # A text with lone surrogates must be an unknown key, not an error: `surrogatepass` encodes it.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def new_api_key(entropy: bytes) -> str:
    """Return an API key made from 32 random bytes."""
    return API_KEY_PREFIX + base64url(entropy)


def _signing_key(master: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(master, b"sign/1", "sha256"))


class MasterKeys:
    """The master keys, newest first: the first signs and encrypts, all of them verify and decrypt.

    `signing_keys` has the Ed25519 key of each: all of them sign, so that a receiver may know any one.
    """

    def __init__(self, master_keys: Sequence[str], entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._masters = {kid_of(master): master.encode() for master in master_keys}
        self.kids = tuple(self._masters)
        self.newest = self.kids[0]
        self._derived = functools.lru_cache(maxsize=64)(self._derive)
        self.signing_keys = tuple(_signing_key(master) for master in self._masters.values())

    def __repr__(self) -> str:
        return f"MasterKeys(kids={self.kids!r})"

    @property
    def public_keys(self) -> dict[str, bytes]:
        """Return the 32 bytes of the public key of each signing key, by the id of its master key."""
        return {
            kid: key.public_key().public_bytes_raw()
            for kid, key in zip(self.kids, self.signing_keys, strict=True)
        }

    def callback_token(self, account: str, job_id: str) -> str:
        """Return the last path segment of the callback URL for a job of `account`."""
        return self._token("callback/1", self.newest, f"{account}|{job_id}", job_id)

    def callback_secret(self, account: str, job_id: str, kid: str | None = None) -> str:
        """Return the secret that the provider receives for one job. It is derived, never stored."""
        master = self._masters[kid or self.newest]
        return base64url(mac(master, f"secret/1|{account}|{job_id}".encode()))

    def read_callback(self, account: str, token: str) -> CallbackToken:
        """Return the claims of a callback token. Raises `BadToken` for a text not signed for `account`."""
        parts = token.split(".")
        if len(parts) != 3:
            raise BadToken
        kid, job_id, _ = parts
        self._verify("callback/1", kid, f"{account}|{job_id}", token, job_id)
        return CallbackToken(job_id, self.callback_secret(account, job_id, kid))

    def asset_token(self, job_id: str, index: int, expires_at: datetime) -> str:
        """Return the last path segment of an asset link."""
        said = f"{job_id}.{index}.{int(expires_at.timestamp())}"
        return self._token("asset/1", self.newest, said, said)

    def read_asset(self, token: str) -> AssetToken:
        """Return the claims of an asset link, ended or not. Raises `BadToken` for any other text."""
        parts = token.split(".")
        if len(parts) != 5 or not all(part.isascii() and part.isdigit() for part in parts[2:4]):
            raise BadToken
        kid, job_id, index, ends, _ = parts
        said = f"{job_id}.{index}.{ends}"
        self._verify("asset/1", kid, said, token, said)
        return AssetToken(job_id, int(index), datetime.fromtimestamp(int(ends), UTC))

    def job_token(self, job_id: str, expires_at: datetime) -> str:
        """Return a token that reads one job until a moment."""
        claims = f"{job_id}.{int(expires_at.timestamp())}"
        return JOB_TOKEN_PREFIX + self._token("job/1", self.newest, claims, claims)

    def read_job_token(self, token: str) -> JobToken:
        """Return the claims of a job token, ended or not. Raises `BadToken` for any other text."""
        signed = token.removeprefix(JOB_TOKEN_PREFIX)
        parts = signed.split(".")
        if signed == token or len(parts) != 4 or not (parts[2].isascii() and parts[2].isdigit()):
            raise BadToken
        kid, job_id, ends, _ = parts
        claims = f"{job_id}.{ends}"
        self._verify("job/1", kid, claims, signed, claims)
        return JobToken(job_id, datetime.fromtimestamp(int(ends), UTC))

    def session_token(self, secret: str) -> str:
        """Return the value of the cookie of a session with this secret id."""
        return self._token("session/1", self.newest, secret, secret)

    def read_session(self, token: str) -> str:
        """Return the secret id in a cookie. Raises `BadToken` for any text that is not signed by us."""
        parts = token.split(".")
        if len(parts) != 3:
            raise BadToken
        kid, secret, _ = parts
        self._verify("session/1", kid, secret, token, secret)
        return secret

    def seal(self, secret: str, subject: str) -> bytes:
        """Return `secret` encrypted under the newest key for the row `subject`, with the key id in front."""
        # The subject is authenticated: sealed bytes that are copied to another row cannot be decrypted there.
        nonce = self._entropy(NONCE)
        sealed = self._cipher(self.newest).encrypt(nonce, secret.encode(), subject.encode())
        return self.newest.encode() + nonce + sealed

    def unseal(self, sealed: bytes, subject: str) -> str:
        """Return the decrypted secret. Raises `BadToken` for an unknown key id and for forged bytes."""
        kid = sealed[:KID].decode("ascii", "replace")
        if kid not in self._masters:
            raise BadToken
        nonce, text = sealed[KID : KID + NONCE], sealed[KID + NONCE :]
        try:
            return self._cipher(kid).decrypt(nonce, text, subject.encode()).decode()
        except (InvalidTag, ValueError):
            raise BadToken from None

    def _cipher(self, kid: str) -> AESGCM:
        return AESGCM(hmac.digest(self._masters[kid], b"encrypt/1", "sha256"))

    def _derive(self, purpose: str, kid: str) -> bytes:
        # `Signer` only derives the key. Its `unsign` compares decoded bytes, so that one token has several
        # spellings, and tries each key in turn. The text of a token is the service's own: the key id in front
        # selects the key, and the whole text is compared.
        salt = f"ringback/{purpose}".encode()
        signer = Signer(self._masters[kid], salt, key_derivation="hmac", digest_method=hashlib.sha256)
        return signer.derive_key()

    def _token(self, purpose: str, kid: str, signed: str, shown: str) -> str:
        return f"{kid}.{shown}.{base64url(mac(self._derived(purpose, kid), signed.encode()))}"

    def _verify(self, purpose: str, kid: str, signed: str, token: str, shown: str) -> None:
        # A lone surrogate could not be encoded for the comparison; a token is always ASCII.
        if kid not in self._masters or not token.isascii():
            raise BadToken
        expected = self._token(purpose, kid, signed, shown)
        if not hmac.compare_digest(expected.encode(), token.encode()):
            raise BadToken
