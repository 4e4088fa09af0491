"""The vendors' own clients: each completes a job against the sandbox, which has the shapes of the vendor.

A client is imported by its own test: together they would cost every process of the tests seconds.
"""

import asyncio
import socket
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from receiver.cli.sandbox import listening, world
from receiver.sandbox.app import application
from receiver.sandbox.world import Knobs
from tests.loopback import is_loopback

AUDIO = "https://files.example/tide.mp3"
IMAGE = "https://files.example/tide.png"


def _apiframe(url: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from apiframe import Apiframe
    with Apiframe(api_key="k", base_url=url) as client:
        assert client.tasks.get_account_info()["plan"]
        task = client.midjourney.imagine({"prompt": "a tide"})
        done = client.tasks.wait_for(task["id"], interval=0)
    assert done["status"] == "completed"
    return list(done["image_urls"])


def _assemblyai(url: str) -> list[str]:
    import assemblyai

    settings = assemblyai.Settings(api_key="k", base_url=url, polling_interval=0.01)
    client = assemblyai.Client(settings=settings)
    transcript = assemblyai.Transcriber(client=client).transcribe(AUDIO)
    assert transcript.status == assemblyai.TranscriptStatus.completed
    assert transcript.audio_url == AUDIO
    return [transcript.text, *(word.text for word in transcript.words)]


def _dashscope(url: str) -> list[str]:
    from dashscope import VideoSynthesis

    place: dict[str, Any] = {"api_key": "k", "base_address": f"{url}/api/v1"}
    started = VideoSynthesis.async_call(model="wan2.2-t2v-plus", prompt="a tide", **place)
    done = VideoSynthesis.wait(started, **place)
    assert (done.status_code, done.output.task_status) == (200, "SUCCEEDED")
    return [done.output.video_url]


def _elevenlabs(url: str) -> list[str]:
    from elevenlabs import ElevenLabs, VideoGenerationRequest_Veo31Generate001

    video = ElevenLabs(api_key="k", base_url=url).flows.video
    started = video.create(request=VideoGenerationRequest_Veo31Generate001(prompt="a tide"))
    while (done := video.get(started.id)).status in {"pending", "generating"}:
        pass
    assert (done.status, done.content_mime_type) == ("completed", "video/mp4")
    return [done.content_url]


def _fal(url: str) -> list[str]:
    import fal_client

    client = fal_client.SyncClient(key="k")
    with pytest.MonkeyPatch.context() as patch:
        # It takes another host from the environment, but dials it over TLS.
        patch.setattr("fal_client.client.QUEUE_URL_FORMAT", f"{url}/")
        started = client.submit("fal-ai/flux/dev", {"prompt": "a tide"})
        seen = [type(one) for one in started.iter_events(with_logs=True, interval=0)]
        assert (seen[0], seen[-1]) == (fal_client.Queued, fal_client.Completed)
        again = client.get_handle("fal-ai/flux/dev", started.request_id)
        assert again.get(interval=0) == started.get(interval=0)
        return [image["url"] for image in started.get(interval=0)["images"]]


def _getimg(url: str) -> list[str]:
    from getimg import GetimgAI

    client = GetimgAI(api_key="k", base_url=url, max_retries=0)
    image = client.images.generate(model="m", prompt="a tide")
    assert "/0.png?exp=" in image.data[0].url
    started = client.videos.generations.create(model="m", prompt="a tide")
    while (video := client.videos.generations.retrieve(started.id)).status == "pending":
        pass
    assert video.status == "completed"
    link, _, ends = video.data[0].url.partition("?")
    assert ends.startswith("exp=")
    return [link]


def _google(url: str) -> list[str]:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url})
    source = genai.types.GenerateVideosSource(prompt="a tide")
    operation = client.models.generate_videos(model="veo-3.1-generate-preview", source=source)
    assert not operation.done
    while not operation.done:
        operation = client.operations.get(operation)
    return [one.video.uri for one in operation.response.generated_videos]


def _leonardo(url: str) -> list[str]:
    from leonardo_ai_sdk import LeonardoAiSDK

    with LeonardoAiSDK(bearer_auth="k", server_url=f"{url}/api/rest/v1") as client:
        answer = client.image.create_generation(request={"model_id": "m", "prompt": "a tide"})
        identity = answer.object.sd_generation_job.generation_id
        while True:
            job = client.image.get_generation_by_id(id=identity).object.generations_by_pk
            assert (job.id, job.prompt) == (identity, "a tide")
            if job.status.value != "PENDING":
                break
    assert job.status.value == "COMPLETE"
    return [image.url for image in job.generated_images]


def _luma(url: str) -> list[str]:
    from lumaai import LumaAI

    with LumaAI(auth_token="k", base_url=url, max_retries=0) as client:
        job = client.generations.video.create(model="ray-2", prompt="a tide")
        while job.state in {"queued", "dreaming"}:
            job = client.generations.get(job.id)
    assert (job.state, job.model) == ("completed", "ray-2")
    return [job.assets.video]


def _openai(url: str) -> list[str]:
    from openai import OpenAI

    with OpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as client:
        job = client.responses.create(model="gpt-5", input="a tide", background=True)
        assert job.status == "queued"
        while job.status in {"queued", "in_progress"}:
            job = client.responses.retrieve(job.id)
    assert (job.status, job.model) == ("completed", "gpt-5")
    return [job.output_text]


