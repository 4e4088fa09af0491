"""Waiting for a job."""

import math

import pytest

from ringback.core import Lost
from ringback.errors import NotFound, Unauthorized, Unavailable, Unreachable, WaitTimeout
from ringback.waiting import GRACE, PATIENCE, run, wait
from tests.client.driven import AWAY, CUT, DONE, JOB, UNSENT, Driven, refused, said

ID = JOB["id"]


def waits(driven: Driven) -> list[float]:
    """Return the seconds for which each call waits at the service."""
    return [call.waits for call in driven.calls]


def test_a_job_is_read_until_it_is_final() -> None:
    driven = Driven([said(JOB), said(JOB), said(DONE)], slow=True)
    job = driven.run(wait(ID).begin)
    assert (job.state, job.final, job.succeeded) == ("succeeded", True, True)
    assert (waits(driven), driven.pauses) == ([30.0, 30.0, 30.0], [])
    assert {call.path for call in driven.calls} == {f"/v1/jobs/{ID}"}
    assert driven.calls[0].query == (("wait", "30.0"),)


def test_the_last_call_waits_for_the_time_that_is_left() -> None:
    driven = Driven([said(JOB)] * 3, slow=True)
    with pytest.raises(WaitTimeout) as caught:
        driven.run(wait(ID, timeout=70).begin)
    assert waits(driven) == [30.0, 30.0, 10.0]
    assert caught.value.job is not None
    assert caught.value.job.state == "running"
    assert f"job {ID} is running and goes on" in str(caught.value)


def test_a_timeout_of_zero_looks_once() -> None:
    assert Driven([said(DONE)]).run(wait(ID, timeout=0).begin).final
    driven = Driven([said(JOB)])
    with pytest.raises(WaitTimeout):
        driven.run(wait(ID, timeout=0).begin)
    assert waits(driven) == [0.0]


def test_a_timeout_bounds_each_call_and_the_submission() -> None:
    driven = Driven([said(JOB)] * 3, slow=True)
    with pytest.raises(WaitTimeout):
        driven.run(wait(ID, timeout=70).begin)
    assert [call.within for call in driven.calls] == [70 + GRACE, 40 + GRACE, 10 + GRACE]
    driven = Driven([said(DONE)])
    driven.run(wait(ID).begin)
    assert driven.calls[0].within == math.inf
    # A pause that the service asks for is not waited out beyond the timeout.
    driven = Driven([AWAY, said(JOB, 202)])
    with pytest.raises(Unavailable):
        driven.run(run("apiframe", {}, timeout=0.01).begin)
    assert (driven.calls[0].within, driven.pauses) == (0.01 + GRACE, [])


def test_a_restart_within_the_timeout_is_waited_out() -> None:
    driven = Driven([said(JOB), CUT, UNSENT, UNSENT, AWAY, said(DONE)])
    assert driven.run(wait(ID, timeout=600).begin).final
    assert driven.pauses == [0.25, 0.5, 1.0, 2.0, 4.0]


def test_a_service_that_stays_away_ends_the_wait_with_its_timeout() -> None:
    driven = Driven([UNSENT] * 99)
    with pytest.raises(WaitTimeout, match="the last call failed: unreachable: refused") as caught:
        driven.run(wait(ID, timeout=20).begin)
    assert caught.value.job is None
    assert sum(driven.pauses) <= 20


def test_without_a_timeout_a_service_that_stays_away_ends_the_wait_with_its_error() -> None:
    driven = Driven([UNSENT] * 999)
    with pytest.raises(Unreachable):
        driven.run(wait(ID).begin)
    assert PATIENCE < sum(driven.pauses) < PATIENCE + 10


def test_with_a_timeout_the_service_may_be_away_for_longer() -> None:
    away: list[Lost] = [UNSENT] * 90
    driven = Driven([*away, said(DONE)])
    assert driven.run(wait(ID, timeout=5000).begin).final
    assert sum(driven.pauses) > PATIENCE


def test_the_patience_counts_from_the_last_answer() -> None:
    away: list[Lost] = [UNSENT] * 70
    driven = Driven([*away, said(JOB), *away, said(DONE)])
    assert driven.run(wait(ID).begin).final
    assert sum(driven.pauses) > PATIENCE


@pytest.mark.parametrize(
    ("answer", "kind"), [(refused(404, "not-found"), NotFound), (refused(401, "unauthorized"), Unauthorized)]
)
def test_an_error_that_does_not_pass_ends_the_wait(answer: object, kind: type[Exception]) -> None:
    driven = Driven([said(JOB), answer])  # type: ignore[list-item]  # an answer
    with pytest.raises(kind):
        driven.run(wait(ID).begin)


def test_a_service_that_answers_at_once_is_not_asked_without_a_pause() -> None:
    driven = Driven([said(JOB)] * 5 + [said(DONE)])
    driven.run(wait(ID).begin)
    assert driven.pauses == [0.25, 0.5, 1.0, 2.0, 4.0]


def test_a_retry_after_is_honoured() -> None:
    driven = Driven([refused(503, "unavailable", headers={"retry-after": "5"}), said(DONE)])
    driven.run(wait(ID).begin)
    assert driven.pauses == [5.0]


def test_running_a_job_submits_it_once_and_waits() -> None:
    driven = Driven([CUT, said(JOB, 202), CUT, said(DONE)])
    job = driven.run(run("apiframe", {"prompt": "x"}, operation="o", timeout=60).begin)
    assert job.succeeded
    assert [call.method for call in driven.calls] == ["POST", "POST", "GET", "GET"]
    assert len({call.headers["idempotency-key"] for call in driven.calls[:2]}) == 1


def test_a_job_that_is_final_at_once_is_not_read_again() -> None:
    driven = Driven([said(DONE)])
    assert driven.run(run("apiframe", {}).begin).succeeded
    assert len(driven.calls) == 1


def test_the_time_of_the_submission_counts() -> None:
    driven = Driven([said(JOB, 202), said(JOB)], slow=True)
    with pytest.raises(WaitTimeout) as caught:
        driven.run(run("apiframe", {}, wait=50, timeout=60).begin)
    assert waits(driven) == [50.0, 10.0]
    assert caught.value.job is not None


def test_the_last_pause_ends_with_the_timeout_and_one_more_look_is_taken() -> None:
    driven = Driven([UNSENT, UNSENT, UNSENT, said(DONE)])
    assert driven.run(wait(ID, timeout=1.0).begin).final
    assert driven.pauses == [0.25, 0.5, 0.25]
    assert waits(driven)[-1] == 0.0


def test_a_retry_after_beyond_the_timeout_ends_the_wait_at_once() -> None:
    driven = Driven([refused(503, "unavailable", headers={"retry-after": "20"})])
    with pytest.raises(WaitTimeout):
        driven.run(wait(ID, timeout=10).begin)
    assert driven.pauses == []
