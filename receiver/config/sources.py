"""The settings of sources: their names, proofs and challenges."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from handlers.pointers import BadPointer, steps
from handlers.values import immutable
from handlers.wire import HEADER_NAME
from receiver.config.section import Section
from receiver.config.values import FilePath, TargetUrl

MOST_SOURCES = 200
"""Most sources of a deployment."""
HEADER = re.compile(HEADER_NAME, re.ASCII)
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "webhook-signature", "svix-signature"}
)
"""Headers that may hold a secret, beside those that the settings of a source name."""
SENDABLE = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?", re.ASCII)
"""A secret that can be the value of a header."""
POINTER = re.compile(r"(?:/[^/]{1,100}){1,8}")
"""A JSON pointer to the sender's id in the body."""


@immutable(kw_only=True)
class SchemeRule:
    """The keys of a proof that a scheme needs and those that it takes beside them.

    `header` is the default of the header, `id_header` that of the sender's id, `id_pointer` its place in the
    body.
    """

    needs: frozenset[str] = frozenset({"secrets"})
    takes: frozenset[str] = frozenset()
    header: str | None = None
    id_header: str | None = None
    id_pointer: str | None = None


_HMAC = SchemeRule(needs=frozenset({"secrets", "header"}), takes=frozenset({"prefix", "encoding"}))
FAL = ("x-fal-webhook-request-id", "x-fal-webhook-user-id", "x-fal-webhook-timestamp")
SCHEMES: Mapping[str, SchemeRule] = {
    "shared-secret": SchemeRule(needs=frozenset({"secrets", "header"}), takes=frozenset({"prefix"})),
    "hmac-sha256": _HMAC,
    "hmac-sha512": _HMAC,
    "standard-webhooks": SchemeRule(id_header="webhook-id"),
    "svix": SchemeRule(id_header="svix-id"),
    "github": SchemeRule(
        takes=frozenset({"header"}), header="x-hub-signature-256", id_header="x-github-delivery"
    ),
    "stripe": SchemeRule(
        takes=frozenset({"header", "signature"}), header="stripe-signature", id_pointer="/id"
    ),
    "ed25519-jwks": SchemeRule(
        needs=frozenset({"jwks_url"}),
        takes=frozenset({"header", "signed_headers", "timestamp_header"}),
        header="x-fal-webhook-signature",
        id_header="x-fal-webhook-request-id",
    ),
    "basic": SchemeRule(),
    "none": SchemeRule(needs=frozenset({"insecure"})),
}
"""The proofs of sources. GitHub's: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries,
Svix's: https://docs.svix.com/receiving/verifying-payloads/how-manual, both read on 2026-11-29.
"""


def _header(name: str) -> str:
    lower = name.lower()
    if not HEADER.fullmatch(lower):
        raise ValueError("must be the name of a header")
    return lower


def _pointer(text: str) -> str:
    if not POINTER.fullmatch(text):
        raise ValueError("must be a JSON pointer such as /data/id")
    try:
        steps(text)
    except BadPointer as error:
        raise ValueError(str(error)) from None
    return text


HeaderName = Annotated[str, AfterValidator(_header)]
Pointer = Annotated[str, AfterValidator(_pointer)]


