"""Replicate. Read 2026-10: docs.replicate.com, webhooks and predictions; Python SDK 1.0.7.

Official: the bare prediction object at every door, Standard Webhooks with one secret per account, the
words, poll and cancel. Unconfirmed: `aborted`, and that output files live for an hour.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from handlers import proofs, wire
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


def _whsec(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.startswith("whsec_") or not any(proofs.account_whsec(Keys(account=(text,)))):
        raise ValueError("must be the account's `whsec_...` secret")
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


def to_update(told: Prediction, message: HttpMessage) -> Update:
    """A prediction in our words; what a model makes may be files, text or both."""
    phase = wire.phase(PHASES, told.status)
    failure = None
    if phase is Phase.FAILED:
        failure = Failure(None, wire.sentence(told.error) or "generation failed")
    elif phase is Phase.CANCELED:
        failure = Failure(told.status, "the prediction was canceled", FailureCode.CANCELED_BY_PROVIDER)
    done = phase is Phase.SUCCEEDED
    return Update(
        provider_job_id=told.id,
        phase=phase,
        assets=tuple(_asset(link, message) for link in wire.links_under(told.output)) if done else (),
        failure=failure,
        usage=told.metrics,
    )


def read(message: HttpMessage) -> Update:
    """A poll's answer."""
    return to_update(wire.answer(message, Prediction), message)


def read_submitted(message: HttpMessage) -> Update:
    """The answer to a submit."""
    update = read(message)
    if update.provider_job_id is None:
        raise Garbled("the answer names no id", status=message.status)
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
    problems = []
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
