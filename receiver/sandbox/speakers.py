"""The wire formats of the simulated providers: their answers and callbacks.

They follow the providers' documentation as far as it goes; each handler's module says what is unconfirmed.
Gately has the answers of MiniMax and sends no callbacks.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from handlers import json
from handlers.description.callbacks import ProofScheme, ProofTable
from handlers.values import immutable
from receiver.sandbox.described import SORRY, Dialect
from receiver.sandbox.signing import proof_of
from receiver.sandbox.world import Made, Message, Says

Body = dict[str, Any]
WORDS: Mapping[str, Mapping[str, str]] = {
    "imagineo": {"queued": "queued", "running": "processing", "succeeded": "completed", "failed": "failed"},
    "apiframe": {"queued": "pending", "running": "processing", "succeeded": "finished", "failed": "failed"},
    "apiframe-v2": {
        "queued": "QUEUED",
        "running": "PROCESSING",
        "succeeded": "COMPLETED",
        "failed": "FAILED",
    },
    "aiml": {"queued": "queued", "running": "running", "succeeded": "succeeded", "failed": "failed"},
    "getimg": {"queued": "pending", "running": "pending", "succeeded": "completed", "failed": "failed"},
    "replicate": {
        "queued": "starting",
        "running": "processing",
        "succeeded": "succeeded",
        "failed": "failed",
        "canceled": "canceled",
    },
    "minimax": {"queued": "Queueing", "running": "Processing", "succeeded": "Success", "failed": "Fail"},
}
"""The status words of each provider's answers, by phase. Gately uses those of MiniMax."""
MINIMAX_CALLBACK = {
    "queued": "processing",
    "running": "processing",
    "succeeded": "success",
    "failed": "failed",
}
"""The status words of MiniMax's callbacks, which are not those of its answers."""
FINE = {"status_code": 0, "status_msg": "success"}
"""The part of a MiniMax answer that means success."""


REPLICATE_PROOF = ProofTable(scheme=ProofScheme.STANDARD_WEBHOOKS, key="whsec")
APIFRAME_VIDEOS = ("imagine-video", "runway-imagine", "luma", "kling-imagine")
"""The beginnings of the operations of APIFRAME that make videos."""


@immutable
class Refusal:
    """An error answer of a provider: its status and body."""

    status: int
    body: Body


@immutable(kw_only=True)
class Speaker:
    """The wire format of one provider.

    `submitted` and `polled` make the bodies of its answers, `says` its callbacks (None: it sends none).
    """

    name: str
    submitted: Callable[[Made], Body]
    polled: Callable[[Made, str, int], Body]
    refusals: Mapping[str, Refusal]
    says: Says | None = None
    accepted_status: int = 200
    callback_place: str = "body:/webhook_url"
    secret_place: str = "body:/webhook_secret"  # noqa: S105  # a place, no secret
    id_format: str = "{}"
    dialect: Dialect | None = None


def _imagineo(made: Made, phase: str, progress: int) -> Body:
    body: Body = {"run_id": made.id, "status": WORDS["imagineo"][phase], "progress": progress}
    if phase == "succeeded" and "empty" not in made.words:
        image = made.operation == "v1/generate"
        body["image_url" if image else "video_url"] = made.file("0.png" if image else "0.mp4")
    if phase == "failed":
        body["error"] = {"code": "generation_failed", "message": SORRY}
    return body


def _imagineo_says(made: Made, phase: str, progress: int, forged: bool) -> Message:
    secret = "forged" if forged else made.secret or ""
    return Message(json.write(_imagineo(made, phase, progress)), (("x-webhook-secret", secret),))


def _apiframe(made: Made, phase: str, progress: int) -> Body:
    task_type = made.operation.removesuffix("-imagine")
    body: Body = {"task_id": made.id, "task_type": task_type, "status": WORDS["apiframe"][phase]}
    body["percentage"] = 100 if phase == "succeeded" else str(progress)
    if phase == "failed":
        body["message"] = SORRY
    if phase == "succeeded" and "empty" not in made.words:
        body |= _apiframe_result(made)
    return body


def _apiframe_result(made: Made) -> Body:
    if made.operation == "describe":
        return {"content": ["a tide coming in", "water over sand"]}
    if made.operation.startswith(("suno", "udio")):
        return {"songs": [{"song_id": f"{made.id}-{n}", "audio_url": made.file(f"{n}.mp3")} for n in (1, 2)]}
    if made.operation.startswith(APIFRAME_VIDEOS):
        return {"video_url": made.file("0.mp4")}
    grid = [made.file(f"{n}.png") for n in range(1, 5)]
    return {"original_image_url": made.file("0.png"), "image_urls": grid, "actions": ["upsample1"]}


