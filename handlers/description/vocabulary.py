"""The vocabulary of a description: the tables and keys of its TOML, each with its meaning.

The models check one description by itself; `schema.json` beside the shipped descriptions is made from them.
"""

import re
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from handlers import wire
from handlers.contract import Kind
from handlers.description.consistency import complaints
from handlers.errors import Garbled
from handlers.pointers import BadPointer, steps

NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEADER = r"^[a-z0-9!#$%&'*+.^_`|~-]{1,80}$"
_SPAN = re.compile(r"[0-9]{1,4}[smhd]")
_WHOLE_PATH = re.compile(r"^\{(own|operation)\}")
"""The names that stand for a whole path."""
_PLACE = r"^(body|query|header):.+$"


def _pointer(text: str) -> str:
    try:
        steps(text)
    except BadPointer as error:
        raise ValueError(str(error)) from None
    return text


def _path(text: str) -> str:
    try:
        wire.own_path(_WHOLE_PATH.sub("/own", text).replace("{", "").replace("}", ""))
    except Garbled:
        raise ValueError(
            f"{text!r} leaves the origin or is no path: `/...` without blanks, // or #"
        ) from None
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _span(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _SPAN.fullmatch(value):
        raise ValueError("must be a number with its unit: `30s`, `10m`, `24h` or `14d`")
    return timedelta(seconds=int(value[:-1]) * UNITS[value[-1]])


def _once(words: "dict[str, Meaning]") -> "dict[str, Meaning]":
    seen: set[str] = set()
    for word in words:
        if word.lower() in seen:
            raise ValueError(f"{word!r} is there twice: words are compared in lower case")
        seen.add(word.lower())
    return words


def _lower(text: str) -> str:
    if text != text.strip().lower():
        raise ValueError(f"{text!r} never matches: words are compared in lower case without blanks around")
    return text


Pointer = Annotated[str, AfterValidator(_pointer), Field(examples=["/data/task_id", "/videos/*/url"])]
"""A JSON pointer; `*` is every item of a list, `json:` steps into the JSON inside a text."""
Pointers = Annotated[tuple[Pointer, ...], BeforeValidator(_listed), Field(min_length=1, max_length=16)]
"""One pointer or several: the first that holds counts."""
Path = Annotated[str, AfterValidator(_path), Field(max_length=500)]
"""A path at the provider's own origin, with names in braces."""
Header = Annotated[str, Field(pattern=_HEADER)]
"""The name of a header, in lower case."""
Place = Annotated[str, Field(pattern=_PLACE, max_length=200)]
"""The place of a value in a request: `body:/a/b`, `query:name` or `header:name`."""
Span = Annotated[
    timedelta, BeforeValidator(_span), WithJsonSchema({"type": "string", "pattern": _SPAN.pattern})
]
"""A span of time: `30s`, `10m`, `24h`, `14d`."""
Text = Annotated[str, Field(min_length=1, max_length=300)]
LowerText = Annotated[Text, AfterValidator(_lower)]
Word = Annotated[str, Field(pattern=r"^[\w](?:[\w .:/-]{0,58}[\w])?$")]
"""A status word: letters, digits and `_ .:/-`, in the provider's own case."""
Confidence = Literal["official", "partner", "third-party", "seed", "unconfirmed"]


class Meaning(StrEnum):
    """The meaning of a status word. MISSING: the provider does not know the job (yet)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    MISSING = "missing"


class Consequence(StrEnum):
    """The consequence of a code for an error. CONTENT: the provider's policy refuses the content."""

    ACCOUNT = "account"
    THROTTLED = "throttled"
    REJECTED = "rejected"
    CONTENT = "content"
    UNAVAILABLE = "unavailable"
    UNCLEAR = "unclear"


class Fact(StrEnum):
    """A fact about a provider; ALL stands for those that are not named."""

    ALL = "all"
    AUTH = "auth"
    SUBMIT = "submit"
    WORDS = "words"
    POLL = "poll"
    CALLBACK = "callback"
    PROOF = "proof"
    CANCEL = "cancel"
    FILES = "files"
    ERRORS = "errors"
    RULES = "rules"
    IDEMPOTENCY = "idempotency"


class Part(BaseModel):
    """A table of a description. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Fields(Part):
    """Where a message keeps the facts about a job."""

    id: Pointers | None = None
    status: Pointers | None = None
    progress: Pointers | None = None
    scale: float = Field(default=1, gt=0, description="what a progress is multiplied by: 100 for 0 to 1")
    without_status: Meaning | None = Field(
        default=None, description="what a body without status, file and `result` means"
    )
    result: Pointers | None = Field(
        default=None, description="fields that mean success where the status is missing"
    )


class Judgement(Part):
    """How a body says that a call was fine, whatever its HTTP status."""

    at: Pointers
    equals: tuple[str, ...] = Field(min_length=1, max_length=8)
    message: Pointers | None = None


class Failure(Part):
    """Where a message keeps the reason of a failure."""

    error: Pointers | None = Field(default=None, description="the error: a text or an object with one")
    code: Pointers | None = Field(default=None, description="the code, where it is not in the error")
    message: Pointers | None = Field(default=None, description="the sentence, where it is not in the error")
    content: tuple[LowerText, ...] = Field(
        default=(), max_length=32, description="parts of codes and sentences that speak of the content"
    )
    word_is_code: bool = Field(default=False, description="the status word is the code, where no other is")
    blocked: Pointers | None = Field(default=None, description="flags of a filter")
    blocked_is: bool = Field(default=True, description="the value of a flag that means: filtered")
    ends: bool = Field(
        default=False, description="an error ends a job whose word is unknown, and one that is submitted"
    )
    only_end: bool = Field(
        default=False, description="the word for success is the only one of the end: an error tells a failure"
    )
    gone: Pointers | None = Field(default=None, description="a flag: the provider no longer has the result")


class Call(Part):
    """A request about a job that was submitted."""

    method: Literal["GET", "POST", "PUT", "DELETE"] = "GET"
    path: Path | None = Field(default=None, description="with {id}, {operation}, {name} or {source}")
    kept: str | None = Field(
        default=None, max_length=60, description="the URL that the submission's answer gave, with this ending"
    )
    query: dict[str, str] = Field(default={}, description="{id} is replaced; put behind the path")
    body: dict[str, Any] | list[dict[str, Any]] | None = Field(default=None, description="{id} is replaced")
    fields: Fields = Fields()
    http: dict[Annotated[str, Field(pattern=r"^[2-5][0-9][0-9]$")], Meaning] = Field(
        default={}, description="what an HTTP status means, where it means more than an error"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> "Call":
        if self.path is None and self.kept is None:
            raise ValueError("needs a path, or kept")
        return self


class Kept(Part):
    """A URL of the submission's answer for later calls, and the origins that may be trusted with the key."""

    at: Pointers
    origins: tuple[str, ...] = Field(
        default=(), max_length=16, description="`https://host` or `https://*.host`, beside the base URL"
    )


class Submit(Part):
    """The request that creates a job."""

    method: Literal["POST", "PUT"] = "POST"
    form: Literal["json", "form", "list", "multipart"] = "json"
    callback: Place | None = Field(default=None, description="where the callback URL goes")
    secret: Place | None = Field(default=None, description="where the job's secret goes")
    with_callback: dict[str, Any] = Field(default={}, description="fields that go along with the URL")
    idempotency: Place | None = Field(default=None, description="where the job's id goes, as a key")
    key_form: Literal["id", "uuid"] = Field(default="id", description="the form of that key")
    always: dict[str, Any] = Field(default={}, description="fields that every request has")
    fields: Fields = Fields()
    http: dict[Annotated[str, Field(pattern=r"^[2-5][0-9][0-9]$")], Meaning] = {}
    kept: Kept | None = None


class Resolve(Part):
    """The request that turns a stored source into a fresh link."""

    path: Path = Field(description="with {source}, or {own} for a source that is a path itself")
    query: dict[str, str] = Field(default={}, description="{source} is replaced; put behind the path")
    url: Pointers | None = None
    kind: Kind
    life: Span | None = None
    redirect: bool = Field(default=False, description="the answer redirects to the link")


class ProofScheme(StrEnum):
    """The ways in which a callback proves itself."""

    NONE = "none"
    SECRET = "secret"  # noqa: S105  # the name of a scheme
    HMAC = "hmac"
    STANDARD_WEBHOOKS = "standard-webhooks"
    ED25519_JWKS = "ed25519-jwks"
    HEADERS = "headers"


class Proof(Part):
    """How a callback proves itself."""

    scheme: ProofScheme
    header: Header | None = None
    headers: tuple[Header, ...] = Field(default=(), max_length=8)
    secret_header: Header | None = Field(
        default=None, description="of `headers`, that with the secret itself"
    )
    prefix: str = Field(default="", max_length=20)
    key: Literal["job", "account", "whsec", "whsec-text", "api", "api-sha256"] = "job"
    encoding: Literal["hex", "base64"] = "hex"
    digest: Literal["sha256", "sha512"] = "sha256"
    message: str = Field(default="{body}", max_length=200, description="see `handlers/signed_text.py`")
    time: Annotated[str, Field(pattern=r"^(header:[a-z0-9-]+|[a-z0-9]{1,8})$")] | None = Field(
        default=None, description="`header:name`, or `t` in a header `t=..,v1=..`"
    )
    signature: Annotated[str, Field(pattern=r"^[a-z0-9]{1,8}$")] | None = Field(
        default=None, description="`v1` in a header `t=..,v1=..`"
    )
    tolerance: Span = timedelta(minutes=5)
    keys_url: str | None = Field(default=None, pattern=r"^https?://[^\s#]+$", max_length=500)
    signed: tuple[Header, ...] = Field(default=(), max_length=8)
    names_header: Header | None = Field(default=None, description="that which lists the signed headers")
    covers_body: bool = True
    optional: bool = Field(default=False, description="a callback without a proof is a hint")


class Callback(Part):
    """The messages that the provider sends by itself."""

    proof: Proof
    challenge: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="a field that is echoed before a job is accepted"
    )
    acknowledgement: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="the text of the answer, where the provider wants one"
    )
    fields: Fields = Fields()


