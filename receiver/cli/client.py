"""The HTTP client of the commands: it finds the service and its key, and reports an error in one line."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
import httpx

from receiver.cli.service import KEY, KEY_FILE, KEY_FORM, URL, Service
from receiver.cli.service import given_key as _given_key
from receiver.cli.service import given_url as _given_url
from receiver.domain.errors import Misconfigured

BY_PROXY = frozenset({502, 503, 504})
"""Statuses with which a reverse proxy answers when it cannot reach the service."""


class Away(click.ClickException):
    """A failed call that may succeed later. `sent` means that the service may have carried it out."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


def path(*parts: str) -> str:
    """Return the path of an API call, with its parts URL-quoted."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def call(method: str, where: str, *, body: Any = None, timeout: float = 90, **request: Any) -> Any:
    """Call the service and return its JSON answer, None for an empty one.

    Raises `click.ClickException` with a message of one line: `Away` when the same call may succeed later.
    """
    service = find_service()
    headers = {"authorization": f"Bearer {service.key}", **request.pop("headers", {})}
    if body is not None:
        headers["content-type"] = "application/json"
        request["content"] = json.dumps(body).encode()
    with _in_one_line(service), _client(service, timeout) as client:
        answer = client.request(method, where, headers=headers, **request)
    _check(answer, where, service)
    return None if answer.status_code == httpx.codes.NO_CONTENT else _told(answer, service)


@contextlib.contextmanager
def streamed(where: str, *, quiet: float, **request: Any) -> Iterator[httpx.Response]:
    """Yield an answer before its body: parts of that are read as they come, at most `quiet` seconds apart.

    Raises `click.ClickException` as `call` does, also while the body is read.
    """
    service = find_service()
    headers = {"authorization": f"Bearer {service.key}", **request.pop("headers", {})}
    with (
        _in_one_line(service),
        _client(service, quiet) as client,
        client.stream("GET", where, headers=headers, **request) as answer,
    ):
        if not answer.is_success:
            answer.read()
        _check(answer, where, service)
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise _foreign(service)
        yield answer


def _client(service: Service, timeout: float) -> httpx.Client:
    # `trust_env=False`: the proxies and the .netrc of the environment are for other programs.
    return httpx.Client(base_url=service.url, timeout=timeout, trust_env=False)


@contextlib.contextmanager
def _in_one_line(service: Service) -> Iterator[None]:
    """Turn the exceptions of the HTTP client into messages of one line."""
    try:
        yield
    except UnicodeError:
        raise click.UsageError("an argument holds bytes that are not UTF-8") from None
    except httpx.InvalidURL:
        raise click.UsageError(f"{URL}: {service.url} is not a URL") from None
    except httpx.HTTPError as error:
        if "SSL" in str(error):
            raise click.ClickException(
                f"no TLS that we trust is spoken at {service.url} ({error}); correct {URL}, or write http://"
            ) from None
        # Only an error from before the connection was made proves that the request was not received.
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
        raise Away(
            f"no service answers at {service.url}; set {URL} or start `ringback serve`", sent=sent
        ) from None


def _check(answer: httpx.Response, where: str, service: Service) -> None:
    """Raise the exception of an answer that is an error."""
    if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Away(problem_of(answer, service), sent=True)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise click.ClickException(
            f"unauthorized: the service at {service.url} does not take this API key; "
            f"set {KEY} or {KEY_FILE} to one of its keys"
        )
    if not answer.is_success:
        raise click.ClickException(_nothing_at(where, problem_of(answer, service)))


def _told(answer: httpx.Response, service: Service) -> Any:
    try:
        parsed = answer.json()
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict) or not _ours(parsed):
        raise _foreign(service)
    return parsed


def _ours(parsed: dict[str, Any]) -> bool:
    """Return whether an answer has a form of Ringback's, so that another service is recognized."""
    data = parsed.get("data")
    if isinstance(data, list):
        return all(isinstance(one, dict) for one in data)
    if "data" in parsed:
        return isinstance(data, dict) and isinstance(parsed.get("type"), str)
    return isinstance(parsed.get("object"), str) or not {"secret", "matches"}.isdisjoint(parsed)


def _foreign(service: Service) -> click.ClickException:
    return click.ClickException(f"what answers at {service.url} is not Ringback; set {URL}")


def _nothing_at(where: str, problem: str) -> str:
    """Return `problem`; for an unknown id, a sentence that names the id and the command that lists all."""
    _, _, resource, *rest = where.split("/")
    if not rest or not problem.startswith("not-found: no such "):
        return problem
    kind = problem.removeprefix("not-found: no such ").partition(";")[0]
    return f"not-found: there is no {kind} {rest[0]}; `ringback {resource} list` shows those that are there"


def problem_of(answer: httpx.Response, service: Service) -> str:
    """Return the error in an answer, in one line."""
    try:
        parsed = answer.json()
        places = [(one["pointer"] or one["name"], one["detail"]) for one in parsed.get("errors") or []]
        details = "; ".join(f"{place}: {detail}" if place else str(detail) for place, detail in places)
        return f"{parsed['code']}: {details or parsed['detail']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        status = answer.status_code
        if status in BY_PROXY:
            return f"a proxy at {service.url} answers {status} for the service; start it, or correct {URL}"
        return f"what answers at {service.url} is not Ringback (it said {status}); set {URL}"


def find_service() -> Service:
    """Return the service named by the environment, or the one of this machine's settings.

    Raises `click.UsageError` when the URL or the key is malformed, or when there is no key.
    """
    url, key = _given_url(), _given_key()
    if url is None or key is None:
        from receiver.cli.own_service import own_service  # noqa: PLC0415  # reading settings takes long

        try:
            own = own_service(url)
        except Misconfigured as error:
            raise click.UsageError(f"{error}; or set {URL} and {KEY}, then no settings are read") from None
        url, key = url or own.url, key or own.key
    if not key:
        raise click.UsageError(
            f"set {KEY} or {KEY_FILE} to a key of the service at {url}; "
            "`ringback serve` and `ringback dev` tell theirs when they start"
        )
    if not KEY_FORM.fullmatch(key):
        raise click.UsageError(f"{KEY} must be plain ASCII without blanks")
    return Service(url, key)
