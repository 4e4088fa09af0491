"""Tests of `ringback migrate`: its plan, its run, and a move to PostgreSQL."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from receiver.domain.errors import Misconfigured
from receiver.store.migrations import migrations
from tests.engines import ENGINES
from tests.receiver.scripted_service import run

NAMES = [f"{one.version:04d} {one.name}" for one in migrations("sqlite")]


def test_a_plan_names_every_migration_and_makes_no_file(alone: Path) -> None:
    result = run("migrate", "--plan")
    assert result.stdout.splitlines() == [f"would run {name}" for name in NAMES]
    assert list(alone.iterdir()) == []


def test_a_database_is_brought_up_to_date_once(alone: Path) -> None:
    (alone / "ringback.toml").write_text('database_url = "sqlite:///x.db"')
    assert run("migrate").stdout.splitlines() == [f"ran {name}" for name in NAMES]
    assert run("migrate").stdout == "the database is up to date\n"
    assert run("migrate", "--plan").stdout == "the database is up to date\n"
    with closing(sqlite3.connect(alone / "x.db")) as database:
        assert database.execute("pragma user_version").fetchone()[0] == len(NAMES)


def test_a_plan_shows_only_what_has_not_run(alone: Path) -> None:
    run("migrate")
    with closing(sqlite3.connect(alone / "ringback.db")) as database:
        database.execute(f"pragma user_version = {len(NAMES) - 1}")
    assert run("migrate", "--plan").stdout == f"would run {NAMES[-1]}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "sqlite:///x.db"),
        ("--to", "postgresql://me@db/x"),
        ("--from", "sqlite:///x.db", "--to", "postgresql://me@db/x", "--plan"),
        ("--from", "", "--to", "postgresql://me@db/x"),
    ],
)
def test_a_move_needs_both_sides_and_has_no_plan(alone: Path, arguments: tuple[str, ...]) -> None:
    result = run("migrate", *arguments)
    says = "Error: a move needs --from and --to, and no --plan"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, says)


@pytest.mark.parametrize(
    ("source", "goal"),
    [("postgresql://me@db/x", "postgresql://me@db/y"), ("sqlite:///x.db", "sqlite:///y.db")],
)
def test_a_move_goes_from_sqlite_to_postgresql(alone: Path, source: str, goal: str) -> None:
    result = run("migrate", "--from", source, "--to", goal)
    says = "Error: a move goes from sqlite:///path to postgresql://user@host/database"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, says)


def test_a_move_needs_a_source_that_exists(alone: Path) -> None:
    with pytest.raises(Misconfigured, match=r"^--from: there is no file x\.db$"):
        run("migrate", "--from", "sqlite:///x.db", "--to", "postgresql://me@db/x")
    assert list(alone.iterdir()) == []


@pytest.mark.usefixtures("on_postgres")
def test_a_move_copies_every_row_and_compares_both_sides(alone: Path) -> None:
    run("migrate")
    with closing(sqlite3.connect(alone / "ringback.db")) as database, database:
        database.executemany(
            "insert into taken values (?, 'it was too old', 3, 0, 1)", [("ep_1",), ("ep_2",)]
        )
    goal = ENGINES.cluster.database("template0")
    result = run("migrate", "--from", "sqlite:///ringback.db", "--to", goal)
    assert result.exit_code == 0
    assert "taken: 2\n" in result.stdout
    assert "table" in result.stdout
    assert result.stdout.endswith(
        "equal on both sides; set database_url, secret_keys and admin_key, then start\n"
    )
    result = run("migrate", "--plan", RINGBACK_DATABASE_URL=goal)
    assert result.stdout == "the database is up to date\n"
