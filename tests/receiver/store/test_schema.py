"""The tables as data: equal to those of the migrations, on both engines."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.store import Store, schema
from receiver.store.schema import TABLES, named
from tests.receiver.store_fixture import StoreFixture, asking, store_fixture

TYPES = {"text": "TEXT", "bigint": "INTEGER", "bytea": "BLOB", "double precision": "REAL"}
UNSHARED = {"receipt", "migration", "history"}
"""Tables that only PostgreSQL has: its driver uses them by itself."""


@pytest.fixture
async def fixture(on_postgres: None, tmp_path: Path) -> AsyncIterator[StoreFixture]:
    """Yield the service over PostgreSQL with nothing at work."""
    async with store_fixture(tmp_path) as made:
        yield made


def test_only_the_numbered_columns_of_events_begin_with_the_number() -> None:
    assert schema.columns("event") is TABLES["event"]
    assert list(schema.columns("event", numbered=True).items()) == [
        ("seq", "bigint"),
        *TABLES["event"].items(),
    ]


def test_columns_are_named_in_their_order() -> None:
    assert named("account") == "name, blocked_at, reason, blocks"
    assert named("hold", "h.") == "h.lane, h.until"
    assert named("event", "e.", numbered=True) == (
        "e.seq, e.id, e.type, e.job, e.at, e.sequence, e.body, e.result"
    )


def test_every_column_has_a_type_of_both_engines() -> None:
    assert {kind for table in TABLES.values() for kind in table.values()} == TYPES.keys()


async def test_the_schema_is_what_the_migrations_make(store: Store) -> None:
    made = await store.read(asking("select name, strict from pragma_table_list where schema = 'main'"))
    strict = {row["name"]: row["strict"] for row in made if not row["name"].startswith("sqlite_")}
    assert strict == dict.fromkeys(TABLES, 1)
    for table, columns in TABLES.items():
        info = await store.read(asking(f"pragma table_info({table})"))
        real = {row["name"]: row["type"] for row in info if row["name"] != "seq"}
        assert real == {name: TYPES[kind] for name, kind in columns.items()}, table


async def test_the_schema_is_what_the_migrations_make_on_postgresql(fixture: StoreFixture) -> None:
    found = await fixture.query(
        "select c.table_name, c.column_name, c.data_type from information_schema.columns c "
        "join pg_class k on k.relname = c.table_name and not k.relispartition "
        "and k.relnamespace = current_schema()::regnamespace "
        "where c.table_schema = current_schema() order by c.ordinal_position"
    )
    real: dict[str, dict[str, str]] = {}
    for table, column, kind in found:
        real.setdefault(table, {})[column] = kind
    assert real.keys() - TABLES.keys() == UNSHARED
    assert real["event"].pop("seq") == "bigint"
    assert {table: real[table] for table in TABLES} == TABLES
