"""Answers with fields that were given twice: unreadable where the field is read, whatever reads it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Exchange, Phase
from handlers.errors import AccountRefused, ContentRefused, Garbled, ProviderError, Rejected, Throttled
from tests.handlers.captures import message
from tests.handlers.description.test_requests import handler

TWICE = [
    b'{"id": "1", "id": "2", "status": "WAITING"}',
    b'{"id": "1", "status": "WAITING", "status": "READY"}',
    b'{"id": "1", "status": "READY", "url": "https://x.example/a", "url": "https://x.example/b"}',
    b'{"id": "1", "status": "failed", "code": "a", "code": "b"}',
    b'{"id": "1", "status": "WAITING", "kept": "https://x.example/a", "kept": "https://x.example/b"}',
    b'{"id": "1", "status": "WAITING", "ok": 1, "ok": 2}',
]
CHANGES = (
    ("example =", 'failure = { code = "/code" }\nok = { at = "/ok", equals = ["1"] }\nexample ='),
    ('"body:/webhook"', '"body:/webhook", kept = { at = "/kept" }'),
)


@pytest.mark.parametrize("body", TWICE)
def test_a_field_that_was_given_twice_makes_an_answer_unreadable(tmp_path: Path, body: bytes) -> None:
    made = handler(tmp_path, *CHANGES)
    with pytest.raises(Garbled, match="could not be read"):
        made.submit.parse(message(200, body))


@pytest.mark.parametrize("status", [400, 402, 429, 500])
def test_a_code_that_was_given_twice_decides_nothing(tmp_path: Path, status: int) -> None:
    made = handler(tmp_path, *CHANGES)
    with pytest.raises(Garbled):
        made.submit.parse(message(status, b'{"code": "a", "code": "b"}'))


def test_a_field_that_is_not_read_may_come_twice(tmp_path: Path) -> None:
    made = handler(tmp_path, *CHANGES)
    body = b'{"id": "1", "status": "WAITING", "note": 1, "note": 2}'
    assert made.submit.parse(message(200, body)).phase is Phase.QUEUED
    assert isinstance(made.poll, Exchange)
    assert made.poll.parse(message(200, body)).phase is Phase.QUEUED
    with pytest.raises(Garbled):
        made.poll.parse(message(200, TWICE[1]))


def test_what_a_description_hides_is_in_no_result_wherever_it_lies(tmp_path: Path) -> None:
    hidden = '"/items/*/key", "/blob/json:/token", "/list/0/k", "/all/*", "/text/json:", "/plain"'
    made = handler(tmp_path, ("example =", f"redact = [{hidden}]\nexample ="))
    body = {
        "id": "1",
        "status": "READY",
        "url": "https://x.example/a",
        "items": [{"key": "s", "kept": 1}, {"key": "s"}, "text"],
        "blob": '{"token": "s", "kept": 2}',
        "list": [{"k": "s", "kept": 3}, {"k": "kept"}],
        "all": ["s", "s"],
        "text": '{"token": "s"}',
        "plain": "s",
    }
    assert isinstance(made.poll, Exchange)
    result = made.poll.parse(message(200, json.dumps(body).encode())).result
    assert result is not None
    shown = {name: value for name, value in result.items() if name not in {"id", "status", "url"}}
    assert shown == {
        "items": [{"kept": 1}, {}, "text"],
        "blob": '{"kept":2}',
        "list": [{"kept": 3}, {"k": "kept"}],
        "all": [],
        "text": "",
    }


RESULT = (
    'poll = { path = "/v1/tasks/{id}" }',
    'failure.error = "/reason"\nresult.path = "/v1/results/{id}"\npoll.path = "/v1/tasks/{id}"',
)


@pytest.mark.parametrize(
    ("body", "phase", "reason"),
    [
        ({"id": "t1", "product": {}}, Phase.SUCCEEDED, None),
        ({"id": "t1", "reason": "the tune was lost"}, Phase.SUCCEEDED, "the tune was lost"),
        ({"id": "t1", "url": "https://x.example/a.mp4"}, Phase.SUCCEEDED, None),
        ({"id": "t1", "status": "WAITING"}, Phase.QUEUED, None),
    ],
)
def test_a_result_without_a_word_is_that_of_a_job_that_succeeded(
    tmp_path: Path, body: dict[str, Any], phase: Phase, reason: str | None
) -> None:
    made = handler(tmp_path, RESULT)
    assert made.result is not None
    found = made.result.parse(message(200, json.dumps(body).encode()))
    assert (found.phase, found.failure.message if found.failure else None) == (phase, reason)


ENVELOPE = (
    "example =",
    """ok = { at = "/rc", equals = ["0"], message = "/msg" }
sentences = { account = ["wallet is empty"], throttled = ["hold your horses"] }
waits = { slow = "3s" }
example =""",
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("Your wallet is empty", AccountRefused), ("Hold your horses", Throttled), ("no", Rejected)],
)
def test_a_sentence_counts_in_an_error_that_a_success_carries(
    tmp_path: Path, text: str, kind: type[ProviderError]
) -> None:
    made = handler(tmp_path, ENVELOPE)
    with pytest.raises(kind):
        made.submit.parse(message(200, json.dumps({"rc": 9999, "msg": text}).encode()))
    # An answer that accepts may quote the input.
    accepted = made.submit.parse(message(200, json.dumps({"rc": 0, "id": "t1", "msg": text}).encode()))
    assert accepted.provider_job_id == "t1"


def test_a_code_has_its_wait_whichever_class_its_status_gives(tmp_path: Path) -> None:
    made = handler(tmp_path, ENVELOPE)
    with pytest.raises(Throttled) as caught:
        made.submit.parse(message(429, b'{"error": {"code": "slow"}}'))
    assert caught.value.retry_after == timedelta(seconds=3)


def test_the_places_of_a_failure_count_in_a_refusal(tmp_path: Path) -> None:
    table = 'failure = { code = "/err/code", message = "/err/text", content = ["policy"] }'
    made = handler(tmp_path, ("example =", f"{table}\nexample ="))
    for code, kind in (("E_POLICY", ContentRefused), ("E_SIZE", Rejected)):
        body = {"err": {"code": code, "text": "not nice"}}
        with pytest.raises(Rejected) as caught:
            made.submit.parse(message(422, json.dumps(body).encode()))
        assert type(caught.value) is kind
        assert (caught.value.provider_code, caught.value.said) == (code, "not nice")


def test_a_sentence_about_the_job_is_kept_beside_a_code_for_a_good_call(tmp_path: Path) -> None:
    tables = (
        'ok = { at = "/rc", equals = ["OK"], message = "/call" }\nfailure = { message = ["/call", "/why"] }'
    )
    made = handler(tmp_path, ("example =", f"{tables}\nexample ="))
    body = {"id": "1", "rc": "OK", "call": "fine", "status": "failed", "why": "melted"}
    assert isinstance(made.poll, Exchange)
    failure = made.poll.parse(message(200, json.dumps(body).encode())).failure
    assert failure is not None
    assert failure.message == "melted"
