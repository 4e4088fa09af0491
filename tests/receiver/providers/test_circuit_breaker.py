"""Circuit breakers of accounts: blocks, probes, the ladders of both, and the events about them."""

import asyncio
import logging
from datetime import timedelta

import pytest

from handlers.errors import AccountRefused
from receiver.domain.backoff import LOST, THROTTLED, UNREACHABLE
from receiver.domain.model import Job, Work
from receiver.domain.rendering import stamp
from receiver.providers.circuit_breaker import PROBES, STEADY, CircuitBreaker
from receiver.store import accounts
from tests.receiver.job_steps import dues
from tests.receiver.scripted_provider import events
from tests.receiver.store_fixture import START, StoreFixture, write_locked
from tests.receiver.woken_worker import WokenWorker

REASON = "no credit left"
BLOCKED = {
    "object": "provider",
    "id": "aiml",
    "handler": "aiml",
    "blocked": True,
    "reason": REASON,
    "at": stamp(START),
    "sequence": 1,
}


def breaker(fixture: StoreFixture) -> CircuitBreaker:
    """Return the circuit breaker of the service."""
    return fixture.services.core.breaker


def after_restart(fixture: StoreFixture) -> CircuitBreaker:
    """Return a circuit breaker as another process over the same store has it."""
    core = fixture.services.core
    return CircuitBreaker(core.accounts, core.store, core.recorder, core.dispatcher, core.limits, core.clock)


async def refuse(
    fixture: StoreFixture, job: Job | None = None, *, certain: bool = True, submit: bool = True
) -> float:
    """Record a refused call. Returns the seconds that its job waits."""
    error = AccountRefused(REASON)
    error.certain = certain
    wait = await breaker(fixture).record_refusal(job or fixture.job("aiml"), error, REASON, submit=submit)
    return wait.total_seconds()


async def succeed(
    fixture: StoreFixture, job: Job | None = None, *, submit: bool = True, ago: float = 0.0
) -> None:
    """Record a call that the account took, and that began so many seconds ago."""
    asked = fixture.services.core.clock.monotonic() - ago
    await breaker(fixture).record_success(job or fixture.job("aiml"), submit=submit, asked=asked)


def room(fixture: StoreFixture, account: str = "aiml") -> int:
    """Return how many submissions of an account may start now."""
    return fixture.lanes.room(Work.SUBMIT, account)


async def names(fixture: StoreFixture) -> list[str]:
    """Return the types of all events."""
    return [name for name, _ in await events(fixture)]


async def test_a_refused_account_is_blocked_announced_and_probed_by_one_call(fixture: StoreFixture) -> None:
    assert await refuse(fixture) == 5.0
    assert breaker(fixture).blocked == {"aiml": (START, REASON)}
    assert breaker(fixture).probe_at("aiml") == START + timedelta(seconds=5)
    assert await events(fixture) == [("provider.blocked", BLOCKED)]
    assert (room(fixture), room(fixture, "minimax")) == (0, 16)
    fixture.clock.pass_(seconds=5)
    assert (room(fixture), breaker(fixture).probe_at("aiml")) == (1, None)


async def test_an_account_that_was_never_refused_is_neither_blocked_nor_slowed(fixture: StoreFixture) -> None:
    await succeed(fixture)
    assert breaker(fixture).blocked == {}
    assert (breaker(fixture).probe_at("aiml"), breaker(fixture).slowed("aiml")) == (None, None)
    assert (breaker(fixture).probe_at("nowhere"), breaker(fixture).slowed("nowhere")) == (None, None)
    assert (room(fixture), await names(fixture)) == (16, [])


async def test_calls_that_were_under_way_together_wait_for_one_probe(fixture: StoreFixture) -> None:
    assert await refuse(fixture) == 5.0
    fixture.clock.pass_(seconds=2)
    assert [await refuse(fixture, certain=certain) for certain in (False, True, True)] == [3.0] * 3
    assert await names(fixture) == ["provider.blocked"]


