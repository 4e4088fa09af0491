"""The requests of a description: built from an input, an id or a stored source."""

import base64
import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from handlers import json, wire
from handlers.contract import Account, AssetRef, HttpRequest, JobRef, Operation, Submission
from handlers.description.calls import Call, Form, Resolve, Submit
from handlers.description.vocabulary import Description
from handlers.errors import Garbled
from handlers.pointers import put, steps
from handlers.values import immutable

Headers = tuple[tuple[str, str], ...]
_NAMED = re.compile(r"\{(\w+)\}")
_PLAIN = "{}!$'()*,-./:;@_~%"
"""The characters of a query's value that stay as they are, beside letters and digits."""
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(;base64)?,", re.ASCII)
_ACCEPT = ("accept", "application/json")
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_OURS = uuid.UUID("6f1d3a52-6c0e-5b0c-9f53-52494e474241")
"""The namespace of the keys that are made from the ids of jobs."""


@immutable
class FormedOperation(Operation):
    """An operation with the form of the body of its submissions."""

    form: Form = "json"


class Requests:
    """The builder of all requests of one provider."""

    def __init__(self, told: Description, operations: Mapping[str, FormedOperation]) -> None:
        self._told = told
        self._operations = operations
        self._fixed: Headers = tuple(told.headers.items())

    def submit(self, job: Submission, account: Account) -> HttpRequest:
        """Build the request that creates a job."""
        rule = self._told.submit
        body = {**job.input, **rule.always}
        for given, sent in rule.renamed.items():
            if given in body and sent not in body:
                body[sent] = body.pop(given)
        values = self._values(rule, job)
        query: list[tuple[str, Any]] = []
        headers: list[tuple[str, Any]] = []
        for place, value in values:
            where, _, at = place.partition(":")
            if where == "body":
                put(body, steps(at), value)
            else:
                (query if where == "query" else headers).append((at, value))
        operation = self._operations[job.operation]
        path = operation.path
        if query:
            path = _behind(path, urlencode(query, quote_via=quote, safe=""))
        return self._request(rule.method, path, account, body, operation.form, tuple(headers))

    def call(self, rule: Call) -> Callable[[JobRef, Account], HttpRequest]:
        """Return the builder of a request about a submitted job."""

        def build(job: JobRef, account: Account) -> HttpRequest:
            path = _filled(_queried(rule.path or "/", rule.query), self._names(rule, job, wire.segment))
            body = rule.body
            if body is not None:
                names = self._names(rule, job, str)
                body = json.with_texts(body, lambda text: _filled(text, names))
            request = self._request(rule.method, path, account, body)
            if rule.kept is None or (job.kept_url is None and rule.path is not None):
                return request
            if job.kept_url is None:
                raise Garbled("the provider gave no URL for this call")
            return self._at_kept(request, job.kept_url, rule.kept, account)

        return build

    def resolve(self, rule: Resolve) -> Callable[[AssetRef, Account], HttpRequest]:
        """Return the builder of the request for a fresh link."""

        def build(asset: AssetRef, account: Account) -> HttpRequest:
            own = asset.source.removeprefix(account.base_url)
            path = _queried(rule.path, rule.query)
            # A source that is a path is sent byte for byte, and anything else is quoted.
            names = {"own": own} if "{own}" in path else {"source": wire.segment(asset.source)}
            return self._request("GET", _filled(path, names), account, None)

        return build

    def _values(self, rule: Submit, job: Submission) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        if job.callback_url and rule.callback:
            found.append((rule.callback, job.callback_url))
            found += [(f"body:/{name}", value) for name, value in rule.with_callback.items()]
            if rule.secret and job.secret:
                found.append((rule.secret, job.secret))
        if rule.idempotency:
            key = job.job_id if rule.key_form == "id" else str(uuid.uuid5(_OURS, job.job_id))
            found.append((rule.idempotency, key))
        return found

    def _names(self, rule: Call, job: JobRef, written: Callable[[str], str]) -> Mapping[str, str]:
        """Return the values of the names in braces, each part of an id as it is `written` there."""
        operation = self._operations.get(job.operation)
        if operation is None and "{operation}" in repr(rule):
            raise Garbled(
                f"there is no operation {job.operation} any more; name it in `former` of its new one"
            )
        return {
            "id": written(job.provider_job_id),
            "own": "/".join(written(part) for part in job.provider_job_id.split("/")),
            "operation": (operation.asked or operation.path) if operation else "",
            "name": job.operation,
            "app": app_of(job.operation),
        }

    def _at_kept(self, request: HttpRequest, kept: str, ending: str, account: Account) -> HttpRequest:
        """Return `request` at the URL of the submission's answer. Raises `Garbled` for a foreign one."""
        parts = urlsplit(kept)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = wire.own_path(f"{parts.path}{ending}{'?' if parts.query else ''}{parts.query}")
        base = urlsplit(account.base_url)
        if origin == f"{base.scheme}://{base.netloc}":
            if not path.startswith(base.path):
                raise Garbled("a link of the provider leaves its own origin")
            return self._moved(request, path.removeprefix(base.path), None)
        if not trusted(origin, self._told.submit.kept.origins if self._told.submit.kept else ()):
            raise Garbled("a link of the provider leaves its own origin")
        return self._moved(request, path, origin)

    def _moved(self, request: HttpRequest, path: str, origin: str | None) -> HttpRequest:
        return HttpRequest(request.method, path, request.headers, request.body, origin)

    def _request(
        self,
        method: str,
        path: str,
        account: Account,
        body: dict[str, Any] | list[Any] | None,
        form: str = "json",
        more: Headers = (),
    ) -> HttpRequest:
        headers: Headers = () if "accept" in self._told.headers else (_ACCEPT,)
        scheme, _, name = self._told.auth.partition(":")
        if scheme == "body":
            body = dict(body) if isinstance(body, dict) else {}
            put(body, steps(name), account.api_key)
            auth: Headers = ()
        else:
            auth = (credentials(scheme, name, account.api_key),)
        if body is None and method in {"POST", "PUT"}:
            body = {}
        if body is None:
            return HttpRequest(method, wire.own_path(path), (*headers, *auth, *self._fixed, *more))
        kind, content = _encoded(body, form)
        headers = (*headers, ("content-type", kind), *auth, *self._fixed, *more)
        return HttpRequest(method, wire.own_path(path), headers, content)


