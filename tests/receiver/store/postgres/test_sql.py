"""SQL for PostgreSQL: numbered parameters, arrays for lists, one statement for many writes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.store import jobs
from receiver.store.postgres.sql import clean, render, then, together
from receiver.store.schema import TABLES
from receiver.store.statements import (
    InsertStatement,
    QueryStatement,
    Transaction,
    Write,
    add_to,
    delete,
    for_update,
    insert,
    query,
    skip_locked,
    update,
)
from tests.receiver.store_fixture import StoreFixture, asking, store_fixture


@pytest.fixture
async def fixture(on_postgres: None, tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield the service over PostgreSQL with nothing at work."""
    async with store_fixture(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("statement", "sql", "values"),
    [
        (query("select 1"), "select 1", []),
        (query("select :b, :a, :b", a=1, b=2), "select $1, $2, $1", [2, 1]),
        (query("select :a", a=1, unused=2), "select $1", [1]),
        (query("select :a::text, b::bigint", a=1), "select $1::text, b::bigint", [1]),
        (query("select a from t where a in (:ids)", ids=["x"]), "select a from t where a = any($1)", [["x"]]),
        (
            query("select a from t where a in (:x, :y)", x=1, y=2),
            "select a from t where a in ($1, $2)",
            [1, 2],
        ),
        (query("select f(:x)", x=1), "select f($1)", [1]),
        (query("values (:one_2)", one_2=1), "values ($1)", [1]),
        (for_update("select :a", a=1), "select $1 for update", [1]),
        (skip_locked("select :a", a=1), "select $1 for update skip locked", [1]),
    ],
)
def test_parameters_are_numbered_as_they_come(
    statement: QueryStatement, sql: str, values: list[object]
) -> None:
    assert render(statement) == (sql, values)


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("a\0b\0", "a\ufffdb\ufffd"),
        ("ab", "ab"),
        (["a\0", ["\0"]], ["a\ufffd", ["\ufffd"]]),
        (b"a\0", b"a\0"),
        (7, 7),
        (None, None),
    ],
)
def test_text_is_stored_without_nul(value: Any, held: Any) -> None:
    assert clean(value) == held
    assert render(query("select :a", a=value))[1] == [held]


@given(st.text())
def test_a_text_keeps_its_length_and_all_other_signs(text: str) -> None:
    found = clean(text)
    assert [new for old, new in zip(text, found, strict=True) if old != "\0"] == list(text.replace("\0", ""))
    assert "\0" not in found


INSERTED = "insert into hold (lane, until) select * from unnest($1::text[], $2::bigint[])"
ADDED = "on conflict (lane) do update set until = hold.until + excluded.until"
PLACED = "insert into hold (lane, until) values ($1::text, $2::bigint)"


@pytest.mark.parametrize(
    ("write", "sql", "values"),
    [
        (insert("hold", [("a", 1), ("b", 2)]), INSERTED, [("a", "b"), (1, 2)]),
        (
            add_to("hold", ("lane",), ("until",), [("a", 1), ("b", 2)]),
            f"{INSERTED} {ADDED}",
            [("a", "b"), (1, 2)],
        ),
        (
            update("hold", ("until",), [(1, "a"), (2, "b")], key=("lane",)),
            (
                "update hold set until = fresh.until from (select * from unnest($1::bigint[], $2::text[])) "
                "as fresh(until, lane) where hold.lane = fresh.lane"
            ),
            [(1, 2), ("a", "b")],
        ),
        (delete("job", ["a", "b"]), "delete from job where id = any($1::text[])", [("a", "b")]),
    ],
)
def test_a_write_of_several_rows_binds_an_array_for_each_column(
    write: Write, sql: str, values: list[Any]
) -> None:
    assert together([write]) == (sql, values)


