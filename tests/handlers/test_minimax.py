"""MiniMax and the gateway that speaks its format: codes inside a 200, status words, and the challenge."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from handlers.contract import (
    Account,
    Asset,
    AssetRef,
    Callback,
    FailureCode,
    JobRef,
    Phase,
    Submission,
    Update,
)
from handlers.errors import BadPayload, ProviderError, Rejected
from tests.handlers.captures import API_KEY, HANDLERS, RECEIVED_AT, exchanges, message

CODES = {
    "1000": "Unavailable",
    "1001": "Unavailable",
    "1002": "Throttled",
    "1004": "AccountRefused",
    "1008": "AccountRefused",
    "1024": "Unavailable",
    "1026": "ContentRefused",
    "1027": "ContentRefused",
    "1028": "AccountRefused",
    "1030": "AccountRefused",
    "1033": "Unavailable",
    "1039": "Throttled",
    "2013": "Rejected",
    "2049": "AccountRefused",
    "1041": "Throttled",
    "1042": "Rejected",
    "2037": "Rejected",
    "2038": "AccountRefused",
    "2042": "Rejected",
    "2045": "Throttled",
    "2056": "Throttled",
    "2061": "Rejected",
    "20132": "Rejected",
    "1": "Garbled",
    "-1": "Garbled",
    "1003": "Garbled",
    "999999999999": "Garbled",
    "text": "Garbled",
    "": "Garbled",
}
"""The meaning of a `base_resp.status_code`. An unknown code may hide an accepted job."""
SUCCESS = (0, "0", None)

POLL_WORDS = {
    "Preparing": Phase.QUEUED,
    "Queueing": Phase.QUEUED,
    "Processing": Phase.RUNNING,
    "Success": Phase.SUCCEEDED,
    "Fail": Phase.FAILED,
    "Failed": Phase.FAILED,
    "Teleporting": Phase.UNKNOWN,
}
CALLBACK_WORDS = {"processing": Phase.RUNNING, "success": Phase.SUCCEEDED, "failed": Phase.FAILED}

SPEAKERS = pytest.mark.parametrize("name", ["minimax", "gately"])


def told(**fields: Any) -> bytes:
    """Return a body with these fields."""
    return json.dumps(fields).encode()


def base(code: object, text: str = "said") -> dict[str, Any]:
    """Return a `base_resp`."""
    return {"status_code": code, "status_msg": text}


def ring() -> Callback:
    """Return MiniMax's callback functions."""
    callback = HANDLERS["minimax"].callback
    assert callback is not None
    return callback


def polled(**fields: Any) -> Update:
    """Return the update that a poll's response with these fields gives."""
    update = exchanges(HANDLERS["minimax"])["poll"].parse(message(200, told(**fields)))
    assert isinstance(update, Update)
    return update


@SPEAKERS
@pytest.mark.parametrize("code", CODES)
def test_a_code_inside_a_200_is_an_error(name: str, code: str) -> None:
    forms: tuple[object, ...] = (code, int(code)) if code.lstrip("-").isdigit() else (code,)
    for door, form in itertools.product(exchanges(HANDLERS[name]).values(), forms):
        with pytest.raises(ProviderError) as caught:
            door.parse(message(200, told(task_id="1", base_resp=base(form))))
        assert type(caught.value).__name__ == CODES[code]
        assert (caught.value.said, caught.value.provider_code) == ("said", code)
        assert caught.value.status == 200


@pytest.mark.parametrize("code", ["c" * 10_000, "c\x00"], ids=["long", "with a zero byte"])
def test_a_code_is_cleaned_and_cut(code: str) -> None:
    failure = polled(task_id="1", status="Fail", base_resp=base(code)).failure
    assert failure is not None
    assert failure.provider_code is not None
    assert failure.provider_code.strip("c") == ""
    assert len(failure.provider_code) <= 500