def app_of(operation: str) -> str:
    """Return the first two parts of an operation's name: the owner and the application."""
    return "/".join(operation.split("/")[:2])


def credentials(scheme: str, name: str, key: str) -> tuple[str, str]:
    """Return the header that carries the API key."""
    match scheme:
        case "bearer":
            return wire.bearer(key)
        case "raw":
            return ("authorization", key)
        case "word":
            return ("authorization", f"{name} {key}")
        case _:
            return (name, key)


def trusted(origin: str, origins: tuple[str, ...]) -> bool:
    """Return whether an origin may get the key; `https://*.host` stands for every name below a host."""
    for one in origins:
        scheme, _, host = one.partition("://")
        if origin == one or (
            host.startswith("*.") and origin.startswith(f"{scheme}://") and origin.endswith(host[1:])
        ):
            return True
    return False


def _queried(path: str, query: Mapping[str, str]) -> str:
    """Return a path with a query of values that are filled in later."""
    pairs = "&".join(f"{quote(name)}={quote(value, safe=_PLAIN)}" for name, value in query.items())
    return _behind(path, pairs) if pairs else path


def _behind(path: str, query: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{query}"


def _filled(path: str, names: Mapping[str, str]) -> str:
    return _NAMED.sub(lambda found: names.get(found[1], found[0]), path)


def _encoded(body: dict[str, Any] | list[Any], form: str) -> tuple[str, bytes]:
    """Return the content type and the bytes of a body in its form."""
    match form:
        case "list":
            return _JSON, json.write([body])
        case "form":
            return _FORM, urlencode([(name, _text(one)) for name, one in _pairs(body)]).encode()
        case "multipart":
            return _multipart(body)
        case _:
            return _JSON, json.write(body)


def _pairs(body: Any) -> list[tuple[str, Any]]:
    """Return the fields of a form: a list of plain values repeats its field, and a null is left out."""
    found: list[tuple[str, Any]] = []
    for name, value in body.items():
        if value is None:
            continue
        plain = isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)
        found += [(name, one) for one in value] if plain else [(name, value)]
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.write(value).decode()


def _multipart(body: Any) -> tuple[str, bytes]:
    """Return a body as RFC 7578 multipart. A text that is a base64 `data:` URL becomes a file."""
    parts = [_part(name, value) for name, value in _pairs(body)]
    # The same body has the same boundary, so that a request can be built again byte for byte.
    boundary = hashlib.sha256(b"".join(parts)).hexdigest()[:32]
    lines = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return f"multipart/form-data; boundary={boundary}", lines + b"--" + boundary.encode() + b"--\r\n"


def _part(name: str, value: Any) -> bytes:
    quoted = quote(name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~")
    head, content = f'content-disposition: form-data; name="{quoted}"', _text(value).encode()
    found = _DATA.match(value) if isinstance(value, str) else None
    if found and found[2]:
        try:
            content = base64.b64decode(value[found.end() :], validate=True)
        except ValueError:
            return f"{head}\r\n\r\n".encode() + content
        head += f'; filename="{quoted}"\r\ncontent-type: {found[1] or "application/octet-stream"}'
    return f"{head}\r\n\r\n".encode() + content
