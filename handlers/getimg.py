"""The handler for getimg.ai v2.

Sources: the Python package `getimg` 0.4.0 and the vendor's API pages, read 2026-10; the repository
`getimg-ai/getimg-node` at 0.3.2.

The provider sends no callbacks, so jobs are polled. A link (`exp` in its query) ends long before its file
(`deletes_at`); a fresh link comes from a new poll. The image call is synchronous: its answer is final.
"""

from collections.abc import Sequence
from typing import Annotated

from handlers import rules, said, wire
from handlers.contract import (
    REPOLL,
    SYNCHRONOUS,
    Account,
    Asset,
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

PHASES = {"pending": Phase.RUNNING, "completed": Phase.SUCCEEDED, "failed": Phase.FAILED}
OPERATIONS = {
    "video": Operation("/v2/videos/generations", Kind.VIDEO, callback=False),
    "image": Operation(
        "/v2/images/generations", Kind.IMAGE, callback=False, poll=False, submit_timeout=SYNCHRONOUS
    ),
}
PROMPT_LIMIT = 4096
"""The most characters of a prompt, by the SDK's documentation."""
ROLES = frozenset({"reference_image", "first_frame", "last_frame"})
FIELDS = rules.fields(
    text="model prompt aspect_ratio resolution", whole="duration", flag="sound", list="images"
)
KINDS = {"video": Kind.VIDEO, "image": Kind.IMAGE, "audio": Kind.AUDIO}


class Medium(wire.Payload):
    """A file of a generation."""

    url: wire.Link = None
    mime_type: wire.Id = None
    deletes_at: wire.Moment = None
    width: wire.Whole = None
    height: wire.Whole = None
    duration: wire.Number = None
    fps: wire.Number = None
    has_sound: wire.Flag = None


class Error(wire.Payload):
    """The reason for which a generation failed."""

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
    """Return the asset for a file."""
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
    """Return the update in a submission's or poll's answer. Raises a `ProviderError` when it has no id."""
    body = wire.answered(message)
    generation = wire.model(body, Generation, message)
    if generation.id is None:
        raise wire.unnamed(message, body, "id")
    phase = wire.phase(PHASES, generation.status)
    assets = tuple(to_asset(medium) for medium in generation.data if medium.url)
    error = generation.error
    failure = None
    if phase is Phase.FAILED or (phase is Phase.SUCCEEDED and not assets and (error.message or error.code)):
        failure = said.failure(error.code, error.message, word=generation.status)
    elif phase is Phase.CANCELED:
        failure = said.canceled(generation.status)
    return Update(
        provider_job_id=generation.id,
        phase=phase,
        assets=assets,
        failure=failure,
        usage=generation.usage,
    )


def submit(job: Submission, account: Account) -> HttpRequest:
    """Build the POST that creates the generation."""
    return wire.post(OPERATIONS[job.operation].path, job.input, wire.bearer(account.api_key))


def poll(job: JobRef, account: Account) -> HttpRequest:
    """Build the GET for the generation. Only videos are polled."""
    path = f"{OPERATIONS['video'].path}/{wire.segment(job.provider_job_id)}"
    return wire.get(path, wire.bearer(account.api_key))


def check(submission: Submission) -> Sequence[Problem]:
    """Return the problems of an input by the rules in the SDK's documentation."""
    given = submission.input
    problems = rules.typed(given, FIELDS)
    prompt = given.get("prompt")
    # The problems of `prompt` and `model` below also cover a wrong type, so they replace the general ones.
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= PROMPT_LIMIT:
        problems = [one for one in problems if one.pointer != "/prompt"]
        problems.append(Problem("/prompt", f"the prompt must have 1 to {PROMPT_LIMIT} characters"))
    if not isinstance(given.get("model"), str):
        problems = [one for one in problems if one.pointer != "/model"]
        problems.append(Problem("/model", "a model is needed"))
    images = given.get("images")
    if submission.operation == "video" and isinstance(images, list):
        problems.extend(_images(images))
    return problems


def _images(images: Sequence[object]) -> Sequence[Problem]:
    """Return the problems of a video's images: their form, and roles that exclude or need each other."""
    problems = []
    roles = [str(image.get("role")) if isinstance(image, dict) else "" for image in images]
    for index, (image, role) in enumerate(zip(images, roles, strict=True)):
        if role not in ROLES:
            detail = f"the role must be one of {', '.join(sorted(ROLES))}"
            problems.append(Problem(f"/images/{index}/role", detail))
        elif isinstance(image, dict) and not (isinstance(image.get("url"), str) and image["url"]):
            detail = "an image is documented to need its url"
            problems.append(Problem(f"/images/{index}/url", detail, warning=True))
    if "last_frame" in roles and "first_frame" not in roles:
        problems.append(Problem("/images", "a last_frame needs a first_frame"))
    if "reference_image" in roles and {"first_frame", "last_frame"} & set(roles):
        problems.append(Problem("/images", "a reference_image does not go with first_frame or last_frame"))
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
