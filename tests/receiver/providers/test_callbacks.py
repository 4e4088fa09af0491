"""Callbacks: those that are proved, those that prove nothing, and those that are refused."""

import asyncio
import hashlib
import hmac
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import RECEIVED, HttpAnswer
from receiver.domain.errors import UnknownCallback
from receiver.domain.model import By, Job, State
from receiver.providers.callbacks import REFUSALS_KEPT, CallbackReceiver
from tests.receiver.job_steps import dues
from tests.receiver.scripted_provider import KEY, ScriptedProvider, change_handler, counts, notes, service_at
from tests.receiver.store_fixture import StoreFixture, write_locked

Headers = list[tuple[str, str]]
LINK = "https://cdn.example/1.mp4"
FINISHED = {"task_id": "p1", "status": "finished", "video_url": LINK}
NO_PROOF = "the proof is missing or wrong"


def receiver(fixture: StoreFixture) -> CallbackReceiver:
    """Return the receiver of callbacks of the service."""
    return fixture.services.api.callbacks


def token(fixture: StoreFixture, job: Job) -> str:
    """Return the token in the callback URL of a job."""
    return fixture.services.core.master_keys.callback_token(job.account, job.id)


def proof(fixture: StoreFixture, job: Job) -> Headers:
    """Return the header with which APIFRAME v1 proves a callback."""
    return [("x-webhook-secret", fixture.services.core.accounts.secret(job))]