class ProofSettings(Section):
    """How a sender proves itself. Several secrets are valid at once, for a rotation."""

    scheme: Literal[
        "shared-secret",
        "hmac-sha256",
        "hmac-sha512",
        "standard-webhooks",
        "github",
        "stripe",
        "svix",
        "ed25519-jwks",
        "basic",
        "none",
    ] = Field(description="how it proves itself")
    header: HeaderName | None = Field(default=None, description="the header that carries the proof")
    prefix: str = Field(default="", max_length=100, description="what stands before the proof in the header")
    encoding: Literal["hex", "base64"] = Field(default="hex", description="the form of the signature")
    signature: str = Field(
        default="v1", pattern=r"^[a-z0-9]{1,8}$", description="the name of the signatures in the header"
    )
    secrets: tuple[SecretStr, ...] = Field(default=(), max_length=5, description="the secrets, newest first")
    jwks_url: TargetUrl | None = Field(default=None, description="where the sender's public keys are")
    signed_headers: tuple[HeaderName, ...] = Field(
        default=FAL, min_length=1, max_length=8, description="the headers that are signed before the body"
    )
    timestamp_header: HeaderName = Field(default=FAL[-1], description="the header with the time in seconds")
    insecure: bool = Field(default=False, description="accept every request: for `none` only")

    @model_validator(mode="after")
    def _of_the_scheme(self) -> "ProofSettings":
        rule = SCHEMES[self.scheme]
        for name in sorted(rule.needs):
            if not getattr(self, name):
                example = "true" if name == "insecure" else "..."
                raise ValueError(f"the scheme {self.scheme} needs {name} = {example}")
        taken = rule.needs | rule.takes | {"scheme"}
        for name in sorted(self.model_fields_set - taken):
            raise ValueError(f"{name} means nothing to the scheme {self.scheme}; leave it out")
        if self.scheme == "ed25519-jwks" and self.timestamp_header not in self.signed_headers:
            raise ValueError(
                "timestamp_header must be one of signed_headers: an unsigned time proves nothing"
            )
        if not self.prefix.isascii():
            raise ValueError("prefix: must be ASCII, as headers are")
        for secret in self.secrets:
            if (fault := _fault(self.scheme, secret.get_secret_value())) is not None:
                raise ValueError(f"secrets: {fault}")
        return self


def _fault(scheme: str, secret: str) -> str | None:
    """Return the fault of a secret, None where it can be used."""
    if not secret:
        return "must not be empty"
    if scheme == "basic" and (":" not in secret or len(secret) == 1):
        return "must be user:password"
    if scheme == "shared-secret" and not SENDABLE.fullmatch(secret):
        return (
            "must be printable ASCII without blanks around it, at most 4096 characters: it comes in a header"
        )
    if scheme in {"standard-webhooks", "svix"}:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            return "must be whsec_ and base64"
        if not key:
            return "must hold a key behind whsec_"
    return None


class ChallengeSettings(Section):
    """How a sender makes sure that the URL is ours: exactly one of these."""

    json_field: str | None = Field(
        default=None, alias="json", min_length=1, max_length=100, description="echo this field of the body"
    )
    query: str | None = Field(
        default=None, min_length=1, max_length=100, description="echo this parameter of the URL"
    )
    crc: SecretStr | None = Field(
        default=None, description="answer `crc_token` with its HMAC under this secret"
    )

    @model_validator(mode="after")
    def _one(self) -> "ChallengeSettings":
        given = [self.json_field, self.query, self.crc and self.crc.get_secret_value()]
        if sum(1 for one in given if one) != 1:
            raise ValueError("give exactly one of json, query and crc")
        return self


class SourceSettings(Section):
    """A sender of webhooks about jobs that were submitted elsewhere: `POST /sources/{name}`."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$", description="its name, in the URL and the event type")
    proof: ProofSettings = Field(description="how the sender proves itself")
    tolerance: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=300, description="seconds by which the time of a request may be off"
    )
    id_header: HeaderName | None = Field(
        default=None, description="the header with the sender's id; default: the scheme's own"
    )
    id_pointer: Pointer | None = Field(
        default=None, description="where the sender's id is in the body, such as /id"
    )
    headers: tuple[HeaderName, ...] = Field(
        default=(), max_length=20, description="further headers that its events carry"
    )
    challenge: ChallengeSettings | None = Field(
        default=None, description="how the sender makes sure of the URL"
    )
    handler: str | None = Field(default=None, description="read the body as this provider's callback")
    description: FilePath | None = Field(
        default=None, description="a description of the provider, a TOML file, in place of a handler"
    )

    @model_validator(mode="after")
    def _one_id(self) -> "SourceSettings":
        if self.id_header is not None and self.id_pointer is not None:
            raise ValueError("give one of id_header and id_pointer: a message has one id")
        proof = {self.proof.header, SCHEMES[self.proof.scheme].header} | SECRET_HEADERS
        if self.id_header is not None and self.id_header in proof:
            raise ValueError("id_header must be another header than that of the proof, which is a secret")
        return self
