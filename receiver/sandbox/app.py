"""The HTTP application of the simulated providers, each under the prefix `/<handler>`."""

import asyncio
import hashlib
import itertools
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from handlers import json
from handlers.pointers import every
from receiver.domain.bounded import keep
from receiver.sandbox.described import DOWNLOADS, Asked, Dialect
from receiver.sandbox.extras import added
from receiver.sandbox.generated_files import TYPES, content, ending_of
from receiver.sandbox.inbox import Inbox
from receiver.sandbox.providers import KEY_SET, SPEAKERS
from receiver.sandbox.signing import key_set
from receiver.sandbox.speakers import Refusal, Speaker
from receiver.sandbox.world import KEPT, Made, Message, World

PREDICTIONS = "v1/predictions/"
PAGE = 100
"""The most jobs in a list."""
POLLS = {
    "imagineo": "v1/generations/",
    "apiframe-v2": "jobs/",
    "aiml": "v1/generation/tasks/video/",
    "getimg": "v2/videos/generations/",
    "replicate": PREDICTIONS,
}
"""The prefixes of poll paths that end in the id of a job, by provider."""
MINIMAX_POLL = "v1/query/video_generation"
MINIMAX_FILES = "v1/files/retrieve"
MEDIA = "v1/media/videos/orgs%2F64%2Fvideos%2F"
CHALLENGE_SECONDS = 3.0
"""Seconds in which MiniMax wants its challenge echoed."""


