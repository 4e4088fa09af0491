"""Recording in a real store: however words arrive, a job ends once and everybody who asked is owed it."""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import By, EndpointState, Job, Outcome, Source, State, Work
from receiver.domain.reports import Action, FailureKind, Report
from receiver.security.ids import event_id
from receiver.store import endpoints as table
from receiver.store.deliveries import cancel_target
from receiver.store.record import RecordResult
from receiver.store.statements import Transaction, ms
from tests.receiver.store_fixture import Storehouse, finals, outcomes, storehouse, told, types, word

SUBMIT, CALLBACK, POLL, NOTE = Source.SUBMISSION, Source.CALLBACK, Source.POLL, Source.NOTE


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Storehouse]:
    """A service at rest."""
    async with storehouse(tmp_path) as made:
        yield made


def story(job: Job, house: Storehouse) -> list[Report]:
    """What may be said about one job: progress, an end, its copy, and two that contradict it."""
    return [
        word(job, house, told(Phase.RUNNING, progress=40.0)),
        word(job, house, told(Phase.SUCCEEDED)),
        word(job, house, told(Phase.FAILED), POLL),
        word(job, house, source=NOTE, verdict=Action.CANCEL),
    ]


# One end for each job.


async def test_words_in_one_transaction_end_a_job_once_whatever_their_order(house: Storehouse) -> None:
    await house.endpoint()
    for order in itertools.permutations(range(4)):
        job = await house.submitted()
        words = story(job, house)
        recorded = await house.hear(*(words[place] for place in order))
        [final] = finals(types(recorded))
        ended = await house.now(job)
        assert f"job.{ended.state}" == final
        first = next(place for place in order if place != 0)
        assert final == ["", "job.succeeded", "job.failed", "job.canceled"][first]
        stored = await house.column("select type from event where job = :id order by seq", id=job.id)
        assert stored == types(recorded)
        assert await house.due_of(job) == []


async def test_together_or_one_by_one_means_the_same(house: Storehouse) -> None:
    def seen(job: Job, recorded: Sequence[RecordResult]) -> tuple[Any, ...]:
        return job.state, job.sequence, job.progress, types(recorded), outcomes(recorded)

    for order in itertools.permutations(range(4)):
        together, singly = await house.submitted(), await house.submitted()
        words = story(together, house)
        at_once = await house.hear(*(words[place] for place in order))
        words = story(singly, house)
        in_turn = [(await house.hear(words[place]))[0] for place in order]
        assert seen(await house.now(together), at_once) == seen(await house.now(singly), in_turn)


async def test_a_transaction_of_many_jobs_gives_each_one_end(house: Storehouse) -> None:
    await house.endpoint("ep_all", "*")
    await house.endpoint("ep_failed", "job.failed")
    made = [await house.submitted() for _ in range(40)]
    words = [one for job in made for one in story(job, house)]
    recorded = await house.hear(*words[::-1], *words)
    assert len(finals(types(recorded))) == 40
    rows = await house.query(
        "select job, count(*) as ended from event where type in (:t) group by job", t=[*JOB_FINAL]
    )
    assert {row["job"]: row["ended"] for row in rows} == {job.id: 1 for job in made}
    owed = await house.query(
        "select target, type, count(*) as owed from delivery join event on event.id = event group by 1, 2"
    )
    assert {(row["target"], row["type"]): row["owed"] for row in owed} == {("ep_all", "job.canceled"): 40}
    assert [(await house.now(job)).sequence for job in made] == [2] * 40, "the end, and a late result"


async def test_an_event_tells_the_job_as_it_was_then(house: Storehouse) -> None:
    job = await house.submitted(metadata={"order": "42"})
    recorded = await house.hear(*story(job, house)[:2])
    running, succeeded = (event for one in recorded for event in one.events)
    for event, state, sequence in ((running, "running", 1), (succeeded, "succeeded", 2)):
        body = json.loads(event.body)
        assert (body["id"], body["type"]) == (event.id, event.type)
        assert (body["data"]["state"], body["data"]["sequence"]) == (state, sequence)
        assert (body["data"]["object"], body["data"]["metadata"]) == ("job", {"order": "42"})
    assert succeeded.id == event_id(job.id, "final")
    assert (await house.now(job)).completed_by is By.CALLBACK


