"""The small common ground of all wire formats: requests out, answers in, links and numbers.

Requests carry paths, never URLs, so a key can only travel to its account's own origin.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from handlers import json
from handlers.contract import Asset, HttpMessage, HttpRequest, Kind, Phase
from handlers.errors import (
    AccountRefused,
    BadPayload,
    Garbled,
    ProviderError,
    Rejected,
    Throttled,
    Unavailable,
)

Model = TypeVar("Model", bound=BaseModel)
Read = TypeVar("Read")

SAID = 500
"""Characters kept of a provider's own sentence."""

ENDINGS = {
    **dict.fromkeys(("mp4", "webm", "mov"), Kind.VIDEO),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp"), Kind.IMAGE),
    **dict.fromkeys(("mp3", "wav"), Kind.AUDIO),
}

_PATH = re.compile(r"/(?:[!-.0-~][!-~]*)?", re.ASCII)
LINK_LIMIT = 8192
YEARS = (1970, 2200)
DAY = timedelta(hours=24)
"""The longest wait that a `Retry-After` can ask for."""
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?", re.ASCII)
_SECONDS_TWICE = re.compile(r"[0-9. \t]+(?:,[0-9. \t]+)+", re.ASCII)
_LINK = re.compile(r"https?://[!-~]+", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Payload(BaseModel):
    """A provider's message: only what we read is declared, the rest is absorbed."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


def clean(text: str, limit: int = SAID) -> str:
    """Foreign text made fit for any store and log: no control characters, no surrogates, cut at `limit`."""
    return _CONTROLS.sub("", text)[:limit]


def _text(value: object) -> object:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return str(value)
    return (clean(value) or None) if isinstance(value, str) else None


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else ""


def _percent(value: object) -> object:
    if isinstance(value, str):
        try:
            value = float(value.strip().removesuffix("%"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 100 else None


def _link(value: object) -> object:
    whole = isinstance(value, str) and len(value) <= LINK_LIMIT and _LINK.fullmatch(value)
    return value if whole else None


def _number(value: object) -> object:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < 1e9 else None


def _whole(value: object) -> object:
    number = _number(value)
    return int(number) if isinstance(number, int | float) else None


def _moment(value: object) -> object:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return _sane(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _sane(moment: datetime) -> datetime | None:
    """A moment that a file can end at; a date outside these centuries is no date."""
    return moment if YEARS[0] <= moment.year < YEARS[1] else None


def _many(value: object) -> object:
    return tuple(value) if isinstance(value, list) else ()


def _flag(value: object) -> object:
    return value if isinstance(value, bool) else None


def _table(value: object) -> object:
    return value if isinstance(value, dict) else None


def _code(value: object) -> object:
    return clean(str(value), 100) if isinstance(value, int | str) and not isinstance(value, bool) else None


def _raw(value: object) -> object:
    return value if isinstance(value, str) else None


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
"""For an object inside a message: anything else there counts as an empty one."""
PARTS = BeforeValidator(_parts)
"""For a list of objects inside a message: anything else there is passed over."""
Raw = Annotated[str | None, BeforeValidator(_raw)]
"""Text as it came, to be checked where it is used."""
PathSetting = Annotated[str, AfterValidator(_setting)]
"""A path that an account's settings name."""


Code = Annotated[str | None, BeforeValidator(_code)]
"""A code as text, whatever it was; "" stays, because it is no code that we know."""
Id = Annotated[str | None, BeforeValidator(_text)]
"""An id or a sentence: numbers become text, anything else is None."""
Word = Annotated[str, BeforeValidator(_word)]
"""A status word: lower case, "" when it is missing or no text."""
Percent = Annotated[float | None, BeforeValidator(_percent)]
"""Progress from 0 to 100, read from 40, "40" or "40%"; None when it is none of these."""
Link = Annotated[str | None, BeforeValidator(_link)]
"""An absolute http or https URL; None when it is none."""
Links = Annotated[tuple[Link, ...], BeforeValidator(_many)]
Number = Annotated[float | None, BeforeValidator(_number)]
Whole = Annotated[int | None, BeforeValidator(_whole)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Flag = Annotated[bool | None, BeforeValidator(_flag)]
Table = Annotated[dict[str, Any] | None, BeforeValidator(_table)]


def bearer(key: str) -> tuple[str, str]:
    """The usual header for a key."""
    return ("authorization", f"Bearer {key}")


def get(path: str, *headers: tuple[str, str]) -> HttpRequest:
    """A GET for `path`, byte for byte."""
    return HttpRequest("GET", own_path(path), (("accept", "application/json"), *headers))


def post(path: str, body: Mapping[str, Any], *headers: tuple[str, str]) -> HttpRequest:
    """A POST of `body` as JSON to `path`."""
    standard = (("accept", "application/json"), ("content-type", "application/json"))
    return HttpRequest("POST", own_path(path), (*standard, *headers), json.write(body))


def segment(value: str) -> str:
    """`value` as one path segment or query value; `Garbled` for the two that mean another place."""
    if value in {".", ".."}:
        raise Garbled("the provider's id is no id")
    return quote(value, safe="")


def own_path(path: str) -> str:
    """`path` when it can only mean a place on the account's own origin, else `Garbled`.

    Refused are full URLs, `//host` paths, backslashes, blanks, fragments, control and non-ASCII characters:
    joined to a base URL, each of them has led a client to another host.
    """
    if not _PATH.fullmatch(path) or "\\" in path or "#" in path:
        raise Garbled("a link of the provider leaves its own origin")
    return path


def retry_after(message: HttpMessage) -> timedelta | None:
    """Read the `Retry-After` of a message: seconds, a fraction rounded up, or a date; at most a day.

    Returns None where it is missing or unreadable, or where it is there twice with different values.
    """
    found: set[timedelta | None] = set()
    for value in message.every("retry-after"):
        texts = value.split(",") if _SECONDS_TWICE.fullmatch(value) else [value]
        found.update(_wait(text.strip(" \t"), message.received_at) for text in texts)
    return found.pop() if len(found) == 1 else None


def _wait(text: str, now: datetime) -> timedelta | None:
    if _SECONDS.fullmatch(text):
        whole, _, fraction = text.partition(".")
        digits = whole.lstrip("0")
        seconds = int(digits or 0) + bool(fraction.strip("0")) if len(digits) <= 5 else DAY.total_seconds()
        return min(timedelta(seconds=seconds), DAY)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta()), DAY)


