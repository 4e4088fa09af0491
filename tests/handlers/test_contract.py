"""One suite for all providers: their messages are read as their captures expect.

The suite finds a provider that is added to `handlers.ALL` by itself, and reports the captures that it still
lacks.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest

from handlers.contract import Handler, HttpMessage, Phase
from handlers.description.callbacks import ProofScheme
from handlers.description.terms import Meaning
from handlers.errors import ProviderError, Rejected
from tests.handlers.captures import (
    CASES,
    CONFIDENCE,
    HANDLERS,
    Capture,
    captures,
    description,
    doors,
    exchanges,
    message,
    rendered,
    status_fields,
    without_word,
)

REQUIRED = {
    "submit": {"update", "Rejected", "AccountRefused", "Throttled", "Unavailable", "Garbled"},
    "poll": {"running", "succeeded", "failed", "unknown", "Rejected", "Garbled"},
    "result": {"succeeded", "failed", "Rejected", "Unavailable", "Garbled"},
    "callback": {"running", "succeeded", "failed", "unknown", "BadPayload"},
    "resolve": {"asset", "Rejected", "Garbled"},
    "cancel": {"update", "Rejected", "Garbled"},
    "challenge": {"challenge"},
}
"""The outcomes that the captures of each handler function must show at least."""
OPEN = frozenset({"running", "unknown"})
"""The phases that only a status word can tell."""

ENDS_ONLY = frozenset({"heygen", "openai"})
"""The providers with events as callbacks, none of which speaks of a job that still runs."""
CASINGS: tuple[Callable[[str], str], ...] = (str.upper, str.lower, str.title, str.swapcase, " {} ".format)

STATUSES = {
    "Rejected": (400, 404, 405, 406, 409, 410, 411, 413, 415, 418, 422, 431, 451, 499),
    "AccountRefused": (401, 402, 403),
    "Throttled": (429,),
    "Unavailable": (408, 500, 501, 502, 503, 504, 507, 520, 529, 599),
    "Garbled": (100,),
    "Redirected": (301, 302, 303, 304, 307, 308),
}
"""The error for an HTTP status, the same for every provider."""

WISHES = {
    "0": 0,
    "17": 17,
    " 17 ": 17,
    "86400": 86400,
    "Sun, 01 Nov 2026 12:02:05 GMT": 125,
    "Sun, 01 Nov 2026 13:00:05 +0100": 5,
    "Sun, 01 Nov 2026 11:00:00 GMT": 0,
}
"""Values of `Retry-After`, and the seconds from the moment of all captures."""


def is_refusal(capture: Capture) -> bool:
    """Return whether a capture is a response that must become an error."""
    return capture.door in exchanges(HANDLERS[capture.provider]) and "error" in capture.expected


named = pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())


@named
def test_a_capture_says_where_it_comes_from_and_how_sure_that_is(handler: Handler) -> None:
    for capture in captures(handler.name):
        assert capture.notes.keys() - {"target"} == {"source", "confidence"}, capture.name
        assert len(capture.notes["source"]) > 10, capture.name
        assert capture.notes["confidence"] in CONFIDENCE, capture.name


@named
def test_a_capture_reads_as_expected(handler: Handler) -> None:
    reads = doors(handler)
    for capture in captures(handler.name):
        read = reads.get(capture.door)
        assert read is not None, f"{capture.name}: {capture.provider} has no door called {capture.door!r}"
        assert read(capture.message) == capture.expected, capture.name
        assert read(capture.message) == capture.expected, f"the second reading of {capture.name} differs"


@named
def test_an_error_tells_the_status_it_came_with(handler: Handler) -> None:
    for capture in filter(is_refusal, captures(handler.name)):
        with pytest.raises(ProviderError) as caught:
            exchanges(handler)[capture.door].parse(capture.message)
        assert caught.value.status == capture.message.status, capture.name


def refused_before_it_is_read(found: list[Capture]) -> set[str]:
    """Return the outcome that cannot be shown where the proof itself needs a body that can be read."""
    early = [one for one in found if one.what == "not_json" and "BadSignature" in one.outcomes]
    return {"BadPayload"} if early else set()


@named
def test_every_door_has_captures_of_its_outcomes(handler: Handler) -> None:
    for door in doors(handler):
        found = captures(handler.name, door)
        shown = {word for capture in found for word in capture.outcomes}
        ends_only = door == "callback" and handler.name in ENDS_ONLY
        missing = REQUIRED[door] - shown - ({"running"} if ends_only else set())
        if door == "callback" and not status_fields(handler.name, door):
            # A callback without a status word is sent at the end only.
            assert shown.isdisjoint(OPEN)
            missing -= OPEN
        missing -= refused_before_it_is_read(found)
        assert not missing, f"cases/{handler.name}/{door}__*.http show no {', '.join(sorted(missing))}"


@named
def test_a_provider_with_proofs_shows_forged_callbacks(handler: Handler) -> None:
    found = captures(handler.name, "callback")
    rule = description(handler.name).callback
    proofs = {capture.expected.get("proof") for capture in found}
    refused = any("BadSignature" in capture.outcomes for capture in found)
    if rule is None or rule.proof.scheme is ProofScheme.NONE:
        assert not refused
        assert "proved" not in proofs
        return
    assert refused
    # A proof that does not cover the body is checked, but what it holds for may be forged.
    assert ("proved" in proofs) == rule.proof.covers_body
    whats = {capture.what for capture in found}
    assert "without_proof" in whats, f"cases/{handler.name} needs a callback__without_proof.http"


def test_every_file_of_the_cases_belongs_to_a_capture() -> None:
    names = {"requests.json"}
    for folder in CASES.iterdir():
        assert folder.name in HANDLERS, f"{folder.name} is no provider"
        told = {f"{capture.door}__{capture.what}" for capture in captures(folder.name)}
        kept = names | {name + ending for name in told for ending in (".http", ".expected.json")}
        assert {path.name for path in folder.iterdir()} <= kept
        for capture in captures(folder.name):
            assert capture.expected


@named
def test_only_challenges_are_answered_as_challenges(handler: Handler) -> None:
    for capture in captures(handler.name, "callback"):
        assert handler.callback is not None
        assert handler.callback.challenge(capture.message) is None


def with_status(body: Any, names: Collection[str], change: Callable[[str], Any]) -> Any:
    """Return `body` with every status word in it, in a field of these names, changed."""
    if isinstance(body, list):
        return [with_status(inner, names, change) for inner in body]
    if not isinstance(body, dict):
        return body
    return {
        name: change(inner) if name in names and isinstance(inner, str) else with_status(inner, names, change)
        for name, inner in body.items()
    }


def retold(capture: Capture, change: Callable[[str], Any]) -> HttpMessage:
    """Return the message of a capture with its status words changed."""
    names = status_fields(capture.provider, capture.door)
    told = with_status(json.loads(capture.message.body), names, change)
    return dataclasses.replace(capture.message, body=json.dumps(told).encode())


def has_words(handler: Handler) -> bool:
    """Return whether the status of a provider is told in words, and not by flags alone."""
    return not description(handler.name).meanings.keys() <= {"true", "false"}


def readings(handler: Handler) -> list[tuple[Capture, Callable[[HttpMessage], Any]]]:
    """Return the captures of a provider that carry a status word, each with the function that reads it."""
    readers = {name: door.parse for name, door in exchanges(handler).items()}
    if handler.callback is not None:
        readers["callback"] = handler.callback.parse
    return [
        (capture, readers[capture.door])
        for capture in captures(handler.name, "poll", "callback")
        if "update" in capture.outcomes
        and capture.message.body.strip()
        and retold(capture, str.upper).body != retold(capture, str.lower).body
    ]


@named
def test_status_words_match_in_any_case(handler: Handler) -> None:
    found = readings(handler)
    assert found or not has_words(handler), f"no capture of {handler.name} has a status word"
    for capture, parse in found:
        for change in CASINGS:
            told = rendered(dataclasses.replace(parse(retold(capture, change)), result=None))
            asked = {name: inner for name, inner in capture.expected["update"].items() if name != "result"}
            assert told == asked, capture.name


def reads_as(handler: Handler, value: Any, *, word: bool) -> None:
    """Assert that `value` in the place of the status is an unknown word, or else none at all."""
    for capture, parse in readings(handler):
        if "running" in capture.outcomes:
            meant = None if word else without_word(handler.name, capture.door)
            try:
                told = parse(retold(capture, lambda _old: value))
            except Rejected:
                assert meant is Meaning.MISSING
                continue
            assert told.failure is None
            # A file without a word is a success.
            expected = Phase(meant) if meant else Phase.UNKNOWN
            assert told.phase is (Phase.SUCCEEDED if told.assets and not word else expected)
            assert not (told.assets and word)


@named
def test_a_status_word_that_we_do_not_know_is_unknown(handler: Handler) -> None:
    for word in ("teleporting", "", " ", "status", "none", "läuft", "\u0000", "0", "x" * 9000):
        reads_as(handler, word, word=bool(word.strip()))


@named
def test_a_status_that_is_no_word_counts_as_missing(handler: Handler) -> None:
    odd: tuple[Any, ...] = (None, 7, 0, True, 1.5, [], ["failed"], {}, {"word": "failed"})
    for value in odd:
        reads_as(handler, value, word=False)


def told_by_status(handler: Handler, door: str) -> set[int]:
    """Return the statuses beyond success that tell the state of a job, as captures show."""
    found = [capture for capture in captures(handler.name, door) if "update" in capture.outcomes]
    return {capture.message.status for capture in found if capture.message.status >= 300}


@named
@pytest.mark.parametrize("error", STATUSES)
def test_an_http_status_means_the_same_everywhere(handler: Handler, error: str) -> None:
    bodies = (b"", b"{}", b"<p>no</p>", b'{"error":{"code":"c","message":"m"}}')
    for name, door in exchanges(handler).items():
        for status, body in itertools.product(set(STATUSES[error]) - told_by_status(handler, name), bodies):
            with pytest.raises(ProviderError) as caught:
                door.parse(message(status, body))
            assert (type(caught.value).__name__, caught.value.status) == (error, status)


@named
def test_the_wish_of_a_provider_is_kept(handler: Handler) -> None:
    for door, status, wish in itertools.product(exchanges(handler).values(), (429, 503, 403), WISHES):
        with pytest.raises(ProviderError) as caught:
            door.parse(message(status, b"{}", ("retry-after", wish)))
        assert caught.value.retry_after == timedelta(seconds=WISHES[wish])


@named
def test_an_error_page_of_a_proxy_says_nothing_in_the_name_of_the_provider(handler: Handler) -> None:
    for door in exchanges(handler).values():
        with pytest.raises(ProviderError) as caught:
            door.parse(message(500, b"<html>secret-in-a-page</html>"))
        assert caught.value.said == ""
        assert "secret-in-a-page" not in f"{caught.value!s}{caught.value!r}"
