"""The fields of answers that no description names: only the vendors' own clients read them.

Texts contain `{id}`, `{origin}` and `{app}` of the job, the last being the first two parts of its operation's
name, and `input:/model` is the value at that place of the request.
"""

from collections.abc import Mapping
from typing import Any

from handlers import json
from handlers.description.requests import app_of
from handlers.pointers import every
from handlers.values import immutable
from receiver.sandbox.described import SORRY, filled
from receiver.sandbox.world import Made

Body = dict[str, Any]
CREATED, CREATED_AT = 1_795_000_000, "2026-11-18T11:06:40Z"
"""The time at which every job was created."""
INPUT = "input:"
REQUESTS = "{origin}/{app}/requests/{id}"


@immutable(kw_only=True)
class Extra:
    """Fields by their place, for some calls, phases and operations; an empty tuple stands for all.

    `alone`: the fields are the whole answer.
    """

    fields: Mapping[str, Any]
    calls: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    alone: bool = False

    def belongs(self, call: str, phase: str, made: Made) -> bool:
        """Return whether the fields are those of an answer."""
        pairs = ((self.calls, call), (self.phases, phase), (self.operations, made.operation))
        return all(not chosen or one in chosen for chosen, one in pairs)


EXTRAS: Mapping[str, tuple[Extra, ...]] = {
    "assemblyai": (
        Extra(fields={"/audio_url": "input:/audio_url"}),
        Extra(
            phases=("succeeded",),
            fields={
                "/text": "a tide",
                "/words": [
                    {"text": "a", "start": 100, "end": 200, "confidence": 0.9},
                    {"text": "tide", "start": 200, "end": 700, "confidence": 0.9},
                ],
                "/confidence": 0.9,
                "/audio_duration": 1,
            },
        ),
    ),
    "dashscope": (Extra(fields={"/request_id": "{id}"}),),
    "elevenlabs": (
        Extra(
            calls=("poll",),
            phases=("succeeded",),
            operations=("v1/flows/video",),
            fields={"/content_mime_type": "video/mp4"},
        ),
    ),
    "fal": (
        Extra(
            calls=("submit",),
            fields={
                "/status_url": f"{REQUESTS}/status",
                "/cancel_url": f"{REQUESTS}/cancel",
                "/queue_position": 0,
            },
        ),
        Extra(calls=("poll",), fields={"/logs": []}),
        Extra(calls=("poll",), phases=("queued",), fields={"/queue_position": 0}),
        Extra(calls=("poll",), phases=("succeeded",), fields={"/metrics": {"inference_time": 0.2}}),
        # The result is the model's own output, without an envelope.
        Extra(
            calls=("result",),
            phases=("succeeded",),
            alone=True,
            fields={
                "/images/0": {"url": "{origin}/files/{id}/0.png", "content_type": "image/png"},
                "/seed": 1,
            },
        ),
    ),
    "leonardo": (
        Extra(calls=("submit",), fields={"/sdGenerationJob/apiCreditCost": 1}),
        Extra(
            calls=("poll",),
            fields={"/generations_by_pk/id": "{id}", "/generations_by_pk/prompt": "input:/prompt"},
        ),
    ),
    "luma": (Extra(fields={"/model": "input:/model", "/created_at": CREATED_AT}),),
    "openai": (
        Extra(
            operations=("v1/responses",),
            fields={
                "/object": "response",
                "/created_at": CREATED,
                "/model": "input:/model",
                "/background": True,
                "/output": [],
                "/parallel_tool_calls": True,
                "/tool_choice": "auto",
                "/tools": [],
            },
        ),
        Extra(
            operations=("v1/responses",),
            phases=("succeeded",),
            fields={
                "/output": [
                    {
                        "type": "message",
                        "id": "msg_{id}",
                        "role": "assistant",
                        "status": "completed",
                        "content": [{"type": "output_text", "text": "A tide came in.", "annotations": []}],
                    }
                ]
            },
        ),
        Extra(phases=("failed",), fields={"/error": {"code": "server_error", "message": SORRY}}),
    ),
    "replicate": (Extra(fields={"/model": "sandbox/one", "/created_at": CREATED_AT, "/source": "api"}),),
    "runway": (
        Extra(calls=("poll",), fields={"/createdAt": CREATED_AT}),
        Extra(calls=("poll",), phases=("queued", "running"), fields={"/estimatedCost": {"credits": 25}}),
        Extra(calls=("poll",), phases=("succeeded", "failed"), fields={"/cost": {"credits": 25}}),
    ),
    "together": (
        Extra(
            fields={
                "/object": "video",
                "/model": "input:/model",
                "/created_at": CREATED,
                "/seconds": "5",
                "/size": "1366x768",
            }
        ),
        Extra(phases=("succeeded",), fields={"/completed_at": CREATED, "/outputs/cost": 1}),
    ),
    "tripo": (Extra(calls=("poll",), fields={"/data/created_at": CREATED_AT}),),
    "zhipu": (Extra(fields={"/model": "input:/model", "/request_id": "{id}"}),),
}
"""The fields by provider."""


def added(body: Body, call: str, made: Made, phase: str) -> Body:
    """Return an answer with the fields that its provider's own client reads besides."""
    # An empty success has no more than a queued job has.
    shown = "empty" if phase == "succeeded" and "empty" in made.words else phase
    for extra in EXTRAS.get(made.provider, ()):
        if extra.belongs(call, shown, made):
            body = {} if extra.alone else body
            for place, value in extra.fields.items():
                body = filled(body, place, json.with_texts(value, lambda text: _told(text, made)))
    return body


def _told(text: str, made: Made) -> Any:
    """Return the value that a text of the table stands for."""
    if text.startswith(INPUT):
        return next(iter(every(text.removeprefix(INPUT))(made.input)), None)
    names = {"{id}": made.id, "{origin}": made.origin, "{app}": app_of(made.operation)}
    for name, own in names.items():
        text = text.replace(name, own)
    return text
