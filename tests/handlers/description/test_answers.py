"""Answers with fields that were given twice: unreadable where the field is read, whatever reads it."""

from pathlib import Path

import pytest

from handlers.contract import Exchange, Phase
from handlers.errors import Garbled
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
