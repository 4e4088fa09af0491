"""Answers to senders that make sure that a URL is ours."""

import base64
import hmac
import json

import pytest

from receiver.config.sources import ChallengeSettings
from receiver.sources.challenges import LARGEST, LONGEST, by_body, by_query

BY_JSON = ChallengeSettings.model_validate({"json": "challenge"})
BY_QUERY = ChallengeSettings.model_validate({"query": "hub.challenge"})
BY_CRC = ChallengeSettings.model_validate({"crc": "secret"})


def test_a_field_of_the_body_is_echoed_as_json() -> None:
    answer = by_body(BY_JSON, b'{"type": "url_verification", "challenge": "a\\"b<"}')
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body) == {"challenge": 'a"b<'}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"challenge",
        b'{"challenge": 7}',
        b'{"challenge": ""}',
        b'{"challenge": null}',
        b'{"inner": {"challenge": "a"}}',
        json.dumps({"challenge": "a" * (LONGEST + 1)}).encode(),
        json.dumps({"challenge": "a", "rest": "b" * LARGEST}).encode(),
    ],
)
def test_any_other_body_is_a_message(body: bytes) -> None:
    assert by_body(BY_JSON, body) is None


def test_a_body_is_looked_at_only_where_the_settings_say_so() -> None:
    body = b'{"challenge": "a"}'
    assert [by_body(one, body) for one in (None, BY_QUERY, BY_CRC)] == [None, None, None]


def test_a_parameter_is_echoed_as_plain_text() -> None:
    answer = by_query(BY_QUERY, {"hub.mode": "subscribe", "hub.challenge": "<b>\u00e9\ud800"})
    assert answer is not None
    assert (answer.status, answer.content_type) == (200, "text/plain; charset=utf-8")
    assert answer.body == "<b>é?".encode()
    for query in ({}, {"challenge": "a"}, {"hub.challenge": ""}, {"hub.challenge": "a" * (LONGEST + 1)}):
        assert by_query(BY_QUERY, query) is None


def test_a_crc_token_is_answered_with_its_hmac() -> None:
    answer = by_query(BY_CRC, {"crc_token": "token"})
    assert answer is not None
    digest = base64.b64encode(hmac.digest(b"secret", b"token", "sha256")).decode()
    assert json.loads(answer.body) == {"response_token": f"sha256={digest}"}
    assert by_query(BY_CRC, {"token": "token"}) is None
    # The sender signs its messages with the same secret: nothing that can be a message is signed here.
    for text in ('{"a":1}', "a b", "", "a" * 257, "1.5", "[1]", '"a"', "\u00e9"):
        assert by_query(BY_CRC, {"crc_token": text}) is None
    assert by_query(None, {"crc_token": "token"}) is None
    assert by_query(BY_JSON, {"crc_token": "token", "hub.challenge": "a"}) is None