async def test_each_probe_that_is_refused_waits_longer(fixture: StoreFixture) -> None:
    for wait in (*PROBES, PROBES[-1]):
        assert await refuse(fixture) == wait
        assert room(fixture) == 0
        fixture.clock.pass_(seconds=wait)
    assert await names(fixture) == ["provider.blocked"]


async def test_a_submission_that_is_taken_unblocks_its_account(fixture: StoreFixture) -> None:
    woken, waits = WokenWorker(Work.SUBMIT), await fixture.added("aiml")
    fixture.services.core.dispatcher.register(woken)
    await refuse(fixture)
    await fixture.write("update due set at = at + 60000")
    fixture.clock.pass_(seconds=5)
    await succeed(fixture)
    assert (breaker(fixture).blocked, room(fixture)) == ({}, 16)
    assert await dues(fixture, waits) == [("submit", 5.0)]
    assert woken.woken == [fixture.clock.at]
    unblocked = BLOCKED | {"blocked": False, "reason": None, "at": stamp(fixture.clock.at)}
    assert (await events(fixture))[1:] == [("provider.unblocked", unblocked)]
    assert await fixture.store.read(accounts.blocked()) == {}


@pytest.mark.parametrize(("by_submission", "blocked"), [(True, True), (False, False)])
async def test_a_poll_that_is_answered_unblocks_only_an_account_that_polls_were_refused_for(
    fixture: StoreFixture, by_submission: bool, blocked: bool
) -> None:
    await refuse(fixture, submit=by_submission)
    fixture.clock.pass_(seconds=5)
    await succeed(fixture, submit=False)
    assert ("aiml" in breaker(fixture).blocked) is blocked
    await succeed(fixture)
    assert breaker(fixture).blocked == {}
    assert await names(fixture) == ["provider.blocked", "provider.unblocked"]


async def test_an_account_that_is_refused_again_soon_goes_on_where_it_was_and_is_not_announced(
    fixture: StoreFixture,
) -> None:
    for wait in PROBES[:2]:
        assert await refuse(fixture) == wait
        fixture.clock.pass_(seconds=wait)
    await succeed(fixture)
    fixture.clock.pass_(seconds=STEADY - 1)
    assert await refuse(fixture) == PROBES[2]
    assert await names(fixture) == ["provider.blocked", "provider.unblocked"]
    assert await fixture.store.read(accounts.blocked()) == {}
    fixture.clock.pass_(seconds=PROBES[2])
    assert await refuse(fixture) == PROBES[3]
    fixture.clock.pass_(seconds=PROBES[3])
    assert await refuse(fixture) == PROBES[4]
    assert await names(fixture) == ["provider.blocked", "provider.unblocked", "provider.blocked"]


async def test_a_block_that_was_not_announced_ends_without_an_event(fixture: StoreFixture) -> None:
    await refuse(fixture)
    await succeed(fixture)
    await refuse(fixture)
    await succeed(fixture)
    assert breaker(fixture).blocked == {}
    assert await names(fixture) == ["provider.blocked", "provider.unblocked"]


async def test_an_account_that_was_open_for_a_while_begins_anew(fixture: StoreFixture) -> None:
    for wait in PROBES[:2]:
        await refuse(fixture)
        fixture.clock.pass_(seconds=wait)
    await succeed(fixture)
    fixture.clock.pass_(seconds=STEADY)
    assert await refuse(fixture) == PROBES[0]
    assert await names(fixture) == ["provider.blocked", "provider.unblocked", "provider.blocked"]


async def test_a_job_that_is_refused_by_itself_waits_longer_each_time_and_blocks_no_account(
    fixture: StoreFixture,
) -> None:
    job = fixture.job("aiml")
    waits = [await refuse(fixture, job, certain=False) for _ in range(len(PROBES) + 1)]
    assert waits == [*PROBES, PROBES[-1]]
    assert (breaker(fixture).blocked, room(fixture)) == ({}, 16)


