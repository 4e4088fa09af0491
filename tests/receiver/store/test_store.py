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
from tests.receiver.store_fixture import LEASE, StoreFixture, store_fixture, told, word

ONE, OTHER = b"1" * 32, b"2" * 32


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A service at rest."""
    async with store_fixture(tmp_path) as made:
        yield made


async def counts(fixture: StoreFixture, *tables: str) -> list[int]:
    """How many rows these tables have."""
    return [(await fixture.column(f"select count(*) from {table}"))[0] for table in tables]  # ours


async def due_of(fixture: StoreFixture, job: Job) -> tuple[object, ...]:
    """What is due for a job."""
    [row] = await fixture.query(
        "select work, lane, at, leased, fence, tries from due where id = :id", id=job.id
    )
    return tuple(row)


def lost(job: Job, fixture: StoreFixture, claim: Claim) -> Report:
    """The submit's answer never came."""
    return word(job, fixture, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=claim)


# Promised.


async def test_a_job_comes_back_as_it_was_promised(fixture: StoreFixture) -> None:
    job = fixture.job(
        metadata={"order": "42", "ü": "\x00 é"},
        callback_url="https://me.example/",
        callback_secret=b"\x00\xff",
    )
    assert await fixture.promise(job) == Added(job, created=True)
    assert await fixture.store.read(jobs.get(job.id)) == job
    assert await fixture.store.read(jobs.get_with_input(job.id)) == (job, b'{"prompt":"a"}')
    assert await due_of(fixture, job) == ("submit", "apiframe", ms(fixture.clock.at), 0, 0, 0)
    assert await fixture.store.read(jobs.get("job_unknown")) is None


async def test_one_key_makes_one_job(fixture: StoreFixture) -> None:
    first = await fixture.promise(owner="a", key="k", digest=ONE)
    again = await fixture.promise(owner="a", key="k", digest=ONE)
    assert again == Added(first.job, created=False)
    assert await fixture.promise(owner="a", key="k", digest=OTHER) == Added(None, created=False)
    assert (await fixture.promise(owner="b", key="k", digest=OTHER)).created
    assert (await fixture.promise(owner="a", key="K", digest=OTHER)).created
    assert await counts(fixture, "job", "idempotency", "due") == [3, 3, 3]


async def test_one_key_makes_one_job_in_one_transaction(fixture: StoreFixture) -> None:
    wishes = [("a", "k", ONE), ("a", "k", ONE), ("a", "k", OTHER), ("b", "k", ONE), ("", None, ONE)] * 10
    promised = await asyncio.gather(
        *(fixture.promise(owner=owner, key=key, digest=digest) for owner, key, digest in wishes)
    )
    assert [one.created for one in promised[:5]] == [True, False, False, True, True]
    assert [one.created for one in promised[5:]] == [False, False, False, False, True] * 9
    told_jobs = [one.job for (owner, _, _), one in zip(wishes, promised, strict=True) if owner == "a"]
    assert told_jobs == [promised[0].job, promised[0].job, None] * 10
    assert await counts(fixture, "job", "idempotency") == [12, 2]


async def test_a_known_key_tells_the_job_as_it_is_now(fixture: StoreFixture) -> None:
    await fixture.promise(owner="a", key="k", digest=ONE)
    await fixture.claim(Work.SUBMIT)
    again = await fixture.promise(owner="a", key="k", digest=ONE)
    assert again.job is not None
    assert again.job.state is State.SUBMITTING


async def test_an_id_that_is_taken_fails_alone(fixture: StoreFixture) -> None:
    job = await fixture.added()
    answers = await asyncio.gather(
        fixture.promise(job, owner="a", key="k"),
        fixture.promise(owner="a", key="other"),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Exception)
    assert not isinstance(answers[0], StoreUnavailable)
    assert isinstance(answers[1], Added)
    assert await counts(fixture, "job", "idempotency") == [2, 1]


