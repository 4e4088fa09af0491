"""The common ground of all wire formats: paths, answers by status, and links.

Requests carry paths and never URLs, so a key can only be sent to its account's own origin.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import AfterValidator

from handlers import fields, json, refusals
from handlers.contract import Asset, HttpMessage, Kind
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

ENDINGS = {
    **dict.fromkeys(("mp4", "webm", "mov", "m4v", "mkv", "avi", "m3u8"), Kind.VIDEO),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "tif", "tiff", "svg"), Kind.IMAGE),
    **dict.fromkeys(("mp3", "wav", "m4a", "ogg", "opus", "flac", "aac"), Kind.AUDIO),
}

# The second character is not a slash, because `//host` names another host.
_PATH = re.compile(r"/(?:[!-.0-~][!-~]*)?", re.ASCII)
ASSETS = 200
LINKS = 64 * 1024
"""The most files, and bytes of their links, that one job keeps; the rest stays with the provider."""


def _setting(text: str) -> str:
    try:
        return own_path(text)
    except Garbled:
        raise ValueError("must be a path: `/...` without blanks, `//`, backslashes or a fragment") from None


PathSetting = Annotated[str, AfterValidator(_setting)]
"""A path in the settings of an account."""


def bearer(key: str) -> tuple[str, str]:
    """Return the usual header for a key."""
    return ("authorization", f"Bearer {key}")


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


def called_back(message: HttpMessage) -> dict[str, Any]:
    """Return the object in a callback, read strictly as a proof covers its bytes. Raises `BadPayload`."""
    try:
        return json.read_object(message.body)
    except json.BadJson:
        raise BadPayload("the body could not be read") from None


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
    return ENDINGS.get(re.split("[?#]", link, maxsplit=1)[0].rsplit(".", 1)[-1].lower(), Kind.FILE)


def expiry(link: str, parameter: str = "exp") -> datetime | None:
    """Return the end of a signed link, in unix seconds in its query; None when it carries none."""
    try:
        values = parse_qs(urlsplit(link).query).get(parameter, [])
        return fields.sane(datetime.fromtimestamp(int(values[0]), UTC)) if values else None
    except (ValueError, OverflowError, OSError):
        return None
