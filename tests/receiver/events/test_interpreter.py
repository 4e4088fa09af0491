"""Effects of a report: the evidence that is kept of it, and the work that is due after it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase, Proof
from receiver.domain.model import Job, Outcome, Source, State, Work
from receiver.domain.reports import Action, FailureKind
from receiver.store import jobs
from receiver.store.statements import ms
from tests.receiver.store_fixture import StoreFixture, finals, outcomes, store_fixture, told, types, word

SUBMIT, POLL, NOTE = Source.SUBMISSION, Source.POLL, Source.NOTE


# What is kept.


async def test_polls_that_bring_nothing_share_one_entry(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml")
    for _ in range(5):
        claim = await fixture.poll_claim(job)
        [quiet] = await fixture.hear(word(job, fixture, told(Phase.QUEUED), POLL, claim=claim))
        assert quiet.outcome is Outcome.UNCHANGED
    last = await fixture.column("select last_at from evidence where kind = 'poll'")
    assert last == [ms(fixture.clock.at)]
    await fixture.hear(word(job, fixture, told(Phase.RUNNING), POLL))
    await fixture.hear(
        word(job, fixture, told(Phase.RUNNING), POLL), word(job, fixture, told(Phase.UNKNOWN), POLL)
    )
    await fixture.hear(word(job, fixture, told(Phase.RUNNING), POLL))
    assert await fixture.evidence(job) == [
        ("submission", "applied", 1),
        ("poll", "unchanged", 5),
        ("poll", "applied", 1),
        ("poll", "unchanged", 1),
        ("poll", "unknown-word", 1),
        ("poll", "unchanged", 1),
    ]


async def test_quiet_polls_of_one_transaction_all_count(fixture: StoreFixture) -> None:
    job = await fixture.submitted("aiml")
    await fixture.hear(*[word(job, fixture, told(Phase.QUEUED), POLL)] * 3)
    await fixture.hear(*[word(job, fixture, told(Phase.QUEUED), POLL)] * 2)
    assert await fixture.evidence(job) == [("submission", "applied", 1), ("poll", "unchanged", 5)]


async def test_every_callback_is_kept_byte_for_byte(fixture: StoreFixture) -> None:
    job = await fixture.submitted()
    bodies = [b"\x00\xff not JSON", b'{"a": 1}', b'{"a": 1}']
    words = [word(job, fixture, body=body, headers=b"[]", kept_as=Outcome.UNPARSED) for body in bodies]
    assert outcomes(await fixture.hear(*words)) == ["unparsed"] * 3
    assert await fixture.column("select body from evidence where body is not null order by id") == bodies


async def test_a_word_about_a_job_that_is_gone_is_kept(fixture: StoreFixture) -> None:
    gone = fixture.job()
    [recorded] = await fixture.hear(word(gone, fixture, told(Phase.SUCCEEDED), body=b"late"))
    assert (recorded.job, recorded.outcome, recorded.events) == (None, Outcome.LATE, ())
    assert await fixture.evidence(gone) == [("callback", "late", 1)]


async def test_the_input_is_kept_until_the_provider_took_the_job(fixture: StoreFixture) -> None:
    async def whole(job: Job) -> object:
        return (await fixture.column("select input from job where id = :id", id=job.id))[0]

    job = await fixture.added()
    [chosen] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim))
    assert await whole(job) == b'{"prompt":"a tide"}'
    await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1")))
    assert await whole(job) is None
    shown = await fixture.store.read(jobs.get_with_input(job.id))
    assert shown is not None
    assert shown[1] == b'{"prompt":"a"}'


# What is due after a word.


@pytest.mark.parametrize(
    ("changes", "outcome", "due"),
    [
        ({"update": told(Phase.SUCCEEDED), "proof": Proof.UNPROVED}, "hint", ("poll", 0.0, 0, 2)),
        ({"update": told(Phase.SUCCEEDED), "confirm": True}, "hint", ("poll", 0.0, 0, 2)),
        ({"update": told(Phase.QUEUED), "proof": Proof.UNPROVED}, "hint", ("poll", 180.0, 0, 1)),
        ({"kept_as": Outcome.UNPARSED}, "unparsed", ("poll", 0.0, 0, 2)),
        ({"kept_as": Outcome.REFUSED}, "refused", ("poll", 180.0, 0, 1)),
        ({"update": told(Phase.SUCCEEDED, assets=())}, "incomplete", ("poll", 0.0, 0, 2)),
        ({"update": told(Phase.UNKNOWN)}, "unknown-word", ("poll", 0.0, 0, 2)),
        ({"update": told(Phase.RUNNING)}, "applied", ("poll", 180.0, 0, 1)),
        ({"update": told(Phase.RUNNING, "p-other")}, "mismatch", ("poll", 180.0, 0, 1)),
    ],
)
async def test_a_callback_that_leaves_doubt_asks_for_a_poll(
    fixture: StoreFixture, changes: dict[str, Any], outcome: str, due: tuple[Any, ...]
) -> None:
    job = await fixture.submitted(theirs="p1")
    assert await fixture.due_of(job) == [("poll", 180.0, 0, 1 + 1)]
    [recorded] = await fixture.hear(word(job, fixture, **changes))
    assert recorded.outcome == outcome
    work, at, leased, fence = due
    assert await fixture.due_of(job) == [(work, at, leased, fence + 1)]


@pytest.mark.parametrize(
    ("phase", "final"), [(Phase.RUNNING, "job.expired"), (Phase.SUCCEEDED, "job.succeeded")]
)
async def test_the_last_poll_at_the_deadline_decides(fixture: StoreFixture, phase: Phase, final: str) -> None:
    job = await fixture.submitted("aiml")
    fixture.clock.at = job.deadline_at
    claim = await fixture.poll_claim(job)
    recorded = await fixture.hear(word(job, fixture, told(phase), POLL, claim=claim))
    assert finals(types(recorded)) == [final]
    assert await fixture.due_of(job) == []


async def test_a_late_result_is_announced_once(fixture: StoreFixture) -> None:
    await fixture.endpoint("ep_1", "job.late_result")
    job = await fixture.submitted()
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.EXPIRE))
    recorded = await fixture.hear(*[word(job, fixture, told(Phase.SUCCEEDED))] * 3)
    assert types(recorded) == ["job.late_result"]
    late = await fixture.now(job)
    assert (late.state, len(late.assets)) == (State.EXPIRED, 1)
    assert await fixture.column("select count(*) from delivery") == [1]


async def test_the_policy_for_a_lost_answer_waits_as_long_as_is_set(tmp_path: Path) -> None:
    async with store_fixture(tmp_path, on_unconfirmed="fail", unconfirmed_after="60") as fixture:
        for account in ("apiframe", "aiml"):
            job = await fixture.added(account)
            [chosen] = await fixture.claim(Work.SUBMIT)
            lost = word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim)
            [recorded] = await fixture.hear(lost)
            assert types([recorded]) == ["job.unconfirmed"]
            assert recorded.due is not None
            assert recorded.due.at - fixture.clock.at == timedelta(seconds=60)


# What comes before the submission's answer, and what the answer makes of it.


@pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.QUEUED, Phase.RUNNING])
@pytest.mark.parametrize("account", ["apiframe", "aiml"])
async def test_an_answer_with_an_id_is_an_acceptance_whatever_its_word(
    fixture: StoreFixture, account: str, phase: Phase
) -> None:
    job = await fixture.added(account)
    [chosen] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, told(phase, "p1"), SUBMIT, claim=chosen.claim))
    found = await fixture.now(job)
    assert found.state in {State.QUEUED, State.RUNNING}
    [(work, _, leased, _)] = await fixture.due_of(job)
    assert (work, leased) == ("poll", 0)


EARLY: dict[str, dict[str, Any]] = {
    "a hint": {"update": told(Phase.SUCCEEDED, "p1"), "proof": Proof.UNPROVED},
    "a hint without an id": {"update": told(Phase.SUCCEEDED), "proof": Proof.UNPROVED},
    "a word to be confirmed": {"update": told(Phase.SUCCEEDED, "p1"), "confirm": True},
    "an unreadable callback": {"kept_as": Outcome.UNPARSED},
    "a success without its file": {"update": told(Phase.SUCCEEDED, "p1", assets=())},
}


@pytest.mark.parametrize("changes", EARLY.values(), ids=EARLY)
async def test_a_doubtful_callback_that_outran_the_answer_is_polled_after_it(
    fixture: StoreFixture, changes: dict[str, Any]
) -> None:
    job = await fixture.added("apiframe")
    [chosen] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, **changes))
    assert [work for work, *_ in await fixture.due_of(job)] == ["submit"]
    answer = word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    await fixture.hear(answer)
    [(work, at, leased, _)] = await fixture.due_of(job)
    assert (work, at, leased) == ("poll", 0.0, 0)
    claim = await fixture.poll_claim(job)
    await fixture.hear(word(job, fixture, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    [(_, later, _, _)] = await fixture.due_of(job)
    assert later > 0


async def test_a_hint_that_outran_a_lost_answer_is_polled_where_nothing_can_be_proved(
    fixture: StoreFixture,
) -> None:
    for account, due in (("minimax", [("poll", 0.0)]), ("apiframe", [])):
        job = await fixture.added(account)
        [chosen] = await fixture.claim(Work.SUBMIT)
        await fixture.hear(word(job, fixture, **EARLY["a hint"]))
        lost = word(job, fixture, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim)
        assert types(await fixture.hear(lost)) == ["job.unconfirmed"]
        assert [(work, at) for work, at, _, _ in await fixture.due_of(job)] == due


async def test_the_answer_outranks_a_forged_id(fixture: StoreFixture) -> None:
    job = await fixture.added("apiframe")
    [chosen] = await fixture.claim(Work.SUBMIT)
    forged = word(job, fixture, told(Phase.RUNNING, "forged"), proof=Proof.UNPROVED)
    answer = word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    recorded = await fixture.hear(forged, answer)
    assert [one.outcome for one in recorded] == [Outcome.HINT, Outcome.APPLIED]
    found = await fixture.now(job)
    assert (found.provider_job_id, found.state) == ("p1", State.QUEUED)
    assert await fixture.column("select provider_job_id from job") == ["p1"]
    ended = await fixture.hear(word(job, fixture, told(Phase.SUCCEEDED, "p1")))
    assert types(ended) == ["job.succeeded"]


async def test_an_answer_after_the_end_still_names_the_job(fixture: StoreFixture) -> None:
    job = await fixture.added("apiframe")
    [chosen] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(word(job, fixture, source=NOTE, verdict=Action.CANCEL))
    [late] = await fixture.hear(word(job, fixture, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim))
    assert late.outcome is Outcome.LATE
    found = await fixture.now(job)
    assert (found.provider_job_id, found.state) == ("p1", State.CANCELED)
    hint = word(job, fixture, told(Phase.SUCCEEDED, "p1"), proof=Proof.UNPROVED)
    await fixture.hear(hint)
    assert [work for work, *_ in await fixture.due_of(job)] == ["poll"]
