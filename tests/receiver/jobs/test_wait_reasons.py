"""Reasons to wait: one for each open job that makes no progress, by the most pressing cause."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from handlers.errors import AccountRefused
from receiver.domain.backoff import LOST, THROTTLED, UNREACHABLE, Ladder
from receiver.domain.model import Job, Source, State, Waiting, WaitReason, Work
from receiver.domain.reports import FailureKind
from receiver.jobs.wait_reasons import TURN
from receiver.providers.circuit_breaker import PROBES
from receiver.store import accounts
from tests.receiver.job_steps import out
from tests.receiver.store_fixture import ACCOUNTS, START, StoreFixture, store_fixture, told, word

LATE = TURN + timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)


def with_account(**changes: Any) -> str:
    """Return the settings of the accounts, with these changes to `aiml`."""
    return json.dumps(ACCOUNTS | {"aiml": {"api_key": "k", **changes}})


async def reason(fixture: StoreFixture, job: Job) -> Waiting | None:
    """Return the reason why a job waits, None where it does not."""
    return (await fixture.services.api.wait_reasons.of([job])).get(job.id)


async def refuse(fixture: StoreFixture, job: Job) -> None:
    """Block the account of a job: its provider refused a submission."""
    breaker = fixture.services.core.breaker
    await breaker.record_refusal(job, AccountRefused(), "no credit", submit=True)


async def test_a_job_that_makes_progress_or_ended_has_no_reason(fixture: StoreFixture) -> None:
    fresh, running, ended = await fixture.added(), await fixture.submitted(), await fixture.submitted()
    [recorded] = await fixture.hear(word(ended, fixture, told(Phase.FAILED)))
    assert recorded.job is not None
    assert await fixture.services.api.wait_reasons.of([fresh, running, recorded.job]) == {}


async def test_each_job_of_a_list_has_its_own_reason(fixture: StoreFixture) -> None:
    jobs = [await fixture.added(account) for account in ("nobody", "aiml", "nowhere")]
    found = await fixture.services.api.wait_reasons.of(jobs)
    assert {job_id: waiting.detail for job_id, waiting in found.items()} == {
        jobs[0].id: "the account nobody is not configured",
        jobs[2].id: "the account nowhere is not configured",
    }


async def test_an_outcome_that_cannot_be_stored_comes_before_all_else(fixture: StoreFixture) -> None:
    job, _ = await out(fixture)
    await refuse(fixture, job)
    fixture.services.core.recorder.waiting_since[job.id] = START + SECOND
    assert await reason(fixture, job) == Waiting(
        WaitReason.STORE, "the provider's answer waits for the database", START + SECOND
    )


async def test_a_job_that_is_polled_in_vain_shows_the_stored_reason(fixture: StoreFixture) -> None:
    stored = Waiting(WaitReason.POLL_FAILING, "503", START, START + SECOND)
    job = await fixture.submitted("aiml")
    await refuse(fixture, job)
    assert await reason(fixture, job.but(waiting=stored)) == stored


# Accounts that are blocked or off.


async def test_a_blocked_account_is_the_reason_until_its_next_probe(fixture: StoreFixture) -> None:
    job, claim = await out(fixture)
    fixture.clock.pass_(seconds=1)
    restored = word(job, fixture, source=Source.SUBMISSION, verdict=FailureKind.RESTORE, claim=claim)
    [recorded] = await fixture.hear(restored)
    assert recorded.job is not None
    await refuse(fixture, job)
    now = fixture.clock.at
    assert await reason(fixture, recorded.job) == Waiting(
        WaitReason.ACCOUNT_BLOCKED, "no credit", now, now + timedelta(seconds=PROBES[0])
    )
    fixture.clock.pass_(seconds=1)
    later = await fixture.added("aiml")
    found = await reason(fixture, later)
    assert found is not None
    assert (found.since, found.until) == (later.created_at, now + timedelta(seconds=PROBES[0]))


@pytest.mark.parametrize("until", [None, START + timedelta(minutes=1)])
async def test_a_block_whose_probe_is_another_process_s_ends_when_the_job_is_due(
    fixture: StoreFixture, until: datetime | None
) -> None:
    job = await fixture.added("aiml")
    await fixture.store.write(lambda: accounts.block("aiml", "no credit", fixture.clock.at))
    await fixture.services.core.breaker.load()
    waiting = None if until is None else Waiting(WaitReason.THROTTLED, "429", START, until)
    assert await reason(fixture, job.but(waiting=waiting)) == Waiting(
        WaitReason.ACCOUNT_BLOCKED, "no credit", START, until
    )


@pytest.mark.parametrize(
    ("settings", "account", "detail"),
    [
        ({"api_key": None}, "aiml", "the account aiml is off: it has no api_key"),
        ({}, "nobody", "the account nobody is not configured"),
    ],
)
async def test_an_account_that_is_off_or_missing_is_the_reason(
    tmp_path: Path, settings: dict[str, Any], account: str, detail: str
) -> None:
    async with store_fixture(tmp_path, providers=with_account(**settings)) as fixture:
        job = await fixture.added(account)
        assert await reason(fixture, job) == Waiting(WaitReason.ACCOUNT_BLOCKED, detail, START)


# Accounts that are slow or full.


SLOW = [
    (THROTTLED, WaitReason.THROTTLED, "the provider throttles the account"),
    (UNREACHABLE, WaitReason.UNREACHABLE, "the provider cannot be reached"),
    (LOST, WaitReason.UNREACHABLE, "the provider's answers are lost"),
]


@pytest.mark.parametrize(("ladder", "why", "detail"), SLOW)
async def test_a_job_behind_the_trouble_of_others_shows_that_trouble(
    fixture: StoreFixture, ladder: Ladder, why: WaitReason, detail: str
) -> None:
    job, breaker = await fixture.added("aiml"), fixture.services.core.breaker
    fixture.clock.pass_(seconds=1)
    for _ in range(ladder.after):
        assert await reason(fixture, job) is None
        breaker.troubled("aiml", ladder, None)
    now = fixture.clock.at
    shown = f"{detail}: submissions to the account go out one at a time"
    assert await reason(fixture, job) == Waiting(why, shown, now, now + timedelta(seconds=ladder.steps[0]))
    own = Waiting(WaitReason.THROTTLED, "429", START, now)
    assert await reason(fixture, job.but(waiting=own)) == own
    fixture.clock.pass_(seconds=ladder.steps[0])
    assert await reason(fixture, job) == Waiting(why, shown, now, None)


async def test_an_account_with_as_many_running_jobs_as_it_may_have_is_full(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, providers=with_account(max_jobs=2)) as fixture:
        waiting, other = await fixture.added("aiml"), await fixture.added("minimax")
        for count in range(2):
            assert await reason(fixture, waiting) is None, count
            await fixture.write(
                "update job set state = 'running' where id = :id", id=(await fixture.added("aiml")).id
            )
        assert await fixture.services.api.wait_reasons.of([waiting, other]) == {
            waiting.id: Waiting(
                WaitReason.ACCOUNT_FULL,
                "max_jobs of the account is 2, and as many run at the provider",
                START,
            )
        }


async def test_an_account_with_all_calls_under_way_is_full_once_the_job_had_its_turn(
    tmp_path: Path,
) -> None:
    async with store_fixture(tmp_path, providers=with_account(max_in_flight=1)) as fixture:
        job = await fixture.added("aiml")
        fixture.lanes.acquire(Work.SUBMIT, "aiml")
        fixture.clock.at += TURN
        assert await reason(fixture, job) is None
        fixture.clock.at = START + LATE
        assert await reason(fixture, job) == Waiting(
            WaitReason.ACCOUNT_FULL,
            "every call that max_in_flight of the account allows is under way",
            START,
        )
        assert await reason(fixture, job.but(state=State.QUEUED)) is None
        fixture.lanes.release("aiml", Work.SUBMIT)
        assert await reason(fixture, job) is None


async def test_running_jobs_are_counted_once_for_each_account_of_a_list(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, providers=with_account(max_jobs=9)) as fixture:
        jobs = [await fixture.added("aiml") for _ in range(3)] + [await fixture.added("minimax")]
        reads: list[object] = []

        class Counted:
            """A store that counts its reads."""

            async def read(self, transaction: Any) -> Any:
                reads.append(transaction)
                return await fixture.store.read(transaction)

        reasons: Any = fixture.services.api.wait_reasons
        assert await replace(reasons, store=Counted()).of(jobs) == {}
    assert len(reads) == 1
