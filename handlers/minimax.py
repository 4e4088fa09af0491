"""The handler for MiniMax v1 and for gateways with the same wire format.

Sources: https://platform.minimax.io (video pages with their callback section, read 2026-10; error page, read
2026-10 and 2026-11), the vendor's MCP server, read 2026-10, and its CLI (https://github.com/MiniMax-AI/cli),
read 2026-10 and 2026-11.

An error comes as HTTP 200 with a `base_resp.status_code` other than 0. A callback carries no proof, so it is
a hint. While the submission is still in flight, the provider sends `{"challenge"}` to the callback URL and
expects the echo within 3 s. A result is a `file_id`; files/retrieve turns it into a link that is valid for
9 h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from handlers import json, proofs, refusals, rules, said, wire
from handlers.contract import (
    Account,
    Asset,
    AssetRef,
    Callback,
    Exchange,
    FailureCode,
    Handler,
    HttpAnswer,
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
from handlers.errors import (
    AccountRefused,
    ContentRefused,
    Garbled,
    ProviderError,
    Rejected,
    Throttled,
    Unavailable,
)
from handlers.wishes import retry_after

# The video pages name the failure `Fail`, https://github.com/MiniMax-AI/cli names it `Failed`.
PHASES = {
    "preparing": Phase.QUEUED,
    "queueing": Phase.QUEUED,
    "processing": Phase.RUNNING,
    "success": Phase.SUCCEEDED,
    "fail": Phase.FAILED,
    "failed": Phase.FAILED,
}
ERRORS: Mapping[str, type[ProviderError]] = {
    "1000": Unavailable,
    "1001": Unavailable,
    "1002": Throttled,
    "1004": AccountRefused,
    "1008": AccountRefused,
    "1024": Unavailable,
    "1026": ContentRefused,
    "1027": ContentRefused,
    "1028": AccountRefused,
    "1030": AccountRefused,
    "1033": Unavailable,
    "1039": Throttled,
    "1041": Throttled,
    "1042": Rejected,
    "1043": Rejected,
    "1044": Rejected,
    "2013": Rejected,
    "2037": Rejected,
    "2038": AccountRefused,
    "2039": Rejected,
    "2042": Rejected,
    "2045": Throttled,
    "2048": Rejected,
    "2049": AccountRefused,
    "2056": Throttled,
    "2061": Rejected,
    "20132": Rejected,
}
"""The error for each `base_resp.status_code`, by the vendor's error page. 2061 is about a model that the plan
does not include, 2056 about the usage within a window of hours."""
WAITS = {"2056": timedelta(minutes=5)}
"""Waits after a code that comes without `Retry-After`."""
ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED})
CONTENT_POLICY = frozenset({"1026", "1027"})
LINK_LIFETIME = timedelta(hours=9)
"""The life of a link, counted from the answer that brings it."""
PROMPT_LIMIT = 2000
"""The documented maximum of characters in a prompt."""
MODELS = frozenset(
    {"MiniMax-Hailuo-2.3", "MiniMax-Hailuo-2.3-Fast", "MiniMax-Hailuo-02", "S2V-01", "T2V-01", "I2V-01"}
    | {"T2V-01-Director", "I2V-01-Director", "I2V-01-live"}
)
NEEDS = {
    "MiniMax-Hailuo-2.3-Fast": "first_frame_image",
    "I2V-01": "first_frame_image",
    "I2V-01-Director": "first_frame_image",
    "I2V-01-live": "first_frame_image",
    "S2V-01": "subject_reference",
}
"""The fields that a model is documented to need."""
FIELDS = rules.fields(
    text="model prompt first_frame_image last_frame_image resolution",
    flag="prompt_optimizer",
    list="subject_reference",
    number="duration",
)
SUBMIT_PATH = "/v1/video_generation"
POLL_PATH = "/v1/query/video_generation"
RETRIEVE_PATH = "/v1/files/retrieve"


class MiniMaxPaths(Options):
    """The paths of MiniMax's three calls at a gateway."""

    submit_path: wire.PathSetting = Field(default=SUBMIT_PATH, description="where a video is asked for")
    poll_path: wire.PathSetting = Field(default=POLL_PATH, description="where a task is asked about")
    retrieve_path: wire.PathSetting = Field(
        default=RETRIEVE_PATH, description="where a file id becomes a link"
    )