def _apiframe_says(made: Made, phase: str, progress: int, forged: bool) -> Message:
    body = _apiframe(made, phase, progress)
    # The documented final message of `imagine` has no status.
    if made.operation == "imagine" and phase == "succeeded":
        body = {name: value for name, value in body.items() if name not in {"status", "percentage"}}
    return Message(json.write(body), (("x-webhook-secret", "forged" if forged else made.secret or ""),))


def _v2(made: Made, phase: str, progress: int) -> Body:
    done = phase == "succeeded" and "empty" not in made.words
    ending = (
        "mp3"
        if made.operation.startswith("music")
        else "png"
        if made.operation.startswith("images")
        else "mp4"
    )
    return {
        "id": made.id,
        "status": WORDS["apiframe-v2"][phase],
        "model": made.input.get("model", "sandbox-1"),
        "progress": progress,
        "result": made.file(f"0.{ending}") if done else None,
        "error": SORRY if phase == "failed" else None,
        "creditCost": 12,
        "webhookStatus": "pending" if made.callback_url else None,
    }


def _v2_says(made: Made, phase: str, progress: int, forged: bool) -> Message:
    event = {"running": "progress", "succeeded": "completed", "failed": "failed"}[phase]
    body = _v2(made, phase, progress)
    body = {"event": event, "jobId": body.pop("id"), **body}
    raw = json.write(body)
    # The vendor's SDK verifies with the raw SHA-256 digest of the API key.
    key = hashlib.sha256(b"forged" if forged else made.key.encode()).digest()
    signature = "sha256=" + hmac.digest(key, raw, "sha256").hex()
    return Message(raw, (("x-webhook-signature", signature), ("x-webhook-event", event)))


def _aiml(made: Made, phase: str, _progress: int) -> Body:
    task: Body = {"uuid": made.id, "status": WORDS["aiml"][phase]}
    if phase == "succeeded" and "empty" not in made.words:
        # A path at the provider: a call with the key answers it with the URL of the file.
        task["videoUrl"] = f"/v1/media/videos/orgs%2F64%2Fvideos%2F{made.id}.mp4"
    if phase == "failed":
        task["error"] = {"code": "generation_error", "message": SORRY}
    return {"data": task}


def _getimg(made: Made, phase: str, _progress: int) -> Body:
    body: Body = {"id": made.id, "status": WORDS["getimg"][phase]}
    if phase == "failed":
        body["error"] = {"code": "generation_failed", "message": SORRY}
    if phase != "succeeded":
        return body
    image = made.operation == "v2/images/generations"
    now = datetime.now(UTC)
    link = made.file("0.png" if image else "0.mp4")
    file: Body = {
        "url": f"{link}?exp={int((now + timedelta(hours=1)).timestamp())}&sig=ab",
        "mime_type": "image/png" if image else "video/mp4",
        "deletes_at": (now + timedelta(days=2)).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "width": 1280,
        "height": 720,
    }
    if not image:
        file |= {"duration": 5.0, "fps": 24.0, "has_sound": False}
    usage = {"total_cost": 0.1, "billable_unit": "second", "unit_price": 0.02, "quantity": 5}
    files = [] if "empty" in made.words else [file]
    return body | {"model": made.input.get("model", "sandbox-1"), "data": files, "usage": usage}


def _minimax(made: Made, phase: str, _progress: int) -> Body:
    body: Body = {"task_id": made.id, "status": WORDS["minimax"][phase], "file_id": "", "base_resp": FINE}
    if phase == "succeeded" and "empty" not in made.words:
        body |= {"file_id": f"9{made.id}", "video_width": 1366, "video_height": 768}
    if phase == "failed":
        body["base_resp"] = {"status_code": 1027, "status_msg": SORRY}
    return body


def _minimax_says(made: Made, phase: str, progress: int, _forged: bool) -> Message:
    body = _minimax(made, phase, progress)
    body["status"] = MINIMAX_CALLBACK[phase]
    body.pop("video_width", None)
    body.pop("video_height", None)
    return Message(json.write(body), ())


