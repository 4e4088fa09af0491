"""Tests of `ringback dev`: its options, its output, and its end."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver import observability
from receiver.cli.sandbox import SECONDS_HELP, world
from receiver.demo import dev as module
from receiver.demo.playground import Playground
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.world import Knobs
from tests.receiver.scripted_service import run
from tests.receiver.terminal_screen import on_terminal


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return the arguments that set up the log. The command ends at once; its files lie in `tmp_path`."""
    calls: list[tuple[Any, ...]] = []

    def ended() -> asyncio.Event:
        event = asyncio.Event()
        event.set()
        return event

    monkeypatch.setattr(observability, "set_up", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(module, "stopping", ended)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return calls


def test_the_addresses_are_one_line_of_json(logged: list[tuple[Any, ...]], tmp_path: Path) -> None:
    result = run("dev", "--port", "0", "--json", "--log-level", "warning")
    assert (result.exit_code, result.stderr, result.stdout.count("\n")) == (0, "", 1)
    found = json.loads(result.stdout)
    assert found["url"].startswith("http://127.0.0.1:")
    assert found["docs"] == f"{found['url']}/docs"
    assert found["providers"].startswith("http://127.0.0.1:")
    assert found["inbox"] == f"{found['providers']}/_inbox"
    assert found["key"].startswith("rb_")
    assert found["accounts"] == list(SPEAKERS)
    assert logged == [("warning", None)]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Knobs, int, int]]:
    """Return the knobs and ports that the service gets. None runs: only its description is yielded."""
    calls: list[tuple[Knobs, int, int]] = []

    @contextlib.asynccontextmanager
    async def described(knobs: Knobs, *, port: int, sandbox_port: int) -> AsyncIterator[Playground]:
        calls.append((knobs, port, sandbox_port))
        async with world(knobs) as made:
            yield Playground("http://h:1", "rb_key", made, "http://h:2")

    monkeypatch.setattr(module, "playground", described)
    return calls


def test_the_addresses_are_lines_for_people(
    logged: list[tuple[Any, ...]], given: list[tuple[Knobs, int, int]]
) -> None:
    lines = run("dev").stdout.splitlines()
    assert lines[:2] == ["url:       http://h:1", "key:       rb_key"]
    assert lines[-2:] == [
        "Ctrl-C ends it and leaves nothing",
        "ended; its database and its keys are gone",
    ]
    assert logged == [("info", None)]
    defaults = {name.replace("-", "_"): value for name, (value, _) in SECONDS_HELP.items()}
    assert given == [(Knobs(**defaults), 8080, 0)]


def test_the_options_reach_the_service_and_its_providers(
    logged: list[tuple[Any, ...]], given: list[tuple[Knobs, int, int]]
) -> None:
    ports = ("--port", "8081", "--sandbox-port", "9091")
    assert run("dev", *ports, "--lost-answer", "0.5", "--takes", "0", "--json").exit_code == 0
    assert given == [(Knobs(lost_answer=0.5, takes=0.0), 8081, 9091)]


async def test_a_terminal_gets_narrow_lines(
    logged: list[tuple[Any, ...]], given: list[tuple[Knobs, int, int]]
) -> None:
    with on_terminal() as screen:
        await module._run(Knobs(), 0, 0, as_json=False)
    call = next(line for line in screen.out.lines if line.startswith("curl "))
    assert call == "curl -s http://h:1/v1/jobs \\"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--port", "65536"), "'65536' must be a whole number from 0 to 65535"),
        (("--log-level", "loud"), "'loud' is not one of 'debug', 'info', 'warning', 'error'."),
    ],
)
def test_an_option_that_cannot_be_right_is_told(
    logged: list[tuple[Any, ...]], option: tuple[str, str], says: str
) -> None:
    result = run("dev", *option)
    assert result.exit_code == 2
    assert says in result.stderr
    assert logged == []
