"""The terms that every table of a description uses: the base of the tables, and the words with a meaning."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from handlers.description.texts import Pointers


class Meaning(StrEnum):
    """The meaning of a status word. MISSING: the provider does not know the job (yet)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    MISSING = "missing"


class Consequence(StrEnum):
    """The consequence of a code for an error.

    CONTENT: the provider's policy refuses the content. ACCEPTED: it has the job already, under our own key.
    """

    ACCOUNT = "account"
    THROTTLED = "throttled"
    REJECTED = "rejected"
    CONTENT = "content"
    UNAVAILABLE = "unavailable"
    UNCLEAR = "unclear"
    ACCEPTED = "accepted"


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


class Table(BaseModel):
    """A table of a description. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Fields(Table):
    """Where a message keeps the facts about a job."""

    id: Pointers | None = Field(default=None, description="the provider's id of the job")
    status: Pointers | None = Field(default=None, description="the status word")
    progress: Pointers | None = Field(default=None, description="from 0 to 100, as a number or a text")
    scale: float = Field(default=1, gt=0, description="the factor of a progress: 100 for one from 0 to 1")
    without_status: Meaning | None = Field(
        default=None, description="the meaning of a body without status, file and `result`"
    )
    files: bool = Field(default=True, description="false: the links of this message are no files")
    only_end: bool = Field(
        default=False, description="the word for success is the only one of the end: an error tells a failure"
    )
    result: Pointers | None = Field(
        default=None, description="fields that mean success where the status is missing"
    )
