"""MiniMax v1, and every gateway that speaks it. Read 2026-10: platform.minimax.io, the vendor's MCP server.

An error comes as HTTP 200 with `base_resp.status_code` other than 0. A callback carries no proof, so it is
a hint; while our submit is still in flight the provider sends `{"challenge"}` and wants it echoed within
3 s. A result is a `file_id`; files/retrieve turns it into a link that is good for 9 h.
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
"""The meaning of each `base_resp.status_code`, by the vendor's error page. 2061 is about a model that the
plan does not include, 2056 about the usage of a window of hours."""
WAITS = {"2056": timedelta(minutes=5)}
ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED})
CONTENT_POLICY = frozenset({"1026", "1027"})
LINK_LIFETIME = timedelta(hours=9)
PROMPT_LIMIT = 2000
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
    """Where a gateway keeps MiniMax's three calls."""

    submit_path: wire.PathSetting = Field(default=SUBMIT_PATH, description="where a video is asked for")
    poll_path: wire.PathSetting = Field(default=POLL_PATH, description="where a task is asked about")
    retrieve_path: wire.PathSetting = Field(
        default=RETRIEVE_PATH, description="where a file id becomes a link"
    )


class BaseResp(wire.Payload):
    """How MiniMax says whether a call worked."""

    status_code: wire.Code = None
    status_msg: wire.Id = None


class MinimaxTask(wire.Payload):
    """A task, to submit, poll and callback alike; words differ in case between them."""

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
    """The answer of files/retrieve."""

    file: Annotated[File, wire.PART] = File()
    base_resp: Annotated[BaseResp, wire.PART] = BaseResp()


def refuse(base: BaseResp, message: HttpMessage, unknown: type[ProviderError] = Garbled) -> None:
    """Raise the error that a `base_resp` without success means; `unknown` for a code not in our table."""
    code, status = base.status_code, message.status
    if code in {None, "0"}:
        return
    error = ERRORS.get(code or "")
    if error is None and status >= 300:
        error = refusals.refusal(status, code, base.status_msg or "")
    wait = retry_after(message) or WAITS.get(code or "")
    error = error or (unknown if base.status_msg and (code or "").lstrip("-").isdigit() else Garbled)
    raise error(base.status_msg or "", status=status, retry_after=wait, provider_code=code)


def answered(message: HttpMessage, unknown: type[ProviderError] = Garbled) -> dict[str, Any]:
    """The object in an answer; a refusal stands in `base_resp`, whatever the HTTP status."""
    if message.status >= 300:
        try:
            body = json.as_object(json.forgive(message.body))
        except json.BadJson:
            body = {}
        if isinstance(base := body.get("base_resp"), dict):
            refuse(wire.model(base, BaseResp, message), message, unknown)
    return wire.answered(message)


def to_update(task: MinimaxTask) -> Update:
    """A task in our words."""
    phase = wire.phase(PHASES, task.status)
    failure = None
    assets: tuple[Asset, ...] = ()
    if phase is Phase.FAILED:
        base = task.base_resp
        told = base.status_code not in {None, "0"}
        code = base.status_code if told else task.status
        failure = said.failure(code, base.status_msg if told else None, word=task.status)
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
    """The answer to a submit; with a code other than 0 and without a task, nothing was accepted."""
    body = answered(message, unknown=Rejected)
    task = wire.model(body, MinimaxTask, message)
    refuse(task.base_resp, message, Garbled if task.task_id else Rejected)
    if not task.task_id:
        raise wire.unnamed(message, body, "task_id")
    update = to_update(task)
    return update if update.phase in ENDED else replace(update, phase=Phase.QUEUED)


def read(message: HttpMessage) -> Update:
    """A poll's answer: a task that ended tells so itself, else `base_resp` says how the question fared."""
    body = answered(message)
    task = wire.model(_flat(body), MinimaxTask, message)
    update = to_update(task)
    if update.phase not in ENDED:
        refuse(task.base_resp, message)
        if update.phase is Phase.UNKNOWN and (error := wire.told_error(message, body)):
            raise error
    return update


def _flat(body: dict[str, Any]) -> dict[str, Any]:
    """The body as v1 tells it: the vendor's v2 keeps the task under `task`, its link and error inside it."""
    task = body.get("task")
    if not isinstance(task, dict):
        return body
    content, error = task.get("content"), task.get("error")
    base = {"status_code": said.code_of({"error": error}), "status_msg": said.sentence(error) or None}
    link = content.get("url") if isinstance(content, dict) else None
    return {"task_id": task.get("id"), "status": task.get("status"), "video_url": link, "base_resp": base}


def read_callback(message: HttpMessage) -> Update:
    """A callback's body: a poll's, without the sizes."""
    return to_update(wire.payload(message, MinimaxTask))


def read_retrieved(message: HttpMessage) -> Asset:
    """A fresh link and when it ends."""
    told = wire.model(answered(message), Retrieved, message)
    refuse(told.base_resp, message)
    link = told.file.download_url or told.file.backup_download_url
    if link is None:
        raise Garbled("the answer carries no download_url", status=message.status)
    return Asset(kind=Kind.VIDEO, url=link, expires_at=message.received_at + LINK_LIFETIME)


def challenge(message: HttpMessage) -> HttpAnswer | None:
    """The echo that MiniMax wants before it creates a task; None for any other body."""
    if b'"challenge"' not in message.body:
        return None
    try:
        body = json.read_object(message.body)
    except json.BadJson:
        return None
    asked = body.get("challenge")
    if not isinstance(asked, str) or "task_id" in body:
        return None
    return HttpAnswer(200, json.write({"challenge": asked}))


def check(submission: Submission) -> Sequence[Problem]:
    """Length and model names are warnings only: both change faster than this table."""
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
    """A handler for MiniMax's wire format under other names, hosts and paths."""
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