# Leases.


@pytest.mark.parametrize(
    "verdict", [FailureKind.LOST, FailureKind.RESTORE, FailureKind.REJECT, FailureKind.TRANSIENT]
)
async def test_a_stale_claim_changes_nothing_and_is_kept(house: Storehouse, verdict: FailureKind) -> None:
    job = await house.added()
    [first] = await house.claim(Work.SUBMIT)
    house.hands.pass_(seconds=31)
    await house.claim(Work.SUBMIT)
    before, due = await house.now(job), await house.due_of(job)
    [late] = await house.hear(word(job, house, source=SUBMIT, verdict=verdict, claim=first.claim))
    assert (late.outcome, late.events, late.due) == (Outcome.LATE, (), None)
    assert (await house.now(job), await house.due_of(job)) == (before, due)
    assert await house.evidence(job) == [("submission", "late", 1)]


async def test_what_the_provider_said_counts_even_under_a_stale_claim(house: Storehouse) -> None:
    job = await house.submitted("aiml")
    claim = await house.poll_claim(job)
    house.hands.pass_(seconds=31)
    await house.claim(Work.POLL)
    due = await house.due_of(job)
    [told_] = await house.hear(word(job, house, told(Phase.RUNNING), POLL, claim=claim))
    assert types([told_]) == ["job.running"]
    assert await house.due_of(job) == due
    [ended] = await house.hear(word(job, house, told(Phase.SUCCEEDED), POLL, claim=claim))
    assert types([ended]) == ["job.succeeded"]
    assert await house.due_of(job) == []


async def test_a_callback_that_beats_the_submits_answer(house: Storehouse) -> None:
    job = await house.added()
    [chosen] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, told(Phase.RUNNING, "p1")))
    due = await house.due_of(job)
    answer = word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    lost = word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim)
    assert outcomes(await house.hear(answer, lost)) == ["unchanged", "late"]
    assert ((await house.now(job)).state, await house.due_of(job)) == (State.RUNNING, due)
    assert due[0][0] == "poll"


# Ids that the provider gives twice.


