"""The handler for APIFRAME v1.

Sources: https://docs.apiframe.ai, read 2026-10 (its pages ideogram/imagine, nano-banana and
suno-ai-api/lyrics: 2026-11), and the packages `apiframe` 1.0.0 and `apiframe-sdk` 1.0.0, read 2026-10.

Documented: the paths, `task_id`, POST /fetch, `percentage` as number or text, `x-webhook-secret`, and
callbacks for progress and for the end with the object that /fetch answers. Unconfirmed: the shape of a
failure and the full list of status words.
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

# Documented are processing and finished; the types of `apiframe-sdk` 1.0.0 add pending and failed. The other
# words come from deployed receivers.
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
"""Operations that take a callback URL, by the kind of their files (None: no file)."""
POLLED: dict[Kind | None, str] = {
    Kind.IMAGE: """
        ideogram-imagine ideogram-upscale ideogram-remix nano-banana nano-banana-pro ai-photo-generate""",
    None: "ideogram-describe suno-upload suno-lyrics",
}
"""Operations without a callback, by the kind of their files. Their jobs are polled."""
FORMER = {
    "udio-imagine": "udio-generate",
    "ai-photos/upload": "ai-photo-upload",
    "ai-photos/train": "ai-photo-train",
    "ai-photos/generate": "ai-photo-generate",
}
"""Names of operations in the vendor's packages, each with the name that its pages and servers use."""
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
    """The settings of an APIFRAME v1 account: the vendor's sources disagree on the header of the key."""

    # The pages and `apiframe` 1.0.0 send the key alone, `apiframe-sdk` 1.0.0 sends `Bearer <key>`.
    auth_scheme: Literal["raw", "bearer"] = Field(
        default="raw", description="`raw` sends the key alone, `bearer` sends `Bearer <key>`"
    )


class Song(wire.Payload):
    """A song of a suno or udio operation."""

    audio_url: wire.Link = None
    image_url: wire.Link = None
    video_url: wire.Link = None
    duration: wire.Number = None


class ProResult(wire.Payload):
    """The object in which the pro operations may keep their files (unconfirmed)."""

    discord_image_url: wire.Link = None
    image_url: wire.Link = None
    image_urls: wire.Links = ()


NO_RESULT = ProResult()


class ApiframeTask(wire.Payload):
    """A task in the answers to submissions and /fetch and in callbacks."""

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
"""Fields that prove success where an operation makes no file and `status` is missing."""


def assets_of(task: ApiframeTask) -> tuple[Asset, ...]:
    """Return every file of a task: videos, images (the grid last), and songs with their covers and clips.

    Links below `output`, where gateways keep them, count only when there is no other file.
    """
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
    """Return the update for a task. Without a `status`, a result means success."""
    assets = assets_of(task)
    made = bool(assets or RESULT_WORDS & body.keys())
    phase = wire.phase(PHASES, task.status)
    # The documented sample of a finished imagine has neither `status` nor `percentage`.
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
    """Return the update in an answer of /fetch. Raises the refusal of a body without a known status."""
    body = wire.answered(message)
    update = to_update(wire.model(body, ApiframeTask, message), body)
    if update.phase is Phase.UNKNOWN and (error := wire.told_error(message, body)):
        raise error
    return update


def read_callback(message: HttpMessage) -> Update:
    """Return the update in a callback. Its body is the object that /fetch answers."""
    body = wire.called_back(message)
    return to_update(wire.payload_of(body, ApiframeTask), body)


def read_submitted(message: HttpMessage) -> Update:
    """Return the update in a submission's answer: the task's id alone, or the finished task.

    Raises a `ProviderError` for a 2xx with neither, which is not a usable acceptance.
    """
    body = wire.answered(message)
    update = to_update(wire.model(body, ApiframeTask, message), body)
    if update.phase is Phase.SUCCEEDED and (update.assets or RESULT_WORDS & body.keys()):
        return update
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "task_id")
    # An id is an acceptance, whatever status stands beside it.
    return update if update.phase in ENDED else replace(update, phase=Phase.QUEUED)


def check(submission: Submission) -> Sequence[Problem]:
    """Return the problems of an input: required fields that are missing, and known fields of a wrong type."""
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
    """Return warnings by the vendor's runway page. They refuse nothing: the vendor's server decides."""
    kind = given.get("generation_type")
    needs = RUNWAY_NEEDS.get(kind) if isinstance(kind, str) else None
    if needs and not given.get(needs):
        return (Problem(f"/{needs}", f"{kind} is documented to need {needs}", warning=True),)
    return ()


def configure(options: ApiframeOptions) -> Handler:
    """Return the handler for an account with these settings."""
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
        # https://docs.apiframe.ai, v1 pages: the header carries the secret itself and not an HMAC.
        callback=Callback(proofs.shared_secret("x-webhook-secret"), read_callback),
    )


PROVIDER = Provider("apiframe", ApiframeOptions, configure)
