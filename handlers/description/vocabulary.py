"""The vocabulary of a description: the tables and keys of its TOML, each with its meaning.

The models check one description by itself; `schema.json` beside the shipped descriptions is made from them.
"""

from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from handlers.contract import Kind
from handlers.description.callbacks import CallbackTable
from handlers.description.calls import Call, Form, Resolve, Submit
from handlers.description.consistency import complaints
from handlers.description.terms import Consequence, Fact, Fields, Meaning, Table
from handlers.description.texts import (
    AUTH,
    BASE_URL,
    NAME,
    PARAMETER,
    SETTING,
    HeaderValue,
    LowerText,
    Path,
    Pointer,
    Pointers,
    SentHeader,
    Span,
    Text,
    Word,
    listed,
    place,
    pointer,
)

Confidence = Literal["official", "partner", "third-party", "seed", "unconfirmed"]


def _once(words: "dict[str, Meaning]") -> "dict[str, Meaning]":
    seen: set[str] = set()
    for word in words:
        if word.lower() in seen:
            raise ValueError(f"{word!r} is there twice: words are compared in lower case")
        seen.add(word.lower())
    return words


class Judgement(Table):
    """The judgement of an answer by a code in its body, with any HTTP status."""

    at: Pointers = Field(description="the code")
    equals: tuple[str, ...] = Field(min_length=1, max_length=8, description="the codes that mean success")
    wrong: tuple[str, ...] = Field(
        default=(), max_length=8, description="the codes that mean an error; default: all others"
    )
    message: Pointers | None = Field(default=None, description="the sentence beside another code")


class FailureTable(Table):
    """Where a message keeps the reason of a failure."""

    error: Pointers | None = Field(default=None, description="the error: a text or an object with one")
    code: Pointers | None = Field(default=None, description="the code, where it is not in the error")
    message: Pointers | None = Field(default=None, description="the sentence, where it is not in the error")
    content: tuple[LowerText, ...] = Field(
        default=(), max_length=32, description="parts of codes and sentences that speak of the content"
    )
    word_is_code: bool = Field(default=False, description="the status word is the code, where no other is")
    blocked: Pointers | None = Field(default=None, description="flags of a filter, or numbers of its files")
    blocked_is: bool = Field(default=True, description="the value of a flag that means: filtered")
    blocked_keeps: bool = Field(
        default=False, description="a flagged file is sent: only a result without files is filtered"
    )
    ends: bool = Field(
        default=False, description="an error ends a job whose word is unknown, and one that is submitted"
    )
    gone: Pointers | None = Field(default=None, description="a flag: the provider no longer has the result")


class Files(Table):
    """A group of files in a message."""

    at: Pointers | None = Field(default=None, description="the links, or the items that hold them")
    below: Pointers | None = Field(default=None, description="every link below these nodes is a file")
    skip: tuple[LowerText, ...] = Field(
        default=(), max_length=32, description="with below: the fields whose links are no files"
    )
    link: Annotated[tuple[str, ...], Field(max_length=8), BeforeValidator(listed)] = Field(
        default=(), description="the fields of an item with the links; default: the item itself"
    )
    kind: Literal["video", "image", "audio", "file", "auto"] = Field(
        default="auto", description="auto: by media type, ending, type of the item, or name of the field"
    )
    kinds: dict[LowerText, Kind] = Field(default={}, description="the kind by a part of a field's name")
    source: bool = Field(default=False, description="the value is no link: `resolve` makes one of it")
    life: Span | None = Field(default=None, description="when the file is deleted, after the message")
    link_life: Span | None = Field(default=None, description="when the link ends, after the message")
    expires: Annotated[str, Field(pattern=PARAMETER)] | None = Field(
        default=None, description="`query:exp`: the parameter of the link with its end in unix seconds"
    )
    facts: dict[
        Literal["mime_type", "width", "height", "duration", "fps", "has_sound"]
        | Literal["deletes_at", "expires_at", "expires_in"],
        str,
    ] = Field(
        default={}, description="a field of the item, or a pointer into the body; expires_in is seconds"
    )
    otherwise: bool = Field(default=False, description="only where no group before it found a file")
    one: bool = Field(default=False, description="only the first file of the group")

    @model_validator(mode="after")
    def _one_place(self) -> "Files":
        for fact in self.facts.values():
            if fact.startswith("/"):
                pointer(fact)
        if (self.at is None) == (self.below is None):
            raise ValueError("needs exactly one of at and below")
        return self


class Operations(Table):
    """Operations with one path and kind."""

    names: Annotated[str, Field(min_length=1, max_length=4000)] = Field(
        description="separated by blanks; `*` is any other path of words, `*/word` one that ends so"
    )
    path: Path = Field(description="{name} is the operation's own name")
    form: Form | None = Field(default=None, description="the body of a submission; default: submit.form")
    asked: Path | None = Field(default=None, description="{operation} of later calls; default: path")
    kind: Kind | None = Field(default=None, description="the kind of file; none: a job may end without one")
    callback: bool = Field(default=True, description="false: it takes no callback URL")
    poll: bool = Field(default=True, description="false: it cannot be polled")
    answered: bool = Field(default=False, description="the submission's answer brings the result")
    former: dict[str, str] = Field(default={}, description="other names, each with the present one")


