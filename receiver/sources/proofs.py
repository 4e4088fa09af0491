"""The verifiers of sources, made from their settings. Pure."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from handlers import proofs
from handlers.contract import HttpMessage, Keys, Proof
from handlers.proofs import Verify
from receiver.config.sources import SCHEMES, ProofSettings, SourceSettings

Make = Callable[[ProofSettings, timedelta], Verify]


def _unproved(_message: HttpMessage, _keys: Keys) -> Proof:
    return Proof.UNPROVED


def _header(proof: ProofSettings) -> str:
    return proof.header or SCHEMES[proof.scheme].header or ""


def _hmac(digest: str) -> Make:
    def make(proof: ProofSettings, _tolerance: timedelta) -> Verify:
        return proofs.hmac_body(
            _header(proof),
            digest=digest,
            encoding=proof.encoding,
            prefix=proof.prefix,
            keys=proofs.account_secrets,
        )

    return make


# Both families are the same scheme: senders that use Svix name the headers in either way.
_WEBHOOKS: Make = lambda _proof, tolerance: proofs.standard_webhooks(  # noqa: E731  # one of a table
    tolerance=tolerance, families=("webhook", "svix")
)
MAKERS: Mapping[str, Make] = {
    "shared-secret": lambda proof, _: proofs.shared_secret(
        _header(proof), prefix=proof.prefix, keys=proofs.account_secrets
    ),
    "hmac-sha256": _hmac("sha256"),
    "hmac-sha512": _hmac("sha512"),
    "standard-webhooks": _WEBHOOKS,
    "svix": _WEBHOOKS,
    "github": lambda proof, _: proofs.hmac_body(
        _header(proof), prefix="sha256=", keys=proofs.account_secrets
    ),
    "stripe": lambda proof, tolerance: proofs.stripe(
        _header(proof), signature=proof.signature, tolerance=tolerance
    ),
    "ed25519-jwks": lambda proof, tolerance: proofs.ed25519(
        _header(proof), proof.signed_headers, stamp=proof.timestamp_header, tolerance=tolerance
    ),
    "basic": lambda _proof, _tolerance: proofs.basic(),
    "none": lambda _proof, _tolerance: _unproved,
}
"""The maker of a verifier, by scheme."""


def verifier_of(source: SourceSettings) -> Verify:
    """Return the verifier of a source. It raises `BadSignature` and nothing else."""
    return MAKERS[source.proof.scheme](source.proof, timedelta(seconds=source.tolerance))


def secrets_of(source: SourceSettings) -> tuple[str, ...]:
    """Return the secrets of a source, newest first."""
    return tuple(secret.get_secret_value() for secret in source.proof.secrets)
