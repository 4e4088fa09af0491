"""getimg.ai v2. Read 2026-10: PyPI `getimg` 0.4.0 and the vendor's API pages.

No callback. A link (`exp` in its query) ends long before the file (`deletes_at`): a fresh link is a new
poll. The image call is synchronous: its answer is final.
"""

from collections.abc import Sequence
from typing import Annotated

from handlers import wire
from handlers.contract import (
    REPOLL,
    SYNCHRONOUS,
    Account,
    Asset,
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

PHASES = {"pending": Phase.RUNNING, "completed": Phase.SUCCEEDED, "failed": Phase.FAILED}
OPERATIONS = {
    "video": Operation("/v2/videos/generations", Kind.VIDEO, callback=False),
    "image": Operation(
        "/v2/images/generations", Kind.IMAGE, callback=False, poll=False, submit_timeout=SYNCHRONOUS
    ),
}
PROMPT_LIMIT = 4096
ROLES = frozenset({"reference_image", "first_frame", "last_frame"})
KINDS = {"video": Kind.VIDEO, "image": Kind.IMAGE, "audio": Kind.AUDIO}


class Medium(wire.Payload):
    """One file of a generation."""

    url: wire.Link = None
    mime_type: wire.Id = None
    deletes_at: wire.Moment = None
    width: wire.Whole = None
    height: wire.Whole = None
    duration: wire.Number = None
    fps: wire.Number = None
    has_sound: wire.Flag = None


class Error(wire.Payload):
    """Why a generation failed."""

    code: wire.Id = None
    message: wire.Id = None


class Generation(wire.Payload):
    """A generation, discriminated by `status`."""

    id: wire.Id = None
    status: wire.Word = ""
    data: Annotated[tuple[Medium, ...], wire.PARTS] = ()
    error: Annotated[Error, wire.PART] = Error()
    usage: wire.Table = None


def to_asset(medium: Medium) -> Asset:
    """A file in our words."""
    kind = KINDS.get((medium.mime_type or "").partition("/")[0], Kind.FILE)
    return Asset(
        kind=kind,
        url=medium.url,
        expires_at=wire.expiry(medium.url) if medium.url else None,
        deletes_at=medium.deletes_at,
        mime_type=medium.mime_type,
        width=medium.width,
        height=medium.height,
        duration=medium.duration,
        fps=medium.fps,
        has_sound=medium.has_sound,
    )


def read(message: HttpMessage) -> Update:
    """A generation's answer, to submit and poll alike."""
    told = wire.answer(message, Generation)
    if told.id is None:
        raise Garbled("the answer names no id", status=message.status)
    phase = wire.phase(PHASES, told.status)
    failure = None
    if phase is Phase.FAILED:
        failure = Failure(told.error.code, told.error.message or "generation failed")
    return Update(
        provider_job_id=told.id,
        phase=phase,
        assets=tuple(to_asset(medium) for medium in told.data if medium.url),
        failure=failure,
        usage=told.usage,
    )


def submit(job: Submission, account: Account) -> HttpRequest:
    """POST the generation."""
    return wire.post(OPERATIONS[job.operation].path, job.input, wire.bearer(account.api_key))


def poll(job: JobRef, account: Account) -> HttpRequest:
    """GET the generation."""
    path = f"{OPERATIONS[job.operation].path}/{wire.segment(job.provider_job_id)}"
    return wire.get(path, wire.bearer(account.api_key))


def check(submission: Submission) -> Sequence[Problem]:
    """The rules of the SDK's documentation."""
    problems = []
    prompt = submission.input.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= PROMPT_LIMIT:
        problems.append(Problem("/prompt", f"the prompt must have 1 to {PROMPT_LIMIT} characters"))
    if not isinstance(submission.input.get("model"), str):
        problems.append(Problem("/model", "a model is needed"))
    images = submission.input.get("images", [])
    if submission.operation == "video" and isinstance(images, list):
        problems.extend(
            Problem(f"/images/{index}/role", f"the role must be one of {', '.join(sorted(ROLES))}")
            for index, image in enumerate(images)
            if not isinstance(image, dict) or str(image.get("role")) not in ROLES
        )
    return problems


HANDLER = Handler(
    name="getimg",
    base_url="https://api.getimg.ai",
    operations=OPERATIONS,
    check=check,
    submit=Exchange(submit, read),
    poll=Exchange(poll, read),
    resolve=REPOLL,
)
PROVIDER = Provider("getimg", Options, lambda _options: HANDLER)
