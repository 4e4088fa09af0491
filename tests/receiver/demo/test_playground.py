"""Tests of the service to try: it runs on its own settings, tells how to call it, and leaves nothing."""

import json
import shlex
import sys
import tempfile
from pathlib import Path

import click
import httpx
import pytest

from receiver.cli.sandbox import listening
from receiver.demo.downstream import Downstream
from receiver.demo.playground import IMPATIENT, Playground, _program, _settings, playground
from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs, World
from tests.stories.command_line import names

URL, PROVIDERS = "http://127.0.0.1:8080", "http://127.0.0.1:9090"
KEY = "rb_" + "k" * 43


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
async def made() -> Playground:
    """Return the description of a service, which does not run."""
    client = HttpClient(guard((), http=False))
    await client.close()
    return Playground(URL, KEY, World(client=client, knobs=Knobs()), PROVIDERS)


async def test_a_service_runs_with_its_providers_and_leaves_nothing(folder: Path) -> None:
    async with httpx.AsyncClient(timeout=100) as client:
        async with playground(Knobs(takes=0.0)) as running:
            assert [name.startswith("ringback-") for name in names(folder)] == [True]
            client.headers["authorization"] = f"Bearer {running.key}"
            accounts = (await client.get(f"{running.url}/v1/providers")).json()["data"]
            assert {one["id"] for one in accounts if one["on"]} == set(SPEAKERS)
            body = {"provider": "apiframe", "operation": "imagine", "input": {"prompt": "a tide"}}
            job = (await client.post(f"{running.url}/v1/jobs", json=body)).json()
            job = (await client.get(f"{running.url}/v1/jobs/{job['id']}?wait=60")).json()
            assert (job["state"], job["completed_by"]) == ("succeeded", "callback")
            assert job["assets"][0]["url"].startswith(f"{running.url}/")
            assert running.world.accepted == {"apiframe": 1}
            ledger = (await client.get(f"{running.providers}/_ledger")).json()
            assert ledger["accepted"] == {"apiframe": 1}
        assert names(folder) == []
        with pytest.raises(httpx.ConnectError):
            await client.get(running.url)


async def test_a_port_that_is_taken_is_told_with_the_next_step(folder: Path) -> None:
    async with listening(Downstream()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(click.ClickException) as raised:
            async with playground(Knobs(), port=port):
                pass
        assert raised.value.message.startswith(f"cannot listen on 127.0.0.1:{port}: ")
        assert raised.value.message.endswith("; --port 0 takes a free one")
        with pytest.raises(click.ClickException, match=rf"^cannot listen on 127\.0\.0\.1:{port}: "):
            async with playground(Knobs(), sandbox_port=port):
                pass
    assert names(folder) == []


def test_the_settings_are_none_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "ringback.toml").write_text("this is no TOML")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("RINGBACK_PORT", "x")
    loaded = _settings(tmp_path, URL, KEY, PROVIDERS)
    assert loaded.settings.public_url == URL
    assert loaded.settings.database_url == f"sqlite:///{tmp_path}/ringback.db"
    assert loaded.settings.egress_allow == ("127.0.0.0/8", "::1/128")
    assert {name: setup.base_url for name, setup in loaded.accounts.items() if setup.on} == {
        name: f"{PROVIDERS}/{name}" for name in SPEAKERS
    }
    cadences = {(one.settings.poll_interval, one.settings.backstop_after) for one in loaded.accounts.values()}
    assert cadences == {tuple(IMPATIENT.values())}


async def test_the_lines_name_every_address_and_a_call(made: Playground) -> None:
    lines = made.lines()
    assert f"url:       {URL}" in lines
    assert f"key:       {KEY}" in lines
    assert f"docs:      {URL}/docs" in lines
    assert f"accounts:  {', '.join(SPEAKERS)}" in lines
    assert f"providers: {PROVIDERS}/<handler>" in lines
    assert f"accepted:  {PROVIDERS}/_ledger" in lines
    inbox = f"{PROVIDERS}/_inbox"
    assert f"inbox:     {inbox}" in lines
    assert f"export RINGBACK_URL={URL} RINGBACK_API_KEY={KEY} RINGBACK_INBOX={inbox}" in lines
    call = shlex.split(next(line for line in lines if line.startswith("curl ")))
    assert call[:3] == ["curl", "-s", f"{URL}/v1/jobs"]
    assert call[4] == f"Authorization: Bearer {KEY}"
    assert json.loads(call[-1])["provider"] == "apiframe"


async def test_narrow_lines_fit_a_terminal_and_are_the_same_commands(
    made: Playground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    wide, narrow = made.lines(), made.lines(narrow=True)
    parts = "\n".join(narrow).splitlines()
    # A key and a body are not broken.
    assert all(len(line) <= 80 for line in parts if KEY not in line and not line.startswith("  -d"))
    assert len(parts) > len(wide)
    wide_call, narrow_call = (next(one for one in lines if "curl" in one) for lines in (wide, narrow))
    assert shlex.split(narrow_call.replace("\\\n", "")) == shlex.split(wide_call)


async def test_the_key_is_not_in_a_repr(made: Playground) -> None:
    assert URL in repr(made)
    assert KEY not in repr(made)


def program(folder: Path) -> Path:
    """Return a program named `ringback` in `folder`."""
    made = folder / "ringback"
    made.touch(mode=0o755)
    return made


def test_the_program_is_named_as_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with blank"
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", [str(program(folder))])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _program() == shlex.quote(str(folder / "ringback"))
    monkeypatch.setenv("PATH", str(folder))
    assert _program() == "ringback"
