"""The common ground of all wire formats: paths, answers by status, and links.

Requests carry paths and never URLs, so a key can only be sent to its account's own origin.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import AfterValidator

from handlers import fields, json, refusals
from handlers.contract import Asset, HttpMessage, Kind
from handlers.errors import (
    AccountRefused,
    BadPayload,
    ContentRefused,
    Garbled,
    ProviderError,
    Redirected,
    Rejected,
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
HEADER_NAME = r"[a-z0-9!#$%&'*+.^_`|~-]{1,80}"
"""The pattern of the name of a header, in lower case."""
ASSETS = 200
ENVELOPES = ("data", "output", "task", "payload")
"""The objects that may hold the fields of a job, and so the reason of its failure."""
FINE = frozenset({"", "ok", "success", "succeeded"})
"""Codes for success, beside 0 and 200 to 299."""
_FINE = re.compile(r"0+|2[0-9][0-9]", re.ASCII)
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


def refused(
    message: HttpMessage, body: object, code: str | None = None, text: str = "", *, content: bool = False
) -> ProviderError:
    """Return the error for a message without success; `body` is its body as read.

    `code` and `text` are the provider's code and sentence, where they stand in places of their own. `content`
    says that the code speaks of the content.
    """
    said, code = text or sentence(body), code or code_of(body)
    kind = refusals.refusal(message.status, code, said) if message.status >= 300 else Garbled
    if kind is Rejected and content:
        kind = ContentRefused
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


def error_inside(body: dict[str, Any], *, deep: bool = True) -> tuple[str | None, str] | None:
    """Return the code and the sentence of an error that a success carries in its body; None without one.

    Gateways answer 200 with an error inside: as a field, as `success: false`, or as a code beside a sentence.
    `deep`: it may stand in the object that would hold the job.
    """
    for place in places(body) if deep else [body]:
        errors = {name: place[name] for name in ("error", "errors") if place.get(name)}
        if not errors and (place.get("success") is False or _refuses(place)):
            errors = place
        listed = errors.get("errors")
        first = listed[0] if isinstance(listed, list) and listed else None
        said, code = sentence(errors), code_of(errors) or code_of(first) or code_of(place)
        if errors and (said or code not in {None, "0", ""}):
            return code, said
    return None


def places(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that may hold the facts about a job: the body, and the envelopes in it."""
    return [body, *(body[name] for name in ENVELOPES if isinstance(body.get(name), dict))]


def _refuses(body: dict[str, Any]) -> bool:
    """Return whether a code that is none for success stands in a body without data, beside a sentence."""
    code = code_of(body)
    fine = code is None or code.lower() in FINE or _FINE.fullmatch(code) is not None
    return not fine and not body.get("data") and bool(sentence(body))


def told_error(
    message: HttpMessage,
    body: dict[str, Any],
    judge: Callable[[str | None, str], type[ProviderError]] = refusals.spoken,
    *,
    deep: bool = True,
) -> ProviderError | None:
    """Return the refusal that a success carries in its body, of the class by `judge`; None without one.

    A fault on the provider's side may hide an accepted job.
    """
    found = error_inside(body, deep=deep)
    if found is None:
        return None
    code, said = found
    kind = judge(code, said)
    return kind(said, status=message.status, retry_after=wish(message, body), provider_code=code)


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
