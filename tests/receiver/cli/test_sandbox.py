"""Tests of `ringback sandbox`: its server, its options, its settings, and its end."""

import asyncio
import signal
import tomllib
from collections.abc import Iterator

import click
import httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from receiver.cli import sandbox as module
from receiver.cli.sandbox import (
    QUIRK_HELP,
    SECONDS_HELP,
    Later,
    knobbed,
    listening,
    settings_for,
    stopping,
    world,
)
from receiver.egress.address_guard import BadUrl
from receiver.sandbox.app import application
from receiver.sandbox.providers import SPEAKERS
from receiver.sandbox.speakers import Speaker
from receiver.sandbox.world import QUIRKS, Knobs, World
from tests.receiver.scripted_service import run

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path."""
    await PlainTextResponse(f"hello {scope['path']}")(scope, receive, send)


async def fetched(url: str) -> str:
    """Return the text at a URL."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(url)).text


async def test_an_application_is_served_as_long_as_the_context_lasts() -> None:
    async with listening(hello) as url:
        assert url.startswith("http://127.0.0.1:")
        assert await fetched(f"{url}/x") == "hello /x"
    with pytest.raises(httpx.ConnectError):
        await fetched(url)
    async with listening(hello, int(url.rpartition(":")[2])) as again:
        assert again == url


async def test_a_port_that_is_taken_is_told_with_the_next_step() -> None:
    async with listening(hello) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(click.ClickException) as raised:
            async with listening(hello, port):
                pass
    assert raised.value.message == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; "
        "stop what listens there, or choose another; --port 0 takes a free one"
    )


async def test_an_application_may_be_set_once_its_url_is_known() -> None:
    later = Later()
    async with listening(later) as url:
        later.app = hello
        assert await fetched(f"{url}/y") == "hello /y"


async def test_the_providers_call_this_machine_and_public_addresses_over_https() -> None:
    async with world(Knobs(late=0.5)) as made:
        assert made.knobs == Knobs(late=0.5)
        for url in ("http://127.0.0.1:8080/x", "http://[::1]:8080/x", "https://192.0.1.1/x"):
            made.client.check(url)
        for url in ("http://192.0.1.1/x", "https://10.0.0.1/x"):
            with pytest.raises(BadUrl):
                made.client.check(url)


@pytest.fixture
def handlers_kept() -> Iterator[None]:
    """Run with the default handler of SIGHUP, and restore the handlers of all signals afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # Under `nohup` it is ignored, for the tests too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers_kept")
@pytest.mark.parametrize("number", SIGNALS)
async def test_each_signal_that_ends_a_program_sets_the_event(number: signal.Signals) -> None:
    stopped = stopping()
    assert not stopped.is_set()
    signal.raise_signal(number)
    async with asyncio.timeout(100):
        await stopped.wait()
    for one in SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(one)


@pytest.mark.usefixtures("handlers_kept")
async def test_under_nohup_a_hangup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopping()
    loop = asyncio.get_running_loop()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert [loop.remove_signal_handler(number) for number in SIGNALS] == [True, True, False]


@click.command()
@knobbed
def show(**shares: float) -> None:
    """Print the knobs."""
    click.echo(repr(Knobs(**shares)))


def test_each_knob_is_an_option_with_its_default() -> None:
    defaults = {name.replace("-", "_"): value for name, (value, _) in SECONDS_HELP.items()}
    assert Knobs(**defaults) == Knobs()
    assert CliRunner().invoke(show, []).output == f"{Knobs(**defaults)!r}\n"
    result = CliRunner().invoke(
        show, ["--lost-answer", "0.25", "--late", "1", "--every-answer", "7", "--takes", "0"]
    )
    expected = Knobs(**defaults | {"lost_answer": 0.25, "late": 1.0, "every_answer": 7.0, "takes": 0.0})
    assert result.output == f"{expected!r}\n"


def test_the_options_stand_in_the_order_of_the_quirks_with_their_help() -> None:
    text = " ".join(CliRunner().invoke(show, ["--help"]).output.split())
    places = [text.index(f"--{name} ") for name in (*QUIRKS, *SECONDS_HELP)]
    assert places == sorted(places)
    assert set(QUIRK_HELP) == set(QUIRKS)
    assert all(f"Share of {said}, 0 to 1." in text for said in QUIRK_HELP.values())


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--late", "1.1"), "'1.1' must be a number from 0 to 1"),
        (("--lost", "x"), "'x' must be a number from 0 to 1"),
        (("--takes", "-1"), "'-1' must be a number from 0"),
    ],
)
def test_a_share_is_between_0_and_1_and_a_time_not_negative(option: tuple[str, str], says: str) -> None:
    result = CliRunner().invoke(show, option)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"{says}\n")


def test_the_settings_are_toml_with_an_account_for_each_provider() -> None:
    settings = tomllib.loads(settings_for("http://127.0.0.1:9090"))
    assert settings["public_url"] == "http://127.0.0.1:8080"
    assert {name: one["base_url"] for name, one in settings["providers"].items()} == {
        name: f"http://127.0.0.1:9090/{name}" for name in SPEAKERS
    }


def test_the_command_serves_prints_its_settings_and_ends_with_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[Knobs] = []

    def noted(made: World, own: dict[str, Speaker]) -> Starlette:
        served.append(made.knobs)
        return application(made, own)

    def ended() -> asyncio.Event:
        event = asyncio.Event()
        event.set()
        return event

    monkeypatch.setattr(module, "application", noted)
    monkeypatch.setattr(module, "stopping", ended)
    result = run("sandbox", "--port", "0", "--doubled", "0.5")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("# Simulated providers at http://127.0.0.1:")
    assert set(tomllib.loads(result.stdout)["providers"]) == set(SPEAKERS)
    assert served == [Knobs(doubled=0.5)]
