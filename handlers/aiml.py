"""The handler for AI.ML (`api.ai.ml`), which is not the vendor of the "AI/ML API".

Source: the vendor's video guide, read 2026-08.

The provider sends no callbacks, so jobs are polled. A finished task carries a relative media link that is
already percent-encoded: it is requested byte for byte and with the key. The answer is a short-lived presigned
URL, which needs no key and is never stored.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from handlers import rules, said, wire
from handlers.contract import (
    Account,
    Asset,
    AssetRef,
    Cadence,
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
from handlers.errors import Garbled

# The guide names queued, running, succeeded, failed and canceled; the other words are tolerated.
PHASES = {
    "queued": Phase.QUEUED,
    "pending": Phase.QUEUED,
    "running": Phase.RUNNING,
    "processing": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELED,
    "cancelled": Phase.CANCELED,
}
OPERATIONS = {"video": Operation("/v1/generation/tasks/video", Kind.VIDEO, callback=False)}


class Output(wire.Payload):
    """The object in which a gateway may put the link."""

    videoUrl: wire.Raw = None  # noqa: N815  # the wire's own spelling


class AimlTask(wire.Payload):
    """The task under `data`."""

    uuid: wire.Id = None
    status: wire.Word = ""
    videoUrl: wire.Raw = None  # noqa: N815  # the wire's own spelling
    output: Annotated[Output, wire.PART] = Output()
    error: Any = None


class Envelope(wire.Payload):
    """The body of every answer about a task."""

    data: Annotated[AimlTask, wire.PART] = AimlTask()
    error: Any = None


class Presigned(wire.Payload):
    """The answer to a request for a media link."""

    url: wire.Link = None


def to_update(envelope: Envelope) -> Update:
    """Return the update for a task. Its error may stand inside or outside `data`: the guide does not say."""
    task = envelope.data
    phase = wire.phase(PHASES, task.status)
    error = task.error or envelope.error
    failure = None
    link = task.videoUrl or task.output.videoUrl
    lost = phase is Phase.SUCCEEDED and not link and said.is_error(error)
    if phase is Phase.FAILED or lost:
        failure = said.failure(said.code_of({"error": error}), error, word=task.status)
    elif phase is Phase.CANCELED:
        failure = said.canceled(task.status)
    assets: tuple[Asset, ...] = ()
    if phase is Phase.SUCCEEDED and link:
        # The link needs the key, so it is a `source` for `resolve` and never a `url` to hand on.
        assets = (Asset(kind=Kind.VIDEO, source=link),)
    return Update(provider_job_id=task.uuid, phase=phase, assets=assets, failure=failure)


def read(message: HttpMessage) -> Update:
    """Return the update in a poll's answer. Raises the refusal of a body without a known status."""
    return _read(message)[0]


def _read(message: HttpMessage) -> tuple[Update, dict[str, Any]]:
    body = wire.answered(message)
    update = to_update(wire.model(body, Envelope, message))
    if update.phase is Phase.UNKNOWN and (error := wire.told_error(message, body)):
        raise error
    return update, body


def read_submitted(message: HttpMessage) -> Update:
    """Return the update in a submission's answer. Raises a `ProviderError` when it names no task."""
    update, body = _read(message)
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "uuid")
    return update


def submit(job: Submission, account: Account) -> HttpRequest:
    """Build the POST that creates the task."""
    return wire.post(OPERATIONS[job.operation].path, job.input, wire.bearer(account.api_key))


def poll(job: JobRef, account: Account) -> HttpRequest:
    """Build the GET for the task."""
    path = f"{OPERATIONS['video'].path}/{wire.segment(job.provider_job_id)}"
    return wire.get(path, wire.bearer(account.api_key))


def resolve(asset: AssetRef, account: Account) -> HttpRequest:
    """Build the GET for the media link, with the key. Raises `Garbled` for a link to another origin."""
    return wire.get(asset.source.removeprefix(account.base_url), wire.bearer(account.api_key))


def read_resolved(message: HttpMessage) -> Asset:
    """Return the short-lived presigned URL as an asset. Raises `Garbled` when the answer carries none."""
    link = wire.answer(message, Presigned).url
    if link is None:
        raise Garbled("the answer carries no url", status=message.status)
    return Asset(kind=Kind.VIDEO, url=link)


def check(submission: Submission) -> Sequence[Problem]:
    """Return the problems of an input: no model, no content, or content items without their field."""
    given = submission.input
    problems = rules.typed(given, {"model": rules.TEXT, "content": rules.LIST})
    if problems:
        return problems
    problems.extend(rules.needed(given, "model", "content"))
    for index, item in enumerate(given.get("content") or ()):
        problems.extend(_item(item, f"/content/{index}"))
    return problems


def _item(item: object, at: str) -> Sequence[Problem]:
    if not isinstance(item, dict):
        return (Problem(at, "an item of content must be an object"),)
    if item.get("type") == "text" and not (isinstance(item.get("text"), str) and item["text"].strip()):
        return (Problem(f"{at}/text", "an item of type text needs its text"),)
    image = item.get("image_url")
    if item.get("type") == "image_url" and not (
        isinstance(image, dict) and isinstance(image.get("url"), str)
    ):
        return (Problem(f"{at}/image_url/url", "an item of type image_url needs image_url.url"),)
    return ()


HANDLER = Handler(
    name="aiml",
    base_url="https://api.ai.ml",
    operations=OPERATIONS,
    check=check,
    submit=Exchange(submit, read_submitted),
    poll=Exchange(poll, read),
    resolve=Exchange(resolve, read_resolved),
    # The guide polls every 2 to 5 s.
    cadence=Cadence(first=timedelta(seconds=3), interval=timedelta(seconds=3)),
)
PROVIDER = Provider("aiml", Options, lambda _options: HANDLER)
