"""Large inputs in a real store: in pieces, byte for byte, read for the submission and removed after it."""

import gc
import tracemalloc
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
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
from receiver.store.statements import QueryStatement
from tests.receiver.store_fixture import StoreFixture, told, word
from tests.receiver.store_steps import statements

MIB = 1 << 20
BOUNDS = (IN_ROW, IN_ROW + PIECE, AT_ONCE * 2 * PIECE, 5 * MIB)


def spelled(size: int) -> bytes:
    """Return an input of `size` bytes that repeats nowhere."""
    numbers = array("I", range(size // 8 + 1)).tobytes().hex().encode()
    return b'{"prompt":"' + numbers[: size - 13] + b'"}'


async def promised(fixture: StoreFixture, whole: bytes, **others: Any) -> ClaimedSubmission:
    """Return a job with this input, claimed for its submission."""
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
    """Return the report that the provider accepted the job."""
    return word(chosen.job, fixture, told(Phase.QUEUED, "p1"), Source.SUBMISSION, claim=chosen.claim)


def canceled(chosen: ClaimedSubmission, fixture: StoreFixture) -> Any:
    """Return the report of a cancellation by the user during the submission."""
    return word(chosen.job, fixture, source=Source.NOTE, verdict=Action.CANCEL)


def refused(chosen: ClaimedSubmission, fixture: StoreFixture) -> Any:
    """Return the report that the provider refused the job."""
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


def test_a_small_input_costs_no_statement_of_its_own() -> None:
    assert statements(inputs.write("job_1", Parts([b"{}"]))) == []
    [update] = statements(inputs.forget(["job_1"]), [{"id": "job_1", "input": None}])
    assert isinstance(update, QueryStatement)
    assert update.sql.startswith("update job set input")


@pytest.mark.parametrize(
    ("size", "in_row", "pieces"),
    [(0, True, []), (IN_ROW, True, []), (IN_ROW + 1, False, [PIECE, PIECE, PIECE, PIECE, 1])],
)
def test_an_input_lies_in_its_row_or_in_pieces(size: int, in_row: bool, pieces: list[int]) -> None:
    whole = Parts([b"x" * (size // 2), b"y" * (size - size // 2)])
    assert inputs.in_row(whole) == (whole.joined() if in_row else inputs.IN_PIECES)
    rows = [row for one in statements(inputs.write("job_1", whole)) for row in one.values]
    assert [(job, number, len(piece)) for job, number, piece in rows] == [
        ("job_1", number, length) for number, length in enumerate(pieces)
    ]
    assert in_row or b"".join(piece for _, _, piece in rows) == whole.joined()


async def test_inputs_of_any_size_are_forgotten_together_and_others_kept(fixture: StoreFixture) -> None:
    small, large, gone, kept_ = [fixture.job() for _ in range(4)]
    for job, size in ((small, 100), (large, 2 * MIB), (gone, 100), (kept_, 2 * MIB)):
        await fixture.promise(job, whole_input=spelled(size))
    for ids in ([gone.id], [small.id, large.id, gone.id, "job_unknown"]):
        await fixture.store.write(partial(inputs.forget, ids))
    assert await kept(fixture) == [None, None, None, inputs.IN_PIECES, 8]
    assert await fixture.store.read(inputs.read(kept_.id)) == spelled(2 * MIB)


@contextmanager
def traced() -> Iterator[list[int]]:
    """Yield a list that receives the peak of the bytes allocated while the context lasts."""
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
    """Return the list of calls to providers, of which none is expected."""
    made: list[HttpCall] = []

    async def call(_gateway: HttpClient, call: HttpCall) -> None:
        made.append(call)
        raise AssertionError("a call was made")

    monkeypatch.setattr(HttpClient, "call", call)
    return made


def submitter(fixture: StoreFixture) -> Submitter:
    """Return the performer of submissions of this service."""
    ours = fixture.services.core
    return Submitter(ours.accounts, ours.recorder, ours.store, ours.breaker, ours.clock, ours.spans)


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