async def take(fixture: StoreFixture, job: Job, body: Any, headers: Headers | None = None) -> HttpAnswer:
    """Return the answer to a callback about a job: bytes as they are, any other value as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await receiver(fixture).take(job.account, token(fixture, job), headers or [], content)


async def forge(fixture: StoreFixture, job: Job) -> None:
    """Send a callback with a wrong secret. It must be refused."""
    with pytest.raises(UnknownCallback):
        await take(fixture, job, FINISHED, [("x-webhook-secret", "wrong")])


async def raw(fixture: StoreFixture, job: Job) -> list[tuple[Any, Any]]:
    """Return the stored headers and bodies of the callbacks about a job."""
    found = await fixture.query(
        "select headers, body from evidence where job = :id and kind = 'callback' order by id", id=job.id
    )
    return [
        (row["headers"] and json.loads(row["headers"]), row["body"] and json.loads(row["body"]))
        for row in found
    ]


async def test_a_proved_callback_ends_its_job_and_is_stored_without_its_secret(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", "p1")
    kept = [("content-type", "application/json"), ("user-agent", "provider/1")]
    headers = [*kept, *proof(fixture, job), ("cookie", "session")]
    assert await take(fixture, job, FINISHED, headers) == RECEIVED
    done = await fixture.now(job)
    assert (done.state, done.completed_by) == (State.SUCCEEDED, By.CALLBACK)
    assert [asset.url for asset in done.assets] == [LINK]
    assert await raw(fixture, job) == [([list(pair) for pair in kept], FINISHED)]
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("callback", "applied", 1)]
    assert await counts(fixture, "apiframe") == {"callbacks": 1}


async def test_a_callback_that_proves_nothing_only_asks_for_a_poll(fixture: StoreFixture) -> None:
    job = await fixture.submitted("minimax", "p1", operation="video")
    fixture.clock.pass_(seconds=1)
    assert await take(fixture, job, {"task_id": "p1", "status": "Success", "file_id": "7"}) == RECEIVED
    hinted = await fixture.now(job)
    assert (hinted.state, hinted.assets, hinted.poll_wanted) == (State.QUEUED, (), True)
    assert await dues(fixture, job) == [("poll", 1.0)]
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("callback", "hint", 1)]
    assert await counts(fixture, "minimax") == {"callbacks": 1}


async def test_a_forged_callback_is_refused_noted_and_logged_once_a_minute(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ringback.callbacks")
    job = await fixture.submitted("apiframe", "p1")
    for seconds in (1, 59, 0):
        await forge(fixture, job)
        fixture.clock.pass_(seconds=seconds)
    assert (await fixture.now(job)).state is State.QUEUED
    assert await fixture.evidence(job) == [("submission", "applied", 1), *[("callback", "refused", 1)] * 3]
    assert await notes(fixture, job) == [None, *[NO_PROOF] * 3]
    assert await raw(fixture, job) == [(None, None)] * 3
    assert await counts(fixture, "apiframe") == {"refused": 3}
    said = [(one.getMessage(), vars(one)["account"], vars(one)["count"]) for one in caplog.records]
    why = f"callbacks refused: {NO_PROOF}"
    assert said == [(why, "apiframe", 1), (why, "apiframe", 2)]


async def test_a_jobs_timeline_keeps_a_bounded_number_of_refusals(fixture: StoreFixture) -> None:
    job, other = [await fixture.submitted("apiframe", theirs) for theirs in ("p1", "p2")]
    await asyncio.gather(*(forge(fixture, job) for _ in range(REFUSALS_KEPT + 2)))
    await forge(fixture, other)
    assert await fixture.evidence(job) == [
        ("submission", "applied", 1),
        *[("callback", "refused", 1)] * REFUSALS_KEPT,
    ]
    assert await fixture.evidence(other) == [("submission", "applied", 1), ("callback", "refused", 1)]
    assert await counts(fixture, "apiframe") == {"refused": REFUSALS_KEPT + 3}


@pytest.mark.parametrize(("known", "left"), [(10_000, 10_001), (10_001, 1)])
async def test_the_counts_of_refusals_are_bounded_too(fixture: StoreFixture, known: int, left: int) -> None:
    job, ours = await fixture.submitted("apiframe", "p1"), receiver(fixture)
    ours._refused.update({f"job_{number}": REFUSALS_KEPT for number in range(known)})
    await forge(fixture, job)
    assert (ours._refused[job.id], len(ours._refused)) == (1, left)
    assert await notes(fixture, job) == [None, NO_PROOF]


async def test_a_refused_callback_is_refused_while_the_store_is_away(
    on_sqlite: None, impatient: None, fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ringback.callbacks")
    job = await fixture.submitted("apiframe", "p1")
    with write_locked(fixture.path):
        await forge(fixture, job)
    said = "a refused callback is missing in the timeline of its job: the store was unavailable"
    assert said in caplog.messages
    assert await notes(fixture, job) == [None]


async def test_an_unreadable_callback_is_received_stored_and_asks_for_a_poll(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ringback.callbacks")
    job = await fixture.submitted("apiframe", "p1")
    assert await take(fixture, job, b'"finished"', proof(fixture, job)) == RECEIVED
    assert [(vars(one)["account"], vars(one)["job"]) for one in caplog.records] == [("apiframe", job.id)]
    assert (await fixture.now(job)).state is State.QUEUED
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("callback", "unparsed", 1)]
    assert await raw(fixture, job) == [([], "finished")]
    assert await dues(fixture, job) == [("poll", 0.0)]
    assert await counts(fixture, "apiframe") == {"callbacks": 1}


@pytest.mark.parametrize("account", ["apiframe", "nowhere"])
async def test_a_token_that_is_not_ours_is_unknown(
    fixture: StoreFixture, caplog: pytest.LogCaptureFixture, account: str
) -> None:
    caplog.set_level(logging.WARNING, "ringback.callbacks")
    job = await fixture.submitted("apiframe", "p1")
    with pytest.raises(UnknownCallback):
        await receiver(fixture).take(account, token(fixture, job)[:-2], proof(fixture, job), b"{}")
    known = account if account == "apiframe" else None
    assert [(one.getMessage(), vars(one)["account"]) for one in caplog.records] == [
        ("callbacks refused: no such token", known)
    ]
    assert await notes(fixture, job) == [None]
    assert await counts(fixture, account) == {}


@pytest.mark.parametrize("account", ["aiml", "nowhere"])
async def test_an_account_that_takes_no_callbacks_refuses_them_under_a_genuine_token(
    fixture: StoreFixture, account: str
) -> None:
    job = fixture.job(account)
    with pytest.raises(UnknownCallback):
        await take(fixture, job, FINISHED, proof(fixture, await fixture.added("apiframe")))
    assert await fixture.evidence(job) == []


async def test_a_challenge_is_echoed_and_is_no_report(fixture: StoreFixture) -> None:
    job = await fixture.submitted("minimax", "p1", operation="video")
    answer = await take(fixture, job, {"challenge": "abc"})
    assert (answer.status, json.loads(answer.body)) == (200, {"challenge": "abc"})
    assert await notes(fixture, job) == [None]
    assert await counts(fixture, "minimax") == {}


def signed(body: bytes) -> Headers:
    """Return the header with which APIFRAME v2 proves a callback: with the key of the account."""
    key = hashlib.sha256(KEY.encode()).digest()
    return [("x-webhook-signature", hmac.digest(key, body, "sha256").hex())]


@pytest.mark.parametrize(
    ("named", "state", "outcome"), [(True, State.FAILED, "applied"), (False, State.QUEUED, "hint")]
)
async def test_a_proof_by_the_accounts_key_counts_only_for_a_job_that_the_body_names(
    fixture: StoreFixture, named: bool, state: State, outcome: str
) -> None:
    job = await fixture.submitted("apiframe-v2", "p1", operation="images-generate")
    body = json.dumps({"status": "FAILED", "error": "no"} | ({"jobId": "p1"} if named else {})).encode()
    assert await take(fixture, job, body, signed(body)) == RECEIVED
    assert (await fixture.now(job)).state is state
    assert (await fixture.evidence(job))[-1] == ("callback", outcome, 1)


async def test_a_proof_by_the_jobs_own_secret_counts_for_a_body_that_names_no_job(
    fixture: StoreFixture,
) -> None:
    job = await fixture.submitted("apiframe", "p1")
    assert await take(fixture, job, {"status": "failed"}, proof(fixture, job)) == RECEIVED
    assert (await fixture.now(job)).state is State.FAILED


async def test_a_body_that_the_account_signed_and_that_cannot_be_read_is_kept(fixture: StoreFixture) -> None:
    job, body = await fixture.submitted("apiframe-v2", "p1", operation="images-generate"), b"1"
    assert await take(fixture, job, body, signed(body)) == RECEIVED
    assert (await fixture.evidence(job))[-1] == ("callback", "unparsed", 1)


async def test_a_provider_that_cannot_be_polled_confirms_nothing(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with service_at(provider, tmp_path, {"apiframe": {"confirm": "always"}}) as fixture:
        change_handler(fixture, "apiframe", poll=None)
        job = await fixture.submitted("apiframe", "p1")
        assert await take(fixture, job, FINISHED, proof(fixture, job)) == RECEIVED
        assert (await fixture.now(job)).state is State.SUCCEEDED


async def test_an_account_that_confirms_always_polls_before_a_proved_callback_counts(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    async with service_at(provider, tmp_path, {"apiframe": {"confirm": "always"}}) as fixture:
        job = await fixture.submitted("apiframe", "p1")
        assert await take(fixture, job, FINISHED, proof(fixture, job)) == RECEIVED
        hinted = await fixture.now(job)
        assert (hinted.state, hinted.poll_wanted) == (State.QUEUED, True)
        assert await dues(fixture, job) == [("poll", 0.0)]


async def test_a_secret_that_a_callback_echoes_is_left_out_of_the_job(fixture: StoreFixture) -> None:
    job = await fixture.submitted("apiframe", "p1")
    echoes = [token(fixture, job), fixture.services.core.accounts.secret(job), KEY]
    links = [LINK, *(f"https://cdn.example/2.mp4?k={echo}" for echo in echoes)]
    body = {"task_id": "p1", "status": "finished", "video_urls": links, "note": " ".join(echoes)}
    assert await take(fixture, job, body, proof(fixture, job)) == RECEIVED
    done = await fixture.now(job)
    assert [asset.url for asset in done.assets] == [LINK]
    assert done.result is not None
    assert json.loads(done.result)["note"] == "[redacted] [redacted] [redacted]"
    assert await notes(fixture, job) == [
        None,
        "a file's link holds a secret of ours, so the file is left out",
    ]
