"""Errors, flags and files in the shapes of single providers: of calls, of jobs, and of model families."""

from typing import Any

import pytest

from tests.handlers.test_odd_answers import BARE, COVER, INLINE, VIDEO, kinds, read, update


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (
            "wavespeed",
            {
                "code": 200,
                "data": {"id": "1", "status": "completed", "outputs": [VIDEO], "has_nsfw_contents": [True]},
            },
        ),
        (
            "freepik",
            {"data": {"task_id": "1", "status": "COMPLETED", "generated": [VIDEO], "has_nsfw": [True]}},
        ),
    ],
)
def test_a_flagged_file_that_is_sent_is_a_file(name: str, body: Any) -> None:
    assert update(name, "poll", body)["phase"] == "succeeded"
    assert kinds(name, body) == ["video"]


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("runware", {"errors": [{"code": "rateLimitExceeded", "message": "Too many requests"}]}, "Throttled"),
        (
            "runware",
            {"errors": [{"code": "invalidApiKey", "message": "m", "taskUUID": "1"}]},
            "AccountRefused",
        ),
        ("runware", {"errors": [{"code": "insufficientCredits", "message": "m"}]}, "AccountRefused"),
        ("runware", {"errors": [{"code": "serverError", "message": "m", "taskUUID": "1"}]}, "Unavailable"),
        ("runware", {"errors": [{"code": "taskNotFound", "message": "m"}]}, "Rejected"),
        ("modelslab", {"status": "error", "message": "Request not found"}, "Rejected"),
        ("modelslab", {"status": "error", "message": "Server error, try again later"}, "Unavailable"),
        ("modelslab", {"status": "error", "message": "Your subscription has expired"}, "AccountRefused"),
    ],
)
def test_an_error_of_a_poll_ends_no_job(name: str, body: Any, error: str) -> None:
    assert read(name, "poll", body)["error"] == error


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("runware", {"errors": [{"code": "timeoutProvider", "message": "m", "taskUUID": "1"}]}),
        ("modelslab", {"status": "error", "id": 1, "message": "Request not found"}),
        ("modelslab", {"status": "error", "message": "the model failed"}),
    ],
)
def test_an_error_of_a_job_ends_it(name: str, body: Any) -> None:
    assert update(name, "poll", body)["phase"] == "failed"


@pytest.mark.parametrize(
    ("name", "status", "body", "error"),
    [
        (
            "minimax-v2",
            status,
            {"error": {"type": "unprocessable_entity_error", "message": "input new_sensitive (1026)"}},
            "ContentRefused",
        )
        for status in (400, 422, 500)
    ]
    + [
        ("dashscope", 429, {"code": code, "message": "m"}, "AccountRefused")
        for code in ("PrepaidBillOverdue", "PostpaidBillOverdue", "CommodityNotPurchased", "Arrearage")
    ]
    + [
        (
            "dashscope",
            403,
            {"code": "AllocationQuota.FreeTierOnly", "message": "The free tier of the model is exhausted."},
            "AccountRefused",
        ),
        ("dashscope", 429, {"code": "Throttling.RateQuota", "message": "m"}, "Throttled"),
        ("dashscope", 400, {"code": "IPInfringementSuspect", "message": "m"}, "ContentRefused"),
        ("dashscope", 400, {"code": "DataInspectionFailed", "message": "m"}, "ContentRefused"),
        (
            "dashscope",
            400,
            {
                "code": "InvalidParameter.DataInspection",
                "message": "Unable to download the media resource during the data inspection process.",
            },
            "Rejected",
        ),
        (
            "leonardo",
            400,
            {"error": "not enough api tokens userId: 1", "path": "$", "code": "unexpected"},
            "AccountRefused",
        ),
        (
            "leonardo",
            500,
            {"error": "Invalid response from authorization hook", "path": "$", "code": "unexpected"},
            "AccountRefused",
        ),
        (
            "leonardo",
            400,
            {"error": "Authentication hook unauthorized this request", "code": "access-denied"},
            "AccountRefused",
        ),
        ("kie", 200, {"code": 433, "msg": "sub-key usage exceeds limit", "data": None}, "AccountRefused"),
        ("elevenlabs", 400, {"detail": {"status": "quota_exceeded", "message": "m"}}, "AccountRefused"),
        (
            "freepik",
            429,
            {"message": "Free trial usage limit reached, please upgrade to a premium plan."},
            "AccountRefused",
        ),
        ("ark", 400, {"error": {"code": "InputTextRiskDetection", "message": "m"}}, "ContentRefused"),
        ("runware", 400, {"errors": [{"code": "invalidProviderContent", "message": "m"}]}, "ContentRefused"),
        (
            "veo-gemini",
            400,
            {
                "error": {
                    "code": 400,
                    "status": "INVALID_ARGUMENT",
                    "message": "This prompt contains words that violate Google's Responsible AI practices.",
                }
            },
            "ContentRefused",
        ),
        (
            "xai",
            400,
            {"code": "invalid-argument", "error": "Generated video rejected by content moderation."},
            "ContentRefused",
        ),
        ("openai", 400, {"error": {"code": "invalid_prompt", "message": "limited"}}, "ContentRefused"),
        ("openai", 400, {"error": {"code": "billing_hard_limit_reached", "message": "m"}}, "AccountRefused"),
        ("zhipu", 429, {"error": {"code": "1112", "message": "m"}}, "AccountRefused"),
        (
            "piapi",
            500,
            {
                "code": 500,
                "message": "failed to freeze point",
                "data": {"error": {"code": 10000, "message": "insufficient credits"}},
            },
            "AccountRefused",
        ),
        ("modelslab", 200, {"status": "error", "message": "Server is busy, try again later"}, "Throttled"),
        (
            "modelslab",
            200,
            {"status": "error", "message": "You have exhausted your monthly API limit"},
            "AccountRefused",
        ),
    ],
)
def test_a_refused_submission_is_of_its_class(name: str, status: int, body: Any, error: str) -> None:
    assert read(name, "submit", body, status)["error"] == error


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        (
            "dashscope",
            {
                "output": {
                    "task_id": "1",
                    "task_status": "FAILED",
                    "code": "InvalidParameter.DataInspection",
                    "message": "Unable to download the media resource during the data inspection process.",
                }
            },
            ("InvalidParameter.DataInspection", "generation_failed"),
        ),
        (
            "dashscope",
            {
                "output": {
                    "task_id": "1",
                    "task_status": "FAILED",
                    "code": "IPInfringementSuspect",
                    "message": "Input data is suspected of being involved in IP infringement.",
                }
            },
            ("IPInfringementSuspect", "content_policy"),
        ),
        (
            "wavespeed",
            {
                "code": 200,
                "message": "success",
                "data": {
                    "id": "1",
                    "status": "failed",
                    "code": 1200,
                    "error": "The content contains sensitive information.",
                },
            },
            ("1200", "content_policy"),
        ),
        (
            "wavespeed",
            {"code": 200, "data": {"id": "1", "status": "failed", "code": 1200, "error": "moderated"}},
            ("1200", "content_policy"),
        ),
        (
            "piapi",
            {
                "code": 200,
                "data": {
                    "task_id": "1",
                    "status": "failed",
                    "error": {
                        "code": 10000,
                        "raw_message": "Failure to pass the risk control system",
                        "message": "task failed",
                    },
                },
            },
            ("10000", "content_policy"),
        ),
        (
            "heygen",
            {
                "data": {
                    "id": "1",
                    "status": "failed",
                    "error": {"code": 500, "message": "content moderation failed"},
                }
            },
            ("500", "content_policy"),
        ),
    ],
)
def test_a_failed_job_keeps_its_code_and_cause(
    name: str, body: Any, expected: tuple[str | None, str]
) -> None:
    failure = update(name, "poll", body)["failure"]
    assert (failure.get("provider_code"), failure["code"]) == expected