@SPEAKERS
@pytest.mark.parametrize("code", SUCCESS)
def test_a_zero_or_no_code_is_no_error(name: str, code: object) -> None:
    doors = exchanges(HANDLERS[name])
    body = told(task_id="1", status="Processing", base_resp=base(code))
    assert doors["submit"].parse(message(200, body)).phase is Phase.RUNNING
    assert doors["poll"].parse(message(200, body)).phase is Phase.RUNNING


@pytest.mark.parametrize("word", POLL_WORDS)
def test_the_words_of_a_poll(word: str) -> None:
    assert polled(task_id="1", status=word, base_resp=base(0)).phase is POLL_WORDS[word]


def test_a_task_that_is_not_known_is_a_miss() -> None:
    with pytest.raises(Rejected) as caught:
        polled(task_id="1", status="Unknown", base_resp=base(0))
    assert (type(caught.value), caught.value.provider_code, caught.value.said) == (Rejected, "unknown", "")


@pytest.mark.parametrize("word", CALLBACK_WORDS)
def test_the_words_of_a_callback(word: str) -> None:
    body = told(task_id="1", status=word, base_resp=base(0))
    assert ring().parse(message(200, body)).phase is CALLBACK_WORDS[word]


@pytest.mark.parametrize("code", ["1026", "1027"])
def test_a_refused_content_is_told_as_such(code: str) -> None:
    failure = polled(task_id="1", status="Fail", base_resp=base(int(code), "sensitive")).failure
    assert failure is not None
    assert (failure.code, failure.provider_code) == (FailureCode.CONTENT_POLICY, code)
    assert failure.message == "sensitive"


def test_a_job_that_ended_says_so_whatever_the_code() -> None:
    failure = polled(task_id="1", status="Fail", base_resp=base(1024, "broken")).failure
    assert failure is not None
    assert (failure.code, failure.provider_code) == (FailureCode.GENERATION_FAILED, "1024")
    assert polled(task_id="1", status="Success", file_id="2", base_resp=base(1002)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("file_id", [None, "", [], {}, True])
def test_a_success_without_a_file_has_no_asset(file_id: object) -> None:
    update = polled(task_id="1", status="Success", file_id=file_id, base_resp=base(0))
    assert (update.phase, update.assets) == (Phase.SUCCEEDED, ())


@SPEAKERS
def test_ids_are_text_whatever_they_were(name: str) -> None:
    poll = exchanges(HANDLERS[name])["poll"]
    number = poll.parse(message(200, told(task_id=115, status="Success", file_id=205, base_resp=base(0))))
    text = poll.parse(message(200, told(task_id="115", status="Success", file_id="205", base_resp=base(0))))
    assert replace(number, result=None) == replace(text, result=None)
    assert [asset.source for asset in number.assets] == ["205"]


def test_a_link_is_good_for_nine_hours_from_its_answer() -> None:
    body = told(file={"download_url": "https://files.example/a.mp4"}, base_resp=base(0))
    asset = exchanges(HANDLERS["minimax"])["resolve"].parse(message(200, body))
    assert isinstance(asset, Asset)
    assert asset.expires_at is not None
    assert (asset.expires_at - RECEIVED_AT).total_seconds() == 32_400


def test_a_file_id_is_a_query_value() -> None:
    job = JobRef("job_1", "1&x=2", "video")
    account = Account("mine", "https://api.minimax.io", API_KEY)
    doors = exchanges(HANDLERS["minimax"])
    retrieved = doors["resolve"].build(AssetRef(job, 0, "2&a=b#c"), account)
    assert retrieved.path == "/v1/files/retrieve?file_id=2%26a%3Db%23c"
    assert doors["poll"].build(job, account).path == "/v1/query/video_generation?task_id=1%26x%3D2"


@pytest.mark.parametrize(
    "word",
    [
        "1a3cs1j-601a",
        "",
        " ",
        '"quoted"',
        "\\",
        "ä灯\U0001f600",
        "</script>",
        "\u0000\n",
        "\u2028",
        "x" * 100_000,
    ],
    ids=lambda word: ascii(word[:12]),
)
def test_a_challenge_is_echoed_as_it_was(word: str) -> None:
    for ascii_only in (True, False):
        asked = json.dumps({"challenge": word}, ensure_ascii=ascii_only).encode()
        answer = ring().challenge(message(200, asked))
        assert answer is not None
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert json.loads(answer.body) == {"challenge": word}


def test_only_the_challenge_is_echoed() -> None:
    answer = ring().challenge(message(200, told(challenge="c", token="t", more={"challenge": "d"})))
    assert answer is not None
    assert json.loads(answer.body) == {"challenge": "c"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b'"challenge"', b"challenge", b"null", b'["challenge"]', b'{"Challenge":"c"}',
        b'{"challenge":7}', b'{"challenge":null}', b'{"challenge":true}', b'{"challenge":["c"]}',
        b'{"challenge":{"challenge":"c"}}', b'{"challenge":"a","challenge":"b"}', b'{"challenge":"\\ud800"}',
        b'{"challenge":"c"', b'\xef\xbb\xbf{"challenge":"c"}', b'{"challenge":"\xff"}', b"[" * 100_000,
        b'{"challenge":"c","task_id":"1"}', b'{"task_id":"1","status":"success","challenge":"c"}',
    ],
    ids=lambda body: ascii(body[:40]),
)  # fmt: skip
def test_what_is_no_challenge_is_not_answered_as_one(body: bytes) -> None:
    assert ring().challenge(message(200, body)) is None