def _replicate(made: Made, phase: str, _progress: int) -> Body:
    done = phase == "succeeded" and "empty" not in made.words
    place = f"{made.origin}/v1/predictions/{made.id}"
    return {
        "id": made.id,
        "version": made.input.get("version", "hidden"),
        "status": WORDS["replicate"][phase],
        "input": made.input.get("input", {}),
        "output": [made.file("0.mp4")] if done else None,
        "error": SORRY if phase == "failed" else None,
        "logs": "",
        "metrics": {"predict_time": made.takes} if done else {},
        "urls": {"get": place, "cancel": f"{place}/cancel"},
    }


def _replicate_says(made: Made, phase: str, progress: int, forged: bool) -> Message:
    raw = json.write(_replicate(made, phase, progress))
    return Message(raw, proof_of(REPLICATE_PROOF, made, raw, forged=forged))


def _titled(status: int, title: str, detail: str) -> Refusal:
    return Refusal(status, {"title": title, "detail": detail, "status": status})


def _coded(status: int) -> Callable[[str, str], Refusal]:
    return lambda code, message: Refusal(status, {"error": {"code": code, "message": message}})


def _base_resp(code: int, message: str) -> Refusal:
    return Refusal(200, {"task_id": "", "base_resp": {"status_code": code, "status_msg": message}})


# The error answers of each form, by cause.
CODED = {
    "key": _coded(401)("unauthorized", "invalid api key"),
    "blocked": _coded(402)("insufficient_credit", "no credit left"),
    "refused": _coded(400)("invalid_request", "the prompt was refused"),
    "throttled": _coded(429)("rate_limited", "slow down"),
    "unknown": _coded(404)("not_found", "no such job"),
}
MINIMAX = {
    "key": _base_resp(1004, "login fail"),
    "blocked": _base_resp(1008, "insufficient balance"),
    "refused": _base_resp(2013, "invalid params"),
    "throttled": _base_resp(1002, "rate limit"),
    "unknown": _base_resp(2013, "invalid task_id"),
}
REPLICATE = {
    "key": _titled(401, "Unauthenticated", "You did not pass a valid authentication token"),
    "blocked": _titled(402, "Insufficient credit", "You have insufficient credit to run this model."),
    "refused": _titled(422, "Input validation failed", "the prompt was refused"),
    "throttled": _titled(429, "Too many requests", "Request was throttled."),
    "unknown": _titled(404, "Not found", "no such prediction"),
}
SPOKEN: Mapping[str, Speaker] = {
    speaker.name: speaker
    for speaker in (
        Speaker(
            name="imagineo",
            submitted=lambda made: {"run_id": made.id, "status": "queued"},
            polled=_imagineo,
            refusals=CODED,
            says=_imagineo_says,
        ),
        Speaker(
            name="apiframe",
            submitted=lambda made: {"task_id": made.id},
            polled=_apiframe,
            refusals=CODED
            | {
                "key": Refusal(401, {}),
                "refused": Refusal(400, {"errors": [{"msg": "the prompt was refused"}]}),
            },
            says=_apiframe_says,
        ),
        Speaker(
            name="apiframe-v2",
            submitted=lambda made: {"jobId": made.id, "status": "QUEUED"},
            polled=_v2,
            refusals={
                cause: Refusal(one.status, {"error": one.body["error"]["message"]})
                for cause, one in CODED.items()
            },
            says=_v2_says,
            accepted_status=202,
            callback_place="body:/webhookUrl",
        ),
        Speaker(
            name="aiml",
            submitted=lambda made: {"data": {"uuid": made.id, "status": "queued"}},
            polled=_aiml,
            refusals=CODED,
        ),
        Speaker(
            name="getimg",
            submitted=lambda made: {"id": made.id, "status": "pending"},
            polled=_getimg,
            refusals=CODED,
            accepted_status=202,
            id_format="req-{}",
        ),
        Speaker(
            name="minimax",
            submitted=lambda made: {"task_id": made.id, "base_resp": FINE},
            polled=_minimax,
            refusals=MINIMAX,
            says=_minimax_says,
            callback_place="body:/callback_url",
        ),
        Speaker(
            name="replicate",
            submitted=lambda made: _replicate(made, "queued", 0),
            polled=_replicate,
            refusals=REPLICATE,
            says=_replicate_says,
            accepted_status=201,
            callback_place="body:/webhook",
        ),
        Speaker(
            name="gately",
            submitted=lambda made: {"task_id": made.id, "base_resp": FINE},
            polled=_minimax,
            refusals=MINIMAX,
        ),
    )
}
