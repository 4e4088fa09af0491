"""Large inputs in a real store: in pieces, byte for byte, read when they are sent, and gone afterwards."""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Phase
from receiver.bodies.parts import Parts
from receiver.domain.errors import StoreUnavailable
from receiver.domain.model import Job, Source, State, Work
from receiver.domain.reports import Action, FailureKind
from receiver.egress.client import HttpCall, HttpClient
from receiver.jobs.service import PROMISE
from receiver.providers.submission import Submitter
from receiver.store import erasure, inputs
from receiver.store.inputs import AT_ONCE, IN_ROW, PIECE
from receiver.store.jobs import ClaimedSubmission, NewJob, release_submission
from receiver.store.statements import QueryStatement, Transaction
from tests.receiver.store_fixture import StoreFixture, store_fixture, told, word

MIB = 1 << 20
BOUNDS = (IN_ROW, IN_ROW + PIECE, AT_ONCE * 2 * PIECE, 5 * MIB)


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """A service at rest."""
    async with store_fixture(tmp_path) as made:
        yield made


def spelled(size: int) -> bytes:
    """An input of `size` bytes, no two places of which look the same."""
    text = b"".join(b"%08x" % number for number in range(size // 8 + 1))
    return b'{"prompt":"' + text[: size - 13] + b'"}'


async def promised(fixture: StoreFixture, whole: bytes, **others: Any) -> ClaimedSubmission:
    """A job with this input, claimed for its submission."""
    await fixture.promise(whole_input=whole, **others)
    [chosen] = await fixture.claim(Work.SUBMIT)
    assert isinstance(chosen, ClaimedSubmission)
    return chosen


async def kept(fixture: StoreFixture) -> list[Any]:
    """Return the inputs in the rows of the jobs, and the number of pieces."""
    [count] = await fixture.column("select count(*) from input_piece")
    return [*await fixture.column("select input from job order by id"), count]


@pytest.mark.parametrize("size", [bound + more for bound in BOUNDS for more in (-1, 0, 1)])
async def test_an_input_comes_back_byte_for_byte(fixture: StoreFixture, size: int) -> None:
    whole = spelled(size)
    assert len(whole) == size
    chosen = await promised(fixture, whole)
    if size <= IN_ROW:
        assert (chosen.input, await kept(fixture)) == (whole, [whole, 0])
        return
    assert (chosen.input, await fixture.store.read(inputs.read(chosen.job.id))) == (None, whole)
    assert await kept(fixture) == [inputs.IN_PIECES, -(-size // PIECE)]


async def test_every_job_has_its_own_input(fixture: StoreFixture) -> None:
    wholes = [spelled(2 * MIB).replace(b"0000", b"%04d" % number) for number in range(3)]
    wishes = [fixture.wish(fixture.job(), whole_input=whole) for whole in (*wholes, b"{}")]
    for one in wishes:
        await fixture.store.do(PROMISE, one)
    found = [await fixture.store.read(inputs.read(one.job.id)) for one in wishes]
    assert found == [*wholes, None]


def accepted(chosen: ClaimedSubmission, fixture: StoreFixture) -> Any:
    """The provider's acceptance."""
    return word(chosen.job, fixture, told(Phase.QUEUED, "p1"), Source.SUBMISSION, claim=chosen.claim)


def canceled(chosen: ClaimedSubmission, fixture: StoreFixture) -> Any:
    """The user's cancellation, while the submission is out."""
    return word(chosen.job, fixture, source=Source.NOTE, verdict=Action.CANCEL)


def refused(chosen: ClaimedSubmission, fixture: StoreFixture) -> Any:
    """The provider's refusal."""
    return word(chosen.job, fixture, source=Source.SUBMISSION, verdict=FailureKind.REJECT, claim=chosen.claim)


@pytest.mark.parametrize("ends", [accepted, canceled, refused])
@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_nothing_is_left_of_an_input_that_is_needed_no_more(
    fixture: StoreFixture, ends: Any, size: int
) -> None:
    other = await promised(fixture, spelled(2 * MIB))
    chosen = await promised(fixture, spelled(size))
    await fixture.hear(ends(chosen, fixture))
    assert await fixture.column("select input from job where id = :id", id=chosen.job.id) == [None]
    assert await fixture.store.read(inputs.read(chosen.job.id)) is None
    assert await fixture.store.read(inputs.read(other.job.id)) == spelled(2 * MIB)


async def test_a_job_that_is_canceled_before_its_submission_leaves_nothing(fixture: StoreFixture) -> None:
    job = fixture.job()
    await fixture.promise(job, whole_input=spelled(3 * MIB))
    await fixture.hear(word(job, fixture, source=Source.NOTE, verdict=Action.CANCEL))
    assert await kept(fixture) == [None, 0]


async def test_an_erased_job_leaves_no_piece(fixture: StoreFixture) -> None:
    chosen = await promised(fixture, spelled(3 * MIB))
    await fixture.store.write(lambda: erasure.erase([chosen.job.id], None))
    assert await kept(fixture) == [0]


async def test_an_input_is_kept_while_it_may_be_sent_again(fixture: StoreFixture) -> None:
    whole = spelled(3 * MIB)
    chosen = await promised(fixture, whole)
    await fixture.store.write(lambda: release_submission([chosen], fixture.clock.at))
    [chosen] = await fixture.claim(Work.SUBMIT)
    await fixture.hear(
        word(chosen.job, fixture, source=Source.SUBMISSION, verdict=FailureKind.LOST, claim=chosen.claim)
    )
    assert (await fixture.now(chosen.job)).state is State.UNCONFIRMED
    assert await fixture.store.read(inputs.read(chosen.job.id)) == whole


def statements(transaction: Transaction[Any], *answers: list[Any]) -> list[Any]:
    """The statements of a transaction that is answered so."""
    found, left = [], iter(answers)
    try:
        statement = next(transaction)
        while True:
            found.append(statement)
            statement = transaction.send(next(left, []))
    except StopIteration:
        return found


def test_a_small_input_costs_no_statement_of_its_own() -> None:
    assert statements(inputs.write("job_1", Parts([b"{}"]))) == []
    [update] = statements(inputs.forget(["job_1"]), [{"id": "job_1", "input": None}])
    assert isinstance(update, QueryStatement)
    assert update.sql.startswith("update job set input")


@contextmanager
def traced() -> Iterator[list[int]]:
    """The most bytes that were held at once within, beyond those before."""
    gc.collect()
    tracemalloc.start()
    found: list[int] = []
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


async def test_storing_and_reading_a_large_input_holds_one_copy_at_most(fixture: StoreFixture) -> None:
    size = 24 * MIB
    whole = memoryview(spelled(size))
    wish = fixture.wish(fixture.job())
    large = NewJob(
        job=wish.job,
        whole_input=Parts([whole[:5000], whole[5000:]]),
        shown_input=wish.shown_input,
        due=wish.due,
    )
    with traced() as stored:
        await fixture.store.do(PROMISE, large)
    with traced() as read:
        found = await fixture.store.read(inputs.read(large.job.id))
    assert found == bytes(whole)
    assert stored[0] < size // 4
    assert read[0] < size + size // 4


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[HttpCall]:
    """The calls to providers, of which none is expected."""
    made: list[HttpCall] = []

    async def call(_gateway: HttpClient, call: HttpCall) -> None:
        made.append(call)
        raise AssertionError("a call was made")

    monkeypatch.setattr(HttpClient, "call", call)
    return made


def submitter(fixture: StoreFixture) -> Submitter:
    """The performer of submissions of this service."""
    ours = fixture.services.core
    return Submitter(ours.accounts, ours.recorder, ours.store, ours.breaker, ours.clock)


async def test_a_job_that_ended_before_its_input_was_read_is_not_sent(
    fixture: StoreFixture, calls: list[HttpCall]
) -> None:
    chosen = await promised(fixture, spelled(3 * MIB))
    await fixture.hear(canceled(chosen, fixture))
    before = await fixture.evidence(chosen.job)
    await submitter(fixture).perform(chosen)
    assert (calls, await fixture.evidence(chosen.job)) == ([], before)
    assert (await fixture.now(chosen.job)).state is State.CANCELED


async def test_an_input_that_cannot_be_read_now_is_sent_later(
    fixture: StoreFixture, calls: list[HttpCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the database cannot be read now")

    chosen = await promised(fixture, spelled(3 * MIB))
    with monkeypatch.context() as patch:
        patch.setattr(fixture.store, "read", away)
        await submitter(fixture).perform(chosen)
    job: Job = await fixture.now(chosen.job)
    assert (calls, job.state, job.intents) == ([], State.PENDING, 1)
    [(work, _, leased, _)] = await fixture.due_of(job)
    assert (work, leased) == ("submit", 0)
