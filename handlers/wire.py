"""The common ground of all wire formats: requests, answers, field types and links.

Requests carry paths and never URLs, so a key can only be sent to its account's own origin.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from handlers import fields, json, refusals
from handlers.contract import Asset, HttpMessage, HttpRequest, Kind, Phase
from handlers.errors import (
    AccountRefused,
    BadPayload,
    Garbled,
    ProviderError,
    Redirected,
)
from handlers.said import code_of, sentence
from handlers.text import clean
from handlers.wishes import wish

Model = TypeVar("Model", bound=BaseModel)

ENDINGS = {
    **dict.fromkeys(("mp4", "webm", "mov"), Kind.VIDEO),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp"), Kind.IMAGE),
    **dict.fromkeys(("mp3", "wav"), Kind.AUDIO),
}

# The second character is not a slash, because `//host` names another host.
_PATH = re.compile(r"/(?:[!-.0-~][!-~]*)?", re.ASCII)
ASSETS = 200
LINKS = 64 * 1024
"""The most files, and bytes of their links, that one job keeps; the rest stays with the provider."""


class Payload(BaseModel):
    """A provider's message. Only the fields that are read are declared; all others are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _said_once(cls, value: object) -> object:
        """Refuse a declared field that was given twice with different values."""
        if isinstance(value, json.Repeated) and not value.names.isdisjoint(cls.model_fields):
            raise ValueError("a field is given twice")
        return value


def _many(value: object) -> object:
    return tuple(value) if isinstance(value, list) else ()


def _part(value: object) -> object:
    return value if isinstance(value, dict) else {}


def _parts(value: object) -> object:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else ()


def _setting(text: str) -> str:
    try:
        return own_path(text)
    except Garbled:
        raise ValueError("must be a path: `/...` without blanks, `//`, backslashes or a fragment") from None


PART = BeforeValidator(_part)
"""The validator of an object inside a message: anything else counts as an empty object."""
PARTS = BeforeValidator(_parts)
"""The validator of a list of objects inside a message: anything else is skipped."""
Raw = Annotated[str | None, BeforeValidator(fields.raw)]
"""Text as received, to be checked where it is used."""
PathSetting = Annotated[str, AfterValidator(_setting)]
"""A path in the settings of an account."""


Code = Annotated[str | None, BeforeValidator(fields.code)]
"""A code as text. "" is kept, because an empty code is unknown and not missing."""
Id = Annotated[str | None, BeforeValidator(fields.identity)]
"""An id or a sentence. Numbers become text, anything else None."""
Word = Annotated[str, BeforeValidator(fields.word)]
"""A status word in lower case; "" when it is missing or not text."""
Percent = Annotated[float | None, BeforeValidator(fields.percent)]
"""A progress from 0 to 100, read from 40, "40" or "40%"; None for anything else."""
Link = Annotated[str | None, BeforeValidator(fields.link)]
"""An absolute http or https URL; None for anything else."""
Links = Annotated[tuple[Link, ...], BeforeValidator(_many)]
Number = Annotated[float | None, BeforeValidator(fields.plausible)]
Whole = Annotated[int | None, BeforeValidator(fields.whole)]
Moment = Annotated[datetime | None, BeforeValidator(fields.moment)]
Flag = Annotated[bool | None, BeforeValidator(fields.flag)]
Table = Annotated[dict[str, Any] | None, BeforeValidator(fields.table)]


def bearer(key: str) -> tuple[str, str]:
    """Return the usual header for a key."""
    return ("authorization", f"Bearer {key}")


def get(path: str, *headers: tuple[str, str]) -> HttpRequest:
    """Build a GET for `path`, which is sent byte for byte."""
    return HttpRequest("GET", own_path(path), (("accept", "application/json"), *headers))


def post(path: str, body: Mapping[str, Any], *headers: tuple[str, str]) -> HttpRequest:
    """Build a POST of `body` as JSON to `path`."""
    standard = (("accept", "application/json"), ("content-type", "application/json"))
    return HttpRequest("POST", own_path(path), (*standard, *headers), json.write(body))


def segment(value: str) -> str:
    """Return `value` as one path segment or query value. Raises `Garbled` for `.` and `..`."""
    if value in {".", ".."}:
        raise Garbled("the provider's id is no id")
    return quote(value, safe="")


def own_path(path: str) -> str:
    """Return `path` if it can only mean a place on the account's own origin. Raises `Garbled` otherwise.

    Refused are full URLs, `//host` paths, backslashes, blanks, fragments, control and non-ASCII characters:
    joined to a base URL, each of them has led a client to another host.
    """
    if not _PATH.fullmatch(path) or "\\" in path or "#" in path:
        raise Garbled("a link of the provider leaves its own origin")
    return path


def succeeded(message: HttpMessage) -> HttpMessage:
    """Return `message` if its status is a success. Raises the error for its status and body otherwise."""
    if 200 <= message.status < 300:
        return message
    try:
        body = json.forgive(message.body)
    except json.BadJson:
        body = None
    raise refused(message, body)


def refused(message: HttpMessage, body: object, code: str | None = None) -> ProviderError:
    """Return the error for a message without success; `body` is its body as read.

    `code` is the provider's code, where it stands in a place of its own.
    """
    said, code = sentence(body), code or code_of(body)
    kind = refusals.refusal(message.status, code, said) if message.status >= 300 else Garbled
    if kind is Redirected:
        said = _moved(message)
    error = kind(said, status=message.status, retry_after=wish(message, body), provider_code=code)
    if isinstance(error, AccountRefused):
        error.certain = refusals.about_account(message.status, code, said)
    return error


