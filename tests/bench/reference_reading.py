"""The reader of APIFRAME's callbacks as Python with pydantic models: the comparison for descriptions.

It reads the same as `handlers/described/apiframe.toml`, which the measure makes sure of.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from handlers import fields, said, wire
from handlers.contract import Asset, HttpMessage, Kind, Phase, Update
from handlers.refusals import known

PHASES = {
    "pending": Phase.QUEUED,
    "queued": Phase.QUEUED,
    "staged": Phase.QUEUED,
    "starting": Phase.RUNNING,
    "processing": Phase.RUNNING,
}
RESULT_WORDS = frozenset(
    {"actions", "songs", "song_id", "lyrics", "content", "prompts", "descriptions", "seed"}
    | {"training_id", "training_images_id"}
)
Id = Annotated[str | None, BeforeValidator(fields.identity)]
Word = Annotated[str, BeforeValidator(fields.word)]
Percent = Annotated[float | None, BeforeValidator(fields.percent)]
Link = Annotated[str | None, BeforeValidator(fields.link)]
Links = Annotated[
    tuple[Link, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else ())
]
Number = Annotated[float | None, BeforeValidator(fields.plausible)]


class _Payload(BaseModel):
    """A provider's message. Only the fields that are read are declared."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Song(_Payload):
    """A song."""

    audio_url: Link = None
    image_url: Link = None
    video_url: Link = None
    duration: Number = None


class _ProResult(_Payload):
    """The object in which the pro operations keep their files."""

    discord_image_url: Link = None
    image_url: Link = None
    image_urls: Links = ()


class _Task(_Payload):
    """A task."""

    task_id: Id = None
    status: Word = ""
    percentage: Percent = None
    video_url: Link = None
    video_urls: Links = ()
    image_url: Link = None
    image_urls: Links = ()
    original_image_url: Link = None
    audio_url: Link = None
    songs: Any = None
    task_result: Annotated[
        _ProResult, BeforeValidator(lambda value: value if isinstance(value, dict) else {})
    ] = _ProResult()
    output: Any = None
    error: Any = None


def read(message: HttpMessage) -> Update:
    """Return the update in a callback. Raises `BadPayload` for a body that cannot be read."""
    body = wire.called_back(message)
    task = _Task.model_validate(body)
    assets = _assets(task)
    made = bool(assets or RESULT_WORDS & body.keys())
    phase = PHASES.get(task.status) or known(task.status)
    if not task.status and made and task.percentage in {None, 100.0}:
        phase = Phase.SUCCEEDED
    failure = None
    if phase is Phase.FAILED or (phase is Phase.SUCCEEDED and not made and said.is_error(task.error)):
        code = said.code_of(body) or (task.status if phase is Phase.FAILED else None)
        failure = said.failure(code, body, word=task.status)
    done = phase is Phase.SUCCEEDED
    return Update(
        provider_job_id=task.task_id,
        phase=phase,
        progress=task.percentage,
        assets=assets if done else (),
        result=body if done else None,
        failure=failure,
    )


def _assets(task: _Task) -> tuple[Asset, ...]:
    songs = [_Song.model_validate(one) for one in task.songs or () if isinstance(one, dict)]
    pro = task.task_result
    found = [
        *_each(Kind.VIDEO, task.video_url, *task.video_urls),
        *_each(Kind.IMAGE, *task.image_urls, task.image_url, task.original_image_url),
        *_each(Kind.IMAGE, pro.discord_image_url, pro.image_url, *pro.image_urls),
    ]
    for song in songs:
        found += _each(Kind.AUDIO, song.audio_url) + _each(Kind.IMAGE, song.image_url)
        found += _each(Kind.VIDEO, song.video_url)
    return (*found, *_each(Kind.AUDIO, task.audio_url))


def _each(kind: Kind, *links: str | None) -> list[Asset]:
    return [Asset(kind=kind, url=link) for link in dict.fromkeys(links) if link]
