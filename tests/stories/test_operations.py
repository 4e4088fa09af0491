"""What an operator runs on the machine of the service: keys, and a start that says what it does."""

import json
import os
import socket
from pathlib import Path

import pytest

from receiver.secretkeys import add_master
from tests.stories.test_commands import names, run


def give(folder: Path, user: int, group: int) -> None:
    """Give what lies in a folder to somebody."""
    for path in folder.iterdir():
        os.chown(path, user, group)


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    """Whose the files in a folder are."""
    return {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}


@pytest.mark.parametrize("command", ["rotate", "reencrypt"])
async def test_a_rotation_makes_no_database_and_no_keys(tmp_path: Path, command: str) -> None:
    said = await run(tmp_path, "secrets", command)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("ringback: database_url: there is no file ")
    assert "--config" in said.err
    assert names(tmp_path) == []
    (tmp_path / "ringback.db").touch()
    said = await run(tmp_path, "secrets", command)
    assert said.code == 2
    assert said.err.startswith("ringback: data_dir: there are no master keys in ")
    assert names(tmp_path) == ["ringback.db"]


async def test_a_rotation_of_keys_that_are_set_is_told_step_by_step(tmp_path: Path) -> None:
    said = await run(tmp_path, "secrets", "rotate", RINGBACK_SECRET_KEYS=json.dumps(["m" * 32]))
    assert said.code == 2
    assert (
        "put the new key last and restart every replica, put it first and restart every replica" in said.err
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_what_root_rotates_stays_the_services(tmp_path: Path) -> None:
    await run(tmp_path, "migrate")
    add_master(tmp_path, os.urandom)
    (tmp_path / "ringback.db.lock").unlink(missing_ok=True)
    give(tmp_path, 1234, 2345)
    said = await run(tmp_path, "secrets", "rotate")
    assert said.code == 0, said.err
    assert f"to {tmp_path}/ringback-secret-keys" in said.out
    assert set(owners(tmp_path).values()) == {(1234, 2345)}


async def test_a_port_that_is_taken_may_be_free_later(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        said = await run(tmp_path, "serve", "--port", str(held.getsockname()[1]))
    assert said.code == 1
    assert "Address already in use" in said.err