class BaseResp(wire.Payload):
    """The outcome of a call: a `status_code` of 0 is a success."""

    status_code: wire.Code = None
    status_msg: wire.Id = None


class MinimaxTask(wire.Payload):
    """A task in answers and callbacks. The case of its status word differs between them."""

    task_id: wire.Id = None
    status: wire.Word = ""
    file_id: wire.Id = None
    video_url: wire.Link = None
    video_width: wire.Whole = None
    video_height: wire.Whole = None
    base_resp: Annotated[BaseResp, wire.PART] = BaseResp()


class File(wire.Payload):
    """A generated file."""

    download_url: wire.Link = None
    backup_download_url: wire.Link = None


class Retrieved(wire.Payload):
    """The body of an answer of files/retrieve."""

    file: Annotated[File, wire.PART] = File()
    base_resp: Annotated[BaseResp, wire.PART] = BaseResp()


def refuse(base: BaseResp, message: HttpMessage, unknown: type[ProviderError] = Garbled) -> None:
    """Raise the error of a `base_resp` without success; `unknown` is the one for a code in no table."""
    code, status = base.status_code, message.status
    if code in {None, "0"}:
        return
    error = ERRORS.get(code or "")
    if error is None and status >= 300:
        error = refusals.refusal(status, code, base.status_msg or "")
    wait = retry_after(message) or WAITS.get(code or "")
    # Only a number with a sentence is surely MiniMax's own refusal; anything else may hide an accepted task.
    error = error or (unknown if base.status_msg and (code or "").lstrip("-").isdigit() else Garbled)
    raise error(base.status_msg or "", status=status, retry_after=wait, provider_code=code)


def answered(message: HttpMessage, unknown: type[ProviderError] = Garbled) -> dict[str, Any]:
    """Return the object in a successful answer. Raises the error of any other.

    A refusal in `base_resp` comes before the meaning of the HTTP status beside it.
    """
    if message.status >= 300:
        try:
            body = json.as_object(json.forgive(message.body))
        except json.BadJson:
            body = {}
        if isinstance(base := body.get("base_resp"), dict):
            refuse(wire.model(base, BaseResp, message), message, unknown)
    return wire.answered(message)


def to_update(task: MinimaxTask) -> Update:
    """Return the update for a task."""
    phase = wire.phase(PHASES, task.status)
    failure = None
    assets: tuple[Asset, ...] = ()
    if phase is Phase.FAILED:
        base = task.base_resp
        coded = base.status_code not in {None, "0"}
        code = base.status_code if coded else task.status
        failure = said.failure(code, base.status_msg if coded else None, word=task.status)
        if base.status_code in CONTENT_POLICY:
            failure = replace(failure, code=FailureCode.CONTENT_POLICY)
    elif phase is Phase.CANCELED:
        failure = said.canceled(task.status)
    elif phase is Phase.SUCCEEDED and task.file_id not in {None, "0"}:
        video = Asset(kind=Kind.VIDEO, source=task.file_id, width=task.video_width, height=task.video_height)
        assets = (video,)
    elif phase is Phase.SUCCEEDED:
        assets = wire.assets(Kind.VIDEO, [task.video_url])
    return Update(provider_job_id=task.task_id, phase=phase, assets=assets, failure=failure)


def read_submitted(message: HttpMessage) -> Update:
    """Return the update in a submission's answer. Raises the error of a code other than 0.

    Without a task nothing was accepted, so an unknown code is `Rejected`; beside a task it is `Garbled`.
    """
    body = answered(message, unknown=Rejected)
    task = wire.model(body, MinimaxTask, message)
    refuse(task.base_resp, message, Garbled if task.task_id else Rejected)
    if not task.task_id:
        raise wire.unnamed(message, body, "task_id")
    update = to_update(task)
    return update if update.phase in ENDED else replace(update, phase=Phase.QUEUED)


def read(message: HttpMessage) -> Update:
    """Return the update in a poll's answer. Raises the error in `base_resp` while the task has not ended."""
    body = answered(message)
    task = wire.model(_flat(body), MinimaxTask, message)
    update = to_update(task)
    # The `base_resp` of a failed task gives the reason of its failure and does not refuse the poll.
    if update.phase not in ENDED:
        refuse(task.base_resp, message)
        if update.phase is Phase.UNKNOWN and (error := wire.told_error(message, body)):
            raise error
    return update


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body in the form of v1: the vendor's v2 keeps the task, its link and error under `task`."""
    # https://github.com/vercel/ai, packages/minimax/src/minimax-video-model.test.ts, read 2026-11.
    task = body.get("task")
    if not isinstance(task, dict):
        return body
    content, error = task.get("content"), task.get("error")
    base = {"status_code": said.code_of({"error": error}), "status_msg": said.sentence(error) or None}
    link = content.get("url") if isinstance(content, dict) else None
    return {"task_id": task.get("id"), "status": task.get("status"), "video_url": link, "base_resp": base}


