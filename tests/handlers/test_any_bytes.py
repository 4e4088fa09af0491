"""Arbitrary input: each handler function returns its own type or raises one of the project's errors."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Asset, Callback, Handler, HttpMessage, Problem, Proof, Submission
from handlers.contract import Update as Told
from handlers.errors import BadPayload, BadSignature, ProviderError
from tests.handlers.captures import HANDLERS, KEYS, Capture, captures, doors, exchanges, message
from tests.handlers.strategies import LIMITED, OBJECTS, ODD, invented, mutated, places, replaced

Parse = Callable[[HttpMessage], Any]

PARSES: dict[str, tuple[Parse, type[Exception], tuple[bytes, ...]]] = {}
"""Every parsing function, with the error that it may raise and the bodies of its captures."""


TELLING: dict[str, tuple[bytes, ...]] = {}
"""The bodies of every parsing function that show most: the longest of a success, and of a failure."""


def telling(name: str, door: str) -> tuple[bytes, ...]:
    """Return the longest body that is read as a success, and that as a failure; else the longest."""
    bodies = {capture.message.body: capture.outcomes for capture in captures(name, door) if is_json(capture)}
    ends = [
        [body for body, outcomes in bodies.items() if word in outcomes] for word in ("succeeded", "failed")
    ]
    return tuple(max(found, key=len) for found in ends if found) or tuple(sorted(bodies, key=len)[-1:])


def is_json(capture: Capture) -> bool:
    """Return whether the body of a capture is JSON."""
    try:
        json.loads(capture.message.body)
    except ValueError:
        return False
    return True


for _name, _handler in HANDLERS.items():
    _found: dict[str, tuple[Parse, type[Exception]]] = {
        door: (exchange.parse, ProviderError) for door, exchange in exchanges(_handler).items()
    }
    if _handler.callback is not None:
        _found["callback"] = (_handler.callback.parse, BadPayload)
    for _door, (_parse, _error) in _found.items():
        _bodies = tuple(capture.message.body for capture in captures(_name, _door) if is_json(capture))
        PARSES[f"{_name} {_door}"] = (_parse, _error, _bodies)
        TELLING[f"{_name} {_door}"] = telling(_name, _door)

every_parse = pytest.mark.parametrize("name", PARSES)
called_back = pytest.mark.parametrize("name", [name for name, one in HANDLERS.items() if one.callback])
STATUS = st.sampled_from((200, 200, 200, 201, 202, 204, 301, 400, 401, 404, 408, 429, 500, 503))
BODIES = st.binary(max_size=200) | st.text(max_size=200).map(str.encode)
HEADERS = st.lists(
    st.tuples(st.sampled_from(("retry-after", "content-type", "date")), st.text()), max_size=3
).map(tuple)


def texts(word: Told | Asset) -> list[str]:
    """Return the texts of a result that are passed on as they are."""
    if isinstance(word, Asset):
        return [text for text in (word.url, word.mime_type) if text is not None]
    failure = (word.failure.message,) if word.failure else ()
    return [word.provider_job_id or "", *failure, *(text for asset in word.assets for text in texts(asset))]


def ends_well(name: str, told: HttpMessage) -> None:
    """Assert that a message gives a result of the right type with safe values, or the right error."""
    parse, error, _ = PARSES[name]
    try:
        word = parse(told)
    except error:
        return
    assert isinstance(word, Asset if name.endswith(" resolve") else Told)
    if isinstance(word, Told):
        assert word.progress is None or 0 <= word.progress <= 100
        assert word.provider_job_id != ""
    for text in texts(word):
        assert "\x00" not in text
        assert len(text.encode()) <= 8192


@every_parse
@LIMITED
@given(data=st.data())
def test_any_bytes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    ends_well(name, message(data.draw(STATUS), data.draw(BODIES), *data.draw(HEADERS)))


@every_parse
@LIMITED
@given(data=st.data())
def test_any_change_of_a_value_is_read_or_refused(name: str, data: st.DataObject) -> None:
    ends_well(name, message(data.draw(STATUS), data.draw(mutated(PARSES[name][2]))))


@every_parse
@LIMITED
@given(data=st.data())
def test_any_structure_is_read_or_refused(name: str, data: st.DataObject) -> None:
    ends_well(name, message(200, data.draw(invented(PARSES[name][2]))))


def distinct(told: Any) -> list[tuple[Any, ...]]:
    """Return the places of a body, of each list only those in its first item: the others are read alike."""
    return [path for path in places(told) if not any(isinstance(step, int) and step for step in path)]


@every_parse
def test_every_odd_value_in_every_place_is_read_or_refused(name: str) -> None:
    for body in TELLING[name]:
        told = json.loads(body)
        for path in distinct(told):
            for odd in ODD:
                ends_well(name, message(200, json.dumps(replaced(told, path, odd)).encode()))


@every_parse
def test_every_field_may_be_missing(name: str) -> None:
    for body in PARSES[name][2]:
        told = json.loads(body)
        for path in places(told):
            without = json.loads(body)
            outer = without
            for step in path[:-1]:
                outer = outer[step]
            if path:
                del outer[path[-1]]
                ends_well(name, message(200, json.dumps(without).encode()))


@every_parse
def test_a_body_cut_off_anywhere_is_read_or_refused(name: str) -> None:
    for body in TELLING[name]:
        for length in range(len(body)):
            ends_well(name, message(200, body[:length]))


def ring(name: str) -> Callback:
    """Return the callback functions of a provider that has some."""
    callback = HANDLERS[name].callback
    assert callback is not None
    return callback


def header_names(name: str) -> list[str]:
    """Return the names of the headers in the callbacks of a provider."""
    return sorted({header for capture in captures(name, "callback") for header, _ in capture.message.headers})


@called_back
@LIMITED
@given(data=st.data())
def test_any_headers_are_a_hint_or_refused(name: str, data: st.DataObject) -> None:
    values = st.text() | st.sampled_from(("", " ", "sha256=", "v1,", ",", "é", "\udc80", "\x00", "0" * 64))
    pairs = st.lists(st.tuples(st.sampled_from(header_names(name)), values), max_size=4)
    told = message(200, data.draw(st.binary(max_size=64)), *data.draw(pairs))
    try:
        proof = ring(name).verify(told, KEYS)
    except BadSignature:
        return
    assert proof is Proof.UNPROVED


@called_back
@LIMITED
@given(body=st.binary(max_size=100) | OBJECTS.map(json.dumps).map(str.encode))
def test_any_body_is_a_challenge_or_none(name: str, body: bytes) -> None:
    answer = ring(name).challenge(message(200, body))
    assert answer is None or answer.status == 200


@called_back
@LIMITED
@given(status=st.integers(100, 599))
def test_a_callback_never_speaks_of_the_account(name: str, status: int) -> None:
    for capture in captures(name, "callback"):
        with suppress(BadPayload):
            ring(name).parse(replace(capture.message, status=status))


INPUT_FIELDS = (
    "prompt",
    "model",
    "images",
    "index",
    "image_url",
    "source_run_id",
    "content",
    "version",
    "input",
)
INPUTS: list[dict[str, Any]] = [
    {},
    *({name: odd} for name in INPUT_FIELDS for odd in ODD),
    *({"prompt": "x", "model": "m", "content": [odd], "images": [odd]} for odd in ODD),
]


def checked(handler: Handler, told: dict[str, Any]) -> None:
    """Assert that every problem of an input has a valid pointer and a sentence."""
    for operation in handler.operations:
        for problem in handler.check(Submission("job_1", operation, told)):
            assert isinstance(problem, Problem)
            assert problem.pointer == "" or problem.pointer.startswith("/")
            assert problem.detail


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
def test_any_input_can_be_checked(handler: Handler) -> None:
    for told in INPUTS:
        checked(handler, told)


def test_any_role_of_an_image_can_be_checked() -> None:
    for odd in ODD:
        checked(HANDLERS["getimg"], {"prompt": "x", "model": "m", "images": [{"role": odd}]})


def test_every_door_of_every_provider_is_covered() -> None:
    assert PARSES.keys() == {
        f"{name} {door}" for name, one in HANDLERS.items() for door in doors(one) if door != "challenge"
    }
    assert all(bodies for _, _, bodies in PARSES.values())