class Rule(Table):
    """A rule of an input, checked before money is spent."""

    operations: str | None = Field(default=None, description="separated by blanks; default: all")
    at: Pointer = Field(default="", description="the object it is about")
    when: dict[str, Annotated[tuple[str, ...], BeforeValidator(listed)]] = Field(
        default={}, description="only for an object whose field has one of these values"
    )
    present: str | None = Field(default=None, description="only for an object that has this field")
    types: dict[Literal["text", "number", "whole", "flag", "list", "table"], str] = Field(
        default={}, description="known fields by their type, separated by blanks"
    )
    required: tuple[str, ...] = Field(default=(), description="fields that must be there and not empty")
    any_of: tuple[str, ...] = Field(default=(), description="fields of which one is needed")
    one_of: tuple[str, ...] = Field(default=(), description="fields of which exactly one is needed")
    known: dict[str, tuple[str | int, ...]] = Field(default={}, description="the values of a field")
    longest: dict[str, int] = Field(default={}, description="the most characters of a field")
    needs: dict[str, str] = Field(default={}, description="a value that needs another in the list")
    excludes: dict[str, str] = Field(default={}, description="a value that excludes another")
    say: str | None = Field(default=None, max_length=300, description="the sentence, in place of our own")
    warning: bool = Field(default=False, description="it warns and refuses nothing")


class Setting(Table):
    """A setting of an account that changes the description."""

    say: Text = Field(description="the meaning of the setting")
    sets: Annotated[tuple[Pointer, ...], BeforeValidator(listed)] = Field(
        default=(), description="the places in the description that get its value"
    )
    kind: Literal["text", "path", "choice", "header", "headers", "secret"] = Field(
        default="text", description="the type of its value; a secret proves callbacks and has no `sets`"
    )
    choices: tuple[str, ...] = Field(default=(), description="the values of a choice")
    default: str | tuple[str, ...] | None = Field(default=None, description="its value where none is set")
    keeps: str | None = Field(default=None, description="the name in braces that stands for the id in a path")


class CadenceTable(Table):
    """The pauses between polls; seconds."""

    first: float = Field(default=5, gt=0, le=86400, description="before the first poll")
    interval: float = Field(default=5, gt=0, le=86400, description="between the next two")
    factor: float = Field(default=1.2, ge=1, le=100, description="by which each pause is longer")
    ceiling: float = Field(default=30, gt=0, le=86400, description="the longest pause")
    backstop: float = Field(
        default=180, gt=0, le=86400, description="before a poll where a callback is expected"
    )


class Description(Table):
    """A provider as data."""

    name: Annotated[str, Field(pattern=NAME)] = Field(description="the name of the handler")
    without: tuple[str, ...] = Field(default=(), description="tables that it does not take over")
    extends: str | None = Field(default=None, description="a shipped description that this one changes")
    title: Text | None = Field(default=None, description="the name for people; default: `name`")
    base_url: str = Field(
        default="",
        pattern=BASE_URL,
        max_length=300,
        description="the API; none: each account names it",
    )
    sources: tuple[Text, ...] = Field(min_length=1, max_length=16, description="where each fact was read")
    checked: date = Field(description="the day on which the facts were last checked")
    confidence: dict[Fact, Confidence] = Field(description="of all facts, and of those that differ")
    auth: Annotated[str, AfterValidator(place), Field(pattern=AUTH)] = Field(
        default="bearer", description="where the API key goes: `word:Key` is `Authorization: Key ...`"
    )
    headers: dict[SentHeader, HeaderValue] = Field(default={}, description="headers of every request")
    words: Annotated[dict[Word, Meaning], AfterValidator(_once)] = Field(
        default={}, description="the provider's own status words; they are compared in lower case"
    )
    fields: Fields = Field(default=Fields(), description="where every message keeps the facts about a job")
    ok: Judgement | None = Field(default=None, description="how a body says that the call was fine")
    errors: dict[Consequence, tuple[str, ...]] = Field(default={}, description="codes by their consequence")
    sentences: dict[Consequence, tuple[LowerText, ...]] = Field(
        default={}, description="parts of a refusal's sentence by consequence, where no code tells it"
    )
    waits: dict[str, Span] = Field(default={}, description="waits after a code that names none")
    submit: Submit = Field(default=Submit(), description="the request that creates a job")
    poll: Call | None = Field(default=None, description="the request that asks about a job")
    result: Call | None = Field(default=None, description="the second request, after a word for success")
    cancel: Call | None = Field(default=None, description="the request that cancels a job")
    resolve: Literal["repoll"] | Resolve | None = Field(
        default=None, description="the way to a fresh link: a call, or one more poll"
    )
    callback: CallbackTable | None = Field(default=None, description="the messages that it sends by itself")
    files: tuple[Files, ...] = Field(default=(), max_length=32, description="groups of files, in order")
    failure: FailureTable = Field(default=FailureTable(), description="where the reason of a failure is")
    usage: Pointer | dict[str, Pointers] = Field(default="", description="a table, or numbers by name")
    redact: tuple[Pointer, ...] = Field(default=(), description="fields that no result keeps")
    example: dict[str, Any] = Field(description="an input of the first operation, to try it with")
    operations: tuple[Operations, ...] = Field(
        min_length=1, max_length=64, description="groups of operations; the first is the default"
    )
    rules: tuple[Rule, ...] = Field(default=(), max_length=64, description="rules of inputs")
    reserved: tuple[str, ...] = Field(default=(), description="fields that only the service may set")
    settings: dict[Annotated[str, Field(pattern=SETTING)], Setting] = Field(
        default={}, description="settings that an account takes"
    )
    cadence: CadenceTable = Field(default=CadenceTable(), description="the pauses between polls")

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
