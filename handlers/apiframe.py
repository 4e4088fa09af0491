"""APIFRAME v1. Read 2026-10: docs.apiframe.ai and the packages `apiframe` and `apiframe-sdk`.

Official: the paths, `task_id`, POST /fetch, `percentage` as number or text, `x-webhook-secret`, progress
and final callbacks with the object that /fetch answers. Unconfirmed: the shape of a failure and the full
list of status words; further words are taken from deployed receivers.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from handlers import proofs, wire
from handlers.contract import (
    Account,
    Asset,
    Callback,
    Exchange,
    Failure,
    Handler,
    HttpMessage,
    HttpRequest,
    JobRef,
    Kind,
    Operation,
    Options,
    Phase,
    Problem,
    Provider,
    Submission,
    Update,
)
from handlers.errors import Garbled

PHASES = {
    "pending": Phase.QUEUED,
    "queued": Phase.QUEUED,
    "staged": Phase.QUEUED,
    "starting": Phase.RUNNING,
    "processing": Phase.RUNNING,
    "finished": Phase.SUCCEEDED,
    "completed": Phase.SUCCEEDED,
    "success": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "error": Phase.FAILED,
}

RINGS_BACK: dict[Kind | None, str] = {
    Kind.IMAGE: """
        imagine reroll variations upscale-1x upscale-alt upscale-highres inpaint outpaint pan blend faceswap
        flux-imagine kling-tryon pro/midjourney/imagine pro/midjourney/upscale pro/midjourney/vary
        pro/midjourney/variations pro/midjourney/pan pro/midjourney/zoom""",
    Kind.VIDEO: "imagine-video imagine-video-extend runway-imagine luma-imagine luma-extend kling-imagine",
    Kind.AUDIO: "suno-imagine suno-extend udio-imagine",
    None: "describe shorten seed ai-photos/upload ai-photos/train",
}
POLLED: dict[Kind | None, str] = {
    Kind.IMAGE: "ideogram-imagine ideogram-upscale ideogram-remix ai-photos/generate",
    None: "ideogram-describe suno-upload suno-lyrics",
}
OPERATIONS = {
    name: Operation(f"/{name}", kind, callback)
    for table, callback in ((RINGS_BACK, True), (POLLED, False))
    for kind, names in table.items()
    for name in names.split()
}
NEEDS_PROMPT = frozenset({"imagine", "imagine-video", "luma-imagine", "suno-imagine", "flux-imagine"})


class ApiframeOptions(Options):
    """The vendor's pages and packages disagree on how the key is sent."""

    auth_scheme: Literal["raw", "bearer"] = Field(
        default="raw", description="`raw` sends the key alone, `bearer` sends `Bearer <key>`"
    )


class Song(wire.Payload):
    """One of the songs of suno and udio."""

    audio_url: wire.Link = None
    video_url: wire.Link = None
    duration: wire.Number = None


class Task(wire.Payload):
    """What /fetch answers and what a callback posts."""

    task_id: wire.Id = None
    status: wire.Word = ""
    percentage: wire.Percent = None
    video_url: wire.Link = None
    video_urls: wire.Links = ()
    image_url: wire.Link = None
    image_urls: wire.Links = ()
    original_image_url: wire.Link = None
    audio_url: wire.Link = None
    songs: Any = None
    message: Any = None
    error: Any = None


RESULT_WORDS = frozenset(
    {"actions", "songs", "song_id", "lyrics", "content", "prompts", "descriptions", "seed"}
    | {"training_id", "training_images_id"}
)
"""Fields that show success where no file is made and `status` is missing."""


def assets_of(task: Task) -> tuple[Asset, ...]:
    """Every file of a task: videos, images (the grid last), songs."""
    songs = (
        [Song.model_validate(one) for one in task.songs if isinstance(one, dict)]
        if (isinstance(task.songs, list))
        else []
    )
    return (
        *wire.assets(Kind.VIDEO, [task.video_url, *task.video_urls]),
        *wire.assets(Kind.IMAGE, [*task.image_urls, task.image_url, task.original_image_url]),
        *(
            Asset(kind=Kind.AUDIO, url=song.audio_url, duration=song.duration)
            for song in songs
            if song.audio_url
        ),
        *wire.assets(Kind.AUDIO, [task.audio_url]),
    )


def to_update(task: Task, body: dict[str, Any]) -> Update:
    """A task in our words; without a `status`, a result says success (the documented imagine sample)."""
    assets = assets_of(task)
    phase = wire.phase(PHASES, task.status)
    if not task.status and (assets or RESULT_WORDS & body.keys()):
        phase = Phase.SUCCEEDED
    failure = None
    if phase is Phase.FAILED:
        failure = Failure(wire.code_of(body) or task.status, wire.sentence(body) or "generation failed")
    done = phase is Phase.SUCCEEDED
    return Update(
        provider_job_id=task.task_id,
        phase=phase,
        progress=task.percentage,
        assets=assets if done else (),
        result=body if done else None,
        failure=failure,
    )


def read(message: HttpMessage) -> Update:
    """What /fetch answers."""
    body = wire.answered(message)
    return to_update(wire.model(body, Task, message), body)


def read_callback(message: HttpMessage) -> Update:
    """A callback posts the object that /fetch answers."""
    body = wire.called_back(message)
    return to_update(wire.payload_of(body, Task), body)


def read_submitted(message: HttpMessage) -> Update:
    """A submit answers with the task's id alone; a 2xx without one is no acceptance that we can use."""
    task = wire.answer(message, Task)
    if task.task_id is None:
        raise Garbled("the answer names no task_id", status=message.status)
    return Update(provider_job_id=task.task_id, phase=Phase.QUEUED)


def check(submission: Submission) -> Sequence[Problem]:
    """The fields without which an operation is refused."""
    if submission.operation in NEEDS_PROMPT and not submission.input.get("prompt"):
        return (Problem("/prompt", "this operation needs a prompt"),)
    index = submission.input.get("index")
    if isinstance(index, int):
        return (Problem("/index", 'the index must be text, for example "1"'),)
    return ()


def configure(options: ApiframeOptions) -> Handler:
    """The handler for an account with these settings."""
    scheme = "Bearer " if options.auth_scheme == "bearer" else ""

    def auth(account: Account) -> tuple[str, str]:
        return ("authorization", scheme + account.api_key)

    def submit(job: Submission, account: Account) -> HttpRequest:
        body = dict(job.input)
        if job.callback_url:
            body |= {"webhook_url": job.callback_url, "webhook_secret": job.secret}
        return wire.post(OPERATIONS[job.operation].path, body, auth(account))

    def poll(job: JobRef, account: Account) -> HttpRequest:
        return wire.post("/fetch", {"task_id": job.provider_job_id}, auth(account))

    return Handler(
        name="apiframe",
        base_url="https://api.apiframe.pro",
        operations=OPERATIONS,
        check=check,
        submit=Exchange(submit, read_submitted),
        poll=Exchange(poll, read),
        callback=Callback(proofs.shared_secret("x-webhook-secret"), read_callback),
    )


PROVIDER = Provider("apiframe", ApiframeOptions, configure)
