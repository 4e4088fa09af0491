"""The requests to every provider: stable, complete, and with credentials in headers only.

`cases/<provider>/requests.json` holds every request that a provider's handler builds. Run the tests with
RINGBACK_WRITE_GOLDEN=1 to write it anew, and read the difference before you keep it.
"""

import copy
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given

from handlers import ALL
from handlers.contract import Account, AssetRef, Exchange, Handler, HttpRequest, JobRef, Submission
from handlers.json import write
from handlers.wire import own_path
from tests.handlers.captures import (
    API_KEY,
    CASES,
    HANDLERS,
    JOB_SECRET,
    KEYS,
    captures,
    description,
    message,
)
from tests.handlers.strategies import LIMITED, OBJECTS

INPUT: dict[str, Any] = {
    "prompt": "ein Leuchtturm, 灯台 \u2028 & %2F 'quoted' <b>",
    "model": "model-1",
    "zero": 0,
    "none": None,
    "yes": True,
    "parts": [{"type": "text", "text": ""}, [], {}, 1.5, -7],
    "another": {"prompt": "nested", "webhook_url": "https://mine.example/hook"},
}
JOB_ID = "job_018f3a"
CALLBACK_URL = "https://ringback.example/callbacks/account/token-1b9d"
PLAIN = {"prompt": "ein Leuchtturm"}
"""The input that the golden file shows."""
STRANGE_ID = "a/b?c=d&e #f%2F\u00e9"

named = pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
called_back = pytest.mark.parametrize(
    "handler",
    [handler for handler in HANDLERS.values() if handler.callback is not None],
    ids=lambda handler: handler.name,
)


def account(handler: Handler) -> Account:
    """Return an account at the provider. A gateway without a host of its own gets one."""
    return Account("mine", handler.base_url or "https://gateway.example", API_KEY)


def submission(operation: str, *, rings_back: bool, told: dict[str, Any] | None = None) -> Submission:
    """Return a submission of `INPUT` or of another input, with the service's callback or without."""
    given_input = copy.deepcopy(INPUT) if told is None else told
    if not rings_back:
        return Submission(JOB_ID, operation, given_input)
    return Submission(JOB_ID, operation, given_input, CALLBACK_URL, JOB_SECRET)


def submits(handler: Handler) -> dict[str, HttpRequest]:
    """Return the request of every operation, without a callback and, where it takes one, with it."""
    found = {}
    for name, operation in handler.operations.items():
        asked = submission(name, rings_back=False, told=PLAIN)
        found[f"submit {name}"] = handler.submit.build(asked, account(handler))
        if operation.callback and handler.callback is not None:
            asked = submission(name, rings_back=True, told=PLAIN)
            found[f"submit {name} with callback"] = handler.submit.build(asked, account(handler))
    return found


def questions(handler: Handler) -> dict[str, HttpRequest]:
    """Return all other requests of a handler, for a plain id and for a strange one."""
    found = {}
    for word, identity in (("plain", "id-1"), ("strange", STRANGE_ID)):
        for name, operation in handler.operations.items():
            job = JobRef(JOB_ID, identity, name)
            if handler.poll is not None and operation.poll:
                found[f"poll {name} {word}"] = handler.poll.build(job, account(handler))
            if handler.result is not None:
                found[f"result {name} {word}"] = handler.result.build(job, account(handler))
            if handler.cancel is not None:
                found[f"cancel {name} {word}"] = handler.cancel.build(job, account(handler))
    if isinstance(handler.resolve, Exchange):
        for number, source in enumerate(sources(handler)):
            asset = AssetRef(JobRef(JOB_ID, "id-1", handler.default_operation), 0, source)
            found[f"resolve {number}"] = handler.resolve.build(asset, account(handler))
    return found


def sources(handler: Handler) -> list[str]:
    """Return the sources of fresh links in the captures of a provider."""
    assets = [
        asset
        for capture in captures(handler.name, "poll", "callback")
        for asset in capture.expected.get("update", {}).get("assets", [])
    ]
    return list(dict.fromkeys(asset["source"] for asset in assets if "source" in asset))


def shown(request: HttpRequest) -> dict[str, Any]:
    """Return a request as the golden file holds it."""
    headers = [list(pair) for pair in request.headers]
    return {"method": request.method, "path": request.path, "headers": headers, "body": request.body.decode()}


