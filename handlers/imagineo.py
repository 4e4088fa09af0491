"""ImagineoAI. Read 2026-08: docs.imagineo.dev, generateVideo and the API reference.

Published: the fields of generateVideo, `run_id`, the words queued, processing and completed, polling by
`/v1/generations/{run_id}` (for images). Not published, hence settings: the REST path of video, whether
video runs poll the same way, the name of a video's link, and how `webhook_secret` proves a callback.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from handlers import proofs, rules, said, wire
from handlers.contract import (
    SYNCHRONOUS,
    Account,
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
    "queued": Phase.QUEUED,
    "pending": Phase.QUEUED,
    "processing": Phase.RUNNING,
    "running": Phase.RUNNING,
    "completed": Phase.SUCCEEDED,
    "succeeded": Phase.SUCCEEDED,
    "failed": Phase.FAILED,
    "error": Phase.FAILED,
    "canceled": Phase.CANCELED,
    "cancelled": Phase.CANCELED,
}
FIELDS = rules.fields(
    text="prompt positive_prompt negative_prompt image_url source_run_id model_id aspect_ratio",
    number="duration seed cfg_scale motion_bucket_id fps width height",
)
VERBATIM = "x-webhook-secret"


def _with_run_id(path: str) -> str:
    if "{run_id}" not in path:
        raise ValueError("the path needs {run_id} where the run's id goes")
    return path


class ImagineoOptions(Options):
    """What ImagineoAI does not publish; the defaults are unconfirmed."""

    proof_headers: tuple[str, ...] = Field(
        default=(VERBATIM, "x-webhook-signature", "x-signature"),
        description="headers that prove a callback: `x-webhook-secret` carries the secret, others its HMAC",
    )
    submit_path: wire.PathSetting = Field(
        default="/v1/generate-video", description="where a video is asked for"
    )
    poll_path: Annotated[wire.PathSetting, AfterValidator(_with_run_id)] = Field(
        default="/v1/generations/{run_id}", description="where a run is asked about; keeps `{run_id}`"
    )


class Run(wire.Payload):
    """A run as submit, poll and callback tell it."""

    run_id: wire.Id = None
    status: wire.Word = ""
    progress: wire.Percent = None
    video_url: wire.Link = None
    output_url: wire.Link = None
    image_url: wire.Link = None
    result_url: wire.Link = None
    result: Any = None
    output: Any = None
    outputs: Any = None
    images: Any = None
    error: Any = None
    message: wire.Id = None
    data: wire.Table = None


def check(submission: Submission) -> Sequence[Problem]:
    """The types of known fields; generateVideo takes exactly one of image_url and source_run_id."""
    problems = rules.typed(submission.input, FIELDS)
    given = [name for name in ("image_url", "source_run_id") if submission.input.get(name)]
    if submission.operation == "generate-video" and len(given) != 1:
        problems.append(Problem("/image_url", "give exactly one of image_url and source_run_id"))
    return problems


def to_update(told: Run, *, at_once: bool = False) -> Update:
    """A run in our words; it may stand at the top or under `data`.

    An error beside a running word is a remark, unless the run is refused `at_once`.
    """
    run = Run.model_validate({**told.data, "data": None}) if told.data else told
    run_id = run.run_id or told.run_id
    phase = wire.phase(PHASES, run.status or told.status)
    video = run.video_url or run.output_url
    links = wire.assets(Kind.VIDEO, [video]) if video else wire.assets(Kind.IMAGE, [run.image_url])
    links = links or wire.assets_under([run.result_url, run.result, run.output, run.outputs, run.images])
    if not (run.status or told.status) and links:
        phase = Phase.SUCCEEDED
    done = phase is Phase.SUCCEEDED
    error = run.error if said.is_error(run.error) else told.error if said.is_error(told.error) else None
    ended = error is not None and (phase is Phase.UNKNOWN or (done and not links))
    failure = None
    if phase is Phase.FAILED or ended or (at_once and error is not None):
        phase = phase if done else Phase.FAILED
        code = said.code_of({"error": error})
        failure = said.failure(code, error, run.message, word=run.status or told.status)
    elif phase is Phase.CANCELED:
        failure = said.canceled(run.status or told.status)
    assets = links if phase is Phase.SUCCEEDED else ()
    return Update(provider_job_id=run_id, phase=phase, progress=run.progress, assets=assets, failure=failure)


def read(message: HttpMessage) -> Update:
    """A poll's answer."""
    body = wire.answered(message)
    told = wire.model(body, Run, message)
    if (
        told.run_id is None
        and not told.status
        and not told.data
        and (error := wire.told_error(message, body))
    ):
        raise error
    return to_update(told)


def read_submitted(message: HttpMessage) -> Update:
    """The answer to a submit: it must name the run."""
    body = wire.answered(message)
    update = to_update(wire.model(body, Run, message), at_once=True)
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "run_id")
    return update


def read_callback(message: HttpMessage) -> Update:
    """A callback: the payload is not published, so it is read like a poll's answer."""
    return to_update(wire.payload(message, Run))


def _key(account: Account) -> tuple[str, str]:
    return ("x-api-key", account.api_key)


def _operations(options: ImagineoOptions) -> Mapping[str, Operation]:
    return {
        "generate-video": Operation(options.submit_path, Kind.VIDEO),
        "generate-image": Operation("/v1/generate", Kind.IMAGE, submit_timeout=SYNCHRONOUS),
    }


def configure(options: ImagineoOptions) -> Handler:
    """The handler for an account with these settings."""
    operations = _operations(options)

    def submit(job: Submission, account: Account) -> HttpRequest:
        body = dict(job.input)
        if job.callback_url:
            body |= {"webhook_url": job.callback_url, "webhook_secret": job.secret}
        return wire.post(operations[job.operation].path, body, _key(account))

    def poll(job: JobRef, account: Account) -> HttpRequest:
        path = options.poll_path.replace("{run_id}", wire.segment(job.provider_job_id))
        return wire.get(path, _key(account))

    candidates = [
        (
            name,
            proofs.shared_secret(name) if name == VERBATIM else proofs.hmac_sha256(name, prefix="sha256="),
        )
        for name in (header.lower() for header in options.proof_headers)
    ]
    return Handler(
        name="imagineo",
        base_url="https://api.imagineoai.com",
        operations=operations,
        check=check,
        submit=Exchange(submit, read_submitted),
        poll=Exchange(poll, read),
        callback=Callback(proofs.any_present(candidates), read_callback),
    )


PROVIDER = Provider("imagineo", ImagineoOptions, configure)
