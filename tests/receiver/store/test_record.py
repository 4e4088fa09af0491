"""Recording in a real store: reports in any order end a job once, with one delivery for each target."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.domain.event_types import JOB_FINAL
from receiver.domain.model import By, EndpointState, Job, Outcome, Source, State, Work
from receiver.domain.reports import Action, FailureKind, Report
from receiver.security.ids import event_id
from receiver.store import endpoints as table
from receiver.store.deliveries import cancel_target
from receiver.store.record_context import RecordResult
from receiver.store.statements import Transaction, ms
from tests.receiver.store_fixture import StoreFixture, finals, outcomes, told, types, word

SUBMIT, CALLBACK, POLL, NOTE = Source.SUBMISSION, Source.CALLBACK, Source.POLL, Source.NOTE


def story(job: Job, fixture: StoreFixture) -> list[Report]:
    """Return reports about one job: progress, a success, and two that contradict it."""
    return [
        word(job, fixture, told(Phase.RUNNING, progress=40.0)),
        word(job, fixture, told(Phase.SUCCEEDED)),
        word(job, fixture, told(Phase.FAILED), POLL),
        word(job, fixture, source=NOTE, verdict=Action.CANCEL),
    ]


# One end for each job.


async def test_words_in_one_transaction_end_a_job_once_whatever_their_order(fixture: StoreFixture) -> None:
    await fixture.endpoint()
    for order in itertools.permutations(range(4)):
        job = await fixture.submitted()
        words = story(job, fixture)
        recorded = await fixture.hear(*(words[place] for place in order))
        [final] = finals(types(recorded))
        ended = await fixture.now(job)
        assert f"job.{ended.state}" == final
        first = next(place for place in order if place != 0)
        assert final == ["", "job.succeeded", "job.failed", "job.canceled"][first]
        stored = await fixture.column("select type from event where job = :id order by seq", id=job.id)
        assert stored == types(recorded)
        assert await fixture.due_of(job) == []


async def test_together_or_one_by_one_means_the_same(fixture: StoreFixture) -> None:
    def seen(job: Job, recorded: Sequence[RecordResult]) -> tuple[Any, ...]:
        return job.state, job.sequence, job.progress, types(recorded), outcomes(recorded)

    for order in itertools.permutations(range(4)):
        together, singly = await fixture.submitted(), await fixture.submitted()
        words = story(together, fixture)
        at_once = await fixture.hear(*(words[place] for place in order))
        words = story(singly, fixture)
        in_turn = [(await fixture.hear(words[place]))[0] for place in order]
        assert seen(await fixture.now(together), at_once) == seen(await fixture.now(singly), in_turn)


async def test_a_transaction_of_many_jobs_gives_each_one_end(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_all", "*")
    await fixture.endpoint("ep_failed", "job.failed")
    made = [await fixture.submitted() for _ in range(40)]
    words = [one for job in made for one in story(job, fixture)]
    # One writer, which keeps their order: of two at once, the one with the later words may be first.
    fixture.store.share(fixture.store.driver.writers)
    recorded = await fixture.hear(*words[::-1], *words)
    assert len(finals(types(recorded))) == 40
    rows = await fixture.query(
        "select job, count(*) as ended from event where type in (:t) group by job", t=[*JOB_FINAL]
    )
    assert {row["job"]: row["ended"] for row in rows} == {job.id: 1 for job in made}
    owed = await fixture.query(
        "select target, type, count(*) as owed from delivery join event on event.id = event group by 1, 2"
    )
    assert {(row["target"], row["type"]): row["owed"] for row in owed} == {("ep_all", "job.canceled"): 40}
    assert [(await fixture.now(job)).sequence for job in made] == [2] * 40, "the end, and a late result"


async def test_an_event_tells_the_job_as_it_was_then(fixture: StoreFixture) -> None:
    job = await fixture.submitted(metadata={"order": "42"})
    recorded = await fixture.hear(*story(job, fixture)[:2])
    running, succeeded = (event for one in recorded for event in one.events)
    for event, state, sequence in ((running, "running", 1), (succeeded, "succeeded", 2)):
        body = json.loads(event.body)
        assert (body["id"], body["type"]) == (event.id, event.type)
        assert (body["data"]["state"], body["data"]["sequence"]) == (state, sequence)
        assert (body["data"]["object"], body["data"]["metadata"]) == ("job", {"order": "42"})
    assert succeeded.id == event_id(job.id, "final")
    assert (await fixture.now(job)).completed_by is By.CALLBACK


# Leases.


@pytest.mark.parametrize(
    "verdict", [FailureKind.LOST, FailureKind.RESTORE, FailureKind.REJECT, FailureKind.TRANSIENT]
)
async def test_a_stale_claim_changes_nothing_and_is_kept(fixture: StoreFixture, verdict: FailureKind) -> None:
    job = await fixture.added()
    [first] = await fixture.claim(Work.SUBMIT)
    fixture.clock.pass_(seconds=31)
    await fixture.claim(Work.SUBMIT)
    before, due = await fixture.now(job), await fixture.due_of(job)
    [late] = await fixture.hear(word(job, fixture, source=SUBMIT, verdict=verdict, claim=first.claim))
    assert (late.outcome, late.events, late.due) == (Outcome.LATE, (), None)
    assert (await fixture.now(job), await fixture.due_of(job)) == (before, due)
    assert await fixture.evidence(job) == [("submission", "late", 1)]


async def test_what_the_provider_said_counts_even_under_a_stale_claim(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml")
    claim = await fixture.poll_claim(job)
    fixture.clock.pass_(seconds=31)
    await fixture.claim(Work.POLL)
    due = await fixture.due_of(job)
    [told_] = await fixture.hear(word(job, fixture, told(Phase.RUNNING), POLL, claim=claim))
    assert types([told_]) == ["job.running"]
    assert await fixture.due_of(job) == due
    [ended] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED), POLL, claim=claim))
    assert types([ended]) == ["job.succeeded"]
    assert await fixture.due_of(job) == []


async def test_a_callback_that_beats_the_submits_answer(fixture: StoreFixture) -> None:
    job = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1")))
    due = await fixture.due_of(job)
    answer = word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    lost = word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim)
    assert outcomes(await fixture.hear(answer, lost)) == ["unchanged", "late"]
    assert ((await fixture.now(job)).state, await fixture.due_of(job)) == (State.RUNNING, due)
    assert due[0][0] == "poll"


# Deliveries.


async def test_a_delivery_is_born_with_a_slot_while_there_are_any(fixture: StoreFixture) -> None:
    await fixture.endpoint()
    made = [await fixture.submitted() for _ in range(6)]
    recorded = await fixture.hear(*(word(job, fixture, told(Phase.SUCCEEDED)) for job in made))
    born = [one for each in recorded for one in each.deliveries]
    assert [one.claim is not None for one in born] == [True] * 4 + [False] * 2
    assert fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight == 4
    rows = await fixture.query("select lane, at, leased, fence from due where work = 'deliver' order by id")
    at = ms(fixture.clock.at)
    found = [(row["lane"], row["at"] - at, row["leased"], row["fence"]) for row in rows]
    assert found == [("ep_1", 75_000, 1, 1)] * 4 + [("ep_1", 0, 0, 0)] * 2
    # Both are due at the same moment, so a claim may return them in either order.
    claimed = {one.claim.id for one in await fixture.claim(Work.DELIVER)}
    assert claimed == {one.delivery.id for one in born[4:]}


@pytest.mark.parametrize("state", [EndpointState.PAUSED, EndpointState.DISABLED])
async def test_an_endpoint_that_is_not_served_still_collects(
    fixture: StoreFixture, state: EndpointState
) -> None:
    await fixture.endpoint(state=state)
    [recorded] = await fixture.hear(word(await fixture.submitted(), fixture, told(Phase.SUCCEEDED)))
    assert [one.claim for one in recorded.deliveries] == [None]
    assert await fixture.column("select leased from due where work = 'deliver'") == [0]
    assert fixture.lanes.lane(Work.DELIVER, "ep_1").in_flight == 0


async def test_everybody_gets_what_was_asked_for(fixture: StoreFixture) -> None:
    wanted = {"all": ("*",), "jobs": ("job.*",), "named": ("job.progressed",), "none": ("endpoint.*",)}
    for name, patterns in wanted.items():
        await fixture.endpoint(name, *patterns)
    job = await fixture.submitted(callback_url="https://me.example:8443/a", callback_secret=b"sealed")
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, progress=1.0)))
    fixture.clock.pass_(seconds=2)
    await fixture.hear(
        word(job, fixture, told(Phase.RUNNING, progress=2.0)), word(job, fixture, told(Phase.SUCCEEDED))
    )
    rows = await fixture.query(
        "select target, type, lane from delivery d join event e on e.id = d.event join due on due.id = d.id"
    )
    assert {(row["target"], row["type"], row["lane"]) for row in rows} == {
        *((name, f"job.{what}", name) for name in ("all", "jobs") for what in ("running", "succeeded")),
        ("named", "job.progressed", "named"),
        ("callback", "job.succeeded", "https://me.example:8443"),
    }


async def test_a_callback_url_that_was_turned_off_gets_nothing(fixture: StoreFixture) -> None:
    job = await fixture.submitted(callback_url="https://me.example/", callback_secret=b"sealed")
    await fixture.store.write(lambda: cancel_target("callback", job.id, "410", fixture.clock.at))
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    assert (types([recorded]), recorded.deliveries) == (["job.succeeded"], ())


async def test_an_endpoint_that_another_process_made_is_not_missed(fixture: StoreFixture) -> None:
    other = fixture.services.core.sealer.row(await fixture.endpoint("ep_1"))
    await fixture.store.write(lambda: table.put(("ep_2", *other[1:])))
    assert fixture.services.core.endpoint_cache.get("ep_2") is None
    [recorded] = await fixture.hear(word(await fixture.submitted(), fixture, told(Phase.SUCCEEDED)))
    assert [one.delivery.endpoint_id for one in recorded.deliveries] == ["ep_1", "ep_2"]
    await fixture.store.write(lambda: table.remove("ep_1", fixture.clock.at))
    [recorded] = await fixture.hear(word(await fixture.submitted(), fixture, told(Phase.SUCCEEDED)))
    assert [one.delivery.endpoint_id for one in recorded.deliveries] == ["ep_2"]


async def test_endpoints_of_a_transaction_that_failed_are_read_again(fixture: StoreFixture) -> None:
    row = fixture.services.core.sealer.row(await fixture.endpoint("ep_1"))
    job = await fixture.submitted()

    def failing() -> Transaction[None]:
        yield from table.put(("ep_ghost", *row[1:]))
        yield from fixture.recording(word(job, fixture, told(Phase.SUCCEEDED)))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fixture.store.write(failing)
    assert (await fixture.now(job)).state is State.QUEUED
    [recorded] = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED)))
    assert [one.delivery.endpoint_id for one in recorded.deliveries] == ["ep_1"]
