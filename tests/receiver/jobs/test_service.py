"""Use cases of jobs: submissions with their checks, keys and secrets, and the input that is shown."""

import asyncio
import hashlib
import json as plain
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers import json
from receiver.bodies.large_json import LONG, LargeJson, unpack
from receiver.bodies.parts import Parts
from receiver.domain.errors import IdempotencyMismatch, Invalid, NotFound
from receiver.domain.model import State, Work
from receiver.jobs.service import SHOWN, JobService, JobSpec, Submitted, shown
from receiver.security.signing import key_of
from receiver.store import inputs
from receiver.store.jobs import by_key
from tests.receiver.store_fixture import ACCOUNTS, SECRET, StoreFixture, store_fixture
from tests.receiver.woken_worker import register_workers

INPUT: dict[str, Any] = {"prompt": "a tide"}
URL = "https://me.example/one-off"


@pytest.fixture
def jobs(fixture: StoreFixture) -> JobService:
    """Return its use cases of jobs."""
    return fixture.services.api.jobs


def request(provider: str = "apiframe", given: dict[str, Any] | None = None, **others: Any) -> JobSpec:
    """Return a request for a job, with these fields."""
    values: dict[str, Any] = {"operation": "imagine" if provider == "apiframe" else None, "metadata": {}}
    whole = json.write(INPUT if given is None else given)
    values |= {"hashed": hashlib.sha256(whole).digest()} | others
    return JobSpec(
        provider=provider,
        input=INPUT if given is None else given,
        whole=Parts([whole]),
        shown=whole,
        **values,
    )


async def submit(jobs: JobService, spec: JobSpec | None = None, key: str | None = None) -> Submitted:
    """Submit a job as the key `key_1`."""
    return await jobs.submit(spec or request(), "key_1", key)


# Submissions.


async def test_a_submitted_job_is_pending_and_its_submission_is_due_now(
    fixture: StoreFixture, jobs: JobService
) -> None:
    workers = register_workers(fixture)
    submitted = await submit(jobs, request(metadata={"order": "42"}))
    job = submitted.job
    assert (submitted.created, submitted.callback_secret) == (True, None)
    assert (job.account, job.operation, job.state) == ("apiframe", "imagine", State.PENDING)
    assert (job.metadata, job.expects_callback, job.callback_url) == ({"order": "42"}, True, None)
    assert (job.created_at, job.deadline_at) == (fixture.clock.at, fixture.clock.at + timedelta(hours=2))
    assert await fixture.now(job) == job
    assert await fixture.due_of(job) == [("submit", 0.0, 0, 0)]
    assert await fixture.column("select job from job_label") == [job.id]
    assert workers[Work.SUBMIT].woken == [fixture.clock.at]


@pytest.mark.parametrize(
    ("provider", "operation", "given", "known", "calls_back"),
    [
        ("apiframe", None, INPUT, "imagine", True),
        ("apiframe", "suno-lyrics", INPUT, "suno-lyrics", False),
        ("aiml", None, {"model": "x", "content": [{"type": "text", "text": "a"}]}, "video", False),
    ],
)
async def test_a_job_has_the_operation_and_the_callback_of_its_provider(
    jobs: JobService,
    provider: str,
    operation: str | None,
    given: dict[str, Any],
    known: str,
    calls_back: bool,
) -> None:
    job = (await submit(jobs, request(provider, given, operation=operation))).job
    assert (job.operation, job.expects_callback) == (known, calls_back)


async def test_a_job_may_have_a_deadline_of_its_own(fixture: StoreFixture, jobs: JobService) -> None:
    job = (await submit(jobs, request(deadline_seconds=60))).job
    assert job.deadline_at == fixture.clock.at + timedelta(seconds=60)


async def test_a_job_is_shown_with_its_input(fixture: StoreFixture, jobs: JobService) -> None:
    job = (await submit(jobs)).job
    assert await jobs.get(job.id) == (job, b'{"prompt":"a tide"}')
    with pytest.raises(NotFound, match="no such job; GET /v1/jobs lists those that are there"):
        await jobs.get("job_1")


