"""Errors, reasons, files and waits in undocumented places of a provider's answers."""

import json
from typing import Any

import pytest

from handlers.captures import RECEIVED_AT, doors
from handlers.contract import HttpMessage
from tests.handlers.captures import HANDLERS

DONE = {"task_id": "1", "status": "finished"}
PREDICTION = {"id": "1", "status": "succeeded"}
VIDEO, COVER, BARE = "https://x.example/a.mp4", "https://x.example/a.jpg", "https://x.example/a"
INLINE = "data:image/png;base64,aGk="


def read(name: str, door: str, body: Any, status: int = 200) -> dict[str, Any]:
    """Return the reading of an answer by the handler of a provider."""
    content = json.dumps(body).encode()
    headers = (("content-type", "application/json"),)
    return doors(HANDLERS[name])[door](HttpMessage(status, headers, content, RECEIVED_AT))


def update(name: str, door: str, body: Any, status: int = 200) -> dict[str, Any]:
    """Return the update in an answer."""
    found: dict[str, Any] = read(name, door, body, status)["update"]
    return found


def kinds(name: str, body: Any, door: str = "poll") -> list[str]:
    """Return the kinds of the files in an answer, in order."""
    return [asset["kind"] for asset in update(name, door, body).get("assets", [])]


@pytest.mark.parametrize(
    ("name", "door", "body", "error", "code", "said"),
    [
        (
            "aiml",
            "poll",
            {"code": 400, "msg": "no such size", "data": None},
            "Rejected",
            "400",
            "no such size",
        ),
        (
            "apiframe",
            "poll",
            {"code": 501, "message": "it broke", "data": None},
            "Garbled",
            "501",
            "it broke",
        ),
        ("getimg", "poll", {"code": 429, "message": "wait"}, "Throttled", "429", "wait"),
        ("imagineo", "submit", {"data": {"error": {"code": "bad", "message": "m"}}}, "Rejected", "bad", "m"),
        ("together", "poll", {"error": {"message": "m"}}, "Rejected", None, "m"),
        ("aiml", "resolve", {"error": {"code": "e", "message": "gone"}}, "Rejected", "e", "gone"),
        ("kie", "poll", {"code": 400, "msg": "This violates our policy"}, "ContentRefused", "400", None),
        ("zhipu", "submit", {"error": {"code": "1113", "message": "m"}}, "AccountRefused", "1113", "m"),
        ("zhipu", "submit", {"error": {"code": "1302", "message": "m"}}, "Throttled", "1302", "m"),
        ("ark", "submit", {"error": {"code": "QuotaExceeded", "message": "m"}}, "AccountRefused", None, "m"),
        (
            "minimax-v2",
            "submit",
            {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}},
            "Throttled",
            "rate_limit_error",
            "slow",
        ),
        (
            "runware",
            "submit",
            {"errors": [{"code": "insufficientCredits", "message": "m", "taskUUID": "1"}]},
            "AccountRefused",
            "insufficientCredits",
            "m",
        ),
        (
            "runware",
            "submit",
            {"errors": [{"code": "rateLimitExceeded", "message": "m"}]},
            "Throttled",
            "rateLimitExceeded",
            "m",
        ),
        (
            "modelslab",
            "submit",
            {"status": "error", "message": {"prompt": ["The prompt field is required."]}},
            "Rejected",
            "error",
            "prompt: The prompt field is required.",
        ),
    ],
)
def test_an_error_inside_a_success_is_of_the_class_of_its_code(
    name: str, door: str, body: Any, error: str, code: str | None, said: str | None
) -> None:
    found = read(name, door, body)
    assert found["error"] == error
    assert code is None or found["provider_code"] == code
    assert said is None or found["said"] == said


def test_a_job_that_runware_has_already_is_no_failure() -> None:
    body = {"errors": [{"code": "conflictTaskUUID", "message": "m", "taskUUID": "1"}]}
    assert update("runware", "submit", body)["phase"] == "queued"


