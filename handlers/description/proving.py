"""The verifier that a description's proof names."""

from collections.abc import Callable, Mapping

from handlers import proofs, signed_text
from handlers.contract import HttpMessage, Keys
from handlers.contract import Proof as Verdict
from handlers.description.callbacks import ProofScheme, ProofTable
from handlers.proofs import Verify

Make = Callable[[ProofTable], Verify]
KEY_SETS = frozenset({ProofScheme.ED25519_JWKS, ProofScheme.JWT})
"""The proof schemes with keys from the provider's published key set."""


def verifier(proof: ProofTable) -> Verify:
    """Return the verifier of callbacks. A proof that does not cover the body leaves them a hint."""
    verify = MAKERS[proof.scheme](proof)
    if proof.optional:
        verify = proofs.optional(verify, signed_text.DERIVED[proof.key])
    return verify if proof.covers_body else _hint(verify)


def provable(proof: ProofTable, *, secrets: bool) -> bool:
    """Return whether genuine callbacks can carry a proof; `secrets` says whether the account has its key."""
    return proof.scheme is not ProofScheme.NONE and proof.covers_body and (secrets or not proof.optional)


def account_wide(proof: ProofTable) -> bool:
    """Return whether the key of a proof is the same for all jobs of an account."""
    return proof.key in signed_text.ACCOUNT_WIDE or proof.scheme in KEY_SETS


def _hint(verify: Verify) -> Verify:
    def check(message: HttpMessage, keys: Keys) -> Verdict:
        verify(message, keys)
        return Verdict.UNPROVED

    return check


def _secret(proof: ProofTable) -> Verify:
    return proofs.shared_secret(proof.header or "", prefix=proof.prefix, keys=signed_text.DERIVED[proof.key])


def scheme_of(proof: ProofTable) -> signed_text.Scheme:
    """Return the scheme of signatures that an `hmac` proof describes."""
    return signed_text.Scheme(
        header=proof.header or "",
        template=proof.message,
        time=proof.time,
        signature=proof.signature,
        prefix=proof.prefix,
        encoding=proof.encoding,
        digest=proof.digest,
        names=proof.names_header,
        tolerance=proof.tolerance,
    )


def _hmac(proof: ProofTable) -> Verify:
    return signed_text.verifier(scheme_of(proof), signed_text.DERIVED[proof.key])


def _headers(proof: ProofTable) -> Verify:
    """Return the verifier of an unpublished proof: every header that is there must hold."""
    keys = signed_text.DERIVED[proof.key]
    candidates = [
        (
            name,
            proofs.shared_secret(name, keys=keys)
            if name == proof.secret_header
            else proofs.hmac_body(name, prefix=proof.prefix, keys=keys),
        )
        for name in (header.lower() for header in proof.headers)
    ]
    return proofs.any_present(candidates)


def _web_token(proof: ProofTable) -> Verify:
    from handlers import web_tokens  # noqa: PLC0415  # its library takes long, and few providers send tokens

    return web_tokens.verifier(
        proof.header or "",
        claim=proof.claim,
        audience=proof.audience,
        prefix=proof.prefix,
        tolerance=proof.tolerance,
    )


MAKERS: Mapping[ProofScheme, Make] = {
    ProofScheme.NONE: lambda _proof: proofs.unproved,
    ProofScheme.SECRET: _secret,
    ProofScheme.HMAC: _hmac,
    ProofScheme.STANDARD_WEBHOOKS: lambda proof: proofs.standard_webhooks(
        keys=signed_text.DERIVED[proof.key], tolerance=proof.tolerance, families=("webhook", "svix")
    ),
    ProofScheme.ED25519_JWKS: lambda proof: proofs.ed25519(
        proof.header or "",
        proof.signed,
        stamp=(proof.time or "").partition(":")[2],
        tolerance=proof.tolerance,
    ),
    ProofScheme.JWT: _web_token,
    ProofScheme.HEADERS: _headers,
}
"""The maker of a verifier, by scheme."""
