"""The wire formats of the simulated providers, as small as the real handlers accept them."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

API_KEY = "provider-key"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
FILE = "https://cdn.test/made.mp4"
Told = Callable[[str, str, bool], dict[str, Any]]
Sign = Callable[[bytes, str | None, int], dict[str, str]]


@dataclass(frozen=True)
class Face:
    """A simulated account: its handler, its calls, and its answers.

    `told` makes a body of an id, a phase and whether the job makes words instead of a file. `sign` proves a
    callback. `poll` finds the id that a poll asks about, in its path and body.
    """

    handler: str
    operation: str
    asks: Callable[[str], dict[str, Any]]
    submit: str
    poll: re.Pattern[str]
    told: Told
    sign: Sign | None = None
    named: bool = True
    keyed: bool = False
    cancel: re.Pattern[str] | None = None
    settings: Mapping[str, Any] | None = None
    words: bool = False


def _keyed(theirs: str, phase: str, _words: bool) -> dict[str, Any]:
    word = {"running": "processing", "succeeded": "completed", "canceled": "cancelled"}.get(phase, phase)
    return {"jobId": theirs, "status": word, "result": {"video": FILE} if phase == "succeeded" else None}


def _proved(theirs: str, phase: str, _words: bool) -> dict[str, Any]:
    word = {"running": "processing", "succeeded": "finished", "canceled": "failed"}.get(phase, phase)
    return {"task_id": theirs, "status": word, **({"image_url": FILE} if phase == "succeeded" else {})}


def _bare(theirs: str, phase: str, _words: bool) -> dict[str, Any]:
    return {"data": {"uuid": theirs, "status": phase, "videoUrl": "/m/1" if phase == "succeeded" else None}}


def _hinted(theirs: str, phase: str, _words: bool) -> dict[str, Any]:
    word = {"queued": "Queueing", "running": "Processing", "succeeded": "Success"}.get(phase, "Fail")
    file = {"file_id": "77"} if phase == "succeeded" else {}
    return {"task_id": theirs, "status": word, "base_resp": {"status_code": 0}, **file}


def _text(theirs: str, phase: str, words: bool) -> dict[str, Any]:
    word = {"queued": "starting", "running": "processing"}.get(phase, phase)
    output = ("a tide" if words else [FILE]) if phase == "succeeded" else None
    return {"id": theirs, "status": word, "output": output}


def _nameless(theirs: str, phase: str, _words: bool) -> dict[str, Any]:
    word = {"succeeded": "completed"}.get(phase, phase)
    return {"run_id": theirs, "status": word, **({"video_url": FILE} if phase == "succeeded" else {})}


def _of_account(body: bytes, _secret: str | None, _now: int) -> dict[str, str]:
    key = hashlib.sha256(API_KEY.encode()).hexdigest().encode()
    return {"x-webhook-signature": "sha256=" + hmac.digest(key, body, "sha256").hex()}


def _echoed(_body: bytes, secret: str | None, _now: int) -> dict[str, str]:
    return {"x-webhook-secret": secret or ""}


def _standard(body: bytes, _secret: str | None, now: int) -> dict[str, str]:
    signed = f"msg_1.{now}.".encode() + body
    mac = base64.b64encode(hmac.digest(b"s" * 32, signed, "sha256")).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": f"v1,{mac}"}


def _prediction(mark: str) -> dict[str, Any]:
    return {"version": "v", "input": {"prompt": mark}}


PREDICTION = re.compile(r"GET /v1/predictions/([\w-]+) ")
PREDICTION_CANCEL = re.compile(r"POST /v1/predictions/([\w-]+)/cancel ")
FACES: Mapping[str, Face] = {
    "keyed": Face(
        "apiframe-v2",
        "videos-generate",
        lambda mark: {"model": "m", "prompt": mark},
        "/videos/generate",
        re.compile(r"GET /jobs/([\w-]+) "),
        _keyed,
        _of_account,
        keyed=True,
    ),
    "proved": Face(
        "apiframe",
        "imagine",
        lambda mark: {"prompt": mark},
        "/imagine",
        re.compile(r'POST /fetch .*"task_id": ?"([\w-]+)"'),
        _proved,
        _echoed,
    ),
    "bare": Face(
        "aiml",
        "video",
        lambda mark: {"model": "m", "content": [{"type": "text", "text": mark}]},
        "/v1/generation/tasks/video",
        re.compile(r"GET /v1/generation/tasks/video/([\w-]+) "),
        _bare,
    ),
    "hinted": Face(
        "minimax",
        "video",
        lambda mark: {"model": "T2V-01", "prompt": mark},
        "/v1/video_generation",
        re.compile(r"GET /v1/query/video_generation\?task_id=([\w-]+) "),
        _hinted,
    ),
    "text": Face(
        "replicate",
        "prediction",
        _prediction,
        "/v1/predictions",
        PREDICTION,
        _text,
        _standard,
        cancel=PREDICTION_CANCEL,
        settings={"webhook_secret": WEBHOOK_SECRET},
        words=True,
    ),
    "words": Face(
        "replicate",
        "prediction",
        _prediction,
        "/v1/predictions",
        PREDICTION,
        _text,
        cancel=PREDICTION_CANCEL,
        words=True,
    ),
    "nameless": Face(
        "imagineo",
        "generate-video",
        lambda mark: {"image_url": "https://cdn.test/a.png", "prompt": mark},
        "/v1/generate-video",
        re.compile(r"GET /v1/generations/([\w-]+) "),
        _nameless,
        _echoed,
        named=False,
    ),
}


def base_url(account: str) -> str:
    """Return the base URL of an account's provider."""
    return f"https://{account}.test"


def callback_body(face: Face, theirs: str, phase: str, words: bool) -> bytes:
    """Return the body of a callback. A nameless one does not name its job."""
    told = face.told(theirs, phase, words)
    if not face.named:
        told = {name: value for name, value in told.items() if name != "run_id"}
    return json.dumps(told).encode()


def settings(slots: int, max_jobs: int | None, accounts: Sequence[str] = tuple(FACES)) -> dict[str, Any]:
    """Return the accounts as a settings file has them."""
    return {
        name: {
            "handler": FACES[name].handler,
            "api_key": API_KEY,
            "base_url": base_url(name),
            "backstop_after": 20,
            "max_in_flight": slots,
            **({"max_jobs": max_jobs} if max_jobs is not None else {}),
            **(FACES[name].settings or {}),
        }
        for name in accounts
    }