def read_callback(message: HttpMessage) -> Update:
    """Return the update in a callback. Its body is that of a poll's answer without the sizes."""
    return to_update(wire.payload(message, MinimaxTask))


def read_retrieved(message: HttpMessage) -> Asset:
    """Return the fresh link and its end as an asset. Raises `Garbled` when the answer carries no link."""
    retrieved = wire.model(answered(message), Retrieved, message)
    refuse(retrieved.base_resp, message)
    link = retrieved.file.download_url or retrieved.file.backup_download_url
    if link is None:
        raise Garbled("the answer carries no download_url", status=message.status)
    return Asset(kind=Kind.VIDEO, url=link, expires_at=message.received_at + LINK_LIFETIME)


def challenge(message: HttpMessage) -> HttpAnswer | None:
    """Return the echo that MiniMax expects before it creates a task; None for any other body."""
    # https://platform.minimax.io, callback section. Most bodies are no challenge and need not be parsed here.
    if b'"challenge"' not in message.body:
        return None
    try:
        body = json.read_object(message.body)
    except json.BadJson:
        return None
    value = body.get("challenge")
    # A report about a task is never a challenge, even with a field of that name.
    if not isinstance(value, str) or "task_id" in body:
        return None
    return HttpAnswer(200, json.write({"challenge": value}))


def check(submission: Submission) -> Sequence[Problem]:
    """Return the problems of an input. Length and model only warn: they change faster than this table."""
    problems = rules.typed(submission.input, FIELDS)
    prompt, model = submission.input.get("prompt"), submission.input.get("model")
    if isinstance(prompt, str) and len(prompt) > PROMPT_LIMIT:
        problems.append(
            Problem("/prompt", f"MiniMax documents at most {PROMPT_LIMIT} characters", warning=True)
        )
    if not isinstance(model, str) or not model:
        problems.append(Problem("/model", "a model is needed"))
    elif model not in MODELS:
        problems.append(Problem("/model", "this model is not one that we know", warning=True))
    problems.extend(
        Problem(f"/{field}", f"{name} is documented to need {field}", warning=True)
        for name, field in (("last_frame_image", "first_frame_image"), *NEEDS.items())
        if name in (model, "last_frame_image" if submission.input.get("last_frame_image") else "")
        and not submission.input.get(field)
    )
    return problems


def speaking(name: str, base_url: str, paths: MiniMaxPaths, callback: Callback | None) -> Handler:
    """Return a handler for MiniMax's wire format under another name, host and paths."""
    operations = {"video": Operation(paths.submit_path, Kind.VIDEO, callback=callback is not None)}

    def submit(job: Submission, account: Account) -> HttpRequest:
        body = dict(job.input)
        if job.callback_url:
            body["callback_url"] = job.callback_url
        return wire.post(paths.submit_path, body, wire.bearer(account.api_key))

    def poll(job: JobRef, account: Account) -> HttpRequest:
        query = f"task_id={wire.segment(job.provider_job_id)}"
        return wire.get(_with_query(paths.poll_path, query), wire.bearer(account.api_key))

    def retrieve(asset: AssetRef, account: Account) -> HttpRequest:
        query = f"file_id={wire.segment(asset.source)}"
        return wire.get(_with_query(paths.retrieve_path, query), wire.bearer(account.api_key))

    return Handler(
        name=name,
        base_url=base_url,
        operations=operations,
        check=check,
        submit=Exchange(submit, read_submitted),
        poll=Exchange(poll, read),
        callback=callback,
        resolve=Exchange(retrieve, read_retrieved),
    )


def _with_query(path: str, query: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{query}"


HANDLER = speaking(
    "minimax",
    "https://api.minimax.io",
    MiniMaxPaths(),
    Callback(proofs.unproved, read_callback, challenge, provable=False),
)
PROVIDER = Provider("minimax", Options, lambda _options: HANDLER)
