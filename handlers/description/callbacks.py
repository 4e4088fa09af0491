"""The tables of the messages that a provider sends by itself, and of their proofs."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from handlers.description.terms import Fields, Table
from handlers.description.texts import KEYS_URL, PART, TIME, Header, Span


class ProofScheme(StrEnum):
    """The ways in which a callback proves itself."""

    NONE = "none"
    SECRET = "secret"  # noqa: S105  # the name of a scheme
    HMAC = "hmac"
    STANDARD_WEBHOOKS = "standard-webhooks"
    ED25519_JWKS = "ed25519-jwks"
    JWT = "jwt"
    HEADERS = "headers"


class ProofTable(Table):
    """How a callback proves itself."""

    scheme: ProofScheme = Field(description="the kind of proof")
    header: Header | None = Field(default=None, description="the header with the proof")
    headers: tuple[Header, ...] = Field(
        default=(), max_length=8, description="of an unpublished proof: each that comes must hold"
    )
    secret_header: Header | None = Field(
        default=None, description="of `headers`, that with the secret itself"
    )
    prefix: str = Field(default="", max_length=20, description="stands before the proof in its header")
    key: Literal["job", "account", "whsec", "whsec-text", "api", "api-sha256"] = Field(
        default="job",
        description="`job`: the job's secret (of `submit.secret`); `account`: the account's as it is; "
        "`whsec`: base64 behind `whsec_`, of most Standard Webhooks; `whsec-text`: the text behind it; "
        "`api`: the API key; `api-sha256`: its SHA-256",
    )
    encoding: Literal["hex", "base64"] = Field(default="hex", description="the form of the digest")
    digest: Literal["sha256", "sha512"] = Field(default="sha256", description="the hash of the HMAC")
    message: str = Field(default="{body}", max_length=200, description="the signed text, of the parts below")
    time: Annotated[str, Field(pattern=TIME)] | None = Field(
        default=None, description="`header:name`, or `t` in a header `t=..,v1=..`"
    )
    signature: Annotated[str, Field(pattern=PART)] | None = Field(
        default=None, description="`v1` in a header `t=..,v1=..`"
    )
    tolerance: Span = Field(default=timedelta(minutes=5), description="the most that the time may be off")
    keys_url: str | None = Field(
        default=None, pattern=KEYS_URL, max_length=500, description="the key set (JWKS)"
    )
    signed: tuple[Header, ...] = Field(
        default=(), max_length=8, description="ed25519-jwks: the signed lines before the body's SHA-256"
    )
    claim: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="jwt: the claim with SHA-256 of the body, in hex or base64"
    )
    audience: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="jwt: the audience (`aud`) that the token must name"
    )
    names_header: Header | None = Field(default=None, description="that which lists the signed headers")
    covers_body: bool = Field(default=True, description="false: a right proof leaves a hint")
    optional: bool = Field(default=False, description="without the account's secret a callback is a hint")


class CallbackTable(Table):
    """The messages that the provider sends by itself."""

    proof: ProofTable = Field(description="how it proves itself")
    challenge: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="a field that is echoed before a job is accepted"
    )
    acknowledgement: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="the text of the answer, where the provider wants one"
    )
    fields: Fields = Field(default=Fields(), description="places that differ in callbacks")