async def test_an_id_that_another_job_has_leaves_this_one_unconfirmed(house: Storehouse) -> None:
    await house.endpoint()
    first = await house.submitted(theirs="p1")
    second = await house.added()
    [chosen] = await house.claim(Work.SUBMIT)
    answer = word(second, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    [recorded] = await house.hear(answer)
    assert (recorded.outcome, types([recorded])) == (Outcome.MISMATCH, ["job.unconfirmed"])
    assert (await house.now(second)).provider_job_id is None
    assert (await house.now(first)).provider_job_id == "p1"
    [callback] = await house.hear(word(second, house, told(Phase.SUCCEEDED, "p1")))
    assert (callback.outcome, callback.events) == (Outcome.MISMATCH, ())
    note = word(second, house, source=NOTE, verdict=Action.BIND, note="p1")
    assert outcomes(await house.hear(note)) == ["mismatch"]
    assert (await house.now(second)).state is State.UNCONFIRMED


async def test_one_id_for_two_jobs_in_one_transaction(house: Storehouse) -> None:
    made = [await house.added() for _ in range(2)]
    chosen = await house.claim(Work.SUBMIT)
    answers = [word(one.job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=one.claim) for one in chosen]
    assert outcomes(await house.hear(*answers)) == ["applied", "mismatch"]
    assert [(await house.now(job)).provider_job_id for job in made] == ["p1", None]


async def test_two_accounts_may_use_one_id(house: Storehouse) -> None:
    first, second = await house.submitted(theirs="p1"), await house.submitted("aiml", theirs="p1")
    assert [(await house.now(job)).provider_job_id for job in (first, second)] == ["p1", "p1"]


# What is owed.


async def test_a_delivery_is_born_with_a_slot_while_there_are_any(house: Storehouse) -> None:
    await house.endpoint()
    made = [await house.submitted() for _ in range(6)]
    recorded = await house.hear(*(word(job, house, told(Phase.SUCCEEDED)) for job in made))
    born = [one for each in recorded for one in each.born]
    assert [one.claim is not None for one in born] == [True] * 4 + [False] * 2
    assert house.lanes.lane(Work.DELIVER, "ep_1").in_flight == 4
    rows = await house.query("select lane, at, leased, fence from due where work = 'deliver' order by id")
    at = ms(house.hands.at)
    found = [(row["lane"], row["at"] - at, row["leased"], row["fence"]) for row in rows]
    assert found == [("ep_1", 30_000, 1, 1)] * 4 + [("ep_1", 0, 0, 0)] * 2
    claimed = [one.claim.id for one in await house.claim(Work.DELIVER)]
    assert claimed == [one.delivery.id for one in born[4:]]


@pytest.mark.parametrize("state", [EndpointState.PAUSED, EndpointState.DISABLED])
async def test_an_endpoint_that_is_not_served_still_collects(house: Storehouse, state: EndpointState) -> None:
    await house.endpoint(state=state)
    [recorded] = await house.hear(word(await house.submitted(), house, told(Phase.SUCCEEDED)))
    assert [one.claim for one in recorded.born] == [None]
    assert await house.column("select leased from due where work = 'deliver'") == [0]
    assert house.lanes.lane(Work.DELIVER, "ep_1").in_flight == 0


async def test_everybody_gets_what_was_asked_for(house: Storehouse) -> None:
    wanted = {"all": ("*",), "jobs": ("job.*",), "named": ("job.progressed",), "none": ("endpoint.*",)}
    for name, patterns in wanted.items():
        await house.endpoint(name, *patterns)
    job = await house.submitted(callback_url="https://me.example:8443/a", callback_secret=b"sealed")
    await house.hear(word(job, house, told(Phase.RUNNING, progress=1.0)))
    house.hands.pass_(seconds=2)
    await house.hear(
        word(job, house, told(Phase.RUNNING, progress=2.0)), word(job, house, told(Phase.SUCCEEDED))
    )
    rows = await house.query(
        "select target, type, lane from delivery d join event e on e.id = d.event join due on due.id = d.id"
    )
    assert {(row["target"], row["type"], row["lane"]) for row in rows} == {
        *((name, f"job.{what}", name) for name in ("all", "jobs") for what in ("running", "succeeded")),
        ("named", "job.progressed", "named"),
        ("callback", "job.succeeded", "https://me.example:8443"),
    }


async def test_a_callback_url_that_was_turned_off_gets_nothing(house: Storehouse) -> None:
    job = await house.submitted(callback_url="https://me.example/", callback_secret=b"sealed")
    await house.store.write(lambda: cancel_target("callback", job.id, "410", house.hands.at))
    [recorded] = await house.hear(word(job, house, told(Phase.SUCCEEDED)))
    assert (types([recorded]), recorded.born) == (["job.succeeded"], ())


async def test_an_endpoint_that_another_process_made_is_not_missed(house: Storehouse) -> None:
    other = house.services.core.sealer.row(await house.endpoint("ep_1"))
    await house.store.write(lambda: table.put(("ep_2", *other[1:])))
    assert house.services.core.endpoint_cache.get("ep_2") is None
    [recorded] = await house.hear(word(await house.submitted(), house, told(Phase.SUCCEEDED)))
    assert [one.delivery.endpoint_id for one in recorded.born] == ["ep_1", "ep_2"]
    await house.store.write(lambda: table.remove("ep_1", house.hands.at))
    [recorded] = await house.hear(word(await house.submitted(), house, told(Phase.SUCCEEDED)))
    assert [one.delivery.endpoint_id for one in recorded.born] == ["ep_2"]


async def test_endpoints_of_a_transaction_that_failed_are_read_again(house: Storehouse) -> None:
    row = house.services.core.sealer.row(await house.endpoint("ep_1"))
    job = await house.submitted()

    def failing() -> Transaction[None]:
        yield from table.put(("ep_ghost", *row[1:]))
        yield from house.recording(word(job, house, told(Phase.SUCCEEDED)))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await house.store.write(failing)
    assert (await house.now(job)).state is State.QUEUED
    [recorded] = await house.hear(word(job, house, told(Phase.SUCCEEDED)))
    assert [one.delivery.endpoint_id for one in recorded.born] == ["ep_1"]