async def test_refusals_of_several_jobs_in_a_row_block_the_account_and_polls_are_counted_apart(
    fixture: StoreFixture,
) -> None:
    waits = [await refuse(fixture, certain=False, submit=submit) for submit in (True, True, False, False)]
    assert (waits, breaker(fixture).blocked) == ([5.0] * 4, {})
    assert await refuse(fixture, certain=False) == 5.0
    assert "aiml" in breaker(fixture).blocked


@pytest.mark.parametrize("submit", [True, False])
async def test_a_call_that_is_taken_between_refusals_begins_the_row_anew(
    fixture: StoreFixture, submit: bool
) -> None:
    for taken in (False, False, True, False, False):
        if taken:
            await succeed(fixture, submit=submit)
        else:
            await refuse(fixture, certain=False, submit=submit)
    assert breaker(fixture).blocked == {}
    await refuse(fixture, certain=False, submit=submit)
    assert "aiml" in breaker(fixture).blocked


async def test_an_answered_poll_between_refused_submissions_does_not_begin_their_row_anew(
    fixture: StoreFixture,
) -> None:
    for _ in range(2):
        await refuse(fixture, certain=False)
        await succeed(fixture, submit=False)
    await refuse(fixture, certain=False)
    assert "aiml" in breaker(fixture).blocked


async def test_a_call_that_was_under_way_before_the_block_does_not_end_it(fixture: StoreFixture) -> None:
    fixture.clock.pass_(seconds=10)
    await refuse(fixture)
    fixture.clock.pass_(seconds=3)
    await succeed(fixture, ago=4)
    assert "aiml" in breaker(fixture).blocked
    assert await names(fixture) == ["provider.blocked"]
    fixture.clock.pass_(seconds=2)
    await succeed(fixture, ago=1)
    assert breaker(fixture).blocked == {}


async def test_a_blocked_account_is_known_after_a_restart_and_in_other_processes(
    fixture: StoreFixture,
) -> None:
    await refuse(fixture)
    fixture.clock.pass_(seconds=60)
    other = after_restart(fixture)
    await other.load(probe_in=7.0)
    assert other.blocked == {"aiml": (START, REASON)}
    assert other.probe_at("aiml") == fixture.clock.at + timedelta(seconds=7)
    assert room(fixture) == 0
    await other.load(probe_in=100.0)
    assert other.probe_at("aiml") == fixture.clock.at + timedelta(seconds=7)
    asked = fixture.services.core.clock.monotonic()
    await other.record_success(fixture.job("aiml"), submit=False, asked=asked)
    assert "aiml" in other.blocked
    await other.record_success(fixture.job("aiml"), submit=True, asked=asked)
    assert (other.blocked, "aiml" in breaker(fixture).blocked) == ({}, True)
    await breaker(fixture).load()
    assert (breaker(fixture).blocked, room(fixture)) == ({}, 16)
    assert await names(fixture) == ["provider.blocked", "provider.unblocked"]


async def test_two_processes_that_find_the_same_block_announce_it_once(fixture: StoreFixture) -> None:
    other = after_restart(fixture)
    await refuse(fixture)
    await other.record_refusal(fixture.job("aiml"), AccountRefused(), "later", submit=True)
    assert await names(fixture) == ["provider.blocked"]
    await breaker(fixture).load()
    assert breaker(fixture).blocked == {"aiml": (START, REASON)}


async def test_a_block_of_an_account_that_is_not_configured_is_not_taken_up(fixture: StoreFixture) -> None:
    await fixture.store.write(lambda: accounts.block("former", REASON, START))
    await breaker(fixture).load()
    assert breaker(fixture).blocked == {}


async def test_a_block_that_is_just_being_stored_is_not_taken_for_one_that_ended(
    on_sqlite: None, fixture: StoreFixture
) -> None:
    with write_locked(fixture.path):
        refusing = asyncio.create_task(refuse(fixture))
        await asyncio.sleep(0)
        await breaker(fixture).load()
        assert breaker(fixture).blocked == {"aiml": (START, REASON)}
    assert await refusing == 5.0


