"""Large and hostile bodies for every call: a clear answer, and nothing stored that is not needed."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import SILENT, finished, open_job, problem, ring

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024
JSON = {"content-type": "application/json"}
HEAD = b'{"provider":"apiframe","operation":"runway-imagine","input":{"prompt":"a tide","a":['


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for all tests."""
    async with deployed(tmp_path_factory.mktemp("large"), SILENT) as made:
        yield made


@pytest.mark.parametrize("unit", [b"0,", b"1e9,", b'"a",', b'{"":0},', b"[],"])
async def test_a_flat_body_is_refused_for_good(deployment: Deployment, unit: bytes) -> None:
    body = HEAD + unit * (8 * MIB // len(unit)) + b"0]}}"
    told = problem(await deployment.client.post("/v1/jobs", content=body, headers=JSON), 400, "malformed")
    assert "100000 values" in told["detail"]


async def test_a_body_of_many_middling_texts_is_too_large(deployment: Deployment) -> None:
    body = HEAD + (b'"' + b"A" * 30_000 + b'",') * 200 + b"0]}}"
    problem(await deployment.client.post("/v1/jobs", content=body, headers=JSON), 413, "too-large")


async def test_a_large_file_in_an_input_is_sent_as_it_came_and_shown_cut(deployment: Deployment) -> None:
    body = asking("apiframe", "a tide, lost")
    body["input"] |= {"image": "QUJD+/" * (MIB // 2), "seed": 1e22, "words": ["\u00e9\U0001f30a" * 20_000]}
    key = {"idempotency-key": "large"}
    made = await deployment.submit(body, headers=key)
    shown = await deployment.until(lambda: deployment.job(made["id"]), lambda told: told["provider_job_id"])
    assert deployment.world.jobs[shown["provider_job_id"]].input.items() >= body["input"].items()
    assert shown["input"]["image"] == f"{body['input']['image'][:1024]}... ({3 * MIB} characters)"
    assert shown["input"]["seed"] == 1e22
    spelled = json.dumps(dict(reversed(body.items())), ensure_ascii=False).encode()
    again = await deployment.client.post("/v1/jobs", content=spelled, headers=JSON | key)
    assert (again.status_code, again.json()["id"]) == (202, made["id"])
    body["input"]["image"] += "="
    problem(await deployment.client.post("/v1/jobs", json=body, headers=key), 422, "idempotency-mismatch")


async def test_a_prompt_that_is_too_long_is_refused_however_long(deployment: Deployment) -> None:
    for characters in (4097, 100_000, 3 * MIB):
        body = {
            "provider": "getimg",
            "operation": "video",
            "input": {"model": "m", "prompt": "x" * characters},
        }
        told = problem(await deployment.client.post("/v1/jobs", json=body), 422, "validation")
        assert [error["pointer"] for error in told["errors"]] == ["/input/prompt"]


@pytest.mark.parametrize("count", [201, 50_000])
async def test_a_crowd_of_fields_is_one_error(deployment: Deployment, count: int) -> None:
    crowd = {f"a{number}": "" for number in range(count)}
    for extra, pointer in (({"metadata": crowd}, "/metadata"), (crowd, "")):
        answer = await deployment.client.post("/v1/jobs", json=asking("apiframe") | extra)
        told = problem(answer, 422, "validation")
        assert [error["pointer"] for error in told["errors"]] == [pointer]


async def test_many_problems_of_an_input_are_told_up_to_a_hundred(deployment: Deployment) -> None:
    given = {"model": "m", "prompt": "a tide", "images": [{}] * 20_000}
    answer = await deployment.client.post("/v1/jobs", json={"provider": "getimg", "input": given})
    assert len(problem(answer, 422, "validation")["errors"]) == 100


@pytest.mark.parametrize(
    "character", ["\x00", "\x1b", "\n", "\x7f", "\x9b", "\u202e", "\u2066", "\ufeff", "\ue000"]
)
async def test_a_name_holds_no_control_characters(deployment: Deployment, character: str) -> None:
    wrong = f"a{character}b"
    asked = {
        "/v1/jobs": (asking("apiframe") | {"metadata": {"order": wrong}}, "/metadata/order"),
        "/v1/endpoints": ({"url": deployment.hook.url, "description": wrong}, "/description"),
    }
    for path, (body, pointer) in asked.items():
        told = problem(await deployment.client.post(path, json=body), 422, "validation")
        [error] = told["errors"]
        assert error["pointer"] == pointer
        assert f"U+{ord(character):04X}" in error["detail"]


async def test_the_name_of_a_key_is_kept_without_control_characters(deployment: Deployment) -> None:
    asked = {
        "name": " \x1b]0;owned\x07\x9b31m\tbuild\u202e\n\u2066 \ufeffserver\x00",
        "scopes": ["jobs:read"],
    }
    made = await deployment.client.post("/v1/keys", json=asked)
    assert (made.status_code, made.json()["name"]) == (201, "]0;owned31m build  server")
    problem(
        await deployment.client.post("/v1/keys", json=asked | {"name": "\x1b\n\u202e"}), 422, "validation"
    )


async def test_a_name_may_hold_any_letters(deployment: Deployment) -> None:
    metadata = {
        "\U0001f30a": "\u5305 \u00fc \U0001f468\u200d\U0001f469\u200d\U0001f467 \u0645\u06cc\u200c\u062e"
    }
    assert (await deployment.submit(asking("apiframe", metadata=metadata)))["metadata"] == metadata


async def test_a_job_keeps_200_files_and_tells_of_the_rest(deployment: Deployment) -> None:
    job = await open_job(deployment)
    links = [f"https://files.example/{number}.mp4" for number in range(20_000)]
    await ring(deployment, job, finished(job, video_url=None, video_urls=links))
    told = await deployment.job(job["id"])
    assert told["state"] == "succeeded"
    assert [asset["provider_url"] for asset in told["assets"]] == links[:200]
    [callback] = [one for one in await deployment.timeline(job["id"]) if one["kind"] == "callback"]
    assert callback["files_left"] == 19_800
