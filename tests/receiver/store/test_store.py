"""Jobs and due work in a real store: promised once, claimed fairly, under leases that end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from handlers.contract import Phase
from receiver.bodies.parts import Parts
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Claim, Job, ScheduledWork, Source, State, Work
from receiver.domain.reports import FailureKind, Report
from receiver.store import account_counts, jobs
from receiver.store.due import release
from receiver.store.jobs import Added, ClaimedSubmission, JobFilter, NewJob, release_submission
from receiver.store.replicas import leave
from receiver.store.schema import TABLES
from receiver.store.statements import EPOCH, ms
from tests.receiver.store_fixture import LEASE, Storehouse, storehouse, told, word

ONE, OTHER = b"1" * 32, b"2" * 32


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Storehouse]:
    """A service at rest."""
    async with storehouse(tmp_path) as made:
        yield made


async def counts(house: Storehouse, *tables: str) -> list[int]:
    """How many rows these tables have."""
    return [(await house.column(f"select count(*) from {table}"))[0] for table in tables]  # ours


async def due_of(house: Storehouse, job: Job) -> tuple[object, ...]:
    """What is due for a job."""
    [row] = await house.query(
        "select work, lane, at, leased, fence, tries from due where id = :id", id=job.id
    )
    return tuple(row)


def lost(job: Job, house: Storehouse, claim: Claim) -> Report:
    """The submit's answer never came."""
    return word(job, house, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=claim)


# Promised.


async def test_a_job_comes_back_as_it_was_promised(house: Storehouse) -> None:
    job = house.job(
        metadata={"order": "42", "ü": "\x00 é"},
        callback_url="https://me.example/",
        callback_secret=b"\x00\xff",
    )
    assert await house.promise(job) == Added(job, created=True)
    assert await house.store.read(jobs.get(job.id)) == job
    assert await house.store.read(jobs.get_with_input(job.id)) == (job, b'{"prompt":"a"}')
    assert await due_of(house, job) == ("submit", "apiframe", ms(house.hands.at), 0, 0, 0)
    assert await house.store.read(jobs.get("job_unknown")) is None


async def test_one_key_makes_one_job(house: Storehouse) -> None:
    first = await house.promise(owner="a", key="k", digest=ONE)
    again = await house.promise(owner="a", key="k", digest=ONE)
    assert again == Added(first.job, created=False)
    assert await house.promise(owner="a", key="k", digest=OTHER) == Added(None, created=False)
    assert (await house.promise(owner="b", key="k", digest=OTHER)).created
    assert (await house.promise(owner="a", key="K", digest=OTHER)).created
    assert await counts(house, "job", "idempotency", "due") == [3, 3, 3]


async def test_one_key_makes_one_job_in_one_transaction(house: Storehouse) -> None:
    wishes = [("a", "k", ONE), ("a", "k", ONE), ("a", "k", OTHER), ("b", "k", ONE), ("", None, ONE)] * 10
    promised = await asyncio.gather(
        *(house.promise(owner=owner, key=key, digest=digest) for owner, key, digest in wishes)
    )
    assert [one.created for one in promised[:5]] == [True, False, False, True, True]
    assert [one.created for one in promised[5:]] == [False, False, False, False, True] * 9
    told_jobs = [one.job for (owner, _, _), one in zip(wishes, promised, strict=True) if owner == "a"]
    assert told_jobs == [promised[0].job, promised[0].job, None] * 10
    assert await counts(house, "job", "idempotency") == [12, 2]


async def test_a_known_key_tells_the_job_as_it_is_now(house: Storehouse) -> None:
    await house.promise(owner="a", key="k", digest=ONE)
    await house.claim(Work.SUBMIT)
    again = await house.promise(owner="a", key="k", digest=ONE)
    assert again.job is not None
    assert again.job.state is State.SUBMITTING


async def test_an_id_that_is_taken_fails_alone(house: Storehouse) -> None:
    job = await house.added()
    answers = await asyncio.gather(
        house.promise(job, owner="a", key="k"), house.promise(owner="a", key="other"), return_exceptions=True
    )
    assert isinstance(answers[0], Exception)
    assert not isinstance(answers[0], StoreUnavailable)
    assert isinstance(answers[1], Added)
    assert await counts(house, "job", "idempotency") == [2, 1]