async def test_warnings_are_kept_in_the_timeline_and_refuse_nothing(
    fixture: StoreFixture, jobs: JobService
) -> None:
    job = (await submit(jobs, request("minimax", {"model": "new", "prompt": "a tide"}))).job
    [row] = await fixture.query("select kind, outcome, told, at from evidence where job = :id", id=job.id)
    assert (row["kind"], row["outcome"]) == ("note", "warning")
    assert plain.loads(row["told"]) == {"note": "/model: this model is not one that we know"}


# Refused requests.


ON = ", ".join(ACCOUNTS)
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown account": (
        {"provider": "zzz"},
        "/provider",
        f"this account is not configured; accounts that are on: {ON}",
    ),
    "a misspelt account": (
        {"provider": "apifram"},
        "/provider",
        f"this account is not configured (did you mean `apiframe`?); accounts that are on: {ON}",
    ),
    "an unknown operation": (
        {"provider": "aiml", "operation": "zzz"},
        "/operation",
        "aiml has no such operation; it has: video",
    ),
    "a misspelt operation": (
        {"operation": "imagin"},
        "/operation",
        "apiframe has no such operation; did you mean `imagine`?",
    ),
    "a callback URL that may not be called": (
        {"callback_url": "https://10.0.0.1/"},
        "/callback_url",
        "this address is not public",
    ),
    "a secret without a callback URL": (
        {"callback_secret": SECRET},
        "/callback_secret",
        "needs a callback_url",
    ),
    "a field that the service sets itself": (
        {"given": {"prompt": "a", "webhook_url": URL}},
        "/input/webhook_url",
        "Ringback sets this itself; use callback_url or an endpoint instead",
    ),
    "an input that the provider would refuse": (
        {"given": {}},
        "/input/prompt",
        "this operation needs a prompt",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_request_is_refused_with_its_field_and_costs_nothing(
    fixture: StoreFixture, jobs: JobService, name: str
) -> None:
    given, pointer, detail = WRONG[name]
    with pytest.raises(Invalid) as refused:
        await submit(jobs, request(**given), key="once")
    [error] = refused.value.errors
    assert (error.place, error.pointer, error.name) == ("body", pointer, pointer.rpartition("/")[2])
    assert error.detail.startswith(detail)
    assert await fixture.column("select id from job") == []
    assert await fixture.store.read(by_key("key_1", "once", request(**given).hashed)) is None


@pytest.mark.parametrize(("others", "on"), [({}, "none"), ({"minimax": {"api_key": "k"}}, "minimax")])
async def test_an_account_that_is_off_is_refused_with_those_that_are_on(
    tmp_path: Path, others: dict[str, Any], on: str
) -> None:
    accounts = plain.dumps({"apiframe": {}, **others})
    async with store_fixture(tmp_path, providers=accounts) as fixture:
        with pytest.raises(Invalid) as refused:
            await submit(fixture.services.api.jobs)
    [error] = refused.value.errors
    assert error.detail == f"this account is off: it has no api_key; accounts that are on: {on}"


async def test_all_wrong_fields_of_an_input_are_told_and_its_warnings_are_not(jobs: JobService) -> None:
    given = {"prompt": 7, "webhook_secret": "x", "last_frame_image": "data:"}
    with pytest.raises(Invalid, match="the provider would refuse this input") as refused:
        await submit(jobs, request("minimax", given))
    pointers = [error.pointer for error in refused.value.errors]
    assert pointers == ["/input/webhook_secret", "/input/prompt", "/input/model"]


# Idempotency keys.


async def test_the_same_key_and_body_are_the_same_job(fixture: StoreFixture, jobs: JobService) -> None:
    first = await submit(jobs, request(callback_url=URL), key="once")
    workers = register_workers(fixture)
    again = await submit(jobs, request(callback_url=URL), key="once")
    assert (again.job, again.created, again.callback_secret) == (first.job, False, None)
    assert first.callback_secret is not None
    other = await jobs.submit(request(), "key_2", "once")
    assert other.created
    assert other.job.id != first.job.id
    assert [len(workers[kind].woken) for kind in (Work.SUBMIT, Work.POLL)] == [1, 0]


async def test_a_key_finds_its_job_although_its_account_is_off_by_now(tmp_path: Path) -> None:
    async with store_fixture(tmp_path) as fixture:
        first = await submit(fixture.services.api.jobs, key="once")
    async with store_fixture(tmp_path, providers="{}") as fixture:
        again = await submit(fixture.services.api.jobs, key="once")
    assert (again.job, again.created) == (first.job, False)


async def test_a_key_with_another_body_is_refused(fixture: StoreFixture, jobs: JobService) -> None:
    await submit(jobs, key="once")
    with pytest.raises(IdempotencyMismatch, match="this Idempotency-Key was used with another body"):
        await submit(jobs, request(given={"prompt": "an ebb"}), key="once")
    assert len(await fixture.column("select id from job")) == 1


@pytest.mark.parametrize(("prompt", "refused"), [("a tide", 0), ("an ebb", 1)])
async def test_two_requests_at_once_with_one_key_make_one_job(
    fixture: StoreFixture, jobs: JobService, prompt: str, refused: int
) -> None:
    both = (request(), request(given={"prompt": prompt}))
    answers = await asyncio.gather(*(submit(jobs, one, "once") for one in both), return_exceptions=True)
    made = [one for one in answers if isinstance(one, Submitted)]
    assert [one.created for one in made].count(True) == 1
    assert sum(isinstance(one, IdempotencyMismatch) for one in answers) == refused == 2 - len(made)
    assert {one.job.id for one in made} == set(await fixture.column("select id from job"))


# Callback URLs and their secrets.


async def test_a_callback_url_without_a_secret_gets_one_which_is_stored_encrypted(
    fixture: StoreFixture, jobs: JobService
) -> None:
    submitted = await submit(jobs, request(callback_url=URL))
    secret, job = submitted.callback_secret, await fixture.now(submitted.job)
    assert secret is not None
    assert len(key_of(secret)) == 32
    assert job.callback_url == URL
    assert job.callback_secret is not None
    assert secret.encode() not in job.callback_secret
    assert fixture.services.core.master_keys.unseal(job.callback_secret, job.id) == secret


async def test_a_given_secret_is_kept(fixture: StoreFixture, jobs: JobService) -> None:
    submitted = await submit(jobs, request(callback_url=URL, callback_secret=SECRET))
    sealed = submitted.job.callback_secret
    assert submitted.callback_secret == SECRET
    assert sealed is not None
    assert fixture.services.core.master_keys.unseal(sealed, submitted.job.id) == SECRET


# Inputs.


async def test_a_large_input_is_stored_whole(fixture: StoreFixture, jobs: JobService) -> None:
    given = {"prompt": "a tide", "image": "A" * inputs.IN_ROW}
    spec = request(given=given)
    job = (await submit(jobs, spec)).job
    assert await fixture.store.read(inputs.read(job.id)) == json.write(given)


def test_a_small_input_is_shown_byte_for_byte() -> None:
    whole = b'{ "prompt":  "a tide" }'
    assert shown(LargeJson({}, {}), {"prompt": "a tide"}, Parts([whole[:5], whole[5:]])) == whole


CUTS = [
    ("a" * SHOWN, "a" * SHOWN),
    ("a" * (SHOWN + 1), "a" * SHOWN + f"... ({SHOWN + 1} characters)"),
    ("é" * SHOWN, "é" * (SHOWN // 2) + f"... ({SHOWN} characters)"),
    ("a" + "é" * SHOWN, "a" + "é" * (SHOWN // 2 - 1) + f"... ({SHOWN + 1} characters)"),
    ("a" * LONG, "a" * SHOWN + f"... ({LONG} characters)"),
]


@pytest.mark.parametrize(("text", "seen"), CUTS, ids=["whole", "one more", "2 bytes each", "odd", "long"])
def test_long_texts_of_an_input_are_shown_by_their_beginning(text: str, seen: str) -> None:
    given = {"prompt": "a tide", "parts": [{"text": text}], "seed": 7}
    body = json.write({"input": given})
    bulk = unpack(body)
    written = shown(bulk, bulk.value["input"], Parts([json.write(given)]))
    assert json.read(written) == {"prompt": "a tide", "parts": [{"text": seen}], "seed": 7}