def sentence(value: object) -> str:
    """The sentence in a provider's error body, wherever it put it; "" when there is none."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return next((found for found in map(sentence, value) if found), "")
    if not isinstance(value, dict):
        return ""
    places = ("message", "msg", "status_msg", "detail", "title", "error", "errors")
    return next((found for place in places if (found := sentence(value.get(place)))), "")


def code_of(value: object) -> str | None:
    """The provider's word for an error: `error.code` or `code`."""
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    code = inner.get("code") if isinstance(inner, dict) else value.get("code")
    return clean(str(code), 100) if isinstance(code, str | int) and not isinstance(code, bool) else None


_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AccountRefused,
    402: AccountRefused,
    403: AccountRefused,
    408: Unavailable,
    425: Throttled,
    429: Throttled,
}


def succeeded(message: HttpMessage) -> HttpMessage:
    """`message` when its status is a success, else the error that the status means."""
    if 200 <= message.status < 300:
        return message
    error = _BY_STATUS.get(message.status)
    if error is None:
        error = Unavailable if message.status >= 500 else Rejected if 400 <= message.status < 500 else Garbled
    try:
        body = json.read(message.body)
    except json.BadJson:
        body = None
    raise error(
        sentence(body),
        status=message.status,
        retry_after=retry_after(message),
        provider_code=code_of(body),
    )


def answered(message: HttpMessage) -> dict[str, Any]:
    """The object in a successful answer; raises what the status or an unreadable body means."""
    succeeded(message)
    try:
        return json.read_object(message.body)
    except json.BadJson:
        raise Garbled("the answer could not be read", status=message.status) from None


def model(body: dict[str, Any], kind: type[Model], message: HttpMessage) -> Model:
    """`body` as a message of `kind`."""
    try:
        return kind.model_validate(body)
    except ValidationError:
        raise Garbled("the answer could not be read", status=message.status) from None


def answer(message: HttpMessage, kind: type[Model]) -> Model:
    """The body of a successful answer as a message of `kind`."""
    return model(answered(message), kind, message)


def payload(message: HttpMessage, model: type[Model]) -> Model:
    """The body of a callback, or `BadPayload`."""
    try:
        return model.model_validate(json.read_object(message.body))
    except (json.BadJson, ValidationError):
        raise BadPayload("the body could not be read") from None


def as_callback(read: Callable[[HttpMessage], Read]) -> Callable[[HttpMessage], Read]:
    """A poll's reader as a callback's: where a callback posts the same object as a poll answers."""

    def reading(message: HttpMessage) -> Read:
        try:
            return read(message)
        except ProviderError:
            raise BadPayload("the body could not be read") from None

    return reading


def phase(words: Mapping[str, Phase], word: str) -> Phase:
    """Our phase for a provider's word (lower case); UNKNOWN for one that we have not met."""
    return words.get(word, Phase.UNKNOWN)


def assets(kind: Kind, links: Iterable[str | None]) -> tuple[Asset, ...]:
    """One asset of `kind` per distinct link, in their order."""
    found = [link for link in links if link]
    return tuple([Asset(kind=kind, url=link) for link in dict.fromkeys(found)]) if found else ()


def links_under(value: object, kinds: Mapping[str, Kind] | None = None) -> dict[str, Kind | None]:
    """Every link anywhere in `value`, in order, with the kind that the nearest field's name tells.

    `kinds` are words that may stand in a field's name.
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
    elif isinstance(value, str) and _link(value) is not None:
        found.setdefault(value, kind)


def kind_of(link: str) -> Kind:
    """What a link leads to, by the ending of its path."""
    return ENDINGS.get(link.split("?", 1)[0].rsplit(".", 1)[-1].lower(), Kind.FILE)


def expiry(link: str, parameter: str = "exp") -> datetime | None:
    """The moment that a signed link carries as unix seconds in its query; None when it carries none."""
    try:
        values = parse_qs(urlsplit(link).query).get(parameter, [])
        return _sane(datetime.fromtimestamp(int(values[0]), UTC)) if values else None
    except (ValueError, OverflowError, OSError):
        return None