@pytest.mark.parametrize(
    ("write", "sql", "values"),
    [
        (insert("hold", [("a", 1)]), PLACED, ["a", 1]),
        (add_to("hold", ("lane",), ("until",), [("a", 1)]), f"{PLACED} {ADDED}", ["a", 1]),
        (
            update("input_piece", ("piece",), [(b"x", "job_1", 1)], key=("job", "number")),
            (
                "update input_piece set piece = fresh.piece from "
                "(values ($1::bytea, $2::text, $3::bigint)) as fresh(piece, job, number) "
                "where input_piece.job = fresh.job and input_piece.number = fresh.number"
            ),
            [b"x", "job_1", 1],
        ),
        (delete("job", ["a"]), "delete from job where id = $1::text", ["a"]),
    ],
)
def test_a_write_of_one_row_binds_its_values(write: Write, sql: str, values: list[Any]) -> None:
    assert together([write]) == (sql, values)


def test_several_writes_are_parts_of_one_statement() -> None:
    sql, values = together(
        [insert("hold", [("a", 1), ("b", 2)]), delete("job", ["c"]), insert("meta", [("k", "v")])]
    )
    assert sql == (
        f"with part0 as ({INSERTED}), part1 as (delete from job where id = $3::text) "
        "insert into meta (key, value) values ($4::text, $5::text)"
    )
    assert values == [("a", "b"), (1, 2), "c", "k", "v"]


def test_a_value_is_selected_behind_all_writes() -> None:
    sql, values = then([insert("hold", [("a", 1)]), delete("job", ["b", "c"])], "now()")
    assert sql == (
        f"with part0 as ({PLACED} returning 1), "
        "part1 as (delete from job where id = any($3::text[]) returning 1) "
        "select now() as value "
        "where (select count(*) from part0) >= 0 and (select count(*) from part1) >= 0"
    )
    assert values == ["a", 1, ("b", "c")]
    assert then([], "now()") == ("select now() as value", [])


def test_numbered_events_bring_their_number_first() -> None:
    row = (7, "evt_1", "job.failed", None, 1, 0, b"{}", None)
    sql, values = together([InsertStatement("event", [row, row], numbered=True)])
    assert sql.startswith("insert into event (seq, id, type, job, at, sequence, body, result) select")
    assert "unnest($1::bigint[], $2::text[]," in sql
    assert values == [(value, value) for value in row]
    sql, values = together([InsertStatement("event", [row], numbered=True)])
    assert "values ($1::bigint, $2::text," in sql
    assert values == list(row)


def test_only_columns_of_text_are_cleaned() -> None:
    _, values = together([insert("job_label", [(b"a\0", "b\0"), (b"c", "d")])])
    assert list(TABLES["job_label"]) == ["label", "job"]
    assert [list(column) for column in values] == [[b"a\0", b"c"], ["b\ufffd", "d"]]


def test_a_single_row_is_cleaned_where_it_holds_text() -> None:
    _, values = together([insert("job_label", [(b"a\0", "b\0")])])
    assert values == [b"a\0", "b\ufffd"]
    _, values = together([delete("job", ["j\0"])])
    assert values == ["j\ufffd"]


def test_a_column_of_text_may_hold_nothing_beside_a_nul() -> None:
    _, values = together([update("job", ("overflow",), [(None, "job_1"), ("\0", "job_2")])])
    assert [list(column) for column in values] == [[None, "\ufffd"], ["job_1", "job_2"]]


async def test_a_statement_of_several_writes_does_them_all(fixture: StoreFixture) -> None:
    def writing() -> Transaction[None]:
        yield insert("erased", [(f"evt_{number}", number, 1) for number in range(3)])
        yield query("select 1")
        yield delete("erased", ["evt_0"])
        yield insert("hold", [("lane", 1), ("other", 2)])
        yield update("account", ("blocks",), [(5, "nobody")], key=("name",))

    await fixture.store.write(writing)
    assert await fixture.column("select place from erased order by place") == [1, 2]
    assert await fixture.column("select lane from hold where lane in (:names)", names=["other", "x"]) == [
        "other"
    ]
    assert await fixture.store.read(asking("select lane from hold where lane in (:names)", names=[])) == []


async def test_a_text_that_cannot_be_held_loses_nothing(fixture: StoreFixture) -> None:
    job = await fixture.submitted(theirs="p\0q")
    assert (await fixture.now(job)).provider_job_id == "p\ufffdq"
    found = await fixture.store.read(jobs.search(jobs.JobFilter(provider_job_id="p\0q")))
    assert [one.id for one in found] == [job.id]
