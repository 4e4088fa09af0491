"""The handler for Replicate.

Sources: https://docs.replicate.com (webhooks and predictions) and the vendor's Python SDK 1.0.7, read
2026-10; the tests of replicate-python and replicate-javascript, read 2026-11.

Documented: the bare prediction object in every answer and callback, Standard Webhooks with one secret per
account, the words, poll and cancel. Unconfirmed: the word `aborted`, and that output files live for an hour.
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
# `output` and `logs` are left out: they come up to twice a second.
EVENTS = ("start", "completed")
LIFETIME = timedelta(hours=1)
"""The life of an output file (unconfirmed)."""
_DATA = re.compile(r"data:([a-z]+/[a-z0-9.+\-]{1,80})[;,]", re.IGNORECASE)
WHSEC_BYTES = 24
"""The least bytes of a secret that Standard Webhooks allows; a shorter secret can be guessed."""


def _whsec(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    key = next(iter(proofs.account_whsec(Keys(account=(text,)))), b"")
    if not text.startswith("whsec_") or len(key) < WHSEC_BYTES:
        raise ValueError(f"must be the account's `whsec_...` secret, of at least {WHSEC_BYTES} bytes")
    return secret


class ReplicateOptions(Options):
    """The settings of a Replicate account: its one signing secret."""

    webhook_secret: Annotated[SecretStr, AfterValidator(_whsec)] | None = Field(
        default=None, description="the account's `whsec_...` signing secret; without it a callback is a hint"
    )


class Prediction(wire.Payload):
    """A prediction: the body of answers and callbacks alike."""

    id: wire.Id = None
    status: wire.Word = ""
    output: Any = None
    error: Any = None
    metrics: wire.Table = None


def _asset(link: str, message: HttpMessage) -> Asset:
    return Asset(kind=wire.kind_of(link), url=link, deletes_at=message.received_at + LIFETIME)


def _inline(output: object) -> list[str | None]:
    """Return the media types of files that stand in the answer itself as `data:` URLs."""
    values = output if isinstance(output, list) else [output]
    texts = [one for one in values if isinstance(one, str) and one.startswith("data:")]
    return [found.group(1) if (found := _DATA.match(text)) else None for text in texts]


def to_update(prediction: Prediction, message: HttpMessage) -> Update:
    """Return the update for a prediction. The output of a model may be files, text or both."""
    phase = wire.phase(PHASES, prediction.status)
    done = phase is Phase.SUCCEEDED
    failure = None
    if phase is Phase.FAILED or (done and not prediction.output and said.is_error(prediction.error)):
        failure = said.failure(None, prediction.error, word=prediction.status)
    elif phase is Phase.CANCELED:
        failure = Failure(prediction.status, "the prediction was canceled", FailureCode.CANCELED_BY_PROVIDER)
    links = wire.links_under(prediction.output) if done else {}
    inline = (
        tuple(Asset(kind=Kind.FILE, mime_type=mime) for mime in _inline(prediction.output)) if done else ()
    )
    return Update(
        provider_job_id=prediction.id,
        phase=phase,
        assets=(*(_asset(link, message) for link in links), *inline),
        failure=failure,
        usage=prediction.metrics,
    )


def read(message: HttpMessage) -> Update:
    """Return the update in a poll's answer. Raises the refusal of a body without id and known status."""
    return _read(message)[0]


def _read(message: HttpMessage) -> tuple[Update, dict[str, Any]]:
    body = wire.answered(message)
    update = to_update(wire.model(body, Prediction, message), message)
    unknown = update.phase is Phase.UNKNOWN and update.provider_job_id is None
    if unknown and (error := wire.told_error(message, body)):
        raise error
    return update, body


def read_submitted(message: HttpMessage) -> Update:
    """Return the update in a submission's answer. Raises a `ProviderError` when it names no prediction."""
    update, body = _read(message)
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "id")
    return update


def read_callback(message: HttpMessage) -> Update:
    """Return the update in a callback, which is the bare prediction."""
    return to_update(wire.payload(message, Prediction), message)


def submit(job: Submission, account: Account) -> HttpRequest:
    """Build the POST that creates the prediction."""
    body = dict(job.input)
    if job.callback_url:
        body |= {"webhook": job.callback_url, "webhook_events_filter": list(EVENTS)}
    return wire.post(OPERATIONS[job.operation].path, body, wire.bearer(account.api_key))


def poll(job: JobRef, account: Account) -> HttpRequest:
    """Build the GET for the prediction."""
    path = f"/v1/predictions/{wire.segment(job.provider_job_id)}"
    return wire.get(path, wire.bearer(account.api_key))


def cancel(job: JobRef, account: Account) -> HttpRequest:
    """Build the POST that cancels the prediction."""
    path = f"/v1/predictions/{wire.segment(job.provider_job_id)}/cancel"
    return wire.post(path, {}, wire.bearer(account.api_key))


def check(submission: Submission) -> Sequence[Problem]:
    """Return the problems of an input: it needs a version or a model, and the model's own input."""
    problems = rules.typed(submission.input, {"version": rules.TEXT, "model": rules.TEXT})
    if not submission.input.get("version") and not submission.input.get("model"):
        problems.append(Problem("/version", "a version or a model is needed"))
    if not isinstance(submission.input.get("input"), dict):
        problems.append(Problem("/input", "the model's own input is needed, as an object"))
    return problems


def configure(options: ReplicateOptions) -> Handler:
    """Return the handler for an account with these settings."""
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
            # Without the secret no callback can be proved, so the id in one may be kept as a guess.
            # A poll must confirm it. Why: receiver/README.md#a-guess-is-not-knowledge
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