async def test_a_block_that_cannot_be_stored_holds_and_is_announced_by_the_next_probe(
    on_sqlite: None, impatient: None, fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ringback.blocking")
    with write_locked(fixture.path):
        assert await refuse(fixture) == 5.0
    said = "account aiml is blocked, announced only after its next probe: the store is unavailable"
    assert said in caplog.messages
    assert ("aiml" in breaker(fixture).blocked, await names(fixture)) == (True, [])
    await breaker(fixture).load()
    assert "aiml" in breaker(fixture).blocked
    fixture.clock.pass_(seconds=5)
    assert await refuse(fixture) == 10.0
    assert await names(fixture) == ["provider.blocked"]


async def test_an_account_whose_success_cannot_be_stored_stays_blocked_until_its_next_call(
    on_sqlite: None, impatient: None, fixture: StoreFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ringback.blocking")
    await refuse(fixture)
    with write_locked(fixture.path):
        await succeed(fixture)
    said = "account aiml works again but stays blocked until its next call: the store is unavailable"
    assert said in caplog.messages
    assert "aiml" in breaker(fixture).blocked
    await succeed(fixture)
    assert breaker(fixture).blocked == {}
    assert await names(fixture) == ["provider.blocked", "provider.unblocked"]


async def test_a_throttled_account_pauses_and_then_goes_one_call_at_a_time(fixture: StoreFixture) -> None:
    woken = WokenWorker(Work.SUBMIT)
    fixture.services.core.dispatcher.register(woken)
    ours = breaker(fixture)
    assert ours.troubled("aiml", THROTTLED, None) == timedelta(seconds=1)
    assert ours.slowed("aiml") == (THROTTLED, START, START + timedelta(seconds=1))
    assert room(fixture) == 0
    fixture.clock.pass_(seconds=1)
    assert (ours.slowed("aiml"), room(fixture)) == ((THROTTLED, START, None), 1)
    assert ours.troubled("aiml", LOST, timedelta(seconds=9)) == timedelta(seconds=10)
    assert ours.slowed("aiml") == (LOST, START, START + timedelta(seconds=11))
    fixture.clock.pass_(seconds=10)
    await succeed(fixture)
    assert (ours.slowed("aiml"), room(fixture), woken.woken) == ((LOST, START, None), 1, [])
    await succeed(fixture)
    assert (ours.slowed("aiml"), room(fixture), woken.woken) == (None, 16, [fixture.clock.at])
    assert ours.blocked == {}


async def test_a_success_of_a_poll_does_not_end_the_pause_of_submissions(fixture: StoreFixture) -> None:
    breaker(fixture).troubled("aiml", THROTTLED, None)
    fixture.clock.pass_(seconds=1)
    await succeed(fixture, submit=False)
    assert breaker(fixture).slowed("aiml") == (THROTTLED, START, None)


async def test_an_account_that_cannot_be_reached_pauses_after_the_third_call(fixture: StoreFixture) -> None:
    waits = [breaker(fixture).troubled("aiml", UNREACHABLE, None) for _ in range(3)]
    assert waits == [None, None, timedelta(seconds=1)]
    assert breaker(fixture).slowed("aiml") == (UNREACHABLE, START, START + timedelta(seconds=1))


@pytest.mark.parametrize(("pause", "wait"), [(3.0, 5.0), (20.0, 20.0)])
async def test_a_blocked_account_that_pauses_too_waits_for_the_longer_of_both(
    fixture: StoreFixture, pause: float, wait: float
) -> None:
    await refuse(fixture)
    breaker(fixture).troubled("aiml", THROTTLED, timedelta(seconds=pause))
    assert fixture.lanes.opens_in(Work.SUBMIT, "aiml") == wait
