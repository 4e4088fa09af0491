"""The handler for APIFRAME v2.

Sources: the vendor's OpenAPI 2.0.0, read 2026-10, and its Node SDK 2.x, read 2026-10 and 2026-11
(https://github.com/apiframe-ai/apiframe-nodejs-sdk).

Documented: the paths, the words, `Idempotency-Key`, and `X-Webhook-Signature` over the raw body with a key
derived from the API key. The vendor's SDK uses the raw SHA-256 digest of the API key as that key, a deployed
receiver its hex text: both are accepted, for previous API keys as well. The shape of `result` depends on the
model.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from handlers import proofs, rules, said, wire
from handlers.contract import (
    Account,
    Asset,
    Callback,
    Exchange,
    Failure,
    FailureCode,
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
    "queued": Phase.QUEUED,
    "processing": Phase.RUNNING,
    "completed": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "cancelled": Phase.CANCELED,
    "canceled": Phase.CANCELED,
}
OPERATIONS = {
    "videos-generate": Operation("/videos/generate", Kind.VIDEO),
    "videos-edit": Operation("/videos/edit", Kind.VIDEO),
    "videos-upscale": Operation("/videos/upscale", Kind.VIDEO),
    "images-generate": Operation("/images/generate", Kind.IMAGE),
    "images-edit": Operation("/images/edit", Kind.IMAGE),
    "images-upscale": Operation("/images/upscale", Kind.IMAGE),
    "images-background-remove": Operation("/images/background-remove", Kind.IMAGE),
    "images-midjourney-action": Operation("/images/midjourney/action", Kind.IMAGE),
    "music-generate": Operation("/music/generate", Kind.AUDIO),
    "music-suno-action": Operation("/music/suno/action", Kind.AUDIO),
}
FIELDS = rules.fields(text="model prompt")
# No event announces a cancelled job: only a poll finds it.
EVENTS = ("progress", "completed", "failed")
LIFETIME = timedelta(hours=24)
"""The life of a file. The spec says 24 h, a FAQ page three months; only the shorter one can be relied on."""
KINDS_BY_NAME = {"audio": Kind.AUDIO, "image": Kind.IMAGE, "cover": Kind.IMAGE, "video": Kind.VIDEO}


class V2Job(wire.Payload):
    """A job in answers and callbacks. Its id is `id` in a poll's answer and `jobId` elsewhere."""

    id: wire.Id = None
    jobId: wire.Id = None  # noqa: N815  # the wire's own spelling
    status: wire.Word = ""
    progress: wire.Percent = None
    result: Any = None
    error: Any = None
    creditCost: wire.Number = None  # noqa: N815  # the wire's own spelling
    expired: wire.Flag = None


def assets_of(result: object, message: HttpMessage) -> tuple[Asset, ...]:
    """Return every link under `result`. Its kind comes from the field's name or the file's ending."""
    found = wire.links_under(result, KINDS_BY_NAME)
    ends = message.received_at + LIFETIME
    return tuple(
        Asset(kind=kind or wire.kind_of(link), url=link, deletes_at=ends) for link, kind in found.items()
    )


def to_update(job: V2Job, message: HttpMessage) -> Update:
    """Return the update for a job."""
    phase = wire.phase(PHASES, job.status)
    done = phase is Phase.SUCCEEDED
    assets = assets_of(job.result, message) if done else ()
    failure = None
    if phase is Phase.FAILED or (done and not job.result and said.is_error(job.error)):
        failure = said.failure(said.code_of({"error": job.error}), job.error, word=job.status)
    elif phase is Phase.CANCELED:
        failure = said.canceled(job.status)
    elif job.expired and done:
        failure = Failure("expired", "the provider no longer has the result", FailureCode.RESULT_MISSING)
    return Update(
        provider_job_id=job.jobId or job.id,
        phase=phase,
        progress=job.progress,
        assets=assets,
        failure=failure,
        usage={"credit_cost": job.creditCost} if job.creditCost is not None else None,
    )


def read(message: HttpMessage) -> Update:
    """Return the update in a poll's answer. Raises the refusal of a body without a known status."""
    return _read(message)[0]


def _read(message: HttpMessage) -> tuple[Update, dict[str, Any]]:
    body = wire.answered(message)
    update = to_update(wire.model(body, V2Job, message), message)
    if update.phase is Phase.UNKNOWN and (error := wire.told_error(message, body)):
        raise error
    return update, body


def read_submitted(message: HttpMessage) -> Update:
    """Return the update in a submission's answer. Raises a `ProviderError` when it names no job.

    The answer to a repeated `Idempotency-Key` may carry a later status.
    """
    update, body = _read(message)
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "jobId")
    return update


def read_callback(message: HttpMessage) -> Update:
    """Return the update in a callback."""
    return to_update(wire.payload(message, V2Job), message)


def _key(account: Account) -> tuple[str, str]:
    return ("x-api-key", account.api_key)


def submit(job: Submission, account: Account) -> HttpRequest:
    """Build the POST that creates the job.

    The service's job id is the idempotency key, so a submission with a lost answer can be sent again without
    paying twice.
    """
    body = dict(job.input)
    if job.callback_url:
        body |= {"webhookUrl": job.callback_url, "webhookEvents": list(EVENTS)}
    return wire.post(OPERATIONS[job.operation].path, body, _key(account), ("idempotency-key", job.job_id))


def poll(job: JobRef, account: Account) -> HttpRequest:
    """Build the GET for the job."""
    return wire.get(f"/jobs/{wire.segment(job.provider_job_id)}", _key(account))


def check(submission: Submission) -> Sequence[Problem]:
    """Return the problems of an input: known fields of a wrong type, and a missing model."""
    problems = rules.typed(submission.input, FIELDS)
    if submission.operation.endswith("-generate") and not submission.input.get("model"):
        problems.append(Problem("/model", "this operation needs a model"))
    return problems


HANDLER = Handler(
    name="apiframe-v2",
    base_url="https://api.apiframe.ai/v2",
    operations=OPERATIONS,
    check=check,
    submit=Exchange(submit, read_submitted),
    poll=Exchange(poll, read),
    # https://github.com/apiframe-ai/apiframe-nodejs-sdk takes `sha256=<hex>` and the bare hex. The key is the
    # account's, so a proof says nothing about a job that the body does not name.
    callback=Callback(
        proofs.hmac_body("x-webhook-signature", prefix="sha256=", keys=proofs.api_key_digests),
        read_callback,
        account_wide=True,
    ),
    idempotent_submit=True,
    reserved=frozenset({"webhookUrl", "webhookEvents", "webhook_url", "webhook_secret", "callback_url"}),
)
PROVIDER = Provider("apiframe-v2", Options, lambda _options: HANDLER)