def test_the_reason_beside_a_sentence_about_the_whole_is_kept() -> None:
    body = {"message": "invalid request", "data": {"error": {"code": 10000, "message": "model is required"}}}
    assert read("piapi", "submit", body, 400)["said"] == "invalid request; model is required"


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        (
            "dashscope",
            {"output": {"task_id": "1", "task_status": "SUCCEEDED", "results": {"video_url": VIDEO}}},
            [("video", VIDEO)],
        ),
        (
            "dashscope",
            {
                "output": {
                    "task_id": "1",
                    "task_status": "SUCCEEDED",
                    "choices": [{"message": {"content": [{"image": COVER, "type": "image"}]}}],
                }
            },
            [("image", COVER)],
        ),
        (
            "runware",
            {"data": [{"taskUUID": "1", "status": "success", "imageDataURI": INLINE}]},
            [("image", None)],
        ),
        (
            "wavespeed",
            {"code": 200, "data": {"id": "1", "status": "completed", "outputs": [INLINE]}},
            [("image", None)],
        ),
        (
            "piapi",
            {
                "code": 200,
                "data": {
                    "task_id": "1",
                    "status": "completed",
                    "output": {"works": [{"video": {"resource": BARE, "resource_without_watermark": VIDEO}}]},
                },
            },
            [("video", VIDEO)],
        ),
        (
            "piapi",
            {
                "code": 200,
                "data": {
                    "task_id": "1",
                    "status": "completed",
                    "output": {"works": [{"video": {"resource": VIDEO}, "cover": {"resource": COVER}}]},
                },
            },
            [("video", VIDEO), ("image", COVER)],
        ),
    ],
)
def test_a_file_is_found_once_in_the_shapes_of_each_family(
    name: str, body: Any, expected: list[tuple[str, str | None]]
) -> None:
    assets = update(name, "poll", body)["assets"]
    assert [(one["kind"], one.get("url")) for one in assets] == expected


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("runway", {"id": "1", "status": "SUCCEEDED", "output": VIDEO}),
        ("wavespeed", {"code": 200, "data": {"id": "1", "status": "completed", "outputs": VIDEO}}),
        ("vidu", {"id": "1", "state": "success", "creations": {"id": "c1", "url": VIDEO}}),
        ("zhipu", {"id": "1", "task_status": "SUCCESS", "video_result": {"url": VIDEO}}),
        ("freepik", {"data": {"task_id": "1", "status": "COMPLETED", "generated": VIDEO}}),
    ],
)
def test_one_file_stands_for_a_list_of_it(name: str, body: Any) -> None:
    assert update(name, "poll", body)["phase"] == "succeeded"
    assert [one["url"] for one in update(name, "poll", body)["assets"]] == [VIDEO]
