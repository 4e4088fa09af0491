"""The handler for ImagineoAI.

Sources: https://docs.imagineo.dev/docs/methods/method-generateVideo and the API reference on the same host,
read 2026-08; its page generateImageRun, read 2026-11.

Published: the fields of generateVideo, `run_id`, the words queued, processing and completed, and polling by
`/v1/generations/{run_id}` (for images). Not published and therefore settings or tolerated in several forms:
the REST path of video, whether video runs are polled the same way, the name of a video's link, the word for a
failure, and how `webhook_secret` proves a callback.
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

# Published are queued, processing and completed; the other words are assumed.
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
"""The header that carries the secret itself; all other headers in `proof_headers` carry its HMAC."""


def _with_run_id(path: str) -> str:
    if "{run_id}" not in path:
        raise ValueError("the path needs {run_id} where the run's id goes")
    return path


class ImagineoOptions(Options):
    """The settings for facts that ImagineoAI does not publish. The defaults are unconfirmed."""

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
    """A run in the answers to submissions and polls and in callbacks."""

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
    """Return the problems of an input: known fields of a wrong type, and the source image of a video."""
    problems = rules.typed(submission.input, FIELDS)
    given = [name for name in ("image_url", "source_run_id") if submission.input.get(name)]
    # https://docs.imagineo.dev/docs/methods/method-generateVideo: exactly one of the two fields is required.
    if submission.operation == "generate-video" and len(given) != 1:
        problems.append(Problem("/image_url", "give exactly one of image_url and source_run_id"))
    return problems


def to_update(outer: Run, *, at_once: bool = False) -> Update:
    """Return the update for a run, which may stand at the top of the body or under `data`.

    An error beside the status of a running job is only a remark, unless it comes with the answer to the
    submission (`at_once`), where it means that the run was refused.
    """
    run = Run.model_validate({**outer.data, "data": None}) if outer.data else outer
    run_id = run.run_id or outer.run_id
    phase = wire.phase(PHASES, run.status or outer.status)
    video = run.video_url or run.output_url
    links = wire.assets(Kind.VIDEO, [video]) if video else wire.assets(Kind.IMAGE, [run.image_url])
    links = links or wire.assets_under([run.result_url, run.result, run.output, run.outputs, run.images])
    if not (run.status or outer.status) and links:
        phase = Phase.SUCCEEDED
    done = phase is Phase.SUCCEEDED
    error = run.error if said.is_error(run.error) else outer.error if said.is_error(outer.error) else None
    ended = error is not None and (phase is Phase.UNKNOWN or (done and not links))
    failure = None
    if phase is Phase.FAILED or ended or (at_once and error is not None):
        phase = phase if done else Phase.FAILED
        code = said.code_of({"error": error})
        failure = said.failure(code, error, run.message, word=run.status or outer.status)
    elif phase is Phase.CANCELED:
        failure = said.canceled(run.status or outer.status)
    assets = links if phase is Phase.SUCCEEDED else ()
    return Update(provider_job_id=run_id, phase=phase, progress=run.progress, assets=assets, failure=failure)


def read(message: HttpMessage) -> Update:
    """Return the update in a poll's answer. Raises the refusal of a body that names no run."""
    body = wire.answered(message)
    run = wire.model(body, Run, message)
    if run.run_id is None and not run.status and not run.data and (error := wire.told_error(message, body)):
        raise error
    return to_update(run)


def read_submitted(message: HttpMessage) -> Update:
    """Return the update in a submission's answer. Raises a `ProviderError` when it names no run."""
    body = wire.answered(message)
    update = to_update(wire.model(body, Run, message), at_once=True)
    if update.provider_job_id is None:
        raise wire.unnamed(message, body, "run_id")
    return update


def read_callback(message: HttpMessage) -> Update:
    """Return the update in a callback. Its payload is not published, so it is read like a poll's answer."""
    return to_update(wire.payload(message, Run))


def _key(account: Account) -> tuple[str, str]:
    return ("x-api-key", account.api_key)


def _operations(options: ImagineoOptions) -> Mapping[str, Operation]:
    return {
        "generate-video": Operation(options.submit_path, Kind.VIDEO),
        "generate-image": Operation("/v1/generate", Kind.IMAGE, submit_timeout=SYNCHRONOUS),
    }


def configure(options: ImagineoOptions) -> Handler:
    """Return the handler for an account with these settings."""
    operations = _operations(options)

    def submit(job: Submission, account: Account) -> HttpRequest:
        body = dict(job.input)
        if job.callback_url:
            body |= {"webhook_url": job.callback_url, "webhook_secret": job.secret}
        return wire.post(operations[job.operation].path, body, _key(account))

    def poll(job: JobRef, account: Account) -> HttpRequest:
        path = options.poll_path.replace("{run_id}", wire.segment(job.provider_job_id))
        return wire.get(path, _key(account))

    # How `webhook_secret` proves a callback is not published: each of these headers that comes must hold, and
    # a callback without any of them is a hint.
    candidates = [
        (
            name,
            proofs.shared_secret(name) if name == VERBATIM else proofs.hmac_body(name, prefix="sha256="),
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