async def test_jobs_are_found_newest_first(fixture: StoreFixture) -> None:
    made = []
    for number in range(6):
        account = "aiml" if number % 2 else "apiframe"
        made.append(await fixture.added(account, metadata={"order": str(number // 2), "kind": "x"}))
        fixture.clock.pass_(seconds=1)
    ids = [job.id for job in made]
    await fixture.claim(Work.SUBMIT, {"aiml": 1})
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
        found = await fixture.store.read(jobs.search(search))
        assert [ids.index(job.id) for job in found] == expected, search


# Claimed.


async def test_a_claim_commits_the_intent(fixture: StoreFixture) -> None:
    job = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)
    assert isinstance(chosen, ClaimedSubmission)
    assert (chosen.crashed, chosen.input, chosen.job.id) == (False, b'{"prompt":"a tide"}', job.id)
    assert chosen.claim == Claim(
        id=job.id,
        work=Work.SUBMIT,
        lane="apiframe",
        fence=1,
        tries=0,
        until=1030.0,
        owner=fixture.context.owner,
    )
    assert await fixture.column("select state from job") == ["submitting"]
    until = ms(fixture.clock.at + timedelta(seconds=30))
    assert await due_of(fixture, job) == ("submit", "apiframe", until, 1, 1, 0)
    assert await fixture.claim(Work.SUBMIT) == []


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


async def test_a_start_voids_every_lease(fixture: StoreFixture) -> None:
    waiting, leased = await fixture.added(), await fixture.added("aiml")
    [chosen] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    before = await due_of(fixture, waiting)
    fixture.clock.pass_(seconds=1)
    await fixture.store.write(lambda: leave(fixture.context.owner, fixture.clock.at))
    assert await due_of(fixture, waiting) == before
    assert await due_of(fixture, leased) == ("submit", "aiml", ms(fixture.clock.at), 0, 2, 0)
    [stale] = await fixture.hear(lost(leased, fixture, chosen.claim))
    assert stale.outcome == "late"
    [again] = await fixture.claim(Work.SUBMIT, {"aiml": 1})
    assert again.crashed


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


async def test_a_claim_of_what_is_gone_is_no_trouble(fixture: StoreFixture) -> None:
    job = await fixture.added()
    await fixture.write("delete from job where id = :id", id=job.id)
    assert await fixture.claim(Work.SUBMIT) == []


async def test_open_jobs_past_their_deadline_are_found(fixture: StoreFixture) -> None:
    pending = await fixture.added()
    polled = await fixture.submitted()
    done = await fixture.submitted("aiml")
    await fixture.hear(word(done, fixture, told(Phase.SUCCEEDED)))
    now = polled.deadline_at
    assert await fixture.store.read(jobs.overdue(now - timedelta(seconds=1), EPOCH, 10)) == []
    assert await fixture.store.read(jobs.overdue(now, EPOCH, 10)) == [pending.id]
    found = await fixture.store.read(jobs.overdue(now, now, 10))
    assert sorted(found) == sorted([pending.id, polled.id])
    assert len(await fixture.store.read(jobs.overdue(now, now, 1))) == 1


async def test_how_long_jobs_took(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml")
    fixture.clock.pass_(seconds=7)
    await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    await fixture.hear(word(await fixture.submitted(), fixture, told(Phase.FAILED)))
    assert await fixture.store.read(jobs.durations(fixture.clock.at)) == {"aiml": [7.0]}
    fixture.clock.pass_(seconds=1)
    assert await fixture.store.read(jobs.durations(fixture.clock.at)) == {}


async def test_how_long_jobs_took_is_told_of_the_newest_of_each_account(fixture: StoreFixture) -> None:
    since = fixture.clock.at
    few = await fixture.submitted("getimg")
    fixture.clock.pass_(seconds=3)
    await fixture.hear(word(few, fixture, told(Phase.SUCCEEDED)))
    done = await fixture.submitted("aiml")
    fixture.clock.pass_(seconds=7)
    await fixture.hear(word(done, fixture, told(Phase.SUCCEEDED)))
    columns = ", ".join(TABLES["job"])
    changed = {"id": "id || number", "provider_job_id": "null"}
    values = ", ".join(changed.get(column, column) for column in TABLES["job"])
    await fixture.write(
        "with recursive counted(number) as (select 1 union all select number + 1 from counted where "
        f"number < 1200) insert into job ({columns}) select {values} from job, counted where account = 'aiml'"
    )
    took = await fixture.store.read(jobs.durations(since))
    assert (took["getimg"], len(took["aiml"])) == ([3.0], 1000)


async def test_open_jobs_are_counted_by_account(fixture: StoreFixture) -> None:
    await fixture.added()
    await fixture.submitted("aiml")
    await fixture.hear(word(await fixture.submitted("aiml"), fixture, told(Phase.FAILED)))
    assert await fixture.store.read(jobs.open_by_account()) == {"apiframe": 1, "aiml": 1}


async def test_counts_of_several_processes_add_up_and_end_after_an_hour(fixture: StoreFixture) -> None:
    for minute in (100, 101, 101):
        counts = {("aiml", minute, "polls"): 2, ("aiml", minute, "errors"): 1, ("gately", minute, "polls"): 1}
        await fixture.store.write(partial(account_counts.add, counts, minute - 59))
    told_ = {"aiml": Counter(polls=6, errors=3), "gately": Counter(polls=3)}
    assert await fixture.store.read(account_counts.totals(42)) == told_
    assert await fixture.store.read(account_counts.totals(101)) == {
        "aiml": Counter(polls=4, errors=2),
        "gately": Counter(polls=2),
    }
    await fixture.store.write(lambda: account_counts.add({("aiml", 160, "polls"): 1}, 101))
    assert await fixture.store.read(account_counts.totals(0)) == {
        "aiml": Counter(polls=5, errors=2),
        "gately": Counter(polls=2),
    }


@pytest.mark.parametrize("crashed", [False, True])
async def test_an_intent_is_taken_back_unless_it_may_have_been_acted_on(
    fixture: StoreFixture, crashed: bool
) -> None:
    job = await fixture.added("aiml")
    chosen = await fixture.claim(Work.SUBMIT)
    if crashed:
        await fixture.store.write(lambda: leave(fixture.context.owner, fixture.clock.at))
        chosen = await fixture.claim(Work.SUBMIT)
    await fixture.store.write(lambda: release_submission(chosen, fixture.clock.at))
    assert (await fixture.now(job)).state is (State.SUBMITTING if crashed else State.PENDING)
    [again] = await fixture.claim(Work.SUBMIT)
    assert again.crashed is crashed
    await fixture.store.write(lambda: release_submission(chosen, fixture.clock.at))
    assert (await fixture.now(job)).state is State.SUBMITTING, "it is another's by now"
