"""The front door of the client: every sample runs against a deployment, and every table is complete."""

import asyncio
import inspect
import re
import time
from pathlib import Path
from typing import Any

import pytest

import ringback
from receiver.api.event_examples import EXAMPLES
from receiver.security.signing import new_secret
from ringback import Ringback
from ringback.methods import Resource
from tests.client.deliveries import signed
from tests.stories.deployment import KEY, Deployment

README = (Path(__file__).parents[3] / "client" / "README.md").read_text("utf-8")
SAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
RECEIVING = next(sample for sample in SAMPLES if "def take" in sample)
FOLLOWING = next(sample for sample in SAMPLES if "events.follow" in sample)


class Handled(Exception):
    """The end of a loop that has none."""


@pytest.fixture
def variables(deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the variables that the front door names, in an empty folder. Returns it."""
    monkeypatch.setenv("RINGBACK_URL", deployment.url)
    monkeypatch.setenv("RINGBACK_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def ran(sample: str, **names: Any) -> dict[str, Any]:
    """Run a sample in a thread. Returns its names."""
    space: dict[str, Any] = names
    await asyncio.to_thread(exec, compile(sample, "client/README.md", "exec"), space)
    return space


async def test_every_sample_runs(
    deployment: Deployment, variables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [sample for sample in SAMPLES if sample not in (RECEIVING, FOLLOWING)]
    assert len(others) == 6
    said = []
    for sample in others:
        # The host of the sample leads nowhere: an endpoint that is made and deleted gets nothing.
        await ran(sample.replace("https://app.example.com/hooks", deployment.hook.url))
        said.append(capsys.readouterr().out.strip())
    running, waiting, in_loop, _, rest, errors = said
    assert running.startswith(f"{deployment.url}/assets/")
    assert waiting == ""
    assert in_loop == "['succeeded', 'succeeded']"
    assert re.fullmatch(r"ep_\w+ whsec_\S+", rest)
    assert errors.startswith("[('/provider', ")


async def test_the_sample_of_a_follower_begins_where_it_stopped(
    deployment: Deployment, variables: Path
) -> None:
    jobs = []
    for _ in range(2):
        body = {"provider": "aiml", "input": {"model": "m", "content": [{"type": "text", "text": "x"}]}}
        job = await deployment.submit(body)
        await deployment.client.post(f"/v1/jobs/{job['id']}/cancel")
        jobs.append(job["id"])
    handled: list[str] = []

    def handle(job: ringback.Job) -> None:
        handled.append(job.id)
        if len(handled) in {2, 3}:
            raise Handled

    for _ in range(2):
        with pytest.raises(Handled):
            await ran(FOLLOWING, handle=handle)
    assert handled == [jobs[0], jobs[1], jobs[1]]
    assert (variables / "events.place").read_text().startswith("evt_")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_sample_of_a_receiver_takes_every_event(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    secret = new_secret(b"r" * 32)
    [theirs] = re.findall(r'Webhook\("(whsec_[^"]+)"\)', RECEIVING)
    space: dict[str, Any] = {}
    exec(RECEIVING.replace(theirs, secret), space)  # noqa: S102  # the front door's sample
    body, headers = signed(EXAMPLES[name], secret, at=int(time.time()))
    assert space["take"](body, headers) == 204
    assert capsys.readouterr().out
    assert space["take"](body + b" ", headers) == 400
    assert repr(ringback.Webhook(theirs)) == "Webhook(1 keys)"


def test_every_method_is_in_the_table() -> None:
    rows = dict(re.findall(r"^\| `client\.(\w+)` \| (.+) \|$", README, re.MULTILINE))
    with Ringback("http://127.0.0.1:1", KEY) as client:
        groups = {name: group for name, group in vars(client).items() if isinstance(group, Resource)}
        assert rows.keys() == groups.keys()
        for name, group in groups.items():
            public = {one for one in dir(group) if not one.startswith("_")}
            assert set(re.findall(r"`(\w+)`", rows[name])) == public, name


def test_every_error_that_the_front_door_names_exists() -> None:
    table = README.split("| error | when |", 1)[1].split("\n\n", 1)[0]
    for name in re.findall(r"`([A-Z]\w+)`", table):
        assert issubclass(getattr(ringback, name), ringback.RingbackError), name
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) >= {
        kind.__name__
        for kind in vars(ringback).values()
        if inspect.isclass(kind) and ringback.RingbackError in kind.__bases__
    }


async def test_the_sample_of_the_project_s_front_door_runs(
    deployment: Deployment, variables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    [sample] = re.findall(r"^```python\n(from ringback .*?)^```", text, re.DOTALL | re.MULTILINE)
    await ran(sample)
    assert capsys.readouterr().out.startswith(f"succeeded ['{deployment.url}/assets/")