def written(found: dict[str, dict[str, Any]]) -> str:
    """Return the golden file, with one request a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in found.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


@named
def test_the_requests_are_those_of_the_golden_file(handler: Handler) -> None:
    path = CASES / handler.name / "requests.json"
    built = {name: shown(one) for name, one in (submits(handler) | questions(handler)).items()}
    if os.environ.get("RINGBACK_WRITE_GOLDEN") == "1":
        path.write_text(written(built), encoding="utf-8")
    assert path.exists(), f"{handler.name} has no requests.json: run with RINGBACK_WRITE_GOLDEN=1"
    golden = json.loads(path.read_bytes())
    assert built.keys() == golden.keys()
    for name, one in built.items():
        assert one == golden[name], name


@named
def test_building_twice_gives_the_same(handler: Handler) -> None:
    assert submits(handler) == submits(handler)
    assert questions(handler) == questions(handler)


@named
def test_a_provider_with_a_resolve_shows_what_it_resolves(handler: Handler) -> None:
    assert bool(sources(handler)) == isinstance(handler.resolve, Exchange)


@named
def test_the_key_travels_once_and_where_the_provider_wants_it(handler: Handler) -> None:
    in_body = description(handler.name).auth.startswith("body:")
    for name, request in (submits(handler) | questions(handler)).items():
        found = [value.count(API_KEY) for _, value in request.headers if API_KEY in value]
        assert found == ([] if in_body else [1]), name
        assert request.body.count(API_KEY.encode()) == int(in_body), name
        assert API_KEY not in request.path


@named
def test_a_request_stays_on_its_own_origin(handler: Handler) -> None:
    for name, request in (submits(handler) | questions(handler)).items():
        assert own_path(request.path) == request.path, name
        assert "host" not in {header for header, _ in request.headers}


@named
def test_headers_are_well_formed_and_single(handler: Handler) -> None:
    for request in (submits(handler) | questions(handler)).values():
        names = [header for header, _ in request.headers]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
        assert all(re.fullmatch(r"[ -~]+", value) for _, value in request.headers)
        assert ("accept", "application/json") in request.headers
        assert ("content-type" in names) == bool(request.body)


@named
def test_a_get_has_no_body(handler: Handler) -> None:
    methods = {request.method for request in submits(handler).values()}
    assert methods == {"POST"}
    for request in questions(handler).values():
        assert request.method in {"GET", "POST", "PUT", "DELETE"}
        assert not (request.method == "GET" and request.body)


@named
def test_a_strange_id_cannot_change_the_question(handler: Handler) -> None:
    built, poll = questions(handler), description(handler.name).poll
    # An id that is a path itself keeps its slashes.
    more = STRANGE_ID.count("/") if poll is not None and "{own}" in (poll.path or "") else 0
    for name in [one for one in built if one.endswith(" plain")]:
        plain, strange = built[name], built[name.replace(" plain", " strange")]
        assert strange.path.count("/") == plain.path.count("/") + more
        assert strange.path.partition("?")[2].count("&") == plain.path.partition("?")[2].count("&")
        assert ("?" in strange.path) == ("?" in plain.path)


def sent(request: HttpRequest) -> dict[str, Any]:
    """Return the object that a submission sends: that of its JSON, the only item of a list, or a form."""
    kind = dict(request.headers)["content-type"]
    if kind.startswith("multipart/form-data; boundary="):
        return _parts(request.body, kind.partition("boundary=")[2].encode())
    body = json.loads(request.body)
    only: dict[str, Any] = body[0] if isinstance(body, list) and len(body) == 1 else body
    return only


def _parts(body: bytes, boundary: bytes) -> dict[str, Any]:
    """Return the texts of a form by name, with a list for a name that comes several times."""
    found: dict[str, list[str]] = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        name = re.fullmatch(rb'content-disposition: form-data; name="([^"]*)"', head)
        assert name is not None
        found.setdefault(unquote(name[1].decode()), []).append(content.decode())
    return {name: texts if len(texts) > 1 else texts[0] for name, texts in found.items()}


def in_form(request: HttpRequest, told: dict[str, Any]) -> dict[str, Any]:
    """Return an object as a request can send it: a form holds texts, and neither nulls nor empty lists."""
    if ("content-type", "application/json") in request.headers:
        return told
    given = {name: value for name, value in told.items() if value is not None and value != []}
    return {name: _texts(value) for name, value in given.items()}


def _texts(value: Any) -> Any:
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        texts = [_texts(one) for one in value]
        return texts if len(texts) > 1 else texts[0]
    return value if isinstance(value, str) else write(value).decode()


def own_words(handler: Handler, operation: str, *, rings_back: bool = True) -> dict[str, Any]:
    """Return the fields that a handler adds to a submission's body, with the service's callback or not."""
    asked = submission(operation, rings_back=rings_back, told={})
    return sent(handler.submit.build(asked, account(handler)))


def renamed(handler: Handler, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input with the names under which its fields are sent."""
    names = description(handler.name).submit.renamed
    kept = {name: value for name, value in told.items() if name not in names or names[name] in told}
    return kept | {names[name]: value for name, value in told.items() if name not in kept}


@named
def test_without_a_callback_the_body_is_the_input(handler: Handler) -> None:
    rule = description(handler.name).submit
    for name in handler.operations:
        request = handler.submit.build(submission(name, rings_back=False), account(handler))
        added = own_words(handler, name, rings_back=False)
        assert json.dumps(sent(request)) == json.dumps(in_form(request, renamed(handler, INPUT) | added))
        # Only fields that every request has, and the key under which a repeat is known, are added.
        places = (description(handler.name).auth, rule.idempotency or "")
        assert bool(added) == bool(rule.always or any(place.startswith("body:") for place in places))