class Cut(Response):
    """A response that is never complete: its connection ends in the middle of the body."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send fewer bytes than `content-length` declares."""
        headers = [(b"content-length", b"100"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{"})


@dataclass(slots=True)
class Sandbox:
    """The HTTP endpoints of the simulated providers of a world."""

    world: World
    speakers: Mapping[str, Speaker] = field(default_factory=lambda: SPEAKERS)

    async def serve(self, request: Request) -> Response:
        """Answer one call to one provider."""
        speaker = self.speakers.get(request.path_params["provider"])
        if speaker is None:
            return JSONResponse({"error": f"providers: {', '.join(self.speakers)}"}, 404)
        if self.world.knobs.every_answer:
            await asyncio.sleep(self.world.knobs.every_answer)
        # The undecoded path: AI.ML's media paths contain `%2F`.
        raw: bytes = request.scope["raw_path"]
        path = raw.decode("latin-1").split(f"/{speaker.name}/", 1)[-1]
        if (public := _public(path)) is not None:
            return public
        if speaker.dialect is not None:
            return await self._described(speaker, speaker.dialect, path, request)
        return await self._spoken(speaker, path, request)

    async def _spoken(self, speaker: Speaker, path: str, request: Request) -> Response:
        """Answer a call to a provider with a wire format written by hand."""
        key = _key(request)
        if not key or "wrong" in key:
            return _refuse(speaker.refusals["key"])
        if request.method == "GET":
            return self._asked(speaker, path, request)
        try:
            body = json.read_object(await request.body())
        except json.BadJson:
            return _refuse(speaker.refusals["refused"])
        if speaker.name == "apiframe" and path in {"fetch", "fetch-many"}:
            return self._fetched(speaker, path, body)
        if speaker.name == "replicate" and path.startswith(PREDICTIONS) and path.endswith("/cancel"):
            return self._canceled(speaker, path.removeprefix(PREDICTIONS).removesuffix("/cancel"))
        return await self._submitted(speaker, path, body, key, request)

    async def _described(self, speaker: Speaker, dialect: Dialect, path: str, request: Request) -> Response:
        """Answer a call to a provider that speaks out of its description."""
        try:
            body = await _read_body(request)
        except json.BadJson:
            return _refuse(speaker.refusals["refused"])
        key = dialect.key(request.headers, body)
        if not key or "wrong" in key:
            return _refuse(speaker.refusals["key"])
        if path.startswith(DOWNLOADS):
            place = f"{speaker.name}/files/{path.removeprefix(DOWNLOADS)}"
            return RedirectResponse(f"{request.base_url}{place}", 302)
        asked = dialect.asked(request.method, path, request.query_params, body)
        if asked is not None:
            return self._about(speaker, dialect, asked)
        if request.method not in {"POST", "PUT"} or not dialect.submits(path):
            return _refuse(speaker.refusals["unknown"])
        return await self._submitted(speaker, path, _table(body), key, request)

    def _about(self, speaker: Speaker, dialect: Dialect, asked: Asked) -> Response:
        made = self.world.jobs.get(asked.identity)
        if made is None or made.provider != speaker.name:
            return _refuse(speaker.refusals["unknown"])
        now = self.world.now()
        if asked.call == "cancel" and made.phase(now) not in {"succeeded", "failed"}:
            made.words |= {"canceled"}
        phase = made.phase(now)
        body = dialect.told_of(asked.call, made, phase, made.progress(now))
        return JSONResponse(added(body, asked.call, made, phase))

    async def _submitted(
        self, speaker: Speaker, path: str, body: dict[str, Any], key: str, request: Request
    ) -> Response:
        words = self.world.words(_prompt(body))
        refusal = self._refusal(speaker, words, _prompt(body))
        if refusal is not None:
            return _refuse(refusal)
        again = request.headers.get("idempotency-key") or _own_id(speaker, body)
        made = self.world.known(f"{key}|{again}") if again else None
        if made is None:
            made = self._made(speaker, path, body, key, words, request)
            # MiniMax accepts a job only after its callback URL has echoed a challenge.
            if speaker.name == "minimax" and not await self._challenged(made):
                return _refuse(speaker.refusals["refused"])
            self.world.accept(made, speaker.says)
            if again:
                keep(self.world.answered, f"{key}|{again}", made.id, KEPT)
            if "lost-answer" in words:
                return Cut()
        if "slow" in words:
            await asyncio.sleep(self.world.knobs.latency)
        # getimg answers an image submission with the finished job.
        if path == "v2/images/generations":
            made.takes = 0.0
            return JSONResponse(speaker.polled(made, made.phase(self.world.now()), 100))
        return JSONResponse(added(speaker.submitted(made), "submit", made, "queued"), speaker.accepted_status)

    def _canceled(self, speaker: Speaker, identity: str) -> Response:
        made = self.world.jobs.get(identity)
        if made is not None and made.phase(self.world.now()) not in {"succeeded", "failed"}:
            made.words |= {"canceled"}
        return self._told(speaker, identity)

    def _refusal(self, speaker: Speaker, words: frozenset[str], prompt: str) -> Refusal | None:
        # By prompt, because a submission that is repeated after a 429 has to pass.
        once = hashlib.sha256(f"{speaker.name}|{prompt}".encode()).digest()
        if "throttled" in words and once not in self.world.throttled:
            keep(self.world.throttled, once, None, KEPT)
            return speaker.refusals["throttled"]
        cause = next((cause for cause in ("blocked", "refused") if cause in words), None)
        return speaker.refusals[cause] if cause else None

    def _made(
        self,
        speaker: Speaker,
        path: str,
        body: dict[str, Any],
        key: str,
        words: frozenset[str],
        request: Request,
    ) -> Made:
        numbered = speaker.name in {"minimax", "gately"}
        identity = str(secrets.randbelow(10**15)) if numbered else str(uuid.uuid4())
        if speaker.dialect is not None:
            identity = speaker.dialect.new_id(path, identity, body)
        return Made(
            id=speaker.id_format.format(identity),
            provider=speaker.name,
            operation=path,
            input=body,
            words=words,
            key=key,
            started=self.world.now(),
            takes=self.world.knobs.takes,
            origin=f"http://{request.headers.get('host', '127.0.0.1')}/{speaker.name}",
            callback_url=_at(speaker.callback_place, body, request),
            secret=_at(speaker.secret_place, body, request),
        )

    async def _challenged(self, made: Made) -> bool:
        if made.callback_url is None:
            return True
        challenge = {"challenge": secrets.token_hex(6)}
        echo = await self.world.post(made.callback_url, Message(json.write(challenge), ()), CHALLENGE_SECONDS)
        try:
            return echo is not None and json.read(echo) == challenge
        except json.BadJson:
            return False

    def _asked(self, speaker: Speaker, path: str, request: Request) -> Response:
        if path == "account":
            return JSONResponse({"email": "you@sandbox.example", "credits": 1000, "plan": "sandbox"})
        if path.startswith(MEDIA):
            made = self.world.jobs.get(path.removeprefix(MEDIA).removesuffix(".mp4"))
            return (
                _refuse(speaker.refusals["unknown"])
                if made is None
                else JSONResponse({"url": made.file("0.mp4")})
            )
        if path == MINIMAX_FILES:
            file_id = request.query_params.get("file_id", "")
            # A file id is the job's id behind a 9, see `_minimax` in speakers.py.
            made = self.world.jobs.get(file_id[1:])
            if made is None:
                return _refuse(speaker.refusals["unknown"])
            file = {"file_id": int(file_id), "bytes": len(content("mp4")), "download_url": made.file("0.mp4")}
            return JSONResponse({"file": file, "base_resp": {"status_code": 0, "status_msg": "success"}})
        if path == MINIMAX_POLL:
            return self._told(speaker, request.query_params.get("task_id", ""))
        if f"{path}/" == PREDICTIONS:
            return self._listed(speaker)
        return self._told(speaker, path.removeprefix(POLLS.get(speaker.name, "\x00")))

    def _fetched(self, speaker: Speaker, path: str, body: dict[str, Any]) -> Response:
        if path == "fetch":
            return self._told(speaker, str(body.get("task_id")))
        found = [self._body(speaker, str(one)) for one in body.get("task_ids", [])]
        return JSONResponse({"tasks": [one for one in found if one is not None]})

    def _listed(self, speaker: Speaker) -> Response:
        """Return the newest jobs of a provider, as Replicate lists them."""
        jobs = reversed(self.world.jobs.values())
        newest = itertools.islice((one.id for one in jobs if one.provider == speaker.name), PAGE)
        results = [self._body(speaker, identity) for identity in newest]
        return JSONResponse({"next": None, "previous": None, "results": results})

    def _told(self, speaker: Speaker, identity: str) -> Response:
        body = self._body(speaker, identity)
        return _refuse(speaker.refusals["unknown"]) if body is None else JSONResponse(body)

    def _body(self, speaker: Speaker, identity: str) -> dict[str, Any] | None:
        made = self.world.jobs.get(identity)
        if made is None or made.provider != speaker.name:
            return None
        now = self.world.now()
        phase = made.phase(now)
        return added(speaker.polled(made, phase, made.progress(now)), "poll", made, phase)

    async def ledger(self, _request: Request) -> Response:
        """Return the accepted submissions by provider, and the callbacks by the status of their answer."""
        return JSONResponse({"accepted": dict(self.world.accepted), "callbacks": dict(self.world.sent)})


def application(world: World, own: Mapping[str, Speaker] | None = None) -> Starlette:
    """Return the ASGI application of a world, with speakers of `own` descriptions beside the others."""
    sandbox = Sandbox(world, {**SPEAKERS, **own} if own else SPEAKERS)
    return Starlette(
        routes=[
            Route("/_ledger", sandbox.ledger),
            Route("/_inbox", Inbox().serve, methods=["GET", "POST"]),
            Route("/{provider}/{path:path}", sandbox.serve, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
    )


def _refuse(refusal: Refusal) -> Response:
    headers = {"retry-after": "1"} if refusal.status == 429 else None
    return JSONResponse(refusal.body, refusal.status, headers)


def _public(path: str) -> Response | None:
    """Return the answer to a call that needs no key, None for any other path."""
    if path.startswith("files/"):
        ending = ending_of(path)
        return Response(content(ending), media_type=TYPES[ending])
    return Response(key_set(), media_type="application/json") if path == KEY_SET else None


def _own_id(speaker: Speaker, body: dict[str, Any]) -> str | None:
    """Return the id that the caller gave to a job, None where the provider gives it."""
    return speaker.dialect.own_id(body) if speaker.dialect is not None else None


async def _read_body(request: Request) -> Any:
    """Return the body of a call: JSON, or the fields of a form. Raises `BadJson`."""
    kind, raw = request.headers.get("content-type", ""), await request.body()
    if kind.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(raw.decode(errors="replace")))
    if kind.startswith("multipart/"):
        return _parts(kind, raw)
    return json.read(raw) if raw else {}


def _parts(kind: str, raw: bytes) -> dict[str, str]:
    """Return the texts of a form in several parts, without its files."""
    form = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + raw, policy=HTTP)
    parts = [part for part in form.iter_parts() if part.get_filename() is None]
    return {str(part.get_param("name", header="content-disposition")): part.get_content() for part in parts}


def _table(body: Any) -> dict[str, Any]:
    """Return the fields of a body; those of its first item where it is a list."""
    one = body[0] if isinstance(body, list) and body else body
    return one if isinstance(one, dict) else {}


def _at(place: str, body: dict[str, Any], request: Request) -> Any:
    """Return the value at a place of a request, None without one."""
    where, _, at = place.partition(":")
    if where == "query":
        return request.query_params.get(at)
    if where == "header":
        return request.headers.get(at)
    return next(iter(every(at)(body)), None)


def _key(request: Request) -> str:
    key = request.headers.get("x-api-key") or request.headers.get("authorization", "")
    return key.removeprefix("Bearer ").strip()


def _prompt(value: Any) -> str:
    """Return all texts of a request, which may contain the words for knobs, without URLs and secrets."""
    if isinstance(value, str):
        return "" if "://" in value else value
    if isinstance(value, list):
        return " ".join(_prompt(one) for one in value)
    if isinstance(value, dict):
        return " ".join(_prompt(one) for name, one in value.items() if "secret" not in name.lower())
    return ""
