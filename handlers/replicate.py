"""Replicate. Read 2026-10: docs.replicate.com, webhooks and predictions; Python SDK 1.0.7.

Official: the bare prediction object at every door, Standard Webhooks with one secret per account, the
words, poll and cancel. Unconfirmed: `aborted`, and that output files live for an hour.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from handlers import proofs, rules, said, wire
from handlers.contract import (
    Account,
    Asset,
    Cadence,
    Callback,
    Exchange,
    Failure,
    FailureCode,
    Handler,
    HttpMessage,
    HttpRequest,
    JobRef,
    Keys,
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
    "starting": Phase.QUEUED,
    "processing": Phase.RUNNING,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "canceled": Phase.CANCELED,
    "aborted": Phase.CANCELED,
}
OPERATIONS = {"prediction": Operation("/v1/predictions", None)}
EVENTS = ("start", "completed")
LIFETIME = timedelta(hours=1)
_DATA = re.compile(r"data:([a-z]+/[a-z0-9.+\-]{1,80})[;,]", re.IGNORECASE)
WHSEC_BYTES = 24
"""The least that Standard Webhooks allows; a shorter secret can be guessed."""


def _whsec(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    key = next(iter(proofs.account_whsec(Keys(account=(text,)))), b"")
    if not text.startswith("whsec_") or len(key) < WHSEC_BYTES:
        raise ValueError(f"must be the account's `whsec_...` secret, of at least {WHSEC_BYTES} bytes")
    return secret


class ReplicateOptions(Options):
    """The account's one signing secret."""

    webhook_secret: Annotated[SecretStr, AfterValidator(_whsec)] | None = Field(
        default=None, description="the account's `whsec_...` signing secret; without it a callback is a hint"
    )


class Prediction(wire.Payload):
    """A prediction, to submit, poll and callback alike."""

    id: wire.Id = None
    status: wire.Word = ""
    output: Any = None
    error: Any = None
    metrics: wire.Table = None


def _asset(link: str, message: HttpMessage) -> Asset:
    return Asset(kind=wire.kind_of(link), url=link, deletes_at=message.received_at + LIFETIME)


def _inline(output: object) -> list[str | None]:
    """The media types of files that stand in the answer itself, as `data:` URLs."""
    values = output if isinstance(output, list) else [output]
    texts = [one for one in values if isinstance(one, str) and one.startswith("data:")]
    return [found.group(1) if (found := _DATA.match(text)) else None for text in texts]


def to_update(told: Prediction, message: HttpMessage) -> Update:
    """A prediction in our words; what a model makes may be files, text or both."""
    phase = wire.phase(PHASES, told.status)
    done = phase is Phase.SUCCEEDED
    failure = None
    if phase is Phase.FAILED or (done and not told.output and said.is_error(told.error)):
        failure = said.failure(None, told.error, word=told.status)
    elif phase is Phase.CANCELED:
        failure = Failure(told.status, "the prediction was canceled", FailureCode.CANCELED_BY_PROVIDER)
    links = wire.links_under(told.output) if done else {}
    inline = tuple(Asset(kind=Kind.FILE, mime_type=mime) for mime in _inline(told.output)) if done else ()
    return Update(
        provider_job_id=told.id,
        phase=phase,
        assets=(*(_asset(link, message) for link in links), *inline),
        failure=failure,
        usage=told.metrics,
    )


def read(message: HttpMessage) -> Update:
    """A poll's answer."""
    return _read(message)[0]


def _read(message: HttpMessage) -> tuple[Update, dict[str, Any]]:
    body = wire.answered(message)
    update = to_update(wire.model(body, Prediction, message), message)
    unknown = update.phase is Phase.UNKNOWN and update.provider_job_id is None
    if unknown and (error := wire.told_error(message, body)):
        raise error
    return update, body


def read_submitted(message: HttpMessage) -> Update:
    """The answer to a submit."""
    update, body = _read(message)
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "id")
    return update


def read_callback(message: HttpMessage) -> Update:
    """A callback: the bare prediction."""
    return to_update(wire.payload(message, Prediction), message)


def submit(job: Submission, account: Account) -> HttpRequest:
    """POST the prediction."""
    body = dict(job.input)
    if job.callback_url:
        body |= {"webhook": job.callback_url, "webhook_events_filter": list(EVENTS)}
    return wire.post(OPERATIONS[job.operation].path, body, wire.bearer(account.api_key))


def poll(job: JobRef, account: Account) -> HttpRequest:
    """GET the prediction."""
    path = f"/v1/predictions/{wire.segment(job.provider_job_id)}"
    return wire.get(path, wire.bearer(account.api_key))


def cancel(job: JobRef, account: Account) -> HttpRequest:
    """POST its cancel."""
    path = f"/v1/predictions/{wire.segment(job.provider_job_id)}/cancel"
    return wire.post(path, {}, wire.bearer(account.api_key))


def check(submission: Submission) -> Sequence[Problem]:
    """A prediction names a version or a model, and its input."""
    problems = rules.typed(submission.input, {"version": rules.TEXT, "model": rules.TEXT})
    if not submission.input.get("version") and not submission.input.get("model"):
        problems.append(Problem("/version", "a version or a model is needed"))
    if not isinstance(submission.input.get("input"), dict):
        problems.append(Problem("/input", "the model's own input is needed, as an object"))
    return problems


def configure(options: ReplicateOptions) -> Handler:
    """The handler for an account with these settings."""
    secrets = (options.webhook_secret.get_secret_value(),) if options.webhook_secret else ()
    return Handler(
        name="replicate",
        base_url="https://api.replicate.com",
        operations=OPERATIONS,
        check=check,
        submit=Exchange(submit, read_submitted),
        poll=Exchange(poll, read),
        callback=Callback(
            proofs.optional(proofs.standard_webhooks(), proofs.account_whsec),
            read_callback,
            provable=bool(secrets),
        ),
        cancel=Exchange(cancel, read),
        cadence=Cadence(backstop=timedelta(seconds=60)),
        callback_secrets=secrets,
        reserved=frozenset(
            {"webhook", "webhook_events_filter", "webhook_url", "webhook_secret", "callback_url"}
        ),
    )


PROVIDER = Provider("replicate", ReplicateOptions, configure)
