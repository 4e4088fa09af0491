"""Jobs in a real store: added once for each key, claimed, found and counted."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import Phase
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Claim, Job, Source, State, Work
from receiver.domain.reports import Action
from receiver.store import jobs
from receiver.store.due import PASSED_BY
from receiver.store.jobs import Added, ClaimedSubmission, JobFilter, release_submission
from receiver.store.replicas import leave
from receiver.store.rows import evidence_row
from receiver.store.schema import TABLES
from receiver.store.statements import EPOCH, ms
from tests.receiver.store_fixture import START, StoreFixture, told, word
from tests.receiver.store_steps import due_of, ended, failed

ONE, OTHER = b"1" * 32, b"2" * 32
NOTE = Source.NOTE


async def counts(fixture: StoreFixture, *tables: str) -> list[int]:
    """Return the number of rows of each table."""
    return [(await fixture.column(f"select count(*) from {table}"))[0] for table in tables]  # ours


async def becomes(fixture: StoreFixture, job: Job, state: str, **others: Any) -> None:
    """Set the state of a job, and some other columns."""
    values: dict[str, Any] = {"state": state} | others
    changes = ", ".join(f"{name} = :{name}" for name in values)
    await fixture.write(f"update job set {changes} where id = :id", id=job.id, **values)


# Added.


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


async def test_the_notes_of_a_job_are_added_with_it(fixture: StoreFixture) -> None:
    job = fixture.job()
    note = evidence_row(
        id="evd_1", job=job.id, at=START, kind=Source.NOTE, outcome="applied", details={"note": "cut"}
    )
    await fixture.promise(job, notes=(note,))
    assert await fixture.evidence(job) == [("note", "applied", 1)]
    assert await fixture.column("select told from evidence") == ['{"note":"cut"}']


async def test_a_job_is_found_by_its_key_and_by_its_id(fixture: StoreFixture) -> None:
    assert await fixture.store.read(jobs.by_key("a", "k", ONE)) is None
    added = await fixture.promise(owner="a", key="k", digest=ONE)
    assert await fixture.store.read(jobs.by_key("a", "k", ONE)) == Added(added.job, created=False)
    assert await fixture.store.read(jobs.by_key("a", "k", OTHER)) == Added(None, created=False)
    assert await fixture.store.read(jobs.by_key("b", "k", ONE)) is None
    assert await fixture.store.read(jobs.get_with_input("job_unknown")) is None


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


async def test_a_claim_of_what_is_gone_is_no_trouble(fixture: StoreFixture) -> None:
    job = await fixture.added()
    await fixture.write("delete from job where id = :id", id=job.id)
    assert await fixture.claim(Work.SUBMIT) == []


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


async def test_each_submission_is_counted_before_it_is_made(fixture: StoreFixture) -> None:
    job = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)
    assert (chosen.job.intents, (await fixture.now(job)).intents) == (1, 1)
    fixture.clock.pass_(seconds=30)
    [again] = await fixture.claim(Work.SUBMIT)
    assert (again.job.intents, (await fixture.now(job)).intents) == (1, 1), "it is the same submission"


async def test_due_work_without_its_job_is_looked_at_again_soon(fixture: StoreFixture) -> None:
    job = await fixture.added()
    await fixture.write("delete from job where id = :id", id=job.id)
    assert await fixture.claim(Work.SUBMIT) == []
    soon = ms(fixture.clock.at) + PASSED_BY
    assert await due_of(fixture, job) == ("submit", "apiframe", soon, 0, 1, 0)


async def test_a_job_past_its_deadline_is_not_submitted_but_left_to_expire(fixture: StoreFixture) -> None:
    job = await fixture.added()
    fixture.clock.at = job.deadline_at
    assert await fixture.claim(Work.SUBMIT) == []
    now = await fixture.now(job)
    assert (now.state, now.intents) == (State.PENDING, 0)
    assert await fixture.store.read(jobs.overdue(fixture.clock.at, EPOCH, 10)) == [job.id]


async def test_a_job_that_the_provider_has_accepted_meanwhile_is_polled_where_its_id_is_known(
    fixture: StoreFixture,
) -> None:
    known, unnamed, ended = [await fixture.added("aiml") for _ in range(3)]
    await becomes(fixture, known, "queued", provider_job_id="p1")
    await becomes(fixture, unnamed, "running")
    await becomes(fixture, ended, "succeeded", provider_job_id="p3", completed_at=1)
    fixture.clock.pass_(seconds=1)
    assert await fixture.claim(Work.SUBMIT) == []
    assert await fixture.column("select id from due") == [known.id]
    assert await due_of(fixture, known) == ("poll", "aiml", ms(fixture.clock.at), 0, 2, 0)
    states = [(await fixture.now(job)).state for job in (known, unnamed, ended)]
    assert states == [State.QUEUED, State.RUNNING, State.SUCCEEDED]


async def test_a_poll_that_a_callback_asked_for_is_marked_once(fixture: StoreFixture) -> None:
    hinted, plain, gone = [await fixture.submitted("aiml") for _ in range(3)]
    await fixture.write("update job set poll_wanted = 1 where id = :id", id=hinted.id)
    await fixture.write("delete from job where id = :id", id=gone.id)
    await fixture.write("update due set at = :now", now=ms(fixture.clock.at))
    claimed = await fixture.claim(Work.POLL)
    assert {one.job.id: one.hinted for one in claimed} == {hinted.id: True, plain.id: False}
    assert await fixture.column("select poll_wanted from job") == [0, 0]
    fixture.clock.pass_(seconds=30)
    assert [one.hinted for one in await fixture.claim(Work.POLL)] == [False, False]


# Found.


async def test_a_job_is_found_by_the_providers_id(fixture: StoreFixture) -> None:
    job, other = await fixture.submitted("aiml", "p1"), await fixture.submitted("apiframe", "p1")
    await fixture.submitted("aiml", "p2")
    wanted = [JobFilter(provider_job_id="p1"), JobFilter(provider_job_id="p1", account="aiml")]
    found = [[one.id for one in await fixture.store.read(jobs.search(search))] for search in wanted]
    assert found == [[other.id, job.id], [job.id]]


async def test_an_input_shows_in_no_log(fixture: StoreFixture) -> None:
    new = fixture.wish(fixture.job(), whole_input=b"secret")
    assert repr(new).startswith(f"NewJob(job=Job(id='{new.job.id}', ")
    assert "input" not in repr(new)


@given(st.text(), st.data())
def test_a_label_tells_where_the_key_ends(text: str, data: st.DataObject) -> None:
    places = [data.draw(st.integers(0, len(text))) for _ in range(2)]
    one, other = (jobs.label(text[:place], text[place:]) for place in places)
    assert (one == other) is (places[0] == places[1])
    assert len(one) == 16


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


async def test_jobs_are_found_by_any_states(fixture: StoreFixture) -> None:
    ended = await failed(fixture)
    queued, pending = await fixture.submitted(), await fixture.added()
    rows: list[tuple[tuple[str, ...], list[str]]] = [
        (("failed",), [ended]),
        (("failed", "expired"), [ended]),
        (("queued",), [queued.id]),
        (("pending", "queued"), [pending.id, queued.id]),
        (("pending", "failed"), [pending.id, ended]),
        (("succeeded",), []),
        (("succeeded", "failed"), [ended]),
    ]
    for states, expected in rows:
        found = await fixture.store.read(jobs.search(jobs.JobFilter(state=states)))
        assert [job.id for job in found] == expected, states


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


async def test_retention_finds_what_ended_before(fixture: StoreFixture) -> None:
    first, open_job = await ended(fixture), await fixture.submitted()
    fixture.clock.pass_(days=1)
    second = await ended(fixture)
    later = fixture.clock.at + timedelta(seconds=1)
    assert await fixture.store.read(jobs.done_before(fixture.clock.at, 10)) == [first.id]
    assert await fixture.store.read(jobs.done_before(later, 10)) == [first.id, second.id]
    assert await fixture.store.read(jobs.done_before(later, 1)) == [first.id]
    fixture.clock.pass_(milliseconds=1)
    await fixture.hear(word(open_job, fixture, source=NOTE, verdict=Action.CANCEL))
    assert await fixture.store.read(jobs.done_before(later, 10)) == [first.id, second.id, open_job.id]


# Counted.


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


async def test_jobs_that_run_at_a_provider_or_may_are_counted_by_account(fixture: StoreFixture) -> None:
    made = [await fixture.added("aiml") for _ in State]
    for job, state in zip(made, State, strict=True):
        await becomes(fixture, job, state.value, completed_at=1 if state.final else None)
    other = await fixture.added()
    await becomes(fixture, other, "running")
    counts = [await fixture.store.read(jobs.running(one)) for one in ("aiml", "apiframe", "minimax")]
    assert counts == [4, 1, 0], "submitting, unconfirmed, queued and running"


async def test_unconfirmed_jobs_with_nothing_due_are_left_to_the_policy(fixture: StoreFixture) -> None:
    names = ("held", "too", "paid", "scheduled", "queued", "ended")
    made = {name: await fixture.added("aiml") for name in names}
    for name, job in made.items():
        ended = name == "ended"
        state = "queued" if name == "queued" else "unconfirmed"
        intents = 2 if name == "paid" else 1
        await becomes(fixture, job, state, intents=intents, completed_at=1 if ended else None)
        if name != "scheduled":
            await fixture.write("delete from due where id = :id", id=job.id)
    at = fixture.clock.at + timedelta(hours=1)
    counts = [await fixture.store.write(partial(jobs.undecided, at, 2, 1)) for _ in range(3)]
    assert counts == [1, 1, 0]
    due = await fixture.column("select id from due order by id")
    assert due == [made[name].id for name in ("held", "too", "scheduled")]
    assert await due_of(fixture, made["held"]) == ("poll", "aiml", ms(at), 0, ms(at), 0)
    assert await due_of(fixture, made["scheduled"]) == ("submit", "aiml", ms(fixture.clock.at), 0, 0, 0)
