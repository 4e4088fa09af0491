"""Tests of the simulated providers over HTTP: handlers submit to them, poll them, and meet their faults."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar

import httpx
import pytest

from handlers import json
from handlers.contract import Account, AssetRef, Exchange, JobRef, Kind, Phase, Submission, Update
from handlers.errors import AccountRefused, ProviderError, Rejected, Throttled
from receiver.cli import sandbox as command
from receiver.sandbox import app as module
from receiver.sandbox.app import application
from receiver.sandbox.generated_files import TYPES, content
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs, World
from tests.receiver.raw_server import Peer, serving
from tests.receiver.sandbox.simulated import API_KEY, handler_of, message
from tests.stories.deployment import asking

Input = TypeVar("Input")
Output = TypeVar("Output")
named = pytest.mark.parametrize("name", SPEAKERS)
polled_too = pytest.mark.parametrize("name", [name for name in SPEAKERS if handler_of(name).poll is not None])
FILES = {"assemblyai": 0, "openai": 0}
"""The number of files of a job where it is not one."""
THIN = {"fal": None}
"""The id in the answer to a poll where it names none: fal sends the result itself."""


@dataclass
class Caller:
    """The calls of handlers to the simulated providers."""

    http: httpx.AsyncClient
    world: World

    async def send(
        self, name: str, exchange: Exchange[Input, Output] | None, given: Input, key: str = API_KEY
    ) -> Output:
        """Send a handler's request, and return its reading of the answer. Raises `ProviderError`."""
        assert exchange is not None
        request = exchange.build(given, Account(name, f"http://sandbox/{name}", key))
        answer = await self.http.request(
            request.method, f"/{name}{request.path}", headers=request.headers, content=request.body
        )
        return exchange.parse(message(answer.content, answer.status_code, tuple(answer.headers.items())))

    async def submit(self, name: str, words: str = "", key: str = API_KEY, **others: Any) -> Update:
        """Submit a job with `words` in its prompt."""
        request = asking(name, words)
        operation = others.pop("operation", request["operation"])
        submission = Submission("job_1", operation, request["input"], **others)
        return await self.send(name, handler_of(name).submit, submission, key)

    async def poll(self, name: str, theirs: str | None) -> Update:
        """Return the state of a job by its id at the provider, from a second request where one brings it."""
        assert theirs is not None
        handler = handler_of(name)
        job = JobRef("job_1", theirs, handler.default_operation)
        update = await self.send(name, handler.poll, job)
        if handler.result is None or update.phase is not Phase.SUCCEEDED:
            return update
        return await self.send(name, handler.result, job)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """Yield a caller of simulated providers. Their jobs take an hour."""
    async with command.world(Knobs(takes=3600.0)) as made:
        transport = httpx.ASGITransport(application(made))
        async with httpx.AsyncClient(base_url="http://sandbox", transport=transport) as http:
            yield Caller(http, made)


def end(caller: Caller) -> None:
    """Let every job end."""
    for made in caller.world.jobs.values():
        made.takes = 0.0


@polled_too
async def test_a_job_is_submitted_and_polled_until_it_is_done(caller: Caller, name: str) -> None:
    submitted = await caller.submit(name)
    [made] = caller.world.jobs.values()
    assert (submitted.provider_job_id, made.provider, made.key) == (made.id, name, API_KEY)
    assert caller.world.accepted == {name: 1}
    polled = await caller.poll(name, made.id)
    assert polled.phase in {Phase.QUEUED, Phase.RUNNING}
    end(caller)
    polled = await caller.poll(name, made.id)
    assert (polled.provider_job_id, polled.phase) == (THIN.get(name, made.id), Phase.SUCCEEDED)
    assert len(polled.assets) == FILES.get(name, 1)


@polled_too
async def test_a_job_may_fail(caller: Caller, name: str) -> None:
    submitted = await caller.submit(name, "a tide, fail")
    end(caller)
    assert (await caller.poll(name, submitted.provider_job_id)).phase is Phase.FAILED


@named
@pytest.mark.parametrize(
    ("words", "error"), [("refused", Rejected), ("blocked", AccountRefused), ("throttled", Throttled)]
)
async def test_a_word_has_a_submission_refused(
    caller: Caller, name: str, words: str, error: type[ProviderError]
) -> None:
    with pytest.raises(error):
        await caller.submit(name, f"a tide, {words}")
    assert not caller.world.jobs
    if words == "throttled":
        await caller.submit(name, f"a tide, {words}")
        assert len(caller.world.jobs) == 1


@named
@pytest.mark.parametrize("key", ["", "it is wrong"])
async def test_a_key_that_is_wrong_is_refused(caller: Caller, name: str, key: str) -> None:
    with pytest.raises(AccountRefused):
        await caller.submit(name, key=key)
    assert not caller.world.jobs


@polled_too
async def test_a_job_that_does_not_exist_or_is_another_providers_is_unknown(
    caller: Caller, name: str
) -> None:
    other = next(one for one in SPEAKERS if one != name)
    theirs = (await caller.submit(other)).provider_job_id
    for identity in ("0", theirs):
        with pytest.raises(ProviderError) as raised:
            await caller.poll(name, identity)
        assert isinstance(raised.value, Rejected)