class Files(Part):
    """A group of files in a message."""

    at: Pointers | None = None
    below: Pointers | None = Field(default=None, description="every link below these nodes is a file")
    link: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        default=(), max_length=8, description="the fields of an item with the links; default: the item itself"
    )
    kind: Literal["video", "image", "audio", "file", "auto"] = "auto"
    kinds: dict[LowerText, Kind] = Field(default={}, description="the kind by a part of a field's name")
    source: bool = Field(default=False, description="the value is no link: `resolve` makes one of it")
    life: Span | None = Field(default=None, description="when the file is deleted, after the message")
    link_life: Span | None = Field(default=None, description="when the link ends, after the message")
    expires: Annotated[str, Field(pattern=r"^query:[A-Za-z0-9_-]{1,40}$")] | None = Field(
        default=None, description="`query:exp`: the parameter of the link with its end in unix seconds"
    )
    facts: dict[
        Literal["mime_type", "width", "height", "duration", "fps", "has_sound", "deletes_at", "expires_at"],
        str,
    ] = Field(default={}, description="a field of the item, or a pointer into the body")
    otherwise: bool = Field(default=False, description="only where no group before it found a file")
    one: bool = Field(default=False, description="only the first file of the group")

    @model_validator(mode="after")
    def _one_place(self) -> "Files":
        if (self.at is None) == (self.below is None):
            raise ValueError("needs exactly one of at and below")
        return self