def test_a_challenge_is_no_news_about_a_job() -> None:
    update = ring().parse(message(200, told(challenge="c")))
    assert (update.phase, update.provider_job_id) == (Phase.UNKNOWN, None)
    with pytest.raises(BadPayload):
        ring().parse(message(200, b"[]"))


@SPEAKERS
def test_length_and_model_only_warn(name: str) -> None:
    def problems(**given: Any) -> list[tuple[str, bool]]:
        found = HANDLERS[name].check(Submission("job_1", "video", given))
        return [(problem.pointer, problem.warning) for problem in found]

    assert problems(prompt="x" * 2000, model="T2V-01") == []
    assert problems(prompt="x" * 2001, model="T2V-01") == [("/prompt", True)]
    assert problems(prompt="x", model="Hailuo-99") == [("/model", True)]
    assert problems(prompt="x") == [("/model", False)]
    assert problems(prompt="x", model="") == [("/model", False)]


@SPEAKERS
@pytest.mark.parametrize("status", [400, 401, 429, 503])
@pytest.mark.parametrize(
    "spoilt",
    [
        "\ufeff%s",
        '%s,"unread":NaN}',
        '%s,"unread":"\\ud83d"}',
        '%s,"unread":1,"unread":2}',
        '%s,"unread":"\t"}',
    ],
)
def test_a_code_beside_an_error_status_is_read_from_json_a_little_off(
    name: str, status: int, spoilt: str
) -> None:
    whole = '{"base_resp":{"status_code":2013,"status_msg":"no such model"}}'
    body = spoilt % (whole if spoilt.endswith("%s") else whole[:-1])
    for door in ("submit", "poll"):
        with pytest.raises(ProviderError) as caught:
            exchanges(HANDLERS[name])[door].parse(message(status, body.encode()))
        assert (type(caught.value).__name__, caught.value.provider_code) == ("Rejected", "2013")


@SPEAKERS
def test_a_code_that_is_told_twice_with_two_values_is_no_refusal(name: str) -> None:
    body = b'{"base_resp":{"status_code":2013,"status_code":1004}}'
    with pytest.raises(ProviderError) as caught:
        exchanges(HANDLERS[name])["submit"].parse(message(400, body))
    assert type(caught.value).__name__ == "Garbled"
