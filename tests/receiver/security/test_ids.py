"""Ids: sorted by their time, unique, and recognised by their form."""

import itertools
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.security.ids import CHANCE_BYTES, CHANCES, IdGenerator, event_id, is_id
from tests.receiver.raw_server import BOUNDED
from tests.receiver.security.test_tokens import JOB, NOW


def test_ids_sort_by_time_and_are_unique() -> None:
    at = [NOW + timedelta(milliseconds=count) for count in range(300)]
    moments = iter([moment for moment in at for _ in range(10)])
    ids = IdGenerator(lambda: next(moments), os.urandom)
    made = [ids.new("job") for _ in range(3000)]
    assert len(set(made)) == len(made)
    assert all(is_id("job", one) for one in made)
    tens = [made[start : start + 10] for start in range(0, 3000, 10)]
    assert [sorted(ten) for ten in sorted(tens)] == [sorted(ten) for ten in tens]
    assert all(max(one) < min(after) for one, after in itertools.pairwise(tens))


@pytest.mark.parametrize(
    ("kind", "text", "ours"),
    [
        ("job", JOB, True),
        ("evt", event_id("s", "k"), True),
        ("ep", JOB, False),
        ("job", JOB.upper(), False),
        ("job", JOB + "0", False),
        ("job", JOB[:-1], False),
        ("job", JOB[:-1] + "g", False),
        ("job", JOB[:-1] + "\uff10", False),
        ("job", JOB + "\n", False),
        ("job", "job" + JOB[4:], False),
        ("job", "", False),
        ("", "_" + "0" * 32, True),
    ],
)
def test_what_has_the_form_of_an_id(kind: str, text: str, ours: bool) -> None:
    assert is_id(kind, text) is ours


def test_an_event_has_one_id_for_one_subject_and_kind() -> None:
    assert event_id("job_1", "final") == event_id("job_1", "final")
    others = [event_id("job_1", "final"), event_id("job_2", "final"), event_id("job_1", "job.running|1")]
    assert len(set(others)) == 3


NOW_DIGITS = "01a1fd8c6900"


def counted(size: int) -> bytes:
    """Return bytes in which each id gets its number."""
    return b"".join(number.to_bytes(CHANCE_BYTES, "big") for number in range(size // CHANCE_BYTES))


def test_an_id_is_its_kind_the_milliseconds_and_the_random_bytes() -> None:
    ids = IdGenerator(lambda: NOW, counted)
    assert int(NOW_DIGITS, 16) == NOW.timestamp() * 1000
    assert [ids.new("job") for _ in range(2)] == [f"job_{NOW_DIGITS}{number:020x}" for number in range(2)]


def test_an_id_may_be_made_for_another_moment() -> None:
    ids = IdGenerator(lambda: NOW, counted)
    assert ids.new("evd", NOW + timedelta(milliseconds=1)) == f"evd_{int(NOW_DIGITS, 16) + 1:012x}{0:020x}"
    assert ids.new("evd", datetime(1970, 1, 1, tzinfo=UTC)) == f"evd_{0:012x}{1:020x}"


def test_random_bytes_are_read_for_many_ids_at_once() -> None:
    sizes: list[int] = []

    def entropy(size: int) -> bytes:
        sizes.append(size)
        return counted(size)

    ids = IdGenerator(lambda: NOW, entropy)
    assert sizes == []
    made = [ids.new("job") for _ in range(CHANCES + 1)]
    assert sizes == [CHANCE_BYTES * CHANCES] * 2
    assert (made[CHANCES - 1][-20:], made[CHANCES]) == (f"{CHANCES - 1:020x}", made[0])


@BOUNDED
@given(st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # the strategy adds the zone
def test_an_id_of_any_moment_has_the_form_of_an_id(at: datetime) -> None:
    made = IdGenerator(lambda: at, os.urandom).new("ep")
    assert is_id("ep", made)
    assert int(made[3:15], 16) == int(at.timestamp() * 1000)


def test_the_events_of_a_job_begin_with_its_digits() -> None:
    first, second = event_id(JOB, "final"), event_id(JOB, "job.running|1")
    assert first[:36] == second[:36] == f"evt_{JOB[4:]}"
    assert first != second
    assert is_id("evt", first)


@pytest.mark.parametrize(
    "subject", ["ep_" + JOB[4:], "aiml", JOB[:-1], JOB + "0", JOB[:-1] + "g", "", "job_"]
)
def test_the_events_of_anything_else_do_not(subject: str) -> None:
    made = event_id(subject, "final")
    assert is_id("evt", made)
    assert not made.startswith(f"evt_{JOB[4:12]}")
    assert made[:36] != event_id(subject, "blocked|1")[:36]


@BOUNDED
@given(st.text(max_size=20), st.text(max_size=20))
def test_any_event_has_an_id_of_the_form_of_an_event(subject: str, kind: str) -> None:
    assert is_id("evt", event_id(subject, kind))


def test_the_ids_of_events_are_the_same_in_every_release() -> None:
    assert event_id(JOB, "final") == "evt_000000000000000000000000000000014aa6744b409fcc06"
    assert event_id("aiml", "blocked|1") == "evt_d95c467dacdd0e6f6ca48d96ad90d2e75150e35adc9a25e1"