def _replicate(url: str) -> list[str]:
    from replicate import Client

    client = Client(api_token="k", base_url=url)
    client.poll_interval = 0.0
    job = client.predictions.create(version="v1", input={"prompt": "a tide"})
    assert job.status == "starting"
    job.wait()
    assert [(one.id, one.status) for one in client.predictions.list()] == [(job.id, "succeeded")]
    return list(job.output)


def _runway(url: str) -> list[str]:
    from runwayml import RunwayML

    with RunwayML(api_key="k", base_url=url, max_retries=0) as client, pytest.MonkeyPatch.context() as patch:
        for name in ("POLL_TIME", "POLL_JITTER"):
            patch.setattr(f"runwayml.lib.polling.{name}", 0)
        started = client.image_to_video.create(
            model="gen4_turbo", prompt_image=IMAGE, prompt_text="a tide", ratio="1280:720", duration=5
        )
        done = started.wait_for_task_output()
    assert (done.created_at.year, done.cost.credits) == (2026, 25)
    return list(done.output)


def _together(url: str) -> list[str]:
    from together import Together

    with Together(api_key="k", base_url=f"{url}/v2", max_retries=0) as client:
        job = client.videos.create(model="minimax/video-01-director", prompt="a tide")
        while job.status not in {"completed", "failed"}:
            job = client.videos.retrieve(job.id)
    assert (job.model, job.outputs.cost) == ("minimax/video-01-director", 1)
    return [job.outputs.video_url]


def _tripo(url: str) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        # Its import starts a thread that asks other hosts for our country, unless this is set.
        patch.setenv("TRIPO_DISABLE_GEO_DETECTION", "1")
        import tripo3d

        tripo3d._detection_thread.join()

    async def run() -> list[str]:
        async with tripo3d.TripoClient(api_key="tsk_k", v3_base_url=url) as client:
            job = await client.wait_for_task(await client.text_to_model("a tide"), polling_interval=0)
        assert job.status is tripo3d.TaskStatus.SUCCESS
        return [job.output.model_url]

    return asyncio.run(run())


def _wavespeed(url: str) -> list[str]:
    from wavespeed import Client

    client = Client(api_key="k", base_url=url)
    return list(client.run("wavespeed-ai/flux-dev", {"prompt": "a tide"}, poll_interval=0)["outputs"])


def _zhipu(url: str) -> list[str]:
    from zai import ZhipuAiClient

    client = ZhipuAiClient(api_key="k", base_url=f"{url}/api/paas/v4", max_retries=0)
    job = client.videos.generations(model="cogvideox-3", prompt="a tide")
    while job.task_status == "PROCESSING":
        job = client.videos.retrieve_videos_result(job.id)
    assert (job.task_status, job.model) == ("SUCCESS", "cogvideox-3")
    return [one.url for one in job.video_result]


VIDEO = ["{files}/0.mp4"]
PICTURE = ["{files}/0.png"]
CLIENTS: Mapping[str, tuple[str, Callable[[str], list[str]], list[str]]] = {
    "apiframe-sdk": ("apiframe", _apiframe, [f"{{files}}/{number}.png" for number in range(1, 5)]),
    "assemblyai": ("assemblyai", _assemblyai, ["a tide", "a", "tide"]),
    "dashscope": ("dashscope", _dashscope, VIDEO),
    "elevenlabs": ("elevenlabs", _elevenlabs, VIDEO),
    "fal-client": ("fal", _fal, PICTURE),
    "getimg": ("getimg", _getimg, VIDEO),
    "google-genai": ("veo-gemini", _google, ["{downloads}/0.mp4"]),
    "leonardo-ai-sdk": ("leonardo", _leonardo, PICTURE),
    "lumaai": ("luma", _luma, VIDEO),
    "openai": ("openai", _openai, ["A tide came in."]),
    "replicate": ("replicate", _replicate, VIDEO),
    "runwayml": ("runway", _runway, VIDEO),
    "together": ("together", _together, VIDEO),
    "tripo3d": ("tripo", _tripo, ["{files}/0.glb"]),
    "wavespeed": ("wavespeed", _wavespeed, PICTURE),
    "zai-sdk": ("zhipu", _zhipu, VIDEO),
}
"""By package: the provider, the function that completes a job, and the links or texts that it finds."""


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the hosts that are looked up and are not this machine. They are not found."""
    found: list[str] = []
    look_up = socket.getaddrinfo

    def looked_up(host: Any, *others: Any, **named: Any) -> Any:
        if not is_loopback(str(host)):
            found.append(str(host))
            raise socket.gaierror(f"a client looks up {host}")
        return look_up(host, *others, **named)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # some clients use names that pydantic will drop
@pytest.mark.parametrize("package", CLIENTS)
async def test_a_vendors_client_completes_a_job(package: str, strange: list[str]) -> None:
    provider, complete, expected = CLIENTS[package]
    async with world(Knobs(takes=0.2)) as made, listening(application(made)) as url:
        found = await asyncio.to_thread(complete, f"{url}/{provider}")
        *_, job = made.jobs.values()
    places = {place: f"{url}/{provider}/{place}/{job.id}" for place in ("files", "downloads")}
    assert found == [one.format(**places) for one in expected]
    assert set(made.accepted) == {provider}
    assert strange == []
