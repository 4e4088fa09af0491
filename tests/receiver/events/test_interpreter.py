"""What a word leaves behind: what is kept of it, and what is due after it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase, Proof
from receiver.domain.model import Job, Outcome, Source, State, Work
from receiver.domain.reports import Action, FailureKind
from receiver.store import jobs
from receiver.store.statements import ms
from tests.receiver.store_fixture import Storehouse, finals, outcomes, storehouse, told, types, word

SUBMIT, POLL, NOTE = Source.SUBMISSION, Source.POLL, Source.NOTE


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Storehouse]:
    """A service at rest."""
    async with storehouse(tmp_path) as made:
        yield made


# What is kept.


async def test_polls_that_bring_nothing_share_one_entry(house: Storehouse) -> None:
    job = await house.submitted("aiml")
    for _ in range(5):
        claim = await house.poll_claim(job)
        [quiet] = await house.hear(word(job, house, told(Phase.QUEUED), POLL, claim=claim))
        assert quiet.outcome is Outcome.UNCHANGED
    last = await house.column("select last_at from evidence where kind = 'poll'")
    assert last == [ms(house.hands.at)]
    await house.hear(word(job, house, told(Phase.RUNNING), POLL))
    await house.hear(word(job, house, told(Phase.RUNNING), POLL), word(job, house, told(Phase.UNKNOWN), POLL))
    await house.hear(word(job, house, told(Phase.RUNNING), POLL))
    assert await house.evidence(job) == [
        ("submission", "applied", 1),
        ("poll", "unchanged", 5),
        ("poll", "applied", 1),
        ("poll", "unchanged", 1),
        ("poll", "unknown-word", 1),
        ("poll", "unchanged", 1),
    ]


async def test_quiet_polls_of_one_transaction_all_count(house: Storehouse) -> None:
    job = await house.submitted("aiml")
    await house.hear(*[word(job, house, told(Phase.QUEUED), POLL)] * 3)
    await house.hear(*[word(job, house, told(Phase.QUEUED), POLL)] * 2)
    assert await house.evidence(job) == [("submission", "applied", 1), ("poll", "unchanged", 5)]


async def test_every_callback_is_kept_byte_for_byte(house: Storehouse) -> None:
    job = await house.submitted()
    bodies = [b"\x00\xff not JSON", b'{"a": 1}', b'{"a": 1}']
    words = [word(job, house, body=body, headers=b"[]", kept_as=Outcome.UNPARSED) for body in bodies]
    assert outcomes(await house.hear(*words)) == ["unparsed"] * 3
    assert await house.column("select body from evidence where body is not null order by id") == bodies


async def test_a_word_about_a_job_that_is_gone_is_kept(house: Storehouse) -> None:
    gone = house.job()
    [recorded] = await house.hear(word(gone, house, told(Phase.SUCCEEDED), body=b"late"))
    assert (recorded.job, recorded.outcome, recorded.events) == (None, Outcome.LATE, ())
    assert await house.evidence(gone) == [("callback", "late", 1)]


async def test_the_input_is_kept_until_the_provider_took_the_job(house: Storehouse) -> None:
    async def whole(job: Job) -> object:
        return (await house.column("select input from job where id = :id", id=job.id))[0]

    job = await house.added()
    [chosen] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim))
    assert await whole(job) == b'{"prompt":"a tide"}'
    await house.hear(word(job, house, told(Phase.QUEUED, "p1")))
    assert await whole(job) is None
    shown = await house.store.read(jobs.get_with_input(job.id))
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
    house: Storehouse, changes: dict[str, Any], outcome: str, due: tuple[Any, ...]
) -> None:
    job = await house.submitted(theirs="p1")
    assert await house.due_of(job) == [("poll", 180.0, 0, 1 + 1)]
    [recorded] = await house.hear(word(job, house, **changes))
    assert recorded.outcome == outcome
    work, at, leased, fence = due
    assert await house.due_of(job) == [(work, at, leased, fence + 1)]


@pytest.mark.parametrize(
    ("phase", "final"), [(Phase.RUNNING, "job.expired"), (Phase.SUCCEEDED, "job.succeeded")]
)
async def test_the_last_poll_at_the_deadline_decides(house: Storehouse, phase: Phase, final: str) -> None:
    job = await house.submitted("aiml")
    house.hands.at = job.deadline_at
    claim = await house.poll_claim(job)
    recorded = await house.hear(word(job, house, told(phase), POLL, claim=claim))
    assert finals(types(recorded)) == [final]
    assert await house.due_of(job) == []


async def test_a_late_result_is_announced_once(house: Storehouse) -> None:
    await house.endpoint("ep_1", "job.late_result")
    job = await house.submitted()
    await house.hear(word(job, house, source=NOTE, verdict=Action.EXPIRE))
    recorded = await house.hear(*[word(job, house, told(Phase.SUCCEEDED))] * 3)
    assert types(recorded) == ["job.late_result"]
    late = await house.now(job)
    assert (late.state, len(late.assets)) == (State.EXPIRED, 1)
    assert await house.column("select count(*) from delivery") == [1]


async def test_the_policy_for_a_lost_answer_waits_as_long_as_is_set(tmp_path: Path) -> None:
    async with storehouse(tmp_path, on_unconfirmed="fail", unconfirmed_after="60") as house:
        for account in ("apiframe", "aiml"):
            job = await house.added(account)
            [chosen] = await house.claim(Work.SUBMIT)
            lost = word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim)
            [recorded] = await house.hear(lost)
            assert types([recorded]) == ["job.unconfirmed"]
            assert recorded.due is not None
            assert recorded.due.at - house.hands.at == timedelta(seconds=60)


# What comes before the submission's answer, and what the answer makes of it.


@pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.QUEUED, Phase.RUNNING])
@pytest.mark.parametrize("account", ["apiframe", "aiml"])
async def test_an_answer_with_an_id_is_an_acceptance_whatever_its_word(
    house: Storehouse, account: str, phase: Phase
) -> None:
    job = await house.added(account)
    [chosen] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, told(phase, "p1"), SUBMIT, claim=chosen.claim))
    found = await house.now(job)
    assert found.state in {State.QUEUED, State.RUNNING}
    [(work, _, leased, _)] = await house.due_of(job)
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
    house: Storehouse, changes: dict[str, Any]
) -> None:
    job = await house.added("apiframe")
    [chosen] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, **changes))
    assert [work for work, *_ in await house.due_of(job)] == ["submit"]
    answer = word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    await house.hear(answer)
    [(work, at, leased, _)] = await house.due_of(job)
    assert (work, at, leased) == ("poll", 0.0, 0)
    claim = await house.poll_claim(job)
    await house.hear(word(job, house, told(Phase.RUNNING, "p1"), POLL, claim=claim))
    [(_, later, _, _)] = await house.due_of(job)
    assert later > 0


async def test_a_hint_that_outran_a_lost_answer_is_polled_where_nothing_can_be_proved(
    house: Storehouse,
) -> None:
    for account, due in (("minimax", [("poll", 0.0)]), ("apiframe", [])):
        job = await house.added(account)
        [chosen] = await house.claim(Work.SUBMIT)
        await house.hear(word(job, house, **EARLY["a hint"]))
        lost = word(job, house, source=SUBMIT, verdict=FailureKind.LOST, claim=chosen.claim)
        assert types(await house.hear(lost)) == ["job.unconfirmed"]
        assert [(work, at) for work, at, _, _ in await house.due_of(job)] == due


async def test_the_answer_outranks_a_forged_id(house: Storehouse) -> None:
    job = await house.added("apiframe")
    [chosen] = await house.claim(Work.SUBMIT)
    forged = word(job, house, told(Phase.RUNNING, "forged"), proof=Proof.UNPROVED)
    answer = word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim)
    recorded = await house.hear(forged, answer)
    assert [one.outcome for one in recorded] == [Outcome.HINT, Outcome.APPLIED]
    found = await house.now(job)
    assert (found.provider_job_id, found.state) == ("p1", State.QUEUED)
    assert await house.column("select provider_job_id from job") == ["p1"]
    ended = await house.hear(word(job, house, told(Phase.SUCCEEDED, "p1")))
    assert types(ended) == ["job.succeeded"]


async def test_an_answer_after_the_end_still_names_the_job(house: Storehouse) -> None:
    job = await house.added("apiframe")
    [chosen] = await house.claim(Work.SUBMIT)
    await house.hear(word(job, house, source=NOTE, verdict=Action.CANCEL))
    [late] = await house.hear(word(job, house, told(Phase.QUEUED, "p1"), SUBMIT, claim=chosen.claim))
    assert late.outcome is Outcome.LATE
    found = await house.now(job)
    assert (found.provider_job_id, found.state) == ("p1", State.CANCELED)
    hint = word(job, house, told(Phase.SUCCEEDED, "p1"), proof=Proof.UNPROVED)
    await house.hear(hint)
    assert [work for work, *_ in await house.due_of(job)] == ["poll"]
