"""The HMAC over a text made of parts of a message, as a template names them: `{time}.{body}` and the like.

| part | stands for |
|---|---|
| `{body}`, `{sha256}` | the raw body, or its SHA-256 in hex |
| `{time}` | the time of the signature, as it was sent |
| `{method}`, `{path}`, `{query}` | of the request to the callback URL |
| `{header:name}` | the value of a header |
| `{headers}` | a line `name:value` for each header that another header lists |
| `{/pointer}` | a value inside the body; of several, `{/a|/b}`, the first that is there |
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from handlers import json, proofs
from handlers.contract import HttpMessage, Keys, Proof
from handlers.errors import BadSignature
from handlers.pointers import BadPointer, every
from handlers.proofs import KeySource, Verify
from handlers.values import immutable
from handlers.wire import HEADER_NAME

_PART = re.compile(r"\{([^{}]*)\}")
_BRACE = re.compile(r"[{}]")
_HEADER = re.compile(HEADER_NAME)
_DIGITS = re.compile(r"[0-9]{1,13}", re.ASCII)
_MILLISECONDS = 11
"""The digits from which on a number of seconds is one of milliseconds."""
_SIGNED = 16
"""The most headers that one header may list."""
Part = Callable[["Said"], bytes]


@immutable(kw_only=True)
class Scheme:
    """A scheme of signatures. `names` is the header that lists the signed headers.

    `signature` and `time` name where both stand: a header of its own (`header:name`), or a part of the
    signature's header, `t=...,v1=...`.
    """

    header: str
    template: str
    time: str | None = None
    signature: str | None = None
    prefix: str = ""
    encoding: str = "hex"
    digest: str = "sha256"
    names: str | None = None
    tolerance: timedelta = timedelta(minutes=5)


@immutable
class Said:
    """A message with the claims of its signature."""

    message: HttpMessage
    time: str
    body: Any
    listed: Sequence[str]


def pieces(template: str) -> list[tuple[str, bool]]:
    """Return the pieces of a template in order: texts, and names of parts (true)."""
    found, place = [], 0
    for match in _PART.finditer(template):
        found += [(template[place : match.start()], False), (match[1], True)]
        place = match.end()
    found.append((template[place:], False))
    return [(text, named) for text, named in found if text or named]


def unknown(template: str) -> str | None:
    """Return the first part that no template may have, None without one."""
    for text, named in pieces(template):
        if (named and _part(text) is None) or (not named and _BRACE.search(text)):
            return text
    return None


def verifier(scheme: Scheme, keys: KeySource) -> Verify:
    """Return the verifier of a scheme. It raises `BadSignature` and nothing else."""
    write = _writer(scheme)

    def verify(message: HttpMessage, known: Keys) -> Proof:
        given, time = _given(scheme, message)
        if scheme.time is not None:
            _check(message, time, scheme.tolerance)
        text = write(message, time)
        expected = [
            proofs.ENCODINGS[scheme.encoding](hmac.digest(key, text, scheme.digest)) for key in keys(known)
        ]
        return proofs.any_proved(given, expected)

    return verify


def text_of(scheme: Scheme, message: HttpMessage, time: str) -> bytes:
    """Return the text that a scheme signs. Raises `BadSignature` where the message lacks a part of it."""
    return _writer(scheme)(message, time)


def _writer(scheme: Scheme) -> Callable[[HttpMessage, str], bytes]:
    parts = [_part(text) if named else _constant(text) for text, named in pieces(scheme.template)]
    makes = [one for one in parts if one is not None]
    pointed = any(named and text.startswith("/") for text, named in pieces(scheme.template))

    def write(message: HttpMessage, time: str) -> bytes:
        said = Said(message, time, _body(message) if pointed else None, _listed(scheme, message))
        return b"".join(make(said) for make in makes)

    return write


def _given(scheme: Scheme, message: HttpMessage) -> tuple[list[str], str]:
    """Return the signatures of a message, and the time of its signature."""
    value = proofs.only(message, scheme.header).decode("latin-1")
    pairs = [part.strip(" \t").partition("=")[::2] for part in value.split(",")][:_SIGNED]
    if scheme.signature is not None:
        given = [text for name, text in pairs if name == scheme.signature]
    else:
        given = [value.removeprefix(scheme.prefix)]
    if scheme.time is None:
        return given, ""
    where, _, name = scheme.time.partition(":")
    if where == "header":
        return given, proofs.only(message, name).decode("latin-1")
    times = [text for one, text in pairs if one == where]
    if len(times) != 1:
        raise BadSignature(f"{scheme.header} is malformed")
    return given, times[0]


def _check(message: HttpMessage, time: str, tolerance: timedelta) -> None:
    try:
        if _DIGITS.fullmatch(time):
            at = datetime.fromtimestamp(int(time) / (1000 if len(time) >= _MILLISECONDS else 1), UTC)
        else:
            at = parsedate_to_datetime(time)
        far = abs(message.received_at - (at if at.tzinfo else at.replace(tzinfo=UTC))) > tolerance
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        raise BadSignature("its timestamp is malformed") from None
    if far:
        raise BadSignature("its timestamp is too far from the time of its arrival")


def _body(message: HttpMessage) -> Any:
    try:
        return json.read(message.body)
    except json.BadJson:
        raise BadSignature("its body could not be read") from None


def _listed(scheme: Scheme, message: HttpMessage) -> Sequence[str]:
    if scheme.names is None:
        return ()
    return proofs.only(message, scheme.names).decode("latin-1").split(";")[:_SIGNED]


def _constant(text: str) -> Part:
    return lambda _said: text.encode()


_PARTS: Mapping[str, Part] = {
    "body": lambda said: said.message.body,
    "sha256": lambda said: hashlib.sha256(said.message.body).hexdigest().encode(),
    "time": lambda said: said.time.encode("latin-1"),
    "method": lambda said: said.message.method.encode(),
    "path": lambda said: said.message.target.partition("?")[0].encode(),
    "query": lambda said: said.message.target.partition("?")[2].encode(),
    "headers": lambda said: b"".join(
        f"{name}:".encode("latin-1") + proofs.only(said.message, name.strip().lower()) + b"\n"
        for name in said.listed
    ),
}


def _part(name: str) -> Part | None:
    if name.startswith("/"):
        try:
            finds = [every(pointer) for pointer in name.split("|")]
        except BadPointer:
            return None
        return lambda said: _one(next((found for find in finds if (found := find(said.body))), ()))
    if name.startswith("header:"):
        header = name.removeprefix("header:").lower()
        if not _HEADER.fullmatch(header):
            return None
        return lambda said: proofs.only(said.message, header)
    return _PARTS.get(name)


def _one(found: Sequence[Any]) -> bytes:
    """Return the one value that a pointer found, as text. Raises `BadSignature`."""
    value = found[0] if len(found) == 1 else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadSignature("its body lacks a value that is signed")
    return str(value).encode("utf-8", "replace")


DERIVED: Mapping[str, KeySource] = {
    "job": proofs.job_secrets,
    "account": proofs.account_secrets,
    "whsec": proofs.account_whsec,
    "whsec-text": proofs.account_whsec_text,
    "api": proofs.api_keys,
    "api-sha256": proofs.api_key_digests,
}
"""The keys of a proof by name."""
ACCOUNT_WIDE = frozenset(DERIVED) - {"job"}
"""The keys that an account's jobs share: all but the secret of one job."""
BROUGHT = ACCOUNT_WIDE - {"api", "api-sha256"}
"""The keys that a setting of the account brings: its API key is there in any case."""
