"""Statements as data, and the conversion of moments."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.store.statements import (
    DeleteStatement,
    InsertStatement,
    Lock,
    QueryStatement,
    UpdateStatement,
    chunks,
    delete,
    for_update,
    from_ms,
    insert,
    moment,
    ms,
    one_or_none,
    query,
    skip_locked,
    to_ms,
    update,
)

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # the zone is the other argument


@pytest.mark.parametrize(
    ("made", "lock"), [(query, Lock.NONE), (for_update, Lock.WAIT), (skip_locked, Lock.SKIP)]
)
def test_a_query_has_its_parameters_and_its_lock(made: Callable[..., QueryStatement], lock: Lock) -> None:
    sql = "select 1 where :a = :b"
    assert made(sql, a=1, b="x") == QueryStatement(sql, {"a": 1, "b": "x"}, lock)


def test_a_write_has_its_table_and_its_rows() -> None:
    assert insert("meta", [("a", "b")]) == InsertStatement("meta", [("a", "b")], numbered=False)
    assert update("job", ("misses",), [(1, "job_1")]) == UpdateStatement(
        "job", ("misses",), ("id",), [(1, "job_1")]
    )
    assert update("meta", ("value",), [("v", "k")], key=("key",)).key == ("key",)
    assert delete("job", ["job_1"]) == DeleteStatement("job", ["job_1"])


def test_a_deletion_binds_one_id_for_each_row() -> None:
    assert delete("job", ["job_1", "job_2"]).values == [("job_1",), ("job_2",)]
    assert delete("job", []).values == []


@pytest.mark.parametrize(
    ("at", "stored"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(2026, 11, 21, 10, 0, 0, 123999, tzinfo=UTC), 1795255200123),
        (datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1),
    ],
)
def test_a_moment_is_stored_in_whole_milliseconds_rounded_down(at: datetime, stored: int) -> None:
    assert (ms(at), to_ms(at)) == (stored, stored)


@given(MOMENTS)
def test_a_stored_moment_is_less_than_a_millisecond_early(at: datetime) -> None:
    assert timedelta() <= at - moment(ms(at)) < timedelta(milliseconds=1)
    assert ms(moment(ms(at))) == ms(at)


def test_no_moment_stays_none() -> None:
    assert (to_ms(None), from_ms(None)) == (None, None)
    assert from_ms(0) == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_row_of_a_select_by_key_is_the_first_or_none() -> None:
    assert one_or_none([("a",)]) == ("a",)
    assert one_or_none([]) is None


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(0, 3, []), (2, 3, [2]), (3, 3, [3]), (7, 3, [3, 3, 1]), (3, 1, [1, 1, 1])]
)
def test_chunks_keep_the_order_and_only_the_last_is_smaller(count: int, size: int, sizes: list[int]) -> None:
    found = list(chunks(range(count), size))
    assert [len(one) for one in found] == sizes
    assert [item for one in found for item in one] == list(range(count))