@pytest.mark.parametrize(
    ("name", "body", "code", "failure", "message"),
    [
        (
            "minimax",
            {
                "task_id": "1",
                "status": "Success",
                "file_id": "",
                "base_resp": {"status_code": 1027, "status_msg": "output content sensitive"},
            },
            "1027",
            "content_policy",
            "output content sensitive",
        ),
        (
            "minimax",
            {"task_id": "1", "status": "Success", "error": "The output was flagged"},
            None,
            "content_policy",
            "The output was flagged",
        ),
        ("apiframe", DONE | {"message": "Banned prompt detected"}, None, "content_policy", None),
        ("apiframe", DONE | {"errors": [{"msg": "m"}]}, None, "generation_failed", "m"),
        ("apiframe", DONE | {"fail_reason": "m"}, None, "generation_failed", "m"),
        ("replicate", PREDICTION | {"error_message": "m"}, None, "generation_failed", "m"),
        (
            "kling",
            {"code": 0, "data": {"task_id": "1", "task_status": "succeed"}, "error": {"message": "m"}},
            None,
            "generation_failed",
            "m",
        ),
        (
            "dashscope",
            {
                "output": {
                    "task_id": "1",
                    "task_status": "SUCCEEDED",
                    "results": [{"code": "DataInspectionFailed", "message": "m"}],
                }
            },
            "DataInspectionFailed",
            "content_policy",
            "m",
        ),
    ],
)
def test_a_success_without_a_file_keeps_the_reason_wherever_it_stands(
    name: str, body: Any, code: str | None, failure: str, message: str | None
) -> None:
    found = update(name, "poll", body)
    assert (found["phase"], found.get("assets", [])) == ("succeeded", [])
    assert found["failure"]["code"] == failure
    assert found["failure"].get("provider_code") == code
    assert message is None or found["failure"]["message"] == message


@pytest.mark.parametrize(
    "told", [{"message": "ok"}, {"message": "Request accepted"}, {"status_details": "done"}]
)
def test_a_message_about_the_call_is_no_reason_of_a_failure(told: dict[str, str]) -> None:
    assert "failure" not in update("apiframe", "poll", DONE | told)


@pytest.mark.parametrize("name", ["apiframe", "getimg", "heygen", "imagineo", "minimax"])
@pytest.mark.parametrize("word", ["UNKNOWN", "not_found", "Not Found", "task_not_exist"])
def test_a_job_that_its_provider_does_not_know_is_a_miss(name: str, word: str) -> None:
    status = {"task_id": "1", "id": "1", "run_id": "1", "status": word}
    body = {"data": status} if name == "heygen" else status
    assert read(name, "poll", body)["error"] == "Rejected"


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("replicate", PREDICTION | {"output": json.dumps({"video": VIDEO})}, ["video"]),
        ("replicate", PREDICTION | {"output": {"image": INLINE}}, ["image"]),
        ("replicate", PREDICTION | {"output": {"images": [INLINE, INLINE]}}, ["image", "image"]),
        ("replicate", PREDICTION | {"output": ["data:text/plain;base64,aGk="]}, ["file"]),
        ("replicate", PREDICTION | {"output": {"video_thumbnail": COVER}}, ["image"]),
        ("replicate", PREDICTION | {"output": {"audio_url": VIDEO}}, ["audio"]),
        ("replicate", PREDICTION | {"output": {"url": BARE, "content_type": "video/mp4"}}, ["video"]),
        (
            "apiframe-v2",
            {"id": "1", "status": "COMPLETED", "result": {"videos": [{"url": VIDEO, "thumbnail": COVER}]}},
            ["video", "image"],
        ),
        ("imagineo", {"run_id": "1", "status": "completed", "video": {"url": VIDEO}}, ["video"]),
        (
            "imagineo",
            {"run_id": "1", "status": "completed", "media_url": VIDEO, "input": {"image_url": COVER}},
            ["video"],
        ),
        ("imagineo", {"run_id": "1", "status": "completed", "images": [BARE]}, ["image"]),
        ("imagineo", {"run": {"run_id": "1", "status": "completed", "video_url": VIDEO}}, ["video"]),
        (
            "kling-3",
            {
                "code": 0,
                "data": [
                    {
                        "id": "1",
                        "status": "succeeded",
                        "outputs": [{"type": "video", "url": BARE}, {"type": "image", "url": BARE + "/b"}],
                    }
                ],
            },
            ["video", "image"],
        ),
        ("apiframe", DONE | {"imageUrl": "https://x.example/1.png"}, ["image"]),
    ],
)
def test_files_are_found_with_their_kinds(name: str, body: Any, expected: list[str]) -> None:
    assert kinds(name, body) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"video_url": BARE}, "video"),
        ({"images": [BARE]}, "image"),
        ({"video": VIDEO}, "video"),
        ({"audio_url": BARE}, "audio"),
    ],
)
def test_a_pointers_own_name_tells_the_kind(told: dict[str, Any], expected: str) -> None:
    body = {"request_id": "1", "inference_status": {"status": "succeeded"}} | told
    assert kinds("deepinfra", body, "callback") == [expected]


