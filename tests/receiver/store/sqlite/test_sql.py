"""SQL for SQLite: rows in pieces of few sizes, lists as one parameter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.store import Store
from receiver.store.schema import TABLES
from receiver.store.sqlite.sql import PIECES, many_sql, pieces, render
from receiver.store.statements import (
    Statement,
    Step,
    Transaction,
    add_to,
    delete,
    for_update,
    insert,
    query,
    skip_locked,
    update,
)
from tests.receiver.store_fixture import asking


@given(st.integers(0, 1000))
def test_pieces_cover_every_row_once_in_few_sizes(count: int) -> None:
    found = list(pieces(count))
    assert [row for start, size in found for row in range(start, start + size)] == list(range(count))
    sizes = [size for _, size in found]
    assert sizes == sorted(sizes, reverse=True)
    assert {size for size in sizes if size >= PIECES[-1]} <= set(PIECES)
    assert sum(size < PIECES[-1] for size in sizes) <= 1


@pytest.mark.parametrize(
    ("count", "found"),
    [(0, []), (5, [(0, 5)]), (64, [(0, 64)]), (177, [(0, 64), (64, 64), (128, 32), (160, 16), (176, 1)])],
)
def test_pieces_are_as_large_as_they_can_be(count: int, found: list[tuple[int, int]]) -> None:
    assert list(pieces(count)) == found


@pytest.mark.parametrize("made", [query, for_update, skip_locked])
def test_a_query_is_rendered_as_it_is_without_a_lock(made: type) -> None:
    assert render(made("select :a", a=b"x")) == ("select :a", {"a": b"x"})


def test_a_list_becomes_one_parameter_whatever_its_length() -> None:
    sql = "select 1 from t where id in (:ids) and kind in (:kinds) and at < :at"
    rendered, bound = render(query(sql, ids=["a", 'b"'], kinds=[], at=3))
    assert rendered == (
        "select 1 from t where id in (select value from json_each(:ids)) "
        "and kind in (select value from json_each(:kinds)) and at < :at"
    )
    assert bound == {"ids": '["a", "b\\""]', "kinds": "[]", "at": 3}


@pytest.mark.parametrize(
    "statement", [insert("meta", []), update("meta", ("value",), []), delete("job", []), Step.COMMIT]
)
def test_a_reader_takes_nothing_but_queries(statement: Statement) -> None:
    with pytest.raises(TypeError, match="readers only ask"):
        render(statement)


async def test_a_list_finds_its_rows_and_an_empty_one_none(store: Store) -> None:
    sql = "select key from meta where key in (:keys)"
    found = [await store.read(asking(sql, keys=keys)) for keys in (["generation", "x"], [])]
    assert [[row["key"] for row in rows] for rows in found] == [["generation"], []]


def test_many_rows_are_written_by_one_statement() -> None:
    assert many_sql(insert("hold", []), 2) == "insert into hold (lane, until) values (?, ?), (?, ?)"
    assert many_sql(add_to("hold", ("lane",), ("until",), []), 1) == (
        "insert into hold (lane, until) values (?, ?) "
        "on conflict (lane) do update set until = hold.until + excluded.until"
    )
    assert many_sql(delete("job", []), 3) == "delete from job where id in (?, ?, ?)"
    assert many_sql(update("hold", ("until",), [], key=("lane",)), 2) == (
        "update hold set until = fresh.column1 from (values (?, ?), (?, ?)) as fresh "
        "where hold.lane = fresh.column2"
    )
    assert many_sql(update("input_piece", ("piece",), [], key=("job", "number")), 1) == (
        "update input_piece set piece = fresh.column1 from (values (?, ?, ?)) as fresh "
        "where input_piece.job = fresh.column2 and input_piece.number = fresh.column3"
    )


@pytest.mark.parametrize("table", TABLES)
def test_an_insertion_names_every_column_and_binds_each(table: str) -> None:
    sql = many_sql(insert(table, []), 1)
    assert sql.startswith(f"insert into {table} ({', '.join(TABLES[table])}) values ")
    assert sql.count("?") == len(TABLES[table])


async def test_deleted_rows_are_gone_in_any_number(store: Store) -> None:
    names = [f"hold{number:03}" for number in range(100)]

    def writing() -> Transaction[None]:
        yield insert("erased", [(name, 1, 1) for name in names])
        yield delete("erased", names[:-1])

    await store.write(writing)
    assert [row["id"] for row in await store.read(asking("select id from erased"))] == names[-1:]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 63, 64, 65, 84, 300])
async def test_many_rows_in_any_number(store: Store, count: int) -> None:
    names = [f"k{number:04}" for number in range(count)]

    def writing() -> Transaction[None]:
        yield insert("meta", [(name, "before") for name in names])
        yield update("meta", ("value",), [(f"v{name}", name) for name in names[1:]], key=("key",))

    await store.write(writing)
    found = await store.read(asking("select key, value from meta where key in (:names)", names=names))
    values = {row["key"]: row["value"] for row in found}
    assert values == {name: "before" if name == "k0000" else f"v{name}" for name in names}
