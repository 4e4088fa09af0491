"""Commands for the operator on the service's machine: keys, and a start that logs its settings."""

import asyncio
import json
import os
import re
import signal
import socket
from importlib.metadata import version
from pathlib import Path

import pytest

from receiver.config.key_files import add_master
from tests.processes import dies_with_us
from tests.stories.command_line import RINGBACK, asked, names, run
from tests.stories.deployment import PATIENCE, deployed, environment


def give(folder: Path, user: int, group: int) -> None:
    """Give all files of a folder to a user."""
    for path in folder.iterdir():
        os.chown(path, user, group)


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the owners of the files in a folder."""
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


async def test_what_root_rotates_stays_the_services(tmp_path: Path) -> None:
    await run(tmp_path, "migrate")
    add_master(tmp_path, os.urandom)
    (tmp_path / "ringback.db.lock").unlink(missing_ok=True)
    # Only root can give a file away; any other user keeps its own.
    owner = (1234, 2345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    give(tmp_path, *owner)
    said = await run(tmp_path, "secrets", "rotate")
    assert said.code == 0, said.err
    assert f"to {tmp_path}/ringback-secret-keys" in said.out
    assert set(owners(tmp_path).values()) == {owner}


async def test_a_port_that_is_taken_may_be_free_later(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        said = await run(tmp_path, "serve", "--port", str(held.getsockname()[1]))
    assert said.code == 1
    assert "Address already in use" in said.err


async def logged(
    folder: Path, text: str, *signals: signal.Signals, mode: int = 0o600, **variables: str
) -> list[dict[str, str]]:
    """Return the log of a service with these settings, from its start through these signals to its end."""
    (folder / "ringback.toml").write_text(f"port = 0\n{text}")
    (folder / "ringback.toml").chmod(mode)
    process = await asyncio.create_subprocess_exec(
        RINGBACK,
        "serve",
        cwd=folder,
        env={"HOME": str(folder), "LANG": "C.UTF-8", **variables},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=dies_with_us,
    )
    assert process.stderr is not None
    lines: list[dict[str, str]] = []
    async with asyncio.timeout(PATIENCE):
        while not any(line["message"].startswith("serving on ") for line in lines):
            lines.append(json.loads(await process.stderr.readline()))
        for one in signals:
            process.send_signal(one)
        process.terminate()
        lines += [json.loads(line) for line in (await process.stderr.read()).splitlines()]
        assert await process.wait() == 0
    return lines


def messages(lines: list[dict[str, str]], level: str) -> list[str]:
    """Return the messages of one level."""
    return [line["message"] for line in lines if line["level"] == level]


async def test_the_start_says_what_is_served(tmp_path: Path) -> None:
    text = 'public_url = "https://hooks.example"\n[providers.aiml]\napi_key = "k"\n[providers.getimg]\n'
    lines = await logged(tmp_path, text)
    said = next(line for line in messages(lines, "info") if line.startswith("serving on "))
    where, what = said.split(" (", 1)
    assert re.fullmatch(r"serving on http://127\.0\.0\.1:\d+", where)
    assert what == (
        f"version {version('ringback')}, config ringback.toml, database sqlite:///ringback.db, "
        "accounts aiml, off: getimg, public_url https://hooks.example)"
    )
    assert messages(lines, "warning") == []
    assert {line["replica"][:4] for line in lines if line["message"] == said} == {"rpc_"}


async def test_the_start_warns_of_what_is_probably_not_meant(tmp_path: Path) -> None:
    text = (
        'public_url = "http://hooks.example"\n[providers.aiml]\napi_key = "k"\n'
        'base_url = "http://127.0.0.1:9090/aiml"\n'
        '[providers.getimg]\napi_key = "k"\nbase_url = "http://localhost:9090/getimg"\n'
    )
    said = "\n".join(messages(await logged(tmp_path, text, mode=0o644), "warning"))
    assert "public_url: is http" in said
    assert "providers.aiml.base_url: http://127.0.0.1:9090/aiml cannot be called" in said
    assert "providers.getimg.base_url: http://localhost:9090/getimg cannot be called" in said
    assert "can read providers.aiml.api_key, providers.getimg.api_key in it; chmod o-r" in said


async def test_a_start_without_an_account_and_a_reload_are_told(tmp_path: Path) -> None:
    said = messages(await logged(tmp_path, "", signal.SIGHUP), "warning")
    assert said == [
        "providers: no account is on, so no job can be submitted; set providers.<account>.api_key",
        "settings are read at start only; restart to change them",
    ]


async def test_the_doctor_gives_the_same_advice(tmp_path: Path) -> None:
    (tmp_path / "ringback.toml").write_text('host = "0.0.0.0"\n')
    said = await run(tmp_path, "doctor", "--offline")
    assert "is not set and the service listens on 0.0.0.0: links name 127.0.0.1; set it" in said.out


async def test_a_key_for_the_commands_makes_no_admin_of_the_service(tmp_path: Path) -> None:
    key = "rb_" + "r" * 40
    lines = await logged(tmp_path, "", RINGBACK_API_KEY=key)
    assert any("made an admin API key" in line for line in messages(lines, "info"))
    assert (tmp_path / "ringback-api-key").read_text().strip() != key


async def test_keys_that_are_set_are_rotated_step_by_step_and_every_step_serves(tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    async with deployed(tmp_path, secret_keys=json.dumps([old])) as deployment:
        endpoint = await deployment.subscribe("job.*")
    for keys in ([old, new], [new, old]):
        async with deployed(tmp_path, secret_keys=json.dumps(keys)) as deployment:
            assert (await asked(deployment, "endpoints", "secret", endpoint["id"])).out.strip() == endpoint[
                "secret"
            ]
    settings = environment(tmp_path, deployment.url, deployment.url, {}, secret_keys=json.dumps([new, old]))
    said = await run(tmp_path, "secrets", "reencrypt", **settings)
    assert said.code == 0, said.err
    assert "encrypted 1 rows under the newest key" in said.out
    assert said.out.startswith("database: ")
    async with deployed(tmp_path, secret_keys=json.dumps([new])) as deployment:
        assert (await asked(deployment, "endpoints", "secret", endpoint["id"])).out.strip() == endpoint[
            "secret"
        ]
