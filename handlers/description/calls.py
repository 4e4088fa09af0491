"""The tables of the requests to a provider: submission, calls about a job, the way to a fresh link."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from handlers.contract import Kind
from handlers.description.terms import Fields, Meaning, Table
from handlers.description.texts import STATUS, NestedField, Origin, Path, Place, Pointers, Span

Statuses = dict[Annotated[str, Field(pattern=STATUS)], Meaning]
"""The meanings of HTTP statuses."""
Form = Literal["json", "form", "list", "multipart"]
"""The forms of a body: JSON, a list of one object, and the two of HTML."""


class Call(Table):
    """A request about a job that was submitted."""

    method: Literal["GET", "POST", "PUT", "DELETE"] = Field(default="GET", description="the HTTP method")
    path: Path | None = Field(
        default=None,
        description="with {id}; {operation}: its path, {name}: its name, {app}: the two first parts of that; "
        "{own}: an id that is a path",
    )
    kept: str | None = Field(
        default=None, max_length=60, description="the URL that the submission's answer gave, with this ending"
    )
    query: dict[str, str] = Field(
        default={}, description="parameters behind the path, with the same names in braces"
    )
    body: dict[str, Any] | list[dict[str, Any]] | None = Field(
        default=None, description="the JSON body; the names of `path` are replaced in its texts"
    )
    fields: Fields = Field(default=Fields(), description="places that differ in its answer")
    http: Statuses = Field(
        default={}, description="the meaning of an HTTP status, in place of the body's word"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> "Call":
        if self.path is None and self.kept is None:
            raise ValueError("needs a path, or kept")
        return self


class Kept(Table):
    """A URL of the submission's answer for later calls, and the origins that may be trusted with the key."""

    at: Pointers = Field(description="the URL in the answer")
    origins: tuple[Origin, ...] = Field(
        default=(), max_length=16, description="`https://host` or `https://*.host`, beside the base URL"
    )


class Submit(Table):
    """The request that creates a job."""

    method: Literal["POST", "PUT"] = Field(default="POST", description="the HTTP method")
    form: Form = Field(
        default="json", description="the body: JSON, a list of one object, a form; `data:` URLs become files"
    )
    callback: Place | None = Field(default=None, description="where the callback URL goes")
    secret: Place | None = Field(default=None, description="where the job's secret goes")
    with_callback: dict[NestedField, Any] = Field(default={}, description="fields that go along with the URL")
    idempotency: Place | None = Field(default=None, description="where the job's id goes, as a key")
    key_form: Literal["id", "uuid"] = Field(
        default="id", description="the job's own id, or a UUID made of it"
    )
    renamed: dict[str, str] = Field(
        default={}, description="fields of an input that are sent under another name, unless it has that too"
    )
    always: dict[str, Any] = Field(default={}, description="fields that every request has")
    fields: Fields = Field(default=Fields(), description="places that differ in its answer")
    http: Statuses = Field(default={}, description="the meaning of an HTTP status")
    kept: Kept | None = Field(default=None, description="a URL of the answer for the calls that follow")


class Resolve(Table):
    """The request that turns a stored source into a fresh link."""

    path: Path = Field(description="with {source}, or {own} for a source that is a path itself")
    query: dict[str, str] = Field(default={}, description="parameters behind the path; {source} is replaced")
    url: Pointers | None = Field(default=None, description="the link in the answer")
    kind: Kind = Field(description="the kind of the file")
    life: Span | None = Field(default=None, description="the life of the link")
    redirect: bool = Field(default=False, description="the answer redirects to the link")
