"""APIFRAME v1. Read 2026-10: docs.apiframe.ai and the packages `apiframe` and `apiframe-sdk`.

Official: the paths, `task_id`, POST /fetch, `percentage` as number or text, `x-webhook-secret`, progress
and final callbacks with the object that /fetch answers. Unconfirmed: the shape of a failure and the full
list of status words; further words are taken from deployed receivers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from handlers import proofs, rules, said, wire
from handlers.contract import (
    Account,
    Asset,
    Callback,
    Exchange,
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
        flux-imagine kling-tryon pro/imagine pro/upscale pro/vary pro/variations pro/pan pro/zoom
        pro/midjourney/imagine pro/midjourney/upscale pro/midjourney/vary pro/midjourney/variations
        pro/midjourney/pan pro/midjourney/zoom""",
    Kind.VIDEO: """
        imagine-video imagine-video-extend runway-imagine luma-imagine luma-extend kling-imagine
        kling-imagine-2-6""",
    Kind.AUDIO: "suno-imagine suno-extend udio-generate",
    None: "describe shorten seed pro/seed ai-photo-upload ai-photo-train",
}
POLLED: dict[Kind | None, str] = {
    Kind.IMAGE: """
        ideogram-imagine ideogram-upscale ideogram-remix nano-banana nano-banana-pro ai-photo-generate""",
    None: "ideogram-describe suno-upload suno-lyrics",
}
FORMER = {
    "udio-imagine": "udio-generate",
    "ai-photos/upload": "ai-photo-upload",
    "ai-photos/train": "ai-photo-train",
    "ai-photos/generate": "ai-photo-generate",
}
"""Operations by the names that the vendor's packages give them; its pages and servers know the others."""
OPERATIONS = {
    name: Operation(f"/{name}", kind, callback)
    for table, callback in ((RINGS_BACK, True), (POLLED, False))
    for kind, names in table.items()
    for name in names.split()
}
OPERATIONS |= {former: OPERATIONS[name] for former, name in FORMER.items()}
NEEDS_PROMPT = frozenset({"imagine", "imagine-video", "luma-imagine", "flux-imagine"})
FIELDS = rules.fields(
    text="""
        prompt lyrics generation_type image_url end_image_url video_url aspect_ratio model parent_task_id
        task_id index negative_prompt training_id training_images_id target_image_url swap_image_url""",
    flag="flip",
    list="image_urls images",
)
RUNWAY_NEEDS = {"image2video": "image_url", "video2video": "video_url"}


class ApiframeOptions(Options):
    """The vendor's pages and packages disagree on how the key is sent."""

    auth_scheme: Literal["raw", "bearer"] = Field(
        default="raw", description="`raw` sends the key alone, `bearer` sends `Bearer <key>`"
    )


class Song(wire.Payload):
    """One of the songs of suno and udio."""

    audio_url: wire.Link = None
    image_url: wire.Link = None
    video_url: wire.Link = None
    duration: wire.Number = None


class ProResult(wire.Payload):
    """Where the pro calls may keep their files (unconfirmed)."""

    discord_image_url: wire.Link = None
    image_url: wire.Link = None
    image_urls: wire.Links = ()


NO_RESULT = ProResult()


class ApiframeTask(wire.Payload):
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
    task_result: Annotated[ProResult, wire.PART] = NO_RESULT
    output: Any = None
    message: Any = None
    error: Any = None


ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED})
RESULT_WORDS = frozenset(
    {"actions", "songs", "song_id", "lyrics", "content", "prompts", "descriptions", "seed"}
    | {"training_id", "training_images_id"}
)
"""Fields that show success where no file is made and `status` is missing."""


def assets_of(task: ApiframeTask) -> tuple[Asset, ...]:
    """Every file of a task: videos, images (the grid last), songs with their covers and clips; links below
    `output`, where gateways keep them, only when there is nothing else."""
    songs = (
        [Song.model_validate(one) for one in task.songs if isinstance(one, dict)]
        if (isinstance(task.songs, list))
        else []
    )
    found = [
        *wire.assets(Kind.VIDEO, [task.video_url, *task.video_urls]),
        *wire.assets(Kind.IMAGE, [*task.image_urls, task.image_url, task.original_image_url]),
    ]
    pro = task.task_result
    if pro is not NO_RESULT:
        found += wire.assets(Kind.IMAGE, [pro.discord_image_url, pro.image_url, *pro.image_urls])
    found += [file for song in songs for file in _files_of(song)]
    found += wire.assets(Kind.AUDIO, [task.audio_url])
    return tuple(found) or wire.assets_under(task.output)


def _files_of(song: Song) -> tuple[Asset, ...]:
    files = ((Kind.AUDIO, song.audio_url), (Kind.IMAGE, song.image_url), (Kind.VIDEO, song.video_url))
    return tuple(
        Asset(kind=kind, url=url, duration=song.duration if kind is not Kind.IMAGE else None)
        for kind, url in files
        if url
    )


def to_update(task: ApiframeTask, body: dict[str, Any]) -> Update:
    """A task in our words; without a `status`, a result says success (the documented imagine sample)."""
    assets = assets_of(task)
    made = bool(assets or RESULT_WORDS & body.keys())
    phase = wire.phase(PHASES, task.status)
    if not task.status and made and task.percentage in {None, 100.0}:
        phase = Phase.SUCCEEDED
    failure = None
    if phase is Phase.FAILED or (phase is Phase.SUCCEEDED and not made and said.is_error(task.error)):
        code = said.code_of(body) or (task.status if phase is Phase.FAILED else None)
        failure = said.failure(code, body, word=task.status)
    elif phase is Phase.CANCELED:
        failure = said.canceled(task.status)
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
    update = to_update(wire.model(body, ApiframeTask, message), body)
    if update.phase is Phase.UNKNOWN and (error := wire.told_error(message, body)):
        raise error
    return update


def read_callback(message: HttpMessage) -> Update:
    """A callback posts the object that /fetch answers."""
    body = wire.called_back(message)
    return to_update(wire.payload_of(body, ApiframeTask), body)


def read_submitted(message: HttpMessage) -> Update:
    """A submit answers with the task's id alone, or with the finished task; a 2xx with neither is no
    acceptance that we can use."""
    body = wire.answered(message)
    update = to_update(wire.model(body, ApiframeTask, message), body)
    if update.phase is Phase.SUCCEEDED and (update.assets or RESULT_WORDS & body.keys()):
        return update
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "task_id")
    return update if update.phase in ENDED else replace(update, phase=Phase.QUEUED)


def check(submission: Submission) -> Sequence[Problem]:
    """The fields without which an operation is refused, and the types of those that we know."""
    given, operation = submission.input, submission.operation
    problems = rules.typed(given, FIELDS)
    if operation in NEEDS_PROMPT and not given.get("prompt"):
        problems.append(Problem("/prompt", "this operation needs a prompt"))
    if operation == "suno-imagine" and not given.get("prompt") and not given.get("lyrics"):
        problems.append(Problem("/prompt", "this operation needs a prompt or lyrics"))
    if operation == "runway-imagine":
        problems.extend(_runway(given))
    return problems


def _runway(given: Mapping[str, Any]) -> Sequence[Problem]:
    """Yield warnings by the vendor's page; its server decides."""
    kind = given.get("generation_type")
    needs = RUNWAY_NEEDS.get(kind) if isinstance(kind, str) else None
    if needs and not given.get(needs):
        return (Problem(f"/{needs}", f"{kind} is documented to need {needs}", warning=True),)
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
