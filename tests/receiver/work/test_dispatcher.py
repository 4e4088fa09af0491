"""The dispatcher: workers that are woken, other processes that are notified, deliveries that are started."""

from datetime import datetime

import pytest

from receiver.domain.model import Claim, Event, PendingDelivery, ScheduledWork, Work
from receiver.store.deliveries import ClaimedDelivery
from receiver.store.record_context import NewDelivery
from receiver.work.dispatcher import Dispatcher
from tests.receiver.store_fixture import START
from tests.receiver.woken_worker import WokenWorker


def dispatcher(*kinds: Work) -> tuple[Dispatcher, dict[Work, WokenWorker], list[str]]:
    """Return a dispatcher with a worker of each kind, these workers, and the hints for other processes."""
    hints: list[str] = []
    made, workers = Dispatcher(hints.append), {kind: WokenWorker(kind) for kind in kinds}
    for worker in workers.values():
        made.register(worker)
    return made, workers, hints


def new_delivery(number: int, lane: str, *, claimed: bool) -> NewDelivery:
    """Return a delivery that was recorded just now; `claimed` gives it a slot."""
    identity = f"dlv_{number}"
    event = Event(id=f"evt_{number}", type="job.succeeded", job_id=None, at=START, sequence=1, body=b"{}")
    claim = Claim(id=identity, work=Work.DELIVER, lane=lane, fence=1, tries=0, until=30.0)
    delivery = PendingDelivery(id=identity, event=event, endpoint_id=lane, job_id=None)
    return NewDelivery(delivery=delivery, lane=lane, claim=claim if claimed else None)


def woken(workers: dict[Work, WokenWorker]) -> dict[Work, list[datetime | None]]:
    """Return the moments for which workers were woken."""
    return {kind: worker.woken for kind, worker in workers.items() if worker.woken}


def test_only_the_worker_of_the_kind_is_woken_when_its_work_is_due() -> None:
    ours, workers, hints = dispatcher(Work.SUBMIT, Work.POLL)
    ours.wake_at(ScheduledWork(Work.POLL, "aiml", START))
    assert (woken(workers), hints) == ({Work.POLL: [START]}, [])


def test_only_the_worker_of_the_kind_is_woken_now() -> None:
    ours, workers, hints = dispatcher(Work.SUBMIT, Work.POLL)
    ours.wake(Work.SUBMIT)
    assert (woken(workers), hints) == ({Work.SUBMIT: [None]}, [])


@pytest.mark.parametrize("kind", Work)
def test_work_without_a_worker_in_this_process_is_announced_to_the_others(kind: Work) -> None:
    ours, workers, hints = dispatcher(*(other for other in Work if other is not kind))
    ours.wake_at(ScheduledWork(kind, "aiml", START))
    ours.wake(kind)
    assert (woken(workers), hints) == ({}, [kind.value, kind.value])


def test_a_worker_that_registers_later_takes_the_place_of_the_one_before() -> None:
    ours, workers, _ = dispatcher(Work.SUBMIT)
    ours.register(later := WokenWorker(Work.SUBMIT))
    ours.wake(Work.SUBMIT)
    assert (woken(workers), later.woken) == ({}, [None])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("submit", {Work.SUBMIT: [None]}),
        ("deliver", {Work.DELIVER: [None]}),
        ("", {Work.SUBMIT: [None], Work.DELIVER: [None]}),
        ("poll", {}),
        ("feed", {}),
    ],
)
def test_a_hint_of_another_process_wakes_the_worker_that_it_names(
    word: str, expected: dict[Work, list[None]]
) -> None:
    ours, workers, hints = dispatcher(Work.SUBMIT, Work.DELIVER)
    ours.heard(word)
    assert (woken(workers), hints) == (expected, [])


def test_deliveries_with_a_slot_are_started_and_the_lanes_of_the_others_are_marked() -> None:
    ours, workers, hints = dispatcher(Work.DELIVER)
    claimed, waiting = new_delivery(1, "ep_1", claimed=True), new_delivery(2, "ep_2", claimed=False)
    ours.deliver([claimed, waiting])
    assert claimed.claim is not None
    assert workers[Work.DELIVER].started == [ClaimedDelivery(claimed.claim, claimed.delivery)]
    assert workers[Work.DELIVER].marked == ["ep_2"]
    assert (woken(workers), hints) == ({}, [])


def test_deliveries_of_a_process_that_delivers_nothing_are_announced_to_the_others() -> None:
    ours, workers, hints = dispatcher(Work.SUBMIT)
    ours.deliver([new_delivery(1, "ep_1", claimed=False), new_delivery(2, "ep_2", claimed=False)])
    assert (workers[Work.SUBMIT].started, hints) == ([], ["deliver", "deliver"])
    ours.deliver([])
    assert hints == ["deliver", "deliver"]


@pytest.mark.parametrize(("kind", "given_back"), [(Work.DELIVER, ["dlv_1"]), (Work.SUBMIT, [])])
def test_a_slot_is_given_back_to_the_worker_of_its_kind(kind: Work, given_back: list[str]) -> None:
    ours, workers, hints = dispatcher(kind)
    claim = new_delivery(1, "ep_1", claimed=True).claim
    assert claim is not None
    ours.free(claim)
    assert ([one.id for one in workers[kind].freed], hints) == (given_back, [])
