"""A move from SQLite to PostgreSQL that is killed at random moments and ends complete and equal.

`PROOF_ROUNDS` bounds the number of kills: 20 in `make proof`, a few in `make test`.
"""

import asyncio
import os
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from receiver.store.transfer import KEYS, OWN, all_columns
from tests.cluster import cluster

KILLS = min(20, int(os.environ.get("PROOF_ROUNDS", "4")))
ROWS = 1_500
SEED = 20261123
WORDS = ["a tide", "", "\u00e4\u2603", "\U0001f30a", "'; drop table job", "x" * 700]


async def ringback(*arguments: str) -> asyncio.subprocess.Process:
    """Start a command of this checkout with nothing of this environment. Returns its process."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "receiver",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
    )


def fill(path: Path, dice: random.Random) -> None:
    """Insert rows of every kind into every table."""
    with closing(sqlite3.connect(path)) as database:
        for table in KEYS:
            if table == "meta":
                continue
            names = list(all_columns(table))
            kinds = [all_columns(table)[name] for name in names]
            found = [
                [_value(name, kind, number, dice) for name, kind in zip(names, kinds, strict=True)]
                for number in range(1, ROWS + 1)
            ]
            marks = ", ".join("?" * len(names))
            database.executemany(f"insert into {table} ({', '.join(names)}) values ({marks})", found)
        database.execute("insert into meta values ('removed_until', '7')")
        database.commit()


def _value(name: str, kind: str, number: int, dice: random.Random) -> Any:
    if name in {"id", "key", "name", "label", "hash", "owner", "event", "target", "lane", "endpoint"}:
        if kind == "bigint":
            return number
        text = f"{name}-{number:06d}"
        return text.encode() if kind == "bytea" else text
    if name == "seq":
        return number * 3
    if name == "provider_job_id":
        return f"theirs-{number}" if number % 2 else None
    if kind == "bytea":
        return dice.randbytes(dice.randrange(200))
    if kind == "bigint":
        return dice.randrange(2**40)
    return dice.choice(WORDS) if kind == "text" else dice.random() * 100


async def held(url: str, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table in PostgreSQL."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(f"select {', '.join(all_columns(table))} from {table}")
    finally:
        await connection.close()
    return [tuple(row) for row in found]


@pytest.mark.timeout(300 + 60 * KILLS)
async def test_a_move_that_is_killed_again_and_again_ends_equal(tmp_path: Path) -> None:
    dice, path = random.Random(SEED), tmp_path / "old.db"
    source = f"sqlite:///{path}"
    (tmp_path / "ringback.toml").write_text(f'database_url = "{source}"\n')
    made = await ringback("migrate", "--config", str(tmp_path / "ringback.toml"))
    assert await made.wait() == 0
    fill(path, dice)
    with cluster(16) as server:
        goal = server.database()
        for number in range(KILLS):
            moving = await ringback("migrate", "--from", source, "--to", goal)
            assert moving.stdout is not None
            for _ in range(dice.randint(0, 12)):
                await moving.stdout.readline()
            if moving.returncode is None:
                moving.kill()
            await moving.wait()
            print(f"killed {number + 1} of {KILLS}", flush=True)
        moving = await ringback("migrate", "--from", source, "--to", goal)
        told = (await moving.communicate())[0].decode()
        assert moving.returncode == 0, told
        assert "equal on both sides" in told
        with closing(sqlite3.connect(path)) as database:
            for table in KEYS:
                theirs = await held(goal, table)
                ours = database.execute(f"select {', '.join(all_columns(table))} from {table}").fetchall()
                if table == "meta":
                    ours = [row for row in ours if row[0] not in OWN]
                    theirs = [row for row in theirs if row[0] not in OWN]
                assert sorted(theirs, key=repr) == sorted(ours, key=repr), table
        assert server.sql(
            goal.rsplit("/", 1)[1], "select nextval(pg_get_serial_sequence('event', 'seq'))"
        ) == str(ROWS * 3 + 1)


async def test_a_move_into_what_is_not_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    (tmp_path / "ringback.toml").write_text(f'database_url = "sqlite:///{path}"\n')
    assert await (await ringback("migrate", "--config", str(tmp_path / "ringback.toml"))).wait() == 0
    with cluster(16) as server:
        goal = server.database()
        name = goal.rsplit("/", 1)[1]
        server.sql(name, "insert into api_key values ('k', 'n', '\\x00', 'admin', 1, null)")
        moving = await ringback("migrate", "--from", f"sqlite:///{path}", "--to", goal)
        told = (await moving.communicate())[0].decode()
        assert (moving.returncode, "api_key is not empty" in told) == (2, True), told