class Operations(Part):
    """Operations with one path and kind."""

    names: Annotated[str, Field(min_length=1, max_length=4000)] = Field(
        description="separated by blanks; `*` is any path of words, as long as no other group names it"
    )
    path: Path = Field(description="{name} is the operation's own name")
    kind: Kind | None = None
    callback: bool = True
    poll: bool = True
    answered: bool = Field(default=False, description="the submission's answer brings the result")
    former: dict[str, str] = Field(default={}, description="other names, each with the present one")


class Rule(Part):
    """A rule of an input, checked before money is spent."""

    operations: str | None = Field(default=None, description="separated by blanks; default: all")
    at: Annotated[str, AfterValidator(_pointer)] = Field(default="", description="the object it is about")
    when: dict[str, Annotated[tuple[str, ...], BeforeValidator(_listed)]] = Field(
        default={}, description="only for an object whose field has one of these values"
    )
    present: str | None = Field(default=None, description="only for an object that has this field")
    types: dict[Literal["text", "number", "whole", "flag", "list", "table"], str] = {}
    required: tuple[str, ...] = Field(default=(), description="fields that must be there and not empty")
    any_of: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    known: dict[str, tuple[str | int, ...]] = Field(default={}, description="the values of a field")
    longest: dict[str, int] = Field(default={}, description="the most characters of a field")
    needs: dict[str, str] = Field(default={}, description="a value that needs another in the list")
    excludes: dict[str, str] = Field(default={}, description="a value that excludes another")
    say: str | None = Field(default=None, max_length=300)
    warning: bool = False