@named
async def test_a_body_that_is_no_json_is_refused(caller: Caller, name: str) -> None:
    answer = await caller.http.post(f"/{name}/x", content=b"{", headers={"x-api-key": API_KEY})
    refusal = SPEAKERS[name].refusals["refused"]
    assert (answer.status_code, answer.json()) == (refusal.status, refusal.body)


async def test_a_throttled_answer_names_a_wait(caller: Caller) -> None:
    with pytest.raises(Throttled) as raised:
        await caller.submit("aiml", "throttled")
    assert raised.value.retry_after is not None
    assert raised.value.retry_after.total_seconds() == 1


async def test_an_unknown_provider_is_told_with_all(caller: Caller) -> None:
    answer = await caller.http.get("/nobody/x")
    assert answer.status_code == 404
    assert answer.json() == {"error": f"providers: {', '.join(SPEAKERS)}"}


async def test_the_ledger_counts_submissions_and_callbacks(caller: Caller) -> None:
    await caller.submit("aiml")
    await caller.submit("aiml")
    caller.world.sent["401"] += 3
    result = (await caller.http.get("/_ledger")).json()
    assert result == {"accepted": {"aiml": 2}, "callbacks": {"401": 3}}


async def test_a_file_needs_no_key(caller: Caller) -> None:
    begins = {"mp4": b"ftyp", "png": b"PNG", "mp3": b"", "glb": b"glTF"}
    for ending, media_type in TYPES.items():
        answer = await caller.http.get(f"/aiml/files/1/0.{ending}")
        assert (answer.content, answer.headers["content-type"]) == (content(ending), media_type)
        assert begins[ending] in answer.content[:12]
    assert (await caller.http.get("/aiml/files/1/0")).headers["content-type"] == "video/mp4"


async def test_a_repeated_idempotency_key_gives_the_same_job(caller: Caller) -> None:
    async def posted(key: str, again: str | None) -> str:
        headers = {"authorization": f"Bearer {key}"} | ({"idempotency-key": again} if again else {})
        answer = await caller.http.post("/aiml/v1/x", json={"prompt": "a"}, headers=headers)
        return str(answer.json()["data"]["uuid"])

    first = await posted("a", "1")
    assert await posted("a", "1") == first
    others = {
        await posted("a", "2"),
        await posted("b", "1"),
        await posted("a", None),
        await posted("a", None),
    }
    assert len(others | {first}) == 5
    assert caller.world.accepted == {"aiml": 5}


async def test_a_lost_answer_is_cut_off_and_its_job_is_there(caller: Caller) -> None:
    headers = {"authorization": API_KEY, "idempotency-key": "1"}
    body = {"prompt": "a tide, lost-answer"}
    answer = await caller.http.post("/aiml/v1/x", json=body, headers=headers)
    assert (answer.content, answer.headers["content-length"]) == (b"{", "100")
    [made] = caller.world.jobs.values()
    answer = await caller.http.post("/aiml/v1/x", json=body, headers=headers)
    assert answer.json()["data"]["uuid"] == made.id


