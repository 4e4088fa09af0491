"""How commands reach a service: where it is, with which key, and what went wrong in one line."""

import json
import os
import re
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx

from handlers.values import immutable
from receiver.errors import Misconfigured

URL, KEY, KEY_FILE = "RINGBACK_URL", "RINGBACK_API_KEY", "RINGBACK_API_KEY_FILE"
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what a service listens on, and where it is then
KEY_FORM = re.compile(r"[!-~]+", re.ASCII)
AWAY = frozenset({429, 502, 503, 504})
"""Statuses of a service that is not there now, or not yet again."""


@immutable
class Service:
    """Where a service is, and the key to use there."""

    url: str
    key: str = field(repr=False)


class Away(click.ClickException):
    """No answer of the service; the same call may succeed later. `sent` when it may have been carried out."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


def path(*parts: str) -> str:
    """Return the path of a call, its parts quoted."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def call(method: str, where: str, *, body: Any = None, timeout: float = 90, **request: Any) -> Any:
    """Return what the service answers, None for nothing; raises `click.ClickException` in one line."""
    service = find_service()
    headers = {"authorization": f"Bearer {service.key}", **request.pop("headers", {})}
    if body is not None:
        headers["content-type"] = "application/json"
        request["content"] = json.dumps(body).encode()
    try:
        with httpx.Client(base_url=service.url, timeout=timeout, trust_env=False) as client:
            answer = client.request(method, where, headers=headers, **request)
    except UnicodeError:
        raise click.UsageError("an argument holds bytes that are not UTF-8") from None
    except httpx.InvalidURL:
        raise click.UsageError(f"{URL}: {service.url} is not a URL") from None
    except httpx.HTTPError as error:
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
        raise Away(
            f"no service answers at {service.url}; set {URL} or start `ringback serve`", sent=sent
        ) from None
    if answer.status_code in AWAY:
        raise Away(_problem(answer), sent=True)
    if not answer.is_success:
        raise click.ClickException(_problem(answer))
    return _told(answer, service) if answer.content else None


def _told(answer: httpx.Response, service: Service) -> Any:
    try:
        told = answer.json()
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not told.keys() & {"object", "data", "secret"}:
        raise click.ClickException(f"what answers at {service.url} is not Ringback; set {URL}")
    return told


def _problem(answer: httpx.Response) -> str:
    try:
        told = answer.json()
        places = [(one["pointer"] or one["name"], one["detail"]) for one in told.get("errors") or []]
        details = "; ".join(f"{place}: {detail}" if place else str(detail) for place, detail in places)
        return f"{told['code']}: {details or told['detail']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"the service answered {answer.status_code}"


def find_service() -> Service:
    """Return the service that the environment names, or that of this machine's settings."""
    url, key = _given_url(), _given_key()
    if url is None or key is None:
        try:
            own = _own(url)
        except Misconfigured as error:
            raise click.UsageError(f"{error}; or set {URL} and {KEY}, then no settings are read") from None
        url, key = url or own.url, key or own.key
    if not key:
        raise click.UsageError(f"set {KEY} or {KEY_FILE} to a key of the service at {url}")
    if not KEY_FORM.fullmatch(key):
        raise click.UsageError(f"{KEY} must be plain ASCII without blanks")
    return Service(url, key)


def _given_url() -> str | None:
    text = os.environ.get(URL, "").strip()
    if not text:
        return None
    scheme, _, rest = text.partition("://")
    if not rest:
        raise click.UsageError(f"{URL} needs its scheme: write http://{text}")
    if scheme not in {"http", "https"}:
        raise click.UsageError(f"{URL} must begin with http:// or https://")
    if "@" in rest.partition("/")[0]:
        raise click.UsageError(f"{URL} must hold no user name; the key goes into {KEY}")
    return text.rstrip("/")


def _given_key() -> str | None:
    text = os.environ.get(KEY, "").strip()
    file = os.environ.get(KEY_FILE, "").strip()
    if text or not file:
        return text or None
    return _read(Path(file), KEY_FILE)


def _read(file: Path, named: str) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"{named}: cannot read {file}: {reason}") from None


def _own(url: str | None) -> Service:
    """Return the service of this machine's settings; its key goes nowhere but to its own address."""
    from receiver.config import load  # noqa: PLC0415  # reading settings takes longer than most commands
    from receiver.secretkeys import API_KEY_FILE  # noqa: PLC0415
    from receiver.store import database_path  # noqa: PLC0415
    from receiver.store.pgurl import is_postgres  # noqa: PLC0415

    settings = load(None, {name: os.environ[name] for name in os.environ if name not in {KEY, KEY_FILE}}).settings
    host = ANY_HOST.get(settings.host, settings.host)
    own = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    if url is None and not settings.port:
        raise click.UsageError(f"the port is a free one (0 in the settings): set {URL}")
    if url not in {None, own, settings.public_url, f"http://localhost:{settings.port}"}:
        return Service(own, "")
    if settings.api_key is not None:
        return Service(own, settings.api_key.get_secret_value())
    if settings.data_dir is None and is_postgres(settings.database_url):
        return Service(own, "")
    folder = settings.data_dir or database_path(settings.database_url).resolve().parent
    file = folder / API_KEY_FILE
    return Service(own, _read(file, "data_dir") if file.exists() else "")