@called_back
def test_with_a_callback_the_body_is_the_input_and_our_words(handler: Handler) -> None:
    for name, operation in handler.operations.items():
        if operation.callback:
            request = handler.submit.build(submission(name, rings_back=True), account(handler))
            added = own_words(handler, name)
            assert json.dumps(sent(request)) == json.dumps(in_form(request, renamed(handler, INPUT) | added))
            query = parse_qs(urlsplit(request.path).query)
            places = [json.dumps(added), *(value for values in query.values() for value in values)]
            assert sum(CALLBACK_URL in place for place in places) == 1
            # An object that holds one of our values among others is not ours as a whole.
            assert {name for name, value in added.items() if not isinstance(value, dict)} <= handler.reserved


@called_back
def test_our_callback_wins_over_one_in_the_input(handler: Handler) -> None:
    theirs = dict.fromkeys(handler.reserved, "https://mine.example/hook")
    for name, operation in handler.operations.items():
        if operation.callback:
            asked = submission(name, rings_back=True, told=dict(theirs))
            body = sent(handler.submit.build(asked, account(handler)))
            added = own_words(handler, name)
            assert {word: body[word] for word in added} == added


@named
def test_the_input_itself_is_left_alone(handler: Handler) -> None:
    for name in handler.operations:
        given_input = copy.deepcopy(INPUT)
        asked = submission(name, rings_back=True, told=given_input)
        handler.submit.build(asked, account(handler))
        handler.check(asked)
        assert json.dumps(given_input) == json.dumps(INPUT)


@named
@LIMITED
@given(told=OBJECTS)
def test_any_input_passes_through_untouched(handler: Handler, told: dict[str, Any]) -> None:
    asked = submission(handler.default_operation, rings_back=False, told=told)
    request = handler.submit.build(asked, account(handler))
    added = own_words(handler, handler.default_operation, rings_back=False)
    assert json.dumps(sent(request)) == json.dumps(in_form(request, told | added))


@named
def test_no_record_shows_a_secret(handler: Handler) -> None:
    records = [
        account(handler),
        KEYS,
        handler,
        ALL[handler.name],
        submission(handler.default_operation, rings_back=True),
        *submits(handler).values(),
        *questions(handler).values(),
        message(200, JOB_SECRET.encode(), ("authorization", API_KEY), ("x-webhook-secret", JOB_SECRET)),
    ]
    for record in records:
        for secret in (API_KEY, JOB_SECRET, CALLBACK_URL, *KEYS.account):
            assert secret not in f"{record!r} {record!s}"


@named
def test_only_a_provider_that_knows_repeats_is_given_a_key_for_them(handler: Handler) -> None:
    asked = submission(handler.default_operation, rings_back=False)
    one, again = (handler.submit.build(asked, account(handler)) for _ in range(2))
    other = handler.submit.build(replace(asked, job_id="job_018f3b"), account(handler))
    assert one == again
    assert (one != other) == handler.idempotent_submit
    keys = [value for name, value in one.headers if name == "idempotency-key"]
    assert keys in ([], [JOB_ID])


@pytest.mark.parametrize(
    ("operation", "submitted", "asked"),
    [
        ("prediction", "/v1/predictions", "/v1/predictions"),
        ("models/acme/tide", "/v1/models/acme/tide/predictions", "/v1/predictions"),
        ("deployments/acme/own", "/v1/deployments/acme/own/predictions", "/v1/predictions"),
        (
            "models/acme/tide/versions/5c7d/trainings",
            "/v1/models/acme/tide/versions/5c7d/trainings",
            "/v1/trainings",
        ),
    ],
)
def test_a_job_of_replicate_is_asked_about_where_it_is_kept(
    operation: str, submitted: str, asked: str
) -> None:
    handler = HANDLERS["replicate"]
    at, job = account(handler), JobRef(JOB_ID, "abc", operation)
    request = handler.submit.build(submission(operation, rings_back=True), at)
    assert (request.method, request.path) == ("POST", submitted)
    assert json.loads(request.body)["webhook"] == CALLBACK_URL
    for call, path in ((handler.poll, f"{asked}/abc"), (handler.cancel, f"{asked}/abc/cancel")):
        assert isinstance(call, Exchange)
        assert call.build(job, at).path == path


def test_a_song_is_uploaded_as_a_file() -> None:
    handler = HANDLERS["apiframe"]
    asked = Submission(JOB_ID, "suno-upload", {"audio": "data:audio/mpeg;base64,SUQz", "title": "a tide"})
    request = handler.submit.build(asked, account(handler))
    assert dict(request.headers)["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="audio"; filename="audio"\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n' in request.body
    assert request.body.count(b'name="title"\r\n\r\na tide\r\n') == 1
