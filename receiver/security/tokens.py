"""Keys and tokens: what we hand out, and what we can tell from it when it comes back.

`itsdangerous` signs; a token names the master key that signed it by `kid`, the first eight hex digits of
the key's SHA-256. The signature's text is compared, not its decoding, so one token has one spelling.
Tokens of one purpose mean nothing for another: the purpose salts the key.
"""

import base64
import functools
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from itsdangerous import Signer
from itsdangerous.encoding import base64_encode
from itsdangerous.signer import HMACAlgorithm

from handlers.values import immutable
from receiver.security.signing import mac

KID = 8
NONCE = 12
API_KEY_PREFIX = "rb_"
SHORTEST_MASTER = 32


class _Sha256(HMACAlgorithm):
    """The fast HMAC: it signs every callback URL and asset link."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return mac(key, value)


ALGORITHM = _Sha256()


class BadToken(Exception):
    """The token is not one of ours, or not for this purpose."""


@immutable
class CallbackToken:
    """What a callback token tells: whose job, and the secret that the provider was given for it."""

    job_id: str
    secret: str


@immutable
class AssetToken:
    """What an asset link tells."""

    job_id: str
    index: int
    expires_at: datetime


def kid_of(master: str) -> str:
    """The short public name of a master key."""
    return hashlib.sha256(b"kid|" + master.encode()).hexdigest()[:KID]


def hash_api_key(key: str) -> bytes:
    """What is stored of an API key: it has enough chance in it that one hash is safe."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def new_api_key(entropy: bytes) -> str:
    """An API key from 32 bytes of chance."""
    return API_KEY_PREFIX + base64.urlsafe_b64encode(entropy).decode().rstrip("=")


class MasterKeys:
    """The master keys, newest first: signs with the first, verifies and decrypts with all."""

    def __init__(self, master_keys: Sequence[str], entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._masters = {kid_of(master): master.encode() for master in master_keys}
        self.kids = tuple(self._masters)
        self.newest = self.kids[0]
        self._derived = functools.lru_cache(maxsize=64)(self._derive)

    def __repr__(self) -> str:
        return f"Masters(kids={self.kids!r})"

    def callback_token(self, account: str, job_id: str) -> str:
        """The last part of the callback URL for a job of `account`."""
        return self._token("callback/1", self.newest, f"{account}|{job_id}", job_id)

    def callback_secret(self, account: str, job_id: str, kid: str | None = None) -> str:
        """The secret that the provider is given for one job; nothing of it is stored."""
        master = self._masters[kid or self.newest]
        digest = mac(master, f"secret/1|{account}|{job_id}".encode())
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def read_callback(self, account: str, token: str) -> CallbackToken:
        """What a callback token says; `BadToken` for any text that we did not sign for `account`."""
        parts = token.split(".")
        if len(parts) != 3:
            raise BadToken
        kid, job_id, _ = parts
        self._verify("callback/1", kid, f"{account}|{job_id}", token, job_id)
        return CallbackToken(job_id, self.callback_secret(account, job_id, kid))

    def asset_token(self, job_id: str, index: int, expires_at: datetime) -> str:
        """The last part of an asset link."""
        said = f"{job_id}.{index}.{int(expires_at.timestamp())}"
        return self._token("asset/1", self.newest, said, said)

    def read_asset(self, token: str) -> AssetToken:
        """What an asset link says, whether or not it has ended; `BadToken` for a foreign text."""
        parts = token.split(".")
        if len(parts) != 5 or not all(part.isascii() and part.isdigit() for part in parts[2:4]):
            raise BadToken
        kid, job_id, index, ends, _ = parts
        said = f"{job_id}.{index}.{ends}"
        self._verify("asset/1", kid, said, token, said)
        return AssetToken(job_id, int(index), datetime.fromtimestamp(int(ends), UTC))

    def seal(self, secret: str, subject: str) -> bytes:
        """`secret` encrypted for the row `subject`, with the newest key's name in front."""
        nonce = self._entropy(NONCE)
        sealed = self._cipher(self.newest).encrypt(nonce, secret.encode(), subject.encode())
        return self.newest.encode() + nonce + sealed

    def unseal(self, sealed: bytes, subject: str) -> str:
        """The secret again; `BadToken` when the key is not configured or the bytes are not ours."""
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
        salt = f"ringback/{purpose}".encode()
        signer = Signer(self._masters[kid], salt, key_derivation="hmac", digest_method=hashlib.sha256)
        return signer.derive_key()

    def _token(self, purpose: str, kid: str, signed: str, shown: str) -> str:
        digest = ALGORITHM.get_signature(self._derived(purpose, kid), signed.encode())
        signature = base64_encode(digest).decode()
        return f"{kid}.{shown}.{signature}"

    def _verify(self, purpose: str, kid: str, signed: str, token: str, shown: str) -> None:
        if kid not in self._masters or not token.isascii():
            raise BadToken
        expected = self._token(purpose, kid, signed, shown)
        if not hmac.compare_digest(expected.encode(), token.encode()):
            raise BadToken