async def test_jobs_are_found_newest_first(house: Storehouse) -> None:
    made = []
    for number in range(6):
        account = "aiml" if number % 2 else "apiframe"
        made.append(await house.added(account, metadata={"order": str(number // 2), "kind": "x"}))
        house.hands.pass_(seconds=1)
    ids = [job.id for job in made]
    await house.claim(Work.SUBMIT, {"aiml": 1})
    searches: list[tuple[JobFilter, list[int]]] = [
        (JobFilter(), [5, 4, 3, 2, 1, 0]),
        (JobFilter(limit=2), [5, 4]),
        (JobFilter(limit=2, before=ids[4]), [3, 2]),
        (JobFilter(account="aiml"), [5, 3, 1]),
        (JobFilter(state=("submitting", "queued")), [1]),
        (JobFilter(labels=(("order", "1"),)), [3, 2]),
        (JobFilter(labels=(("order", "1"), ("kind", "x")), account="aiml"), [3]),
        (JobFilter(labels=(("order", "1"), ("kind", "y"))), []),
        (JobFilter(created_after=made[3].created_at), [5, 4]),
        (JobFilter(created_before=made[2].created_at), [1, 0]),
        (JobFilter(provider_job_id="p1"), []),
    ]
    for search, expected in searches:
        found = await house.store.read(jobs.search(search))
        assert [ids.index(job.id) for job in found] == expected, search


# Claimed.


async def test_a_claim_commits_the_intent(house: Storehouse) -> None:
    job = await house.added()
    [chosen] = await house.claim(Work.SUBMIT)
    assert isinstance(chosen, ClaimedSubmission)
    assert (chosen.crashed, chosen.input, chosen.job.id) == (False, b'{"prompt":"a tide"}', job.id)
    assert chosen.claim == Claim(
        id=job.id,
        work=Work.SUBMIT,
        lane="apiframe",
        fence=1,
        tries=0,
        until=1030.0,
        owner=house.context.owner,
    )
    assert await house.column("select state from job") == ["submitting"]
    until = ms(house.hands.at + timedelta(seconds=30))
    assert await due_of(house, job) == ("submit", "apiframe", until, 1, 1, 0)
    assert await house.claim(Work.SUBMIT) == []


async def test_every_lane_gets_its_room_oldest_first(house: Storehouse) -> None:
    made: dict[str, list[str]] = {"apiframe": [], "aiml": [], "apiframe-v2": []}
    for number in range(30):
        account = "apiframe" if number < 20 else ("aiml" if number % 2 else "apiframe-v2")
        made[account].append((await house.added(account)).id)
        house.hands.pass_(milliseconds=1)
    chosen = await house.claim(Work.SUBMIT, {"apiframe": 3, "aiml": 2, "apiframe-v2": 0})
    taken = {name: [one.job.id for one in chosen if one.claim.lane == name] for name in made}
    assert taken == {"apiframe": made["apiframe"][:3], "aiml": made["aiml"][:2], "apiframe-v2": []}
    chosen = await house.claim(Work.SUBMIT, {"apiframe": 1, "aiml": 100, "apiframe-v2": 1})
    taken = {name: [one.job.id for one in chosen if one.claim.lane == name] for name in made}
    assert taken["apiframe"] == made["apiframe"][3:4]
    assert taken["aiml"] == made["aiml"][2:]
    assert taken["apiframe-v2"] == made["apiframe-v2"][:1]


async def test_nothing_is_claimed_before_it_is_due(house: Storehouse) -> None:
    at = house.hands.at + timedelta(seconds=10)
    later = NewJob(
        job=house.job(),
        whole_input=Parts([b"{}"]),
        shown_input=b"{}",
        due=ScheduledWork(Work.SUBMIT, "apiframe", at),
    )
    await house.store.write(lambda: jobs.add([later]))
    assert await house.next_at(Work.SUBMIT) == at
    assert await house.claim(Work.SUBMIT) == []
    house.hands.pass_(seconds=10)
    assert len(await house.claim(Work.SUBMIT)) == 1
    assert await house.next_at(Work.POLL) is None


async def test_a_claim_is_looked_at_again_when_its_lease_ends_or_sooner(house: Storehouse) -> None:
    await house.added()
    ends = house.hands.at + LEASE
    assert await house.next_at(Work.SUBMIT, None) == ends
    due = ScheduledWork(Work.SUBMIT, "apiframe", ends - timedelta(seconds=1))
    sooner = NewJob(job=house.job(), whole_input=Parts([b"{}"]), shown_input=b"{}", due=due)
    await house.store.write(lambda: jobs.add([sooner]))
    assert await house.next_at(Work.SUBMIT, None) == sooner.due.at


async def test_work_of_another_kind_is_left_alone(house: Storehouse) -> None:
    await house.added()
    assert await house.claim(Work.POLL) == []
    assert await house.claim(Work.DELIVER) == []
    assert len(await house.claim(Work.SUBMIT)) == 1


async def test_a_lease_that_ended_is_taken_by_another_fence(house: Storehouse) -> None:
    job = await house.added()
    [first] = await house.claim(Work.SUBMIT)
    house.hands.pass_(seconds=29)
    assert await house.claim(Work.SUBMIT) == []
    house.hands.pass_(seconds=1)
    [second] = await house.claim(Work.SUBMIT)
    assert (first.claim.fence, second.claim.fence, second.crashed) == (1, 2, True)
    [late] = await house.hear(lost(job, house, first.claim))
    assert (late.outcome, late.events) == ("late", ())
    [known] = await house.hear(lost(job, house, second.claim))
    assert known.job is not None
    assert known.job.state is State.UNCONFIRMED


async def test_a_claim_that_is_given_back_is_due_at_once(house: Storehouse) -> None:
    job = await house.added()
    [first] = await house.claim(Work.SUBMIT)
    await house.store.write(lambda: release([first.claim], house.hands.at))
    [second] = await house.claim(Work.SUBMIT)
    await house.store.write(lambda: release([first.claim], house.hands.at))
    assert await house.claim(Work.SUBMIT) == []
    assert (await due_of(house, job))[3:5] == (1, second.claim.fence)


async def test_a_start_voids_every_lease(house: Storehouse) -> None:
    waiting, leased = await house.added(), await house.added("aiml")
    [chosen] = await house.claim(Work.SUBMIT, {"aiml": 1})
    before = await due_of(house, waiting)
    house.hands.pass_(seconds=1)
    await house.store.write(lambda: leave(house.context.owner, house.hands.at))
    assert await due_of(house, waiting) == before
    assert await due_of(house, leased) == ("submit", "aiml", ms(house.hands.at), 0, 2, 0)
    [stale] = await house.hear(lost(leased, house, chosen.claim))
    assert stale.outcome == "late"
    [again] = await house.claim(Work.SUBMIT, {"aiml": 1})
    assert again.crashed


async def test_no_more_jobs_run_at_a_provider_than_it_is_allowed(house: Storehouse) -> None:
    made = [await house.added("aiml") for _ in range(5)]
    chosen = await house.claim(Work.SUBMIT, limits={"aiml": 2})
    assert len(chosen) == 2
    assert await house.claim(Work.SUBMIT, limits={"aiml": 2}) == []
    first, second = chosen
    await house.hear(word(first.job, house, told(Phase.QUEUED, "p1"), Source.SUBMISSION, claim=first.claim))
    await house.hear(
        word(second.job, house, told(Phase.RUNNING, "p2"), Source.SUBMISSION, claim=second.claim)
    )
    assert await house.claim(Work.SUBMIT, limits={"aiml": 2}) == []
    await house.hear(word(first.job, house, told(Phase.SUCCEEDED, "p1")))
    assert len(await house.claim(Work.SUBMIT, limits={"aiml": 2})) == 1
    assert len(await house.claim(Work.SUBMIT, limits={"apiframe": 0})) == len(made) - 3


async def test_a_job_that_was_being_sent_does_not_keep_itself_out(house: Storehouse) -> None:
    await house.added("aiml")
    assert len(await house.claim(Work.SUBMIT, limits={"aiml": 1})) == 1
    await house.store.write(lambda: leave(house.context.owner, house.hands.at))
    [again] = await house.claim(Work.SUBMIT, limits={"aiml": 1})
    assert again.crashed


async def test_polls_are_claimed_when_they_are_due(house: Storehouse) -> None:
    job = await house.submitted("aiml")
    assert await house.claim(Work.POLL) == []
    claim = await house.poll_claim(job)
    assert (claim.work, claim.lane, claim.tries) == (Work.POLL, "aiml", 0)
    [recorded] = await house.hear(word(job, house, told(Phase.RUNNING), Source.POLL, claim=claim))
    assert recorded.due is not None
    assert recorded.due.tries == 1
    assert recorded.due.at > house.hands.at
    assert await house.next_at(Work.POLL) == recorded.due.at


async def test_a_claim_of_what_is_gone_is_no_trouble(house: Storehouse) -> None:
    job = await house.added()
    await house.write("delete from job where id = :id", id=job.id)
    assert await house.claim(Work.SUBMIT) == []


async def test_open_jobs_past_their_deadline_are_found(house: Storehouse) -> None:
    pending = await house.added()
    polled = await house.submitted()
    done = await house.submitted("aiml")
    await house.hear(word(done, house, told(Phase.SUCCEEDED)))
    now = polled.deadline_at
    assert await house.store.read(jobs.overdue(now - timedelta(seconds=1), EPOCH, 10)) == []
    assert await house.store.read(jobs.overdue(now, EPOCH, 10)) == [pending.id]
    found = await house.store.read(jobs.overdue(now, now, 10))
    assert sorted(found) == sorted([pending.id, polled.id])
    assert len(await house.store.read(jobs.overdue(now, now, 1))) == 1


async def test_how_long_jobs_took(house: Storehouse) -> None:
    job = await house.submitted("aiml")
    house.hands.pass_(seconds=7)
    await house.hear(word(job, house, told(Phase.SUCCEEDED)))
    await house.hear(word(await house.submitted(), house, told(Phase.FAILED)))
    assert await house.store.read(jobs.durations(house.hands.at)) == {"aiml": [7.0]}
    house.hands.pass_(seconds=1)
    assert await house.store.read(jobs.durations(house.hands.at)) == {}


async def test_how_long_jobs_took_is_told_of_the_newest_of_each_account(house: Storehouse) -> None:
    since = house.hands.at
    few = await house.submitted("getimg")
    house.hands.pass_(seconds=3)
    await house.hear(word(few, house, told(Phase.SUCCEEDED)))
    done = await house.submitted("aiml")
    house.hands.pass_(seconds=7)
    await house.hear(word(done, house, told(Phase.SUCCEEDED)))
    columns = ", ".join(TABLES["job"])
    changed = {"id": "id || number", "provider_job_id": "null"}
    values = ", ".join(changed.get(column, column) for column in TABLES["job"])
    await house.write(
        "with recursive counted(number) as (select 1 union all select number + 1 from counted where "
        f"number < 1200) insert into job ({columns}) select {values} from job, counted where account = 'aiml'"
    )
    took = await house.store.read(jobs.durations(since))
    assert (took["getimg"], len(took["aiml"])) == ([3.0], 1000)


async def test_open_jobs_are_counted_by_account(house: Storehouse) -> None:
    await house.added()
    await house.submitted("aiml")
    await house.hear(word(await house.submitted("aiml"), house, told(Phase.FAILED)))
    assert await house.store.read(jobs.open_by_account()) == {"apiframe": 1, "aiml": 1}


async def test_counts_of_several_processes_add_up_and_end_after_an_hour(house: Storehouse) -> None:
    for minute in (100, 101, 101):
        counts = {("aiml", minute, "polls"): 2, ("aiml", minute, "errors"): 1, ("gately", minute, "polls"): 1}
        await house.store.write(partial(account_counts.add, counts, minute - 59))
    told_ = {"aiml": Counter(polls=6, errors=3), "gately": Counter(polls=3)}
    assert await house.store.read(account_counts.totals(42)) == told_
    assert await house.store.read(account_counts.totals(101)) == {
        "aiml": Counter(polls=4, errors=2),
        "gately": Counter(polls=2),
    }
    await house.store.write(lambda: account_counts.add({("aiml", 160, "polls"): 1}, 101))
    assert await house.store.read(account_counts.totals(0)) == {
        "aiml": Counter(polls=5, errors=2),
        "gately": Counter(polls=2),
    }


@pytest.mark.parametrize("crashed", [False, True])
async def test_an_intent_is_taken_back_unless_it_may_have_been_acted_on(
    house: Storehouse, crashed: bool
) -> None:
    job = await house.added("aiml")
    chosen = await house.claim(Work.SUBMIT)
    if crashed:
        await house.store.write(lambda: leave(house.context.owner, house.hands.at))
        chosen = await house.claim(Work.SUBMIT)
    await house.store.write(lambda: release_submission(chosen, house.hands.at))
    assert (await house.now(job)).state is (State.SUBMITTING if crashed else State.PENDING)
    [again] = await house.claim(Work.SUBMIT)
    assert again.crashed is crashed
    await house.store.write(lambda: release_submission(chosen, house.hands.at))
    assert (await house.now(job)).state is State.SUBMITTING, "it is another's by now"
