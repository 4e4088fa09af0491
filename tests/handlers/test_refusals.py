"""The subject of a refusal (key, balance, model, content, one call), and the words that end a job."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from handlers import refusals
from handlers.contract import Failure, FailureCode, HttpMessage, Phase
from handlers.description.terms import Meaning
from handlers.errors import AccountRefused, ProviderError, Rejected
from tests.handlers.captures import (
    HANDLERS,
    captures,
    description,
    exchanges,
    message,
    status_fields,
    without_word,
)
from tests.handlers.strategies import places, replaced

named = pytest.mark.parametrize("name", HANDLERS)
ENDS = {
    "cancelled": Phase.CANCELED,
    "canceled": Phase.CANCELED,
    "aborted": Phase.CANCELED,
    "expired": Phase.FAILED,
    "timeout": Phase.FAILED,
    "timed_out": Phase.FAILED,
    "timed out": Phase.FAILED,
    "timed-out": Phase.FAILED,
    "rejected": Phase.FAILED,
    "error": Phase.FAILED,
    "failure": Phase.FAILED,
    "nsfw": Phase.FAILED,
    "content moderated": Phase.FAILED,
    "succeed": Phase.SUCCEEDED,
    "finished": Phase.SUCCEEDED,
    "glimmering": Phase.UNKNOWN,
    "not_start": Phase.UNKNOWN,
    "unknown": None,
    "not_found": None,
    "Not Found": None,
    "task_not_exist": None,
    "": Phase.UNKNOWN,
}

MEANINGS = [
    (403, {}, "AccountRefused", False),
    (403, {"detail": "You may not do this."}, "AccountRefused", False),
    (403, {"detail": "Invalid API key"}, "AccountRefused", True),
    (403, {"code": "BILLING", "message": "insufficient balance"}, "AccountRefused", True),
    (403, {"detail": "You have no access to this model."}, "Rejected", None),
    (403, {"code": "FEATURE_NOT_ALLOWED", "message": "no"}, "Rejected", None),
    (403, {"error": {"code": "content_policy_violation", "message": "no"}}, "ContentRefused", None),
    (403, {"detail": "User is locked. Reason: Exhausted balance."}, "AccountRefused", True),
    (403, {"detail": "User is locked. Reason: Admin lock."}, "AccountRefused", True),
    (403, {"message": "your account has an overdue balance"}, "AccountRefused", True),
    (401, {"detail": "no access to this model"}, "AccountRefused", True),
    (402, {}, "AccountRefused", True),
    (402, {"detail": "Insufficient credit to run this model"}, "AccountRefused", True),
    (402, {"detail": "This model needs a paid plan."}, "AccountRefused", False),
    (402, {"error": {"code": "feature_not_allowed", "message": "upgrade"}}, "AccountRefused", False),
    (429, {"error": {"code": "insufficient_quota", "message": "m"}}, "AccountRefused", True),
    (429, {"detail": "Your rate is 6 a minute while you have less than $5.0 in credit."}, "Throttled", None),
    (400, {"code": "BILLING_INSUFFICIENT_BALANCE", "message": "m"}, "AccountRefused", True),
    (400, {"message": "the prompt 'no funds' is too short"}, "Rejected", None),
    (400, {"code": "content_moderated", "message": "m"}, "ContentRefused", None),
    (422, {"error": {"code": "content_policy_violation", "message": "m"}}, "ContentRefused", None),
    (422, {"message": "the prompt 'nsfw' is too short"}, "Rejected", None),
]


def running_with(name: str, word: str) -> HttpMessage:
    """Return the captured answer about a job that runs, with another status word."""
    fields = status_fields(name)
    running = [one.message.body for one in captures(name, "poll") if "running" in one.outcomes]
    bodies = [json.loads(body) for body in running if body]
    found = [(body, [path for path in places(body) if path and path[-1] in fields]) for body in bodies]
    # The plainest of them, without a second result beside the one that runs.
    body, paths = min((one for one in found if one[1]), key=lambda one: len(one[1]))
    for path in paths:
        body = replaced(body, path, word)
    return message(200, json.dumps(body).encode())


def meant(name: str, word: str) -> Phase | None:
    """Return the meaning of a word at a provider: by its own table first. None: it does not know the job."""
    own = description(name).meanings.get(word) if word else without_word(name)
    if own is Meaning.MISSING:
        return None
    return Phase(own) if own else ENDS[word]


@named
def test_a_word_of_the_end_ends_a_job_at_every_provider(name: str) -> None:
    poll = exchanges(HANDLERS[name])["poll"]
    for word, change in itertools.product(ENDS, (str.lower, str.upper, str.title, " {}\t".format)):
        try:
            phase = poll.parse(running_with(name, change(word))).phase
        except Rejected:
            phase = None
        assert phase is meant(name, word), change(word)


@named
def test_a_refusal_is_read_by_its_words(name: str) -> None:
    submit = exchanges(HANDLERS[name])["submit"]
    for status, body, error, certain in MEANINGS:
        with pytest.raises(ProviderError) as caught:
            submit.parse(message(status, json.dumps(body).encode()))
        assert type(caught.value).__name__ == error, (status, body)
        if isinstance(caught.value, AccountRefused):
            assert caught.value.certain is certain, (status, body)


@named
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "invalid_size", "message": "The prompt is empty"}, "Rejected"),
        ("rate limit exceeded", "Throttled"),
        ("invalid api key", "AccountRefused"),
        ("insufficient credits", "AccountRefused"),
        ("blocked by moderation", "ContentRefused"),
        ("internal error", "Garbled"),
    ],
)
def test_an_error_inside_a_success_is_read_by_its_words(name: str, error: object, kind: str) -> None:
    with pytest.raises(ProviderError) as caught:
        exchanges(HANDLERS[name])["submit"].parse(message(200, json.dumps({"error": error}).encode()))
    assert type(caught.value).__name__ == kind


@named
def test_a_redirect_names_the_place_without_its_secrets_and_the_setting(name: str) -> None:
    place = ("location", "https://user:word@other.example/v2/x?token=abc#def")
    with pytest.raises(ProviderError) as caught:
        exchanges(HANDLERS[name])["submit"].parse(message(308, b"", place))
    told = "the provider redirects to https://other.example/v2/x: correct base_url"
    assert caught.value.said == told


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (("nsfw",), FailureCode.CONTENT_POLICY),
        (("Request Moderated",), FailureCode.CONTENT_POLICY),
        ((None, "NSFW content detected"), FailureCode.CONTENT_POLICY),
        (("rejected", "no"), FailureCode.GENERATION_FAILED),
        ((None, "blocked by the content filter"), FailureCode.CONTENT_POLICY),
        ((None, "This violates our usage policies"), FailureCode.CONTENT_POLICY),
        ((None, "Banned prompt detected"), FailureCode.CONTENT_POLICY),
        ((None, "the prompt contains prohibited words"), FailureCode.CONTENT_POLICY),
        ((None, "inappropriate content"), FailureCode.CONTENT_POLICY),
        ((None, "this violates a constraint of the schema"), FailureCode.GENERATION_FAILED),
        (("timeout", "took too long"), FailureCode.GENERATION_FAILED),
        ((None, ""), FailureCode.GENERATION_FAILED),
    ],
)
def test_a_failure_over_the_content_is_told_as_such(texts: tuple[str | None, ...], code: FailureCode) -> None:
    assert refusals.failure_code(*texts) is code


def test_a_status_word_for_a_refused_content_names_the_reason() -> None:
    for word in ("nsfw", "moderated", "banned", "rejected", "content moderated"):
        assert refusals.failure_code(word=word) is FailureCode.CONTENT_POLICY
    assert refusals.failure_code(word="failed") is FailureCode.GENERATION_FAILED


ERRED: Mapping[str, dict[str, Any]] = {
    "apiframe": {"task_id": "1", "status": "finished"},
    "apiframe-v2": {"id": "1", "status": "COMPLETED"},
    "aiml": {"data": {"uuid": "1", "status": "succeeded"}},
    "imagineo": {"run_id": "1", "status": "completed"},
    "replicate": {"id": "1", "status": "succeeded", "output": None},
}


@pytest.mark.parametrize("name", ERRED)
def test_a_word_of_success_is_no_code_of_the_error_beside_it(name: str) -> None:
    body = json.dumps(ERRED[name] | {"error": "NSFW content detected"}).encode()
    update = exchanges(HANDLERS[name])["poll"].parse(message(200, body))
    assert (update.phase, update.assets) == (Phase.SUCCEEDED, ())
    assert update.failure == Failure(None, "NSFW content detected", FailureCode.CONTENT_POLICY)