class Setting(Part):
    """A setting of an account that changes the description."""

    say: Text
    sets: Annotated[tuple[Pointer, ...], BeforeValidator(_listed)] = Field(
        default=(), description="the places in the description that get its value"
    )
    kind: Literal["text", "path", "choice", "header", "headers", "secret"] = "text"
    choices: tuple[str, ...] = ()
    default: str | tuple[str, ...] | None = None
    keeps: str | None = Field(default=None, description="the name in braces that stands for the id in a path")


class Cadence(Part):
    """The pauses between polls; seconds."""

    first: float = Field(default=5, gt=0)
    interval: float = Field(default=5, gt=0)
    factor: float = Field(default=1.2, ge=1)
    ceiling: float = Field(default=30, gt=0)
    backstop: float = Field(default=180, gt=0)


class Description(Part):
    """A provider as data."""

    name: Annotated[str, Field(pattern=NAME)]
    without: tuple[str, ...] = Field(default=(), description="tables that it does not take over")
    extends: str | None = Field(default=None, description="a shipped description that this one changes")
    title: Text | None = Field(default=None, description="the name for people; default: `name`")
    base_url: str = Field(default="", pattern=r"^(https?://[^\s/?#]+(/[^\s?#]*[^\s?#/])?)?$", max_length=300)
    sources: tuple[Text, ...] = Field(min_length=1, max_length=16, description="where each fact was read")
    checked: date = Field(description="the day on which the facts were last checked")
    confidence: dict[Fact, Confidence] = Field(description="of all facts, and of those that differ")
    auth: Annotated[str, Field(pattern=r"^(bearer|raw|word:[A-Za-z]+|header:[a-z0-9-]+|body:/.+)$")] = (
        "bearer"
    )
    headers: dict[Header, str] = Field(default={}, description="headers of every request")
    words: Annotated[dict[Word, Meaning], AfterValidator(_once)] = Field(
        default={}, description="the provider's own status words; they are compared in lower case"
    )
    fields: Fields = Fields()
    ok: Judgement | None = None
    errors: dict[Consequence, tuple[str, ...]] = Field(default={}, description="codes by their consequence")
    waits: dict[str, Span] = Field(default={}, description="waits after a code that names none")
    submit: Submit = Submit()
    poll: Call | None = None
    result: Call | None = Field(default=None, description="the second request, after a word for success")
    cancel: Call | None = None
    resolve: Literal["repoll"] | Resolve | None = None
    callback: Callback | None = None
    files: tuple[Files, ...] = Field(default=(), max_length=32)
    failure: Failure = Failure()
    usage: Pointer | dict[str, Pointer] = Field(default="", description="a table, or numbers by name")
    redact: tuple[Pointer, ...] = Field(default=(), description="what is not kept in a result")
    example: dict[str, Any] = Field(description="an input of the first operation, to try it with")
    operations: tuple[Operations, ...] = Field(min_length=1, max_length=64)
    rules: tuple[Rule, ...] = Field(default=(), max_length=64)
    reserved: tuple[str, ...] = Field(default=(), description="fields that only the service may set")
    settings: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")], Setting] = {}
    cadence: Cadence = Cadence()

    @cached_property
    def codes(self) -> dict[str, Consequence]:
        """Return the consequence of each code."""
        return {code: kind for kind, listed in self.errors.items() for code in listed}

    @cached_property
    def meanings(self) -> dict[str, Meaning]:
        """Return the meaning of each status word in lower case."""
        return {word.lower(): meaning for word, meaning in self.words.items()}

    @model_validator(mode="after")
    def _whole(self) -> "Description":
        for complaint in complaints(self):
            raise ValueError(complaint)
        return self