def test_the_type_of_a_video_is_not_that_of_its_cover() -> None:
    body = {"video": {"url": VIDEO, "content_type": "video/mp4", "thumbnail_url": COVER}}
    assets = update("fal", "result", body)["assets"]
    assert [(one["kind"], one.get("mime_type")) for one in assets] == [
        ("video", "video/mp4"),
        ("image", None),
    ]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("replicate", PREDICTION | {"output": {"images": [COVER], "has_nsfw_concepts": [True]}}),
        ("replicate", PREDICTION | {"output": {"images": [], "raiMediaFilteredCount": 1}}),
        ("imagineo", {"run_id": "1", "status": "completed", "image_url": COVER, "is_image_safe": False}),
        ("imagineo", {"run_id": "1", "status": "completed", "respect_moderation": False}),
        ("xai", {"video": {"url": "", "respect_moderation": False}, "model": "grok-imagine-video"}),
        (
            "wavespeed",
            {
                "code": 200,
                "data": {"id": "1", "status": "completed", "outputs": [], "has_nsfw_contents": [True]},
            },
        ),
        (
            "freepik",
            {"data": {"task_id": "1", "status": "COMPLETED", "generated": [], "has_nsfw": [True, False]}},
        ),
        (
            "novita",
            {
                "task": {"task_id": "1", "status": "TASK_STATUS_SUCCEED"},
                "images": [],
                "extra": {"has_nsfw_contents": [True]},
            },
        ),
        (
            "openai",
            {"id": "1", "status": "failed", "error": {"code": "invalid_prompt", "message": "limited"}},
        ),
        (
            "runware",
            {
                "errors": [
                    {"code": "invalidProviderContent", "message": "m", "taskUUID": "1", "status": "error"}
                ]
            },
        ),
        (
            "ark",
            {"id": "1", "status": "failed", "error": {"code": "OutputVideoRiskDetection", "message": "m"}},
        ),
        ("apiframe", {"task_id": "1", "status": "rejected"}),
    ],
)
def test_content_that_a_filter_took_is_told_as_such(name: str, body: Any) -> None:
    found = update(name, "poll", body)
    assert (found["phase"], found["failure"]["code"]) == ("failed", "content_policy")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, {"code": 1102, "message": "Resource pack depleted"}, "AccountRefused"),
        (429, {"code": 1100, "message": "Account exception"}, "AccountRefused"),
        (429, {"error": {"code": "1008", "message": "m"}}, "AccountRefused"),
        (429, {"detail": "Account balance insufficient"}, "AccountRefused"),
        (429, {"detail": "Your balance is insufficient, please recharge"}, "AccountRefused"),
        (429, {"detail": "Quota exceeded for requests per minute"}, "Throttled"),
        (403, {"detail": "You must accept the terms of service before using it"}, "Rejected"),
        (403, {"detail": "Please agree to the license"}, "Rejected"),
    ],
)
@pytest.mark.parametrize("name", ["apiframe", "replicate"])
def test_one_status_is_told_apart_by_code_and_words(name: str, status: int, body: Any, error: str) -> None:
    assert read(name, "submit", body, status)["error"] == error


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"detail": {"msg": "t", "retry_after": 4}}, 4),
        ({"errors": [{"msg": "t", "retry_after": 4}]}, 4),
        ({"detail": "t", "retry_after": "7s"}, 7),
        ({"detail": "t", "retry_after_ms": 1500}, 2),
        ({"error": {"details": [{"retryDelay": "34s"}]}}, 34),
        ({"detail": "t", "retry_after": "soon"}, None),
    ],
)
def test_a_wait_in_a_body_is_found(body: Any, seconds: int | None) -> None:
    assert read("replicate", "submit", body, 429).get("retry_after") == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"errors": {"prompt": ["can't be blank"], "size": ["is not a number"]}},
            "prompt: can't be blank; size: is not a number",
        ),
        ({"error": {"message": {"prompt": ["bad"]}}}, "prompt: bad"),
        ({"error": "e", "details": {"a": {"b": ["c"]}}}, "e; a: b: c"),
        ({"error": "Bad", "details": [{"field": "prompt", "message": "too long"}]}, "Bad; prompt: too long"),
        ({"message": "Bad.", "invalid_params": [{"field": "x", "reason": "y"}]}, "Bad; x: y"),
        ({"prompt": ["This field is required."]}, "prompt: This field is required."),
    ],
)
def test_the_sentences_of_fields_are_joined(body: Any, said: str) -> None:
    assert read("replicate", "submit", body, 422)["said"] == said
