"""Due work in a real store: claimed fairly, lane by lane, under leases that end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.bodies.parts import Parts
from receiver.domain.model import Claim, ScheduledWork, Source, State, Work
from receiver.store import jobs
from receiver.store.due import (
    PASSED_BY,
    Claimed,
    ClaimRequest,
    claim,
    due_now,
    first_fence,
    plain,
    postpone,
    release,
    void_leases,
)
from receiver.store.jobs import NewJob
from receiver.store.replicas import leave
from receiver.store.rows import due_row
from receiver.store.statements import Step, Transaction, ms, query
from tests.receiver.store_fixture import LEASE, START, StoreFixture, owed, told, word
from tests.receiver.store_steps import due_of, insert_rows, lost, statements

# Claimed.


async def test_every_lane_gets_its_room_oldest_first(fixture: StoreFixture) -> None:
    made: dict[str, list[str]] = {"apiframe": [], "aiml": [], "apiframe-v2": []}
    for number in range(30):
        account = "apiframe" if number < 20 else ("aiml" if number % 2 else "apiframe-v2")
        made[account].append((await fixture.added(account)).id)
        fixture.clock.pass_(milliseconds=1)
    chosen = await fixture.claim(Work.SUBMIT, {"apiframe": 3, "aiml": 2, "apiframe-v2": 0})
    taken = {name: [one.job.id for one in chosen if one.claim.lane == name] for name in made}
    assert taken == {"apiframe": made["apiframe"][:3], "aiml": made["aiml"][:2], "apiframe-v2": []}
    chosen = await fixture.claim(Work.SUBMIT, {"apiframe": 1, "aiml": 100, "apiframe-v2": 1})
    taken = {name: [one.job.id for one in chosen if one.claim.lane == name] for name in made}
    assert taken["apiframe"] == made["apiframe"][3:4]
    assert taken["aiml"] == made["aiml"][2:]
    assert taken["apiframe-v2"] == made["apiframe-v2"][:1]


async def test_nothing_is_claimed_before_it_is_due(fixture: StoreFixture) -> None:
    at = fixture.clock.at + timedelta(seconds=10)
    later = NewJob(
        job=fixture.job(),
        whole_input=Parts([b"{}"]),
        shown_input=b"{}",
        due=ScheduledWork(Work.SUBMIT, "apiframe", at),
    )
    await fixture.store.write(lambda: jobs.add([later]))
    assert await fixture.next_at(Work.SUBMIT) == at
    assert await fixture.claim(Work.SUBMIT) == []
    fixture.clock.pass_(seconds=10)
    assert len(await fixture.claim(Work.SUBMIT)) == 1
    assert await fixture.next_at(Work.POLL) is None


async def test_a_claim_is_looked_at_again_when_its_lease_ends_or_sooner(fixture: StoreFixture) -> None:
    await fixture.added()
    ends = fixture.clock.at + LEASE
    assert await fixture.next_at(Work.SUBMIT, None) == ends
    due = ScheduledWork(Work.SUBMIT, "apiframe", ends - timedelta(seconds=1))
    sooner = NewJob(job=fixture.job(), whole_input=Parts([b"{}"]), shown_input=b"{}", due=due)
    await fixture.store.write(lambda: jobs.add([sooner]))
    assert await fixture.next_at(Work.SUBMIT, None) == sooner.due.at


async def test_work_of_another_kind_is_left_alone(fixture: StoreFixture) -> None:
    await fixture.added()
    assert await fixture.claim(Work.POLL) == []
    assert await fixture.claim(Work.DELIVER) == []
    assert len(await fixture.claim(Work.SUBMIT)) == 1


async def test_polls_are_claimed_when_they_are_due(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml")
    assert await fixture.claim(Work.POLL) == []
    claim = await fixture.poll_claim(job)
    assert (claim.work, claim.lane, claim.tries) == (Work.POLL, "aiml", 0)
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.RUNNING), Source.POLL, claim=claim))
    assert recorded.due is not None
    assert recorded.due.tries == 1
    assert recorded.due.at > fixture.clock.at
    assert await fixture.next_at(Work.POLL) == recorded.due.at


async def test_no_more_jobs_run_at_a_provider_than_it_is_allowed(fixture: StoreFixture) -> None:
    made = [await fixture.added("aiml") for _ in range(5)]
    chosen = await fixture.claim(Work.SUBMIT, limits={"aiml": 2})
    assert len(chosen) == 2
    assert await fixture.claim(Work.SUBMIT, limits={"aiml": 2}) == []
    first, second = chosen
    await fixture.hear(
        word(first.job, fixture, told(Phase.QUEUED, "p1"), Source.SUBMISSION, claim=first.claim)
    )
    await fixture.hear(
        word(second.job, fixture, told(Phase.RUNNING, "p2"), Source.SUBMISSION, claim=second.claim)
    )
    assert await fixture.claim(Work.SUBMIT, limits={"aiml": 2}) == []
    await fixture.hear(word(first.job, fixture, told(Phase.SUCCEEDED, "p1")))
    assert len(await fixture.claim(Work.SUBMIT, limits={"aiml": 2})) == 1
    assert len(await fixture.claim(Work.SUBMIT, limits={"apiframe": 0})) == len(made) - 3


async def test_a_job_that_was_being_sent_does_not_keep_itself_out(fixture: StoreFixture) -> None:
    await fixture.added("aiml")
    assert len(await fixture.claim(Work.SUBMIT, limits={"aiml": 1})) == 1
    await fixture.store.write(lambda: leave(fixture.context.owner, fixture.clock.at))
    [again] = await fixture.claim(Work.SUBMIT, limits={"aiml": 1})
    assert again.crashed


# Leases.


async def test_a_lease_that_ended_is_taken_by_another_fence(fixture: StoreFixture) -> None:
    job = await fixture.added()
    [first] = await fixture.claim(Work.SUBMIT)
    fixture.clock.pass_(seconds=29)
    assert await fixture.claim(Work.SUBMIT) == []
    fixture.clock.pass_(seconds=1)
    [second] = await fixture.claim(Work.SUBMIT)
    assert (first.claim.fence, second.claim.fence, second.crashed) == (1, 2, True)
    [late] = await fixture.hear(lost(job, fixture, first.claim))
    assert (late.outcome, late.events) == ("late", ())
    [known] = await fixture.hear(lost(job, fixture, second.claim))
    assert known.job is not None
    assert known.job.state is State.UNCONFIRMED


async def test_a_claim_that_is_given_back_is_due_at_once(fixture: StoreFixture) -> None:
    job = await fixture.added()
    [first] = await fixture.claim(Work.SUBMIT)
    await fixture.store.write(lambda: release([first.claim], fixture.clock.at))
    [second] = await fixture.claim(Work.SUBMIT)
    await fixture.store.write(lambda: release([first.claim], fixture.clock.at))
    assert await fixture.claim(Work.SUBMIT) == []
    assert (await due_of(fixture, job))[3:5] == (1, second.claim.fence)


# Claims, lane by lane.


def as_claimed(claims: Sequence[Claim]) -> Transaction[Sequence[Claim]]:
    """Return the claims themselves as the prepared work."""
    yield query("select 1")
    return claims


async def taken(fixture: StoreFixture, **others: Any) -> Claimed:
    """Claim deliveries as this replica."""
    now = fixture.clock.at
    values: dict[str, Any] = {"room": lambda _lane: 100, "prepare": as_claimed} | others
    request = ClaimRequest(
        work=Work.DELIVER,
        owner=fixture.context.owner,
        now=now,
        lease_until=now + LEASE,
        until=1030.0,
        **values,
    )
    return await fixture.store.write(lambda: claim(request))


def delivery(name: str, lane: str, seconds: float = 0.0, **others: Any) -> tuple[Any, ...]:
    """Return a delivery that is due so many seconds from the start, as a row of `due`."""
    at = START + timedelta(seconds=seconds)
    return due_row(id=f"dlv_{name}", work=Work.DELIVER, lane=lane, at=at, **others)


async def rows(fixture: StoreFixture) -> dict[str, tuple[Any, ...]]:
    """Return lane, seconds from the start, whether it is leased, and fence of all due work."""
    found = await fixture.query("select id, lane, at, leased, fence from due")
    return {
        row["id"].removeprefix("dlv_"): (
            row["lane"],
            (row["at"] - ms(START)) / 1000,
            row["leased"],
            row["fence"],
        )
        for row in found
    }


async def test_retries_of_a_lane_come_before_its_new_work_and_each_lane_is_told_its_part(
    fixture: StoreFixture,
) -> None:
    lanes = ("ep_1", "ep_1", "ep_1~now", "ep_1~hand", "ep_2", "ep_1~")
    await insert_rows(fixture, "due", [delivery(str(number), lane) for number, lane in enumerate(lanes)])
    counts: list[tuple[str, int]] = []
    found = await taken(
        fixture,
        room=lambda lane: 0 if lane == "ep_2" else 1,
        found=lambda lane, count: counts.append((lane, count)),
        places=lambda: 0,
    )
    assert counts == [("ep_2", 0), ("ep_1~now", 1), ("ep_1~hand", 1), ("ep_1", 1)]
    assert [one.lane for one in found.prepared] == ["ep_1~now", "ep_1~hand", "ep_1"]
    assert [one.fence for one in found.prepared] == [1, 1, 1]


@pytest.mark.parametrize(("fresh_first", "won"), [(False, "ep_1~replay"), (True, "ep_1")])
async def test_a_single_slot_goes_in_turns_to_fresh_work_and_to_what_comes_again(
    fixture: StoreFixture, fresh_first: bool, won: str
) -> None:
    lanes = ("ep_1", "ep_1", "ep_1~replay", "ep_1~replay")
    await insert_rows(fixture, "due", [delivery(str(number), lane) for number, lane in enumerate(lanes)])
    slots = [1]
    found = await taken(
        fixture,
        room=lambda _lane: slots[0],
        found=lambda _lane, count: slots.append(slots.pop() - count),
        places=lambda: 0,
        fresh_first=fresh_first,
    )
    assert [one.lane for one in found.prepared] == [won]


async def test_work_that_cannot_be_prepared_is_looked_at_again_soon(fixture: StoreFixture) -> None:
    await insert_rows(fixture, "due", [delivery("gone", "ep_1")])
    found = await taken(fixture, prepare=owed)
    assert (found.prepared, found.next_at) == ([], START + timedelta(milliseconds=PASSED_BY))
    assert await rows(fixture) == {"gone": ("ep_1", 30.0, 1, 1)}


async def test_a_lease_of_this_replica_that_ended_is_renewed_while_its_work_is_under_way(
    fixture: StoreFixture,
) -> None:
    mine = fixture.context.owner
    held = [delivery(name, "ep_1", owner=mine, fence=4, tries=2) for name in ("busy", "over")]
    await insert_rows(fixture, "due", held)
    found = await taken(fixture, busy=frozenset({"dlv_busy"}))
    assert found.prepared == [
        Claim(id="dlv_over", work=Work.DELIVER, lane="ep_1", fence=5, tries=2, until=1030.0, owner=mine)
    ]
    assert await rows(fixture) == {"busy": ("ep_1", 30.0, 1, 4), "over": ("ep_1", 30.0, 1, 5)}


@pytest.mark.parametrize("limits", [{}, {"aiml": 2}])
def test_running_jobs_are_counted_under_the_order_lock(limits: dict[str, int]) -> None:
    request = ClaimRequest(
        work=Work.SUBMIT,
        owner="rpc_1",
        now=START,
        lease_until=START + LEASE,
        until=0.0,
        room=lambda _lane: 1,
        prepare=as_claimed,
        running_limits=limits,
    )
    lanes = [{"name": "aiml", "ready": True, "ahead": None}]
    steps = statements(claim(request), lanes, [], [{"busy": 0}])
    assert [place for place, step in enumerate(steps) if step is Step.IN_ORDER] == ([1] if limits else [])
    assert len(steps) == (4 if limits else 2)


# Leases of others, and work that is given back.


async def test_a_lease_of_another_replica_ends_only_with_that_replica(fixture: StoreFixture) -> None:
    mine = fixture.context.owner
    leases = [
        delivery("gone", "ep_1", owner="rpc_gone", fence=1),
        delivery("mine", "ep_1", 30, owner=mine, fence=1),
        delivery("free", "ep_1", 60),
    ]
    await insert_rows(fixture, "due", leases)
    fixture.clock.pass_(seconds=10)
    assert (await taken(fixture)).prepared == ()
    assert await fixture.store.write(lambda: void_leases(fixture.clock.at)) == 1
    assert await rows(fixture) == {
        "gone": ("ep_1", 10.0, 0, 2),
        "mine": ("ep_1", 30.0, 1, 1),
        "free": ("ep_1", 60.0, 0, 0),
    }
    assert [one.id for one in (await taken(fixture)).prepared] == ["dlv_gone"]


async def test_only_a_claim_that_still_holds_is_given_back(fixture: StoreFixture) -> None:
    await insert_rows(fixture, "due", [delivery(name, "ep_1") for name in ("a", "b", "c")])
    claims = {one.id.removeprefix("dlv_"): one for one in (await taken(fixture)).prepared}
    fixture.clock.pass_(seconds=1)
    given = [
        claims["a"],
        replace(claims["b"], owner="rpc_other"),
        replace(claims["c"], fence=2),
        replace(claims["c"], id="dlv_gone"),
    ]
    assert await fixture.store.write(lambda: release(given, fixture.clock.at)) == {"dlv_a"}
    assert await rows(fixture) == {
        "a": ("ep_1", 1.0, 0, 2),
        "b": ("ep_1", 30.0, 1, 1),
        "c": ("ep_1", 30.0, 1, 1),
    }


async def test_a_claim_that_is_postponed_waits_untried_in_the_lane_for_later(fixture: StoreFixture) -> None:
    await insert_rows(fixture, "due", [delivery("a", "ep_1~now", tries=3), delivery("b", "ep_1")])
    claims = {one.id: one for one in (await taken(fixture)).prepared}
    until = START + timedelta(seconds=60)
    given = [claims["dlv_a"], replace(claims["dlv_b"], fence=7)]
    await fixture.store.write(lambda: postpone(given, until))
    assert await rows(fixture) == {"a": ("ep_1~", 60.0, 0, 2), "b": ("ep_1", 30.0, 1, 1)}
    fixture.clock.at = until
    [again] = [one for one in (await taken(fixture)).prepared if one.id == "dlv_a"]
    assert (again.lane, again.tries, again.fence) == ("ep_1~now", 3, 3)


async def test_the_work_of_a_lane_that_waits_is_made_due_and_no_other(fixture: StoreFixture) -> None:
    await insert_rows(
        fixture,
        "due",
        [
            delivery("waits", "ep_1", 60),
            delivery("due", "ep_1", -60),
            delivery("leased", "ep_1", 60, owner="rpc_1"),
            delivery("retry", "ep_1~", 60),
            delivery("other", "ep_2", 60),
            due_row(id="job_1", work=Work.POLL, lane="ep_1", at=START + timedelta(seconds=60)),
        ],
    )
    await fixture.store.write(lambda: due_now(Work.DELIVER, "ep_1", START))
    assert {name: at for name, (_, at, _, _) in (await rows(fixture)).items()} == {
        "waits": 0.0,
        "due": -60.0,
        "leased": 60.0,
        "retry": 60.0,
        "other": 60.0,
        "job_1": 60.0,
    }


@pytest.mark.parametrize(
    ("lane", "shared"),
    [
        ("ep_1", "ep_1"),
        ("ep_1~", "ep_1"),
        ("ep_1~now", "ep_1"),
        ("ep_1~again", "ep_1"),
        ("https://a.example:8443~hand", "https://a.example:8443"),
    ],
)
def test_lanes_of_retries_share_the_slots_of_their_lane(lane: str, shared: str) -> None:
    assert plain(lane) == shared


def test_the_first_fence_of_a_row_is_above_those_of_earlier_rows_with_its_id() -> None:
    assert first_fence(START) == ms(START)
    assert first_fence(START + timedelta(milliseconds=1)) == ms(START) + 1