async def test_answers_may_be_slow(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    await caller.submit("aiml", "a tide")
    assert pauses == []
    await caller.submit("aiml", "a tide, slow")
    assert pauses == [caller.world.knobs.latency]
    caller.world.set(every_answer=7.0)
    await caller.submit("aiml", "a tide")
    assert pauses == [caller.world.knobs.latency, 7.0]


async def test_words_in_urls_and_secrets_do_not_count(caller: Caller) -> None:
    body = {
        "webhook_url": "http://h/fail",
        "webhook_secret": "late",
        "callback_url": "http://h/refused",
        "content": [{"text": "doubled"}, "lost", {"type": "slow"}],
        "input": {"prompt": "empty", "count": 3},
    }
    await caller.http.post("/aiml/v1/x", json=body, headers={"authorization": API_KEY})
    [made] = caller.world.jobs.values()
    assert made.words == {"doubled", "lost", "slow", "empty"}


async def test_the_url_and_the_secret_of_callbacks_are_kept(caller: Caller) -> None:
    for name in ("imagineo", "apiframe", "apiframe-v2", "replicate"):
        await caller.submit(name, "lost", callback_url="http://127.0.0.1:1/x", secret="s")
    made = {one.provider: one for one in caller.world.jobs.values()}
    assert {one.callback_url for one in made.values()} == {"http://127.0.0.1:1/x"}
    assert (made["imagineo"].secret, made["apiframe"].secret) == ("s", "s")
    assert made["apiframe"].origin == "http://sandbox/apiframe"


async def test_ids_have_the_form_of_their_provider(caller: Caller) -> None:
    for name in ("minimax", "gately"):
        theirs = (await caller.submit(name)).provider_job_id
        assert theirs is not None
        assert theirs.isdigit()
    assert str((await caller.submit("getimg")).provider_job_id).startswith("req-")


async def test_getimg_answers_an_image_with_the_finished_job(caller: Caller) -> None:
    update = await caller.submit("getimg", operation="image")
    assert (update.phase, [asset.kind for asset in update.assets]) == (Phase.SUCCEEDED, [Kind.IMAGE])
    assert (await caller.poll("getimg", update.provider_job_id)).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("name", ["aiml", "minimax", "gately"])
async def test_a_source_is_resolved_to_a_link_with_the_key(caller: Caller, name: str) -> None:
    theirs = (await caller.submit(name)).provider_job_id
    end(caller)
    [asset] = (await caller.poll(name, theirs)).assets
    resolve = handler_of(name).resolve
    assert isinstance(resolve, Exchange)
    assert asset.source is not None
    job = JobRef("job_1", str(theirs), "video")
    found = await caller.send(name, resolve, AssetRef(job, 0, asset.source))
    assert found.url == f"http://sandbox/{name}/files/{theirs}/0.mp4"
    unknown = asset.source.replace(str(theirs), "0")
    with pytest.raises(Rejected):
        await caller.send(name, resolve, AssetRef(job, 0, unknown))


async def test_apiframe_fetches_several_jobs_at_once(caller: Caller) -> None:
    theirs = [(await caller.submit("apiframe")).provider_job_id for _ in range(2)]
    body = {"task_ids": [*theirs, "unknown"]}
    answer = await caller.http.post("/apiframe/fetch-many", json=body, headers={"authorization": API_KEY})
    assert [task["task_id"] for task in answer.json()["tasks"]] == theirs
    answer = await caller.http.get("/apiframe/account", headers={"authorization": API_KEY})
    assert answer.json()["credits"] == 1000


async def test_replicate_cancels_a_job_that_has_not_ended(caller: Caller) -> None:
    handler = handler_of("replicate")
    first, second = [str((await caller.submit("replicate")).provider_job_id) for _ in range(2)]
    caller.world.jobs[second].takes = 0.0
    for theirs, phase in ((first, Phase.CANCELED), (second, Phase.SUCCEEDED)):
        job = JobRef("job_1", theirs, "prediction")
        assert (await caller.send("replicate", handler.cancel, job)).phase is phase
        assert (await caller.poll("replicate", theirs)).phase is phase
    with pytest.raises(Rejected):
        await caller.send("replicate", handler.cancel, JobRef("job_1", "0", "prediction"))


def echoing(change: Callable[[bytes], bytes]) -> Callable[[Peer], Any]:
    """Return a server's script that answers each challenge with `change` of it."""

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            body = change(request.partition(b"\r\n\r\n")[2])
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    return script


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        (lambda body: body, True),
        (lambda body: json.write(json.read(body)), True),
        (lambda _body: b'{"challenge": "x"}', False),
        (lambda _body: b"{", False),
        (lambda _body: b"", False),
    ],
)
async def test_minimax_accepts_a_job_once_its_challenge_is_echoed(
    caller: Caller, change: Callable[[bytes], bytes], accepted: bool
) -> None:
    async with serving(echoing(change)) as server:
        submitted = caller.submit("minimax", "lost", callback_url=server.url())
        if accepted:
            assert (await submitted).phase is Phase.QUEUED
        else:
            with pytest.raises(Rejected):
                await submitted
        await caller.world.client.close()
    assert len(caller.world.jobs) == int(accepted)


async def test_minimax_refuses_a_callback_url_that_does_not_answer(caller: Caller) -> None:
    with pytest.raises(Rejected):
        await caller.submit("minimax", callback_url="http://10.0.0.1/x")
    assert not caller.world.jobs
    assert caller.world.sent == {"failed": 1}


async def test_callbacks_come_to_the_url_of_the_submission(caller: Caller) -> None:
    received = asyncio.Queue[bytes]()

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            received.put_nowait(request)
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    caller.world.set(takes=0.0)
    async with serving(script) as server, asyncio.timeout(100):
        submitted = await caller.submit("imagineo", callback_url=server.url("/x"), secret="s")
        requests = [await received.get() for _ in range(2)]
        await caller.world.client.close()
    assert all(request.startswith(b"POST /x HTTP/1.1\r\n") for request in requests)
    assert all(b"x-webhook-secret: s\r\n" in request for request in requests)
    bodies = [json.read_object(request.partition(b"\r\n\r\n")[2]) for request in requests]
    assert [body["run_id"] for body in bodies] == [submitted.provider_job_id] * 2
    assert [body["status"] for body in bodies] == ["processing", "completed"]


async def test_replicate_lists_its_newest_jobs(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    ids = [(await caller.submit("replicate")).provider_job_id for _ in range(3)]
    await caller.submit("aiml")
    headers = {"authorization": f"Bearer {API_KEY}"}
    answer = await caller.http.get("/replicate/v1/predictions", headers=headers)
    assert [one["id"] for one in answer.json()["results"]] == [ids[2], ids[1]]
    assert (answer.json()["next"], answer.json()["previous"]) == (None, None)