def _moved(message: HttpMessage) -> str:
    """Return a sentence with the target of a redirect, without its query, and the setting to correct."""
    place = clean(next(iter(message.every("location")), "").split("?", 1)[0].split("#", 1)[0], 200)
    # A user name and password in the target must not be shown.
    place = re.sub(r"//[^/@]*@", "//", place)
    return f"the provider redirects to {place or 'another place'}: correct base_url"


def answered(message: HttpMessage) -> dict[str, Any]:
    """Return the object in a successful answer. Raises the error for its status, or `Garbled`."""
    succeeded(message)
    try:
        return json.as_object(json.forgive(message.body))
    except json.BadJson:
        raise Garbled("the answer could not be read", status=message.status) from None


def told_error(message: HttpMessage, body: dict[str, Any]) -> ProviderError | None:
    """Return the refusal that a success carries in its body; None when it carries none.

    Gateways answer 200 with an error inside. A fault on their side may hide an accepted job.
    """
    errors = {name: body[name] for name in ("error", "errors") if body.get(name)}
    if not errors and body.get("success") is False:
        errors = body
    said, code = sentence(errors), code_of(errors) or code_of(body)
    if not errors or not (said or code not in {None, "0", ""}):
        return None
    kind = refusals.spoken(code, said)
    return kind(said, status=message.status, retry_after=wish(message, body), provider_code=code)


def unnamed(message: HttpMessage, body: dict[str, Any], name: str) -> ProviderError:
    """Return the error for an acceptance without an id: the refusal in its body, or else `Garbled`."""
    return told_error(message, body) or Garbled(f"the answer names no {name}", status=message.status)


def model(body: dict[str, Any], kind: type[Model], message: HttpMessage) -> Model:
    """Return `body` as a message of `kind`. Raises `Garbled` when it does not fit."""
    try:
        return kind.model_validate(body)
    except ValidationError:
        raise Garbled("the answer could not be read", status=message.status) from None


def answer(message: HttpMessage, kind: type[Model]) -> Model:
    """Return the body of a successful answer as a message of `kind`. Raises a `ProviderError` otherwise."""
    return model(answered(message), kind, message)


def called_back(message: HttpMessage) -> dict[str, Any]:
    """Return the object in a callback, read strictly as a proof covers its bytes. Raises `BadPayload`."""
    try:
        return json.read_object(message.body)
    except json.BadJson:
        raise BadPayload("the body could not be read") from None


def payload_of(body: dict[str, Any], kind: type[Model]) -> Model:
    """Return the `body` of a callback as a message of `kind`. Raises `BadPayload` when it does not fit."""
    try:
        return kind.model_validate(body)
    except ValidationError:
        raise BadPayload("the body could not be read") from None


def payload(message: HttpMessage, kind: type[Model]) -> Model:
    """Return the body of a callback as a message of `kind`. Raises `BadPayload` when it cannot be read."""
    return payload_of(called_back(message), kind)


def phase(words: Mapping[str, Phase], word: str) -> Phase:
    """Return the phase of a status word (lower case) by the provider's table, or else by the common one."""
    return words.get(word) or refusals.known(word)


def assets(kind: Kind, links: Iterable[str | None]) -> tuple[Asset, ...]:
    """Return one asset of `kind` per distinct link, in order."""
    found = [link for link in links if link]
    return tuple([Asset(kind=kind, url=link) for link in dict.fromkeys(found)]) if found else ()


def kept(found: Sequence[Asset]) -> tuple[Asset, ...]:
    """Return the first of `found` that a job may keep: at most `ASSETS` files and `LINKS` bytes of links."""
    sizes = itertools.accumulate(len(asset.url or "") + len(asset.source or "") for asset in found[:ASSETS])
    return tuple(found[: sum(1 for size in sizes if size <= LINKS)])


def links_under(value: object, kinds: Mapping[str, Kind] | None = None) -> dict[str, Kind | None]:
    """Return every link anywhere in `value`, in order, with the kind given by the name of the nearest field.

    `kinds` maps words in the name of a field to the kind that they mean.
    """
    found: dict[str, Kind | None] = {}
    _collect(value, None, kinds or {}, found)
    return found


def _collect(
    value: object, kind: Kind | None, kinds: Mapping[str, Kind], found: dict[str, Kind | None]
) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            named = next((one for word, one in kinds.items() if word in name.lower()), kind)
            _collect(inner, named, kinds, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, kind, kinds, found)
    elif isinstance(value, str) and (link := fields.link(value)) is not None:
        found.setdefault(link, kind)


def kind_of(link: str) -> Kind:
    """Return the kind of file that a link leads to, by the ending of its path."""
    return ENDINGS.get(link.split("?", 1)[0].rsplit(".", 1)[-1].lower(), Kind.FILE)


def assets_under(value: object) -> tuple[Asset, ...]:
    """Return one asset per distinct link anywhere in `value`, with its kind by field name or ending."""
    kinds = {"video": Kind.VIDEO, "image": Kind.IMAGE, "audio": Kind.AUDIO}
    found = links_under(value, kinds)
    return tuple([Asset(kind=kind or kind_of(link), url=link) for link, kind in found.items()])


def expiry(link: str, parameter: str = "exp") -> datetime | None:
    """Return the end of a signed link, in unix seconds in its query; None when it carries none."""
    try:
        values = parse_qs(urlsplit(link).query).get(parameter, [])
        return fields.sane(datetime.fromtimestamp(int(values[0]), UTC)) if values else None
    except (ValueError, OverflowError, OSError):
        return None
